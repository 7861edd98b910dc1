-- Webhooks as the daemon was configured when it last started. A change of status is owed to those
-- that stand here when it happens, and to no others.
CREATE TABLE webhooks (
    name   TEXT PRIMARY KEY NOT NULL,
    -- Only changes of this series; null for all.
    series TEXT
) STRICT;

CREATE INDEX deliveries_of ON deliveries (webhook, due_ms) WHERE state = 'due';
DROP INDEX deliveries_due;

-- How long jobs took from the last attempt's beginning to its end, as counters that only grow.
-- A duration counts in the first row that it is not greater than.
CREATE TABLE durations (
    at_most_ms INTEGER PRIMARY KEY NOT NULL,
    jobs       INTEGER NOT NULL DEFAULT 0,
    sum_ms     INTEGER NOT NULL DEFAULT 0
) STRICT;

INSERT INTO durations (at_most_ms)
VALUES (10000), (30000), (60000), (120000), (300000), (600000), (1200000), (1800000), (3600000),
    (9223372036854775807);

UPDATE durations SET (jobs, sum_ms) = (
    SELECT COUNT(*), COALESCE(SUM(MAX(finished_ms - started_ms, 0)), 0) FROM jobs
    WHERE state = 'done' AND started_ms IS NOT NULL AND finished_ms IS NOT NULL
        AND MAX(finished_ms - started_ms, 0) <= at_most_ms
        AND MAX(finished_ms - started_ms, 0) > COALESCE(
            (SELECT MAX(lower.at_most_ms) FROM durations AS lower
             WHERE lower.at_most_ms < durations.at_most_ms), -1)
);

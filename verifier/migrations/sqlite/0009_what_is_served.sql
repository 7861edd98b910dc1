-- A release has the status of its newest record only while that is about what is published now: not
-- while its tag names another commit, a file of it was replaced, or python.org lists one that it says
-- nothing of. See current.rs.
ALTER TABLE releases ADD COLUMN current TEXT;
ALTER TABLE releases ADD COLUMN moved INTEGER NOT NULL DEFAULT 0;
DROP INDEX releases_shown;
CREATE INDEX releases_shown
    ON releases (sort_key, version, series, announced_ms, record, current, moved);
-- Other bytes were seen under the name since they were judged; more than a state, which a file that
-- vanishes loses. A file that was not read so far has an empty digest.
ALTER TABLE files ADD COLUMN replaced INTEGER NOT NULL DEFAULT 0;
UPDATE files SET replaced = 1 WHERE state = 'changed';
CREATE INDEX files_replaced ON files (name) WHERE replaced;

-- Whether a claim about the file, or about its tag, disagreed: kept beside its verdict.
DROP TRIGGER artifacts_are_not_changed;
ALTER TABLE artifacts ADD COLUMN disputed INTEGER NOT NULL DEFAULT 0;
UPDATE artifacts SET disputed = 1 WHERE EXISTS (
    SELECT 1 FROM records, json_each(records.document, '$.evidence') AS claim
    WHERE records.seq = artifacts.seq AND records.status <> 'pass'
        AND claim.value ->> 'outcome' = 'disagrees'
        AND (claim.value ->> 'artifact' = artifacts.name
            OR claim.value ->> 'check' IN ('tag', 'tag_signature'))
);
CREATE TRIGGER artifacts_are_not_changed BEFORE UPDATE ON artifacts
BEGIN
    SELECT RAISE(ABORT, 'a record is never changed');
END;

UPDATE releases SET moved = 1 WHERE EXISTS (
    SELECT 1 FROM tags JOIN records AS n ON n.id = releases.record
        WHERE tags.name = n.document -> 'source' ->> 'tag'
            AND tags.repository = n.document -> 'source' ->> 'repository'
            AND tags.commit_id <> n.document -> 'source' ->> 'commit'
);

UPDATE releases SET current = CASE
    WHEN moved THEN NULL
    WHEN releases.status = 'not_built' THEN releases.status
    WHEN EXISTS (
        SELECT 1 FROM records AS n JOIN artifacts AS a USING (seq)
        WHERE n.id = releases.record AND releases.status = 'fail' AND (a.verdict = 'different' OR a.disputed)
            AND a.name NOT IN (SELECT name FROM files WHERE replaced)
    ) THEN releases.status
    WHEN EXISTS (
        SELECT 1 FROM records AS n JOIN artifacts AS a USING (seq)
        WHERE n.id = releases.record AND a.name IN (SELECT name FROM files WHERE replaced)
    ) THEN NULL
    WHEN releases.status = 'pass' AND EXISTS (
        SELECT 1 FROM json_each(releases.document, '$.files') AS listed
        WHERE listed.value ->> 'name' NOT IN (
            SELECT a.name FROM records AS n JOIN artifacts AS a USING (seq)
            WHERE n.id = releases.record)
    ) THEN NULL
    ELSE releases.status
END
WHERE record IS NOT NULL;

-- What the daemon keeps: the order of records, releases as last believed, the queue, what it saw.
-- Times of these tables are Unix milliseconds.

-- The clock may be set back, and then a newer record has a smaller id: `seq` is the order.
DROP TRIGGER records_are_not_changed;
DROP TRIGGER records_are_not_replaced;
ALTER TABLE records ADD COLUMN seq INTEGER;
UPDATE records SET seq = rowid;
DROP INDEX records_by_version;
CREATE UNIQUE INDEX records_by_seq ON records (seq);
CREATE UNIQUE INDEX records_by_version ON records (version, seq);

CREATE TRIGGER records_are_not_changed BEFORE UPDATE ON records
BEGIN
    SELECT RAISE(ABORT, 'a record is never changed');
END;

CREATE TRIGGER records_are_not_replaced BEFORE INSERT ON records
WHEN EXISTS (
    SELECT 1 FROM records WHERE id = NEW.id OR rowid = NEW.rowid OR seq = NEW.seq
)
BEGIN
    SELECT RAISE(ABORT, 'a record is never replaced');
END;

-- The files of each record, to be found by digest.
CREATE TABLE artifacts (
    seq             INTEGER NOT NULL,
    place           INTEGER NOT NULL,
    name            TEXT NOT NULL,
    verdict         TEXT NOT NULL,
    tier            TEXT,
    published       TEXT NOT NULL,
    published_bytes INTEGER NOT NULL,
    rebuilt         TEXT,
    PRIMARY KEY (seq, place)
) STRICT, WITHOUT ROWID;

CREATE INDEX artifacts_by_published ON artifacts (published, seq);

INSERT INTO artifacts
SELECT records.seq, file.key, file.value ->> 'name', file.value ->> 'verdict',
    file.value ->> 'tier', file.value -> 'published' ->> 'sha256',
    file.value -> 'published' ->> 'size', file.value -> 'rebuilt' ->> 'sha256'
FROM records, json_each(records.document, '$.artifacts') AS file;

CREATE TRIGGER artifacts_are_not_changed BEFORE UPDATE ON artifacts
BEGIN
    SELECT RAISE(ABORT, 'a record is never changed');
END;

CREATE TRIGGER artifacts_are_not_deleted BEFORE DELETE ON artifacts
BEGIN
    SELECT RAISE(ABORT, 'a record is never deleted');
END;

CREATE TRIGGER artifacts_are_not_replaced BEFORE INSERT ON artifacts
WHEN EXISTS (SELECT 1 FROM artifacts WHERE seq = NEW.seq AND place = NEW.place)
BEGIN
    SELECT RAISE(ABORT, 'a record is never replaced');
END;

-- Every release that python.org announces or a record is about.
CREATE TABLE releases (
    version      TEXT PRIMARY KEY NOT NULL,
    -- Sorts as versions do.
    sort_key     TEXT NOT NULL UNIQUE,
    series       TEXT NOT NULL,
    announced_ms INTEGER NOT NULL,
    -- Its primary key at python.org.
    api_key      INTEGER,
    -- Its files and what is claimed of them, as last believed; null until asked.
    document     TEXT,
    document_ms  INTEGER,
    seen_ms      INTEGER NOT NULL,
    -- python.org announced it while this service was watching.
    fresh        INTEGER NOT NULL DEFAULT 0,
    -- The newest record.
    record       TEXT,
    status       TEXT
) STRICT;

CREATE INDEX releases_by_series ON releases (series, sort_key);

-- A release's status became another one. What feeds and webhooks tell.
CREATE TABLE changes (
    seq     INTEGER PRIMARY KEY AUTOINCREMENT,
    at_ms   INTEGER NOT NULL,
    version TEXT NOT NULL,
    series  TEXT NOT NULL,
    was     TEXT,
    status  TEXT NOT NULL,
    record  TEXT NOT NULL
) STRICT;

CREATE INDEX changes_by_series ON changes (series, seq);

-- The queue. `fence` grows with every lease; `beat` with every sign of life of its worker.
CREATE TABLE jobs (
    seq            INTEGER PRIMARY KEY AUTOINCREMENT,
    id             TEXT NOT NULL UNIQUE,
    version        TEXT NOT NULL,
    -- 0 release, 1 request, 2 recheck, 3 backfill: lower runs first.
    class          INTEGER NOT NULL,
    -- The class it has without anybody's request; null if only requests want it.
    base_class     INTEGER,
    -- First come, first served within a class.
    place          INTEGER NOT NULL,
    state          TEXT NOT NULL
        CHECK (state IN ('queued', 'running', 'parked', 'done', 'cancelled')),
    created_ms     INTEGER NOT NULL,
    due_ms         INTEGER NOT NULL,
    started_ms     INTEGER,
    finished_ms    INTEGER,
    attempts       INTEGER NOT NULL DEFAULT 0,
    first_error_ms INTEGER,
    error          TEXT,
    waiting        TEXT,
    fence          INTEGER NOT NULL DEFAULT 0,
    worker         TEXT,
    beat           INTEGER NOT NULL DEFAULT 0,
    unconfirmed    TEXT,
    record         TEXT
) STRICT;

CREATE UNIQUE INDEX jobs_one_a_release ON jobs (version)
    WHERE state IN ('queued', 'running', 'parked');
CREATE INDEX jobs_live ON jobs (class, place) WHERE state IN ('queued', 'running', 'parked');
CREATE INDEX jobs_done ON jobs (finished_ms) WHERE state = 'done';
CREATE INDEX jobs_by_version ON jobs (version, seq);

-- Who asked for a job. The id is known to the one who asked, and cancels.
CREATE TABLE requests (
    id           TEXT PRIMARY KEY NOT NULL,
    job          TEXT NOT NULL,
    asked_by     TEXT NOT NULL,
    at_ms        INTEGER NOT NULL,
    cancelled_ms INTEGER
) STRICT;

CREATE INDEX requests_by_job ON requests (job);

-- What was seen, once each.
CREATE TABLE observations (
    seq      INTEGER PRIMARY KEY AUTOINCREMENT,
    at_ms    INTEGER NOT NULL,
    kind     TEXT NOT NULL,
    version  TEXT,
    artifact TEXT,
    detail   TEXT NOT NULL
) STRICT;

CREATE INDEX observations_by_version ON observations (version, seq);

CREATE TRIGGER observations_are_not_changed BEFORE UPDATE ON observations
BEGIN
    SELECT RAISE(ABORT, 'an observation is never changed');
END;

CREATE TRIGGER observations_are_not_deleted BEFORE DELETE ON observations
BEGIN
    SELECT RAISE(ABORT, 'an observation is never deleted');
END;

-- What an operator has to look at, until it is cleared.
CREATE TABLE alarms (
    seq        INTEGER PRIMARY KEY AUTOINCREMENT,
    kind       TEXT NOT NULL,
    subject    TEXT NOT NULL,
    detail     TEXT NOT NULL,
    opened_ms  INTEGER NOT NULL,
    cleared_ms INTEGER
) STRICT;

CREATE UNIQUE INDEX alarms_open ON alarms (kind, subject) WHERE cleared_ms IS NULL;

-- Published files that are looked at again forever.
CREATE TABLE files (
    name          TEXT PRIMARY KEY NOT NULL,
    version       TEXT NOT NULL,
    url           TEXT NOT NULL,
    sha256        TEXT NOT NULL,
    bytes         INTEGER NOT NULL,
    modified      TEXT,
    -- ok, changed or vanished.
    state         TEXT NOT NULL DEFAULT 'ok',
    head_due_ms   INTEGER NOT NULL,
    hash_due_ms   INTEGER NOT NULL
) STRICT;

CREATE INDEX files_by_head ON files (head_due_ms);
CREATE INDEX files_by_hash ON files (hash_due_ms);

-- Tags as last seen in the repository.
CREATE TABLE tags (
    name      TEXT PRIMARY KEY NOT NULL,
    commit_id TEXT NOT NULL,
    seen_ms   INTEGER NOT NULL
) STRICT;

-- Requests to the downloads API: 100 a day are allowed.
CREATE TABLE api_requests (at_ms INTEGER NOT NULL) STRICT;

CREATE INDEX api_requests_by_time ON api_requests (at_ms);

-- Single facts: when the feed was last read, and so on.
CREATE TABLE facts (name TEXT PRIMARY KEY NOT NULL, value TEXT NOT NULL) STRICT;

-- Bearer tokens, by their SHA-256.
CREATE TABLE tokens (
    id         TEXT PRIMARY KEY NOT NULL,
    name       TEXT NOT NULL,
    scope      TEXT NOT NULL CHECK (scope IN ('request', 'operate')),
    sha256     TEXT NOT NULL UNIQUE,
    created_ms INTEGER NOT NULL,
    revoked_ms INTEGER
) STRICT;

-- Notices of changes to each webhook, and how they went.
CREATE TABLE deliveries (
    seq         INTEGER PRIMARY KEY AUTOINCREMENT,
    webhook     TEXT NOT NULL,
    change      INTEGER NOT NULL REFERENCES changes (seq),
    state       TEXT NOT NULL CHECK (state IN ('due', 'delivered', 'failed')),
    attempts    INTEGER NOT NULL DEFAULT 0,
    due_ms      INTEGER NOT NULL,
    finished_ms INTEGER,
    answer      TEXT,
    UNIQUE (webhook, change)
) STRICT;

CREATE INDEX deliveries_due ON deliveries (due_ms) WHERE state = 'due';

-- Records are facts: they are added and never changed or deleted, whoever holds the connection.
CREATE TABLE records (
    id       TEXT PRIMARY KEY NOT NULL,
    version  TEXT NOT NULL,
    status   TEXT NOT NULL CHECK (status IN ('pass', 'fail', 'not_built')),
    finished TEXT NOT NULL,
    document TEXT NOT NULL
) STRICT;

CREATE INDEX records_by_version ON records (version, id);

CREATE TRIGGER records_are_not_changed BEFORE UPDATE ON records
BEGIN
    SELECT RAISE(ABORT, 'a record is never changed');
END;

CREATE TRIGGER records_are_not_deleted BEFORE DELETE ON records
BEGIN
    SELECT RAISE(ABORT, 'a record is never deleted');
END;

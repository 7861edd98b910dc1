-- The overview shows all releases at once: everything that it needs of each is in an index, since
-- what comes after a document can be read only by reading the whole document.
CREATE INDEX releases_shown ON releases (sort_key, version, series, announced_ms, record, status);
CREATE INDEX records_shown ON records (id, seq, finished);

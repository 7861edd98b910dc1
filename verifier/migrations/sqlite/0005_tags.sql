-- Tags belong to a repository, which the configuration may change; one that is not listed any more
-- stays known.
ALTER TABLE tags ADD COLUMN repository TEXT NOT NULL DEFAULT '';
ALTER TABLE tags ADD COLUMN vanished INTEGER NOT NULL DEFAULT 0;

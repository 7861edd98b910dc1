-- Whether a request asked for the list of releases at its usual pace: the day's others may not use
-- up what these need.
ALTER TABLE api_requests ADD COLUMN listed INTEGER NOT NULL DEFAULT 1;

-- The list of the jobs that are done, or cancelled, begins with the newest, whatever the others are.
CREATE INDEX jobs_over ON jobs (state, seq) WHERE state IN ('done', 'cancelled');

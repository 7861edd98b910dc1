-- How long trouble lasts is counted by attempts: the clock may be set.
ALTER TABLE jobs DROP COLUMN first_error_ms;

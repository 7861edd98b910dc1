-- How long trouble lasts is counted by attempts: the clock may be set.
ALTER TABLE jobs DROP COLUMN first_error_ms;
-- An input changed while it ran: it may have read the old one, and another job comes after it.
ALTER TABLE jobs ADD COLUMN again INTEGER NOT NULL DEFAULT 0;
-- Workers that died of it, one after the other.
ALTER TABLE jobs ADD COLUMN deaths INTEGER NOT NULL DEFAULT 0;

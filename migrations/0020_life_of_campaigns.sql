-- Sending windows by each recipient's own clock: whoever is taken while theirs is closed waits in `retries` with attempt 0
-- until it opens, as many as an audience has people, and many at one instant: read page by page, in order.
DROP INDEX retries_due;
CREATE INDEX retries_due ON retries (task_id, due_at, no);
-- It waits for its window to open, and not for a delay after a failure.
ALTER TABLE retries ADD COLUMN for_window boolean NOT NULL DEFAULT false;

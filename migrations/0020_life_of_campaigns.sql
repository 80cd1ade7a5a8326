-- Sending windows by each recipient's own clock: whoever is taken while theirs is closed waits in `retries` with attempt 0
-- until it opens, as many as an audience has people, and many at one instant: read page by page, in order.
DROP INDEX retries_due;
CREATE INDEX retries_due ON retries (task_id, due_at, no);
-- It waits for its window to open, and not for a delay after a failure.
ALTER TABLE retries ADD COLUMN for_window boolean NOT NULL DEFAULT false;

-- Canaries: who tries a task before the others stands in `retries` with attempt 0 from its beginning. Who they are is a function of
-- the task's id, its total and this size (model::campaign::Sample); the cursor passes over them.
ALTER TABLE tasks
    ADD COLUMN canary_state smallint,                   -- 1 nothing is decided, 2 passed, 3 failed; none: no canary
    ADD COLUMN canary_size integer NOT NULL DEFAULT 0,
    ADD COLUMN canary_failed integer NOT NULL DEFAULT 0, -- how many of them have
    ADD COLUMN canary_called_at timestamptz;            -- when all of them had been called
CREATE INDEX tasks_canary ON tasks (account) WHERE canary_state = 1;

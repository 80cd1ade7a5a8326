-- A pause or a cancellation is asked of any node; calls are begun by the node that owns the account. It is asked here to begin
-- none of the task any more, and answers by removing the row. Hardly ever more than a few rows.
CREATE TABLE stop_requests (
    id      bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    account text   NOT NULL,
    task_id bigint NOT NULL
);

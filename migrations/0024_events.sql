-- What webhooks of the configuration are told. Nothing is written here while none is configured.
--
-- A transaction that moves a message or a task writes into event_outbox. The account's owner takes it out again within a
-- second and makes numbered batches of it, one set for each webhook. No phone stands in any of these tables: it is looked up
-- when a batch is posted, so that an erased person stays erased.

CREATE TABLE event_outbox (
    account    text NOT NULL,
    id         bigint GENERATED ALWAYS AS IDENTITY, -- what happens to one message happens in this order
    task_id    bigint NOT NULL,
    no         integer,                             -- none: the task itself
    state      smallint NOT NULL,                   -- of messages.state; of a task: model::task::TaskState
    code       text,
    at         timestamptz,                         -- none: when it is numbered
    written_at timestamptz NOT NULL DEFAULT now(),  -- for pruning alone: writers have no clock of their own
    PRIMARY KEY (account, id)
) WITH (autovacuum_vacuum_scale_factor = 0.01, autovacuum_vacuum_threshold = 2000, autovacuum_vacuum_cost_delay = 0);

-- How far the events of a task have been numbered for a webhook, and when its next batch is to be posted.
CREATE TABLE event_streams (
    webhook       text NOT NULL,
    task_id       bigint NOT NULL,
    account       text NOT NULL,
    last_sequence bigint NOT NULL,
    last_state    smallint,                         -- of the task, as it was told last
    waiting       bigint NOT NULL,                  -- events in batches that wait
    next_try_at   timestamptz,                      -- none: no batch waits
    PRIMARY KEY (webhook, task_id)
) WITH (fillfactor = 50, autovacuum_vacuum_scale_factor = 0.01, autovacuum_vacuum_threshold = 2000,
        autovacuum_vacuum_cost_delay = 0);
CREATE INDEX event_streams_due ON event_streams (webhook, account, next_try_at) WHERE next_try_at IS NOT NULL;

-- Fixed before it is first posted: each try has the same id and says the same.
CREATE TABLE event_batches (
    webhook        text NOT NULL,
    task_id        bigint NOT NULL,
    first_sequence bigint NOT NULL,
    id             uuid NOT NULL DEFAULT gen_random_uuid(),
    account        text NOT NULL,
    kind           smallint NOT NULL,               -- model::event::EventKind
    events         integer NOT NULL,                -- how many
    items          jsonb NOT NULL,
    tries          smallint NOT NULL DEFAULT 0,
    created_at     timestamptz NOT NULL,
    PRIMARY KEY (webhook, task_id, first_sequence)
) WITH (autovacuum_vacuum_scale_factor = 0.01, autovacuum_vacuum_threshold = 2000, autovacuum_vacuum_cost_delay = 0);

-- Batches that are not tried any more by themselves.
CREATE TABLE event_dead_letters (
    number         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    id             uuid NOT NULL UNIQUE,
    webhook        text NOT NULL,
    task_id        bigint NOT NULL,
    first_sequence bigint NOT NULL,
    account        text NOT NULL,
    kind           smallint NOT NULL,
    events         integer NOT NULL,
    items          jsonb NOT NULL,
    tries          smallint NOT NULL,
    created_at     timestamptz NOT NULL,
    failed_at      timestamptz NOT NULL,
    error          text NOT NULL
);
CREATE INDEX event_dead_letters_webhook ON event_dead_letters (webhook, number);

-- What came of the requests to a webhook, by the account whose owner made them.
CREATE TABLE event_health (
    webhook              text NOT NULL,
    account              text NOT NULL,
    delivered            bigint NOT NULL,           -- requests
    failed               bigint NOT NULL,           -- requests
    consecutive_failures bigint NOT NULL,
    last_success_at      timestamptz,
    last_failure_at      timestamptz,
    last_error           text,
    PRIMARY KEY (webhook, account)
) WITH (fillfactor = 50);

-- A task's state as it is shown: as model::task::TaskState::new derives it, by its numbers.
CREATE FUNCTION shown_task_state(state smallint, paused boolean, halted boolean) RETURNS smallint
LANGUAGE sql IMMUTABLE AS $$
    SELECT CASE WHEN state = 4 THEN 6
                WHEN state IN (3, 5) THEN 5
                WHEN halted THEN 4
                WHEN paused THEN 3
                WHEN state = 1 THEN 1
                ELSE 2 END::smallint
$$;

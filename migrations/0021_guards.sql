-- Limits that protect people and senders.

-- Whom a sender with `daily_recipients` has written to: one row a person, in the hour of the last message. Not read by hour:
-- it has no index on it, so that a person who is written to again costs a change in place.
CREATE TABLE sender_days (
    account text NOT NULL,
    sender  text NOT NULL,
    phone   bigint NOT NULL,
    hour    timestamptz NOT NULL,                   -- the hour's beginning
    PRIMARY KEY (account, sender, phone)
) WITH (fillfactor = 80, autovacuum_vacuum_scale_factor = 0.05, autovacuum_vacuum_threshold = 5000);
-- How many persons that makes in each hour. Whoever is erased stays counted here.
CREATE TABLE sender_hours (
    account    text NOT NULL,
    sender     text NOT NULL,
    hour       timestamptz NOT NULL,
    recipients integer NOT NULL,
    PRIMARY KEY (account, sender, hour)
) WITH (fillfactor = 50, autovacuum_vacuum_scale_factor = 0.01, autovacuum_vacuum_threshold = 2000);

-- What a person has had of marketing lately, one entry a task; written only where `limits.max_per_recipient` is set.
CREATE TABLE marketing_days (
    phone    bigint PRIMARY KEY,
    task_ids bigint[] NOT NULL,
    times    timestamptz[] NOT NULL,                -- of the same length
    last_at  timestamptz NOT NULL
) WITH (fillfactor = 70, autovacuum_vacuum_scale_factor = 0.05, autovacuum_vacuum_threshold = 5000);

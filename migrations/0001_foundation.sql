-- The foundation: audiences, campaigns, tasks, the write-ahead intents of sending, messages, the callbacks' inbox,
-- the append-only progress, the leases that fence it all.
--
-- No foreign keys from the hot tables (requests, retries, messages, troubles, callbacks, progress): they would lock
-- a parent row per insert. Enums travel as smallint; their words stand in crates/model.

CREATE TABLE audiences (
    id             bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    name           text NOT NULL,
    status         smallint NOT NULL,               -- 1 importing, 2 ready, 3 failed, 4 deleted
    phone_column   text,
    columns        text[] NOT NULL DEFAULT '{}',    -- the CSV's other columns, in the order of recipients.vars
    rows_read      bigint NOT NULL DEFAULT 0,
    rows_accepted  bigint NOT NULL DEFAULT 0,
    rows_rejected  bigint NOT NULL DEFAULT 0,
    rows_duplicate bigint NOT NULL DEFAULT 0,
    bytes_read     bigint NOT NULL DEFAULT 0,
    bytes_total    bigint,
    error          text,
    importer       uuid,                            -- the process that imports; a dead one's imports are failed
    heartbeat_at   timestamptz NOT NULL,
    created_at     timestamptz NOT NULL
);

-- Written once by COPY, in the transaction that makes the audience ready; never updated.
CREATE TABLE recipients (
    audience_id bigint NOT NULL,
    no          integer NOT NULL,                   -- 1…n within the audience
    phone       bigint NOT NULL,                    -- E.164 digits
    vars        text[] NOT NULL,                    -- in the order of audiences.columns
    PRIMARY KEY (audience_id, no)
);

CREATE TABLE rejects (
    audience_id bigint NOT NULL,
    line        bigint NOT NULL,                    -- where the record starts in the file, from 1
    seq         integer NOT NULL,                   -- tells apart records that start on one line
    reason      text NOT NULL,
    phone       text NOT NULL,
    raw         text NOT NULL,
    PRIMARY KEY (audience_id, line, seq)
);

CREATE TABLE campaigns (
    id             bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    name           text NOT NULL,
    state          smallint NOT NULL,               -- 1 draft, 2 launched
    account        text NOT NULL,
    sender         text NOT NULL,                   -- the configuration's `from`, exactly as written
    audience_id    bigint NOT NULL REFERENCES audiences (id),
    message        jsonb NOT NULL,                  -- canonical form
    template       text,                            -- 'name/language' of a template message
    category       smallint NOT NULL,               -- 1 marketing, 2 utility, 3 authentication
    priority       smallint NOT NULL,               -- 1 high, 2 normal, 3 low
    max_attempts   smallint NOT NULL,
    messages_per_second double precision,
    on_unknown     smallint NOT NULL,               -- 1 hold, 2 resend
    schedule       jsonb,
    sending_window jsonb,
    canary         jsonb,
    expires_at     timestamptz,
    created_at     timestamptz NOT NULL
);
CREATE INDEX campaigns_audience ON campaigns (audience_id);

-- One run of a campaign: an audience and a cursor. Everyone beyond the cursor is queued.
CREATE TABLE tasks (
    id          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    campaign_id bigint NOT NULL REFERENCES campaigns (id),
    account     text NOT NULL,
    sender      text NOT NULL,
    template    text,                               -- 'name/language'; what template halts look for
    audience_id bigint NOT NULL,
    state       smallint NOT NULL,                  -- 1 scheduled, 2 running, 3 completed, 4 cancelled, 5 expired
    paused      boolean NOT NULL DEFAULT false,
    hidden      boolean NOT NULL DEFAULT false,     -- a test send
    total       integer NOT NULL,
    cursor      integer NOT NULL DEFAULT 0,         -- recipients 1…cursor have been taken
    starts_at   timestamptz,
    started_at  timestamptz,
    ended_at    timestamptz,
    expires_at  timestamptz,
    created_at  timestamptz NOT NULL
) WITH (fillfactor = 50);
CREATE INDEX tasks_campaign ON tasks (campaign_id);
CREATE INDEX tasks_live ON tasks (account) WHERE state IN (1, 2);

-- The write-ahead intents: one row per commit of intents, a batch or up to 64 single calls of one task. A row here is
-- an open request; it is deleted with its last outcome. A recipient that it names is being sent to, unless its message
-- row bears this request's id (then the outcome is there already).
CREATE TABLE requests (
    id          bigint PRIMARY KEY,
    account     text NOT NULL,
    task_id     bigint NOT NULL,
    epoch       bigint NOT NULL,
    nos         integer[] NOT NULL,
    attempts    smallint[] NOT NULL,                -- of the same length
    created_at  timestamptz NOT NULL,
    deadline_at timestamptz NOT NULL
) WITH (autovacuum_vacuum_scale_factor = 0.0, autovacuum_vacuum_threshold = 5000);
CREATE INDEX requests_account ON requests (account);
CREATE INDEX requests_task ON requests (task_id);
CREATE SEQUENCE request_ids INCREMENT BY 1000;     -- drawn in blocks of 1,000

-- Who is to be tried (again), and when. attempt 0: not tried yet, counts as queued.
CREATE TABLE retries (
    task_id   bigint NOT NULL,
    no        integer NOT NULL,
    due_at    timestamptz NOT NULL,
    attempt   smallint NOT NULL,                    -- attempts used up so far
    batch_max smallint NOT NULL,                    -- the largest batch it may travel in; halved by a refused batch
    PRIMARY KEY (task_id, no)
) WITH (autovacuum_vacuum_scale_factor = 0.02);
CREATE INDEX retries_due ON retries (task_id, due_at);

-- One recipient's message within a task, from its first outcome on.
CREATE TABLE messages (
    task_id      bigint NOT NULL,
    no           integer NOT NULL,
    state        smallint NOT NULL,                 -- 1 accepted, 2 sent, 3 delivered, 4 read, 5 failed, 6 retrying, 7 unknown, 8 suppressed, 9 expired
    attempt      smallint NOT NULL,                 -- attempts used up
    request_id   bigint NOT NULL,                   -- the identity of the latest call; 0: never called
    vendor_hash  bigint,                            -- 64 bits of the vendor's id, indexed; the full id is compared
    vendor_id    text,
    code         text,                              -- the last code
    reason       text,
    accepted_at  timestamptz,
    sent_at      timestamptz,
    delivered_at timestamptz,
    read_at      timestamptz,
    failed_at    timestamptz,
    PRIMARY KEY (task_id, no)
) WITH (fillfactor = 50, autovacuum_vacuum_scale_factor = 0.05);
CREATE INDEX messages_vendor_hash ON messages (vendor_hash) WHERE vendor_hash IS NOT NULL;

-- Vendor ids of older calls, so that a late report still finds its recipient.
CREATE TABLE old_vendor_ids (
    vendor_hash bigint NOT NULL,
    task_id     bigint NOT NULL,
    no          integer NOT NULL,
    PRIMARY KEY (vendor_hash, task_id, no)
);

-- One row while a message is failed, retrying, unknown, suppressed or expired: what is filtered by state and code.
CREATE TABLE troubles (
    task_id bigint NOT NULL,
    state   smallint NOT NULL,                      -- of messages.state
    code    text NOT NULL,
    no      integer NOT NULL,
    PRIMARY KEY (task_id, state, code, no)
) WITH (autovacuum_vacuum_scale_factor = 0.05);

-- The append-only inbox. A writer is one process's committer: its rows become visible in the order of seq.
CREATE TABLE callbacks (
    day         date NOT NULL,
    account     text NOT NULL,
    writer      bigint NOT NULL,
    seq         bigint NOT NULL,
    received_at timestamptz NOT NULL,
    kind        smallint NOT NULL,                  -- 1 a vendor's callback, 2 outcomes of ours kept as evidence
    body        text NOT NULL,
    PRIMARY KEY (account, writer, seq, day)
) PARTITION BY RANGE (day);
CREATE TABLE callbacks_rest PARTITION OF callbacks DEFAULT;
CREATE SEQUENCE writer_ids CACHE 1;

-- How far the inbox of an account has been applied, per writer.
CREATE TABLE inbox_positions (
    account text NOT NULL,
    writer  bigint NOT NULL,
    seq     bigint NOT NULL,
    PRIMARY KEY (account, writer)
) WITH (fillfactor = 50);

-- Reports whose message is not known yet: joined again each second, foreign after 72 h.
CREATE TABLE early_reports (
    id          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    account     text NOT NULL,
    vendor_hash bigint NOT NULL,
    request_id  bigint,
    task_id     bigint,
    no          integer,
    body        jsonb NOT NULL,                     -- the report in our words
    received_at timestamptz NOT NULL
);
CREATE INDEX early_reports_hash ON early_reports (account, vendor_hash);
CREATE INDEX early_reports_recipient ON early_reports (task_id, no) WHERE task_id IS NOT NULL;

-- Deltas of counts, written in the transaction of the move they count; folded into task_counts each second.
CREATE TABLE progress (
    task_id bigint NOT NULL,
    kind    smallint NOT NULL,                      -- model::counts::Kind
    code    text NOT NULL,                          -- '' but for errors by code
    delta   integer NOT NULL
) WITH (autovacuum_vacuum_scale_factor = 0.0, autovacuum_vacuum_threshold = 5000);
CREATE INDEX progress_task ON progress (task_id);
CREATE TABLE task_counts (
    task_id bigint NOT NULL,
    kind    smallint NOT NULL,
    code    text NOT NULL,
    n       integer NOT NULL,
    PRIMARY KEY (task_id, kind, code)
) WITH (fillfactor = 50);

-- Who owns an account. Renewals leave the key alone, so that the fence (FOR KEY SHARE on account and epoch) never
-- waits for them; a take-over changes the epoch and does wait for open transactions of the old owner.
CREATE TABLE account_leases (
    account           text PRIMARY KEY,
    owner             uuid,
    epoch             bigint NOT NULL,
    expires_at        timestamptz NOT NULL,
    database_identity text NOT NULL,
    UNIQUE (account, epoch)
) WITH (fillfactor = 50);
-- The last group that an account's committer wrote: what it asks for when a commit gives no answer. Not the transaction's
-- own number: a server that dies before its log is flushed gives the same number out again.
CREATE TABLE commit_marks (
    account text PRIMARY KEY,
    epoch   bigint NOT NULL,
    number  bigint NOT NULL
) WITH (fillfactor = 50);
CREATE TABLE nodes (
    id      uuid PRIMARY KEY,
    seen_at timestamptz NOT NULL
) WITH (fillfactor = 50);

-- What stands still and why. A task runs when no halt holds it; lifting deletes the row.
CREATE TABLE halts (
    id        bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    scope     smallint NOT NULL,                    -- 1 task, 2 template, 3 sender, 4 account
    account   text NOT NULL,
    value     text NOT NULL,                        -- the task's id, 'name/language', the sender, the account
    code      text NOT NULL,
    reason    text NOT NULL,
    remedy    text NOT NULL,
    since     timestamptz NOT NULL,
    lifts_at  timestamptz,                          -- lifted by itself; none: by an operator
    UNIQUE (account, scope, value)
);

CREATE TABLE suppressions (
    phone      bigint PRIMARY KEY,
    reason     smallint NOT NULL,                   -- 1 opt_out, 2 invalid, 3 manual, 4 complaint
    source     text NOT NULL,
    created_at timestamptz NOT NULL,
    expires_at timestamptz
);

-- How often a number has had a code that suppresses it at the second time.
CREATE TABLE strikes (
    phone   bigint NOT NULL,
    code    text NOT NULL,
    times   integer NOT NULL,
    last_at timestamptz NOT NULL,
    PRIMARY KEY (phone, code)
);

CREATE TABLE inbound (
    id          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    account     text NOT NULL,
    sender      text NOT NULL,
    phone       bigint NOT NULL,
    kind        text NOT NULL,
    text        text,
    is_click    boolean NOT NULL,
    vendor_id   text,
    in_reply_to text,
    received_at timestamptz NOT NULL
);
CREATE INDEX inbound_phone ON inbound (phone, received_at);

-- The answers of POSTs that bore an Idempotency-Key, kept a day.
CREATE TABLE idempotency_keys (
    key         text NOT NULL,
    operation   text NOT NULL,
    fingerprint text NOT NULL,                      -- of the request, so that a key is not used for two
    resource_id bigint,
    created_at  timestamptz NOT NULL,
    PRIMARY KEY (key, operation)
);

-- Whether any halt holds a task. Read wherever somebody is about to be taken.
CREATE FUNCTION task_is_halted(task_id bigint, account text, sender text, template text) RETURNS boolean
LANGUAGE sql STABLE AS $$
    SELECT EXISTS (
        SELECT FROM halts h
        WHERE h.account = $2
          AND (h.scope = 4
               OR (h.scope = 3 AND h.value = $3)
               OR (h.scope = 2 AND h.value = $4)
               OR (h.scope = 1 AND h.value = $1::text)))
$$;

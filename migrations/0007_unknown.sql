-- Messages that may have reached the vendor and of which no answer came: since when, when their vendor's records are asked
-- next, and when the campaign's own policy sends them again. What is to be done survives restarts, so it stands here.

-- One row while a message is unknown.
CREATE TABLE unknowns (
    task_id       bigint NOT NULL,
    no            integer NOT NULL,
    account       text NOT NULL,
    request_id    bigint NOT NULL,                  -- the call that gave no answer
    phone         bigint,                           -- whom it was for; none when the person was erased
    since         timestamptz NOT NULL,
    requested_at  timestamptz NOT NULL,             -- the call's intent was committed
    deadline_at   timestamptz NOT NULL,             -- the call was over, whatever came
    is_first_call boolean NOT NULL,                 -- there was no call before it
    asked         smallint NOT NULL DEFAULT 0,      -- how often the vendor's records were asked and answered
    ask_at        timestamptz,                      -- when they are asked next; none: no more
    resend_at     timestamptz,                      -- when the policy sends it again; none: never
    PRIMARY KEY (task_id, no)
) WITH (autovacuum_vacuum_scale_factor = 0.01, autovacuum_vacuum_threshold = 2000, autovacuum_vacuum_cost_delay = 0);
CREATE INDEX unknowns_ask ON unknowns (account, ask_at) WHERE ask_at IS NOT NULL;
CREATE INDEX unknowns_resend ON unknowns (account, resend_at) WHERE resend_at IS NOT NULL;
CREATE INDEX unknowns_since ON unknowns (task_id, since);
CREATE INDEX unknowns_phone ON unknowns (account, phone);

-- Calls that gave no answer and after which somebody was sent to again, by policy or by an operator. The policy does so
-- once; and news of such a call that comes in time withdraws the second one.
CREATE TABLE resends (
    task_id    bigint NOT NULL,
    no         integer NOT NULL,
    request_id bigint NOT NULL,
    PRIMARY KEY (task_id, no, request_id)
);

-- What is unknown already is held: when its call was made is not known any more.
INSERT INTO unknowns (task_id, no, account, request_id, phone, since, requested_at, deadline_at, is_first_call)
SELECT m.task_id, m.no, t.account, m.request_id, r.phone, now(), now(), now(), false
FROM troubles x
JOIN messages m ON m.task_id = x.task_id AND m.no = x.no AND m.state = x.state
JOIN tasks t ON t.id = x.task_id
LEFT JOIN recipients r ON r.audience_id = t.audience_id AND r.no = x.no
WHERE x.state = 7;

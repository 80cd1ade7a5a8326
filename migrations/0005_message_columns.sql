-- The columns of messages in an order that makes the updates of reports small in the log, which holds what differs
-- between the first changed byte and the last: what never changes first, the state next to the times that change with
-- it, and behind them texts, which are found again where they moved to. Measured on PostgreSQL 15, a message with an id
-- of 60 characters, log for sent, delivered, read: before 225, 199, 220 bytes; so 150, 122, 146.

ALTER TABLE messages RENAME TO messages_before;
ALTER INDEX messages_pkey RENAME TO messages_before_pkey;
ALTER INDEX messages_vendor_hash RENAME TO messages_before_vendor_hash;

CREATE TABLE messages (
    task_id      bigint NOT NULL,
    request_id   bigint NOT NULL,                   -- the identity of the latest call; 0: never called
    vendor_hash  bigint,                            -- 64 bits of the vendor's id, indexed; the full id is compared
    no           integer NOT NULL,
    attempt      smallint NOT NULL,                 -- attempts used up
    state        smallint NOT NULL,                 -- 1 accepted, 2 sent, 3 delivered, 4 read, 5 failed, 6 retrying, 7 unknown, 8 suppressed, 9 expired
    accepted_at  timestamptz,
    sent_at      timestamptz,
    delivered_at timestamptz,
    read_at      timestamptz,
    failed_at    timestamptz,
    vendor_id    text,
    code         text,                              -- the last code
    reason       text,
    PRIMARY KEY (task_id, no)
) PARTITION BY RANGE (task_id);
CREATE INDEX messages_vendor_hash ON messages (vendor_hash) WHERE vendor_hash IS NOT NULL;

DO $$
DECLARE
    leaf record;
    old_index record;
BEGIN
    FOR leaf IN
        SELECT c.oid, c.relname, pg_get_expr(c.relpartbound, c.oid) AS bounds
        FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
        WHERE i.inhparent = 'messages_before'::regclass
    LOOP
        -- Out of the way of the names that the new partition and its indexes get.
        FOR old_index IN
            SELECT c.relname FROM pg_index x JOIN pg_class c ON c.oid = x.indexrelid WHERE x.indrelid = leaf.oid
        LOOP
            EXECUTE format('ALTER INDEX %I RENAME TO %I', old_index.relname, 'before_' || old_index.relname);
        END LOOP;
        EXECUTE format('ALTER TABLE %I RENAME TO %I', leaf.relname, 'before_' || leaf.relname);
        EXECUTE format('CREATE TABLE %I PARTITION OF messages %s WITH (%s)',
                       leaf.relname, leaf.bounds, partition_settings('messages'));
    END LOOP;
END
$$;

INSERT INTO messages (task_id, request_id, vendor_hash, no, attempt, state, accepted_at, sent_at, delivered_at, read_at,
                      failed_at, vendor_id, code, reason)
SELECT task_id, request_id, vendor_hash, no, attempt, state, accepted_at, sent_at, delivered_at, read_at, failed_at,
       vendor_id, code, reason
FROM messages_before;
DROP TABLE messages_before;

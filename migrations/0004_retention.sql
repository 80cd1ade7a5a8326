-- What retention and erasure need: which tasks have lost their details, where a person is found, and the range of each
-- partition.

-- Set when the partition of a task's messages was dropped; its counts stay.
ALTER TABLE tasks ADD COLUMN details_removed_at timestamptz;

-- The partitions by ranges of ids of a parent; the rest has none. `since` is none for the first one.
CREATE FUNCTION partition_ranges(parent text) RETURNS TABLE (leaf text, since bigint, upto bigint)
LANGUAGE sql STABLE AS $$
    SELECT c.relname::text,
           (regexp_match(pg_get_expr(c.relpartbound, c.oid), 'FROM \(''(-?\d+)''\)'))[1]::bigint,
           (regexp_match(pg_get_expr(c.relpartbound, c.oid), 'TO \(''(-?\d+)''\)'))[1]::bigint AS upto
    FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
    WHERE i.inhparent = parent::regclass AND pg_get_expr(c.relpartbound, c.oid) <> 'DEFAULT'
    ORDER BY upto
$$;

CREATE OR REPLACE FUNCTION partition_key(parent text) RETURNS text
LANGUAGE sql IMMUTABLE AS $$
    SELECT CASE WHEN parent IN ('recipients', 'rejects', 'recipient_phones') THEN 'audience_id' ELSE 'task_id' END
$$;

-- Which recipient has a phone: sorted blocks of an audience's phones with their numbers, written once after the import.
-- An index of recipients by phone would cost four times the CPU of the import and double its log; this costs 13 bytes a
-- recipient.
CREATE TABLE recipient_phones (
    audience_id bigint NOT NULL,
    first_phone bigint NOT NULL,
    phones      bigint[] NOT NULL,                  -- ascending
    nos         integer[] NOT NULL,                 -- of the same length
    PRIMARY KEY (audience_id, first_phone)
) PARTITION BY RANGE (audience_id);
CREATE TABLE recipient_phones_rest PARTITION OF recipient_phones DEFAULT;
DO $$
DECLARE
    same record;
BEGIN
    FOR same IN SELECT * FROM partition_ranges('recipients') LOOP
        IF same.since IS NULL THEN
            EXECUTE format('CREATE TABLE recipient_phones_1 PARTITION OF recipient_phones
                            FOR VALUES FROM (MINVALUE) TO (%s)', same.upto);
        ELSE
            PERFORM add_partition('recipient_phones', same.since, same.upto);
        END IF;
    END LOOP;
END
$$;
-- Whether an audience's blocks have been written.
ALTER TABLE audiences ADD COLUMN phones_listed boolean NOT NULL DEFAULT false;
CREATE INDEX audiences_unlisted ON audiences (id) WHERE status = 2 AND NOT phones_listed;

-- The number that stands where a person's was erased: of a country code that nobody has, and never sent to.
INSERT INTO suppressions (phone, reason, source, created_at)
VALUES (999000000000000, 3, 'erased', to_timestamp(0)) ON CONFLICT DO NOTHING;

-- Lists that narrow by what had no index: they must not read what does not belong to them.
CREATE INDEX inbound_account ON inbound (account, id);
CREATE INDEX tasks_live_ids ON tasks (id) WHERE state IN (1, 2);

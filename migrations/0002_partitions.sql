-- What grows with messages and recipients lies in partitions by ranges of ids, so that a whole range can be dropped when
-- its details are old enough: dropping is a matter of files, deleting would be one of rows.
--
-- messages, troubles and old_vendor_ids by the task; recipients and rejects by the audience. A partition holds 10,000
-- ids. The rows of before become the first one. `…_rest` is a net that stays empty: partitions are made ahead (see
-- crates/store/src/retention.rs).

-- The one place that says how a partition is stored and vacuumed.
CREATE FUNCTION partition_settings(parent text) RETURNS text
LANGUAGE sql IMMUTABLE AS $$
    SELECT CASE parent
        -- Half of each page is left for the updates of reports, which then touch no index.
        WHEN 'messages' THEN 'fillfactor = 50, autovacuum_vacuum_scale_factor = 0.05'
        WHEN 'troubles' THEN 'autovacuum_vacuum_scale_factor = 0.05'
        ELSE 'fillfactor = 100'
    END
$$;

-- The column that a parent is partitioned by.
CREATE FUNCTION partition_key(parent text) RETURNS text
LANGUAGE sql IMMUTABLE AS $$
    SELECT CASE WHEN parent IN ('recipients', 'rejects') THEN 'audience_id' ELSE 'task_id' END
$$;

-- Makes the partition of the ids from `since` to before `upto`, unless it is there. Built beside and then attached, which
-- holds up neither readers nor writers of the parent; only the empty rest is locked for a moment.
CREATE FUNCTION add_partition(parent text, since bigint, upto bigint) RETURNS boolean
LANGUAGE plpgsql AS $$
DECLARE
    leaf text := parent || '_' || since;
    rest text := parent || '_rest';
    strays bigint;
BEGIN
    IF to_regclass(leaf) IS NOT NULL THEN
        RETURN false;
    END IF;
    EXECUTE format('CREATE TABLE %I (LIKE %I INCLUDING DEFAULTS) WITH (%s)', leaf, parent, partition_settings(parent));
    -- Rows that fell into the net belong here; without this the partition could never be attached.
    EXECUTE format('LOCK TABLE %I IN ACCESS EXCLUSIVE MODE', rest);
    EXECUTE format('WITH strays AS (DELETE FROM %1$I WHERE %2$I >= %3$s AND %2$I < %4$s RETURNING *)
                    INSERT INTO %5$I SELECT * FROM strays', rest, partition_key(parent), since, upto, leaf);
    EXECUTE format('ALTER TABLE %I ATTACH PARTITION %I FOR VALUES FROM (%s) TO (%s)', parent, leaf, since, upto);
    RETURN true;
END
$$;

ALTER TABLE messages RENAME TO messages_1;
ALTER INDEX messages_pkey RENAME TO messages_1_pkey;
ALTER INDEX messages_vendor_hash RENAME TO messages_1_vendor_hash;
CREATE TABLE messages (LIKE messages_1 INCLUDING DEFAULTS, PRIMARY KEY (task_id, no)) PARTITION BY RANGE (task_id);
CREATE INDEX messages_vendor_hash ON messages (vendor_hash) WHERE vendor_hash IS NOT NULL;

ALTER TABLE troubles RENAME TO troubles_1;
ALTER INDEX troubles_pkey RENAME TO troubles_1_pkey;
CREATE TABLE troubles (LIKE troubles_1 INCLUDING DEFAULTS, PRIMARY KEY (task_id, state, code, no))
    PARTITION BY RANGE (task_id);

ALTER TABLE old_vendor_ids RENAME TO old_vendor_ids_1;
ALTER INDEX old_vendor_ids_pkey RENAME TO old_vendor_ids_1_pkey;
CREATE TABLE old_vendor_ids (LIKE old_vendor_ids_1 INCLUDING DEFAULTS, PRIMARY KEY (vendor_hash, task_id, no))
    PARTITION BY RANGE (task_id);

ALTER TABLE recipients RENAME TO recipients_1;
ALTER INDEX recipients_pkey RENAME TO recipients_1_pkey;
CREATE TABLE recipients (LIKE recipients_1 INCLUDING DEFAULTS, PRIMARY KEY (audience_id, no))
    PARTITION BY RANGE (audience_id);

ALTER TABLE rejects RENAME TO rejects_1;
ALTER INDEX rejects_pkey RENAME TO rejects_1_pkey;
CREATE TABLE rejects (LIKE rejects_1 INCLUDING DEFAULTS, PRIMARY KEY (audience_id, line, seq))
    PARTITION BY RANGE (audience_id);

DO $$
DECLARE
    parent text;
    last_id bigint;
    upto bigint;
BEGIN
    FOREACH parent IN ARRAY ARRAY['messages', 'troubles', 'old_vendor_ids', 'recipients', 'rejects'] LOOP
        IF partition_key(parent) = 'task_id' THEN
            SELECT coalesce(max(id), 0) INTO last_id FROM tasks;
        ELSE
            SELECT coalesce(max(id), 0) INTO last_id FROM audiences;
        END IF;
        upto := (greatest(last_id - 1, 0) / 10000 + 1) * 10000 + 1;
        EXECUTE format('ALTER TABLE %I SET (%s)', parent || '_1', partition_settings(parent));
        EXECUTE format('ALTER TABLE %I ATTACH PARTITION %I FOR VALUES FROM (MINVALUE) TO (%s)',
                       parent, parent || '_1', upto);
        EXECUTE format('CREATE TABLE %I PARTITION OF %I DEFAULT', parent || '_rest', parent);
        EXECUTE format('ALTER TABLE %I SET (%s)', parent || '_rest', partition_settings(parent));
        PERFORM add_partition(parent, upto, upto + 10000);
    END LOOP;
END
$$;

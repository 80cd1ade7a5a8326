-- How a task went over time: what each minute added to its counts. Written where counts are folded, from the same deltas, so that
-- sending pays nothing for it; no timeline is ever computed from messages.

CREATE TABLE task_minutes (
    task_id bigint NOT NULL,
    minute  timestamptz NOT NULL,                   -- the minute in which the deltas were folded, a second after the fact
    kind    smallint NOT NULL,                      -- model::counts::Kind: accepted, sent, delivered, read, failed
    n       integer NOT NULL,                       -- net: below zero where more left than came
    PRIMARY KEY (task_id, minute, kind)
) PARTITION BY RANGE (task_id);
CREATE TABLE task_minutes_rest PARTITION OF task_minutes DEFAULT;
DO $$
DECLARE
    same record;
BEGIN
    FOR same IN SELECT * FROM partition_ranges('messages') LOOP
        IF same.since IS NULL THEN
            EXECUTE format('CREATE TABLE task_minutes_1 PARTITION OF task_minutes FOR VALUES FROM (MINVALUE) TO (%s)',
                           same.upto);
        ELSE
            PERFORM add_partition('task_minutes', same.since, same.upto);
        END IF;
    END LOOP;
END
$$;

-- Who listed a number narrows the list: it must not read what others have listed.
CREATE INDEX suppressions_source ON suppressions (source, phone);

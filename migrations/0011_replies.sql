-- What people answer, joined to what was sent to them.

-- Vendors repeat callbacks: what a person sent is kept once, where the vendor gave it an id.
DELETE FROM inbound a USING inbound b
WHERE a.account = b.account AND a.vendor_id = b.vendor_id AND a.id > b.id;
CREATE UNIQUE INDEX inbound_vendor_id ON inbound (account, vendor_id);
-- The message that it answers; none where none was found.
ALTER TABLE inbound ADD COLUMN task_id bigint, ADD COLUMN no integer;

-- Who answered, and who pressed a button: one row a recipient, for the counts `replied` and `clicked`.
CREATE TABLE replies (
    task_id    bigint NOT NULL,
    no         integer NOT NULL,
    replied_at timestamptz,                         -- the first reply
    clicked_at timestamptz,                         -- the first press of a button
    PRIMARY KEY (task_id, no)
) PARTITION BY RANGE (task_id);
CREATE TABLE replies_rest PARTITION OF replies DEFAULT;
DO $$
DECLARE
    same record;
BEGIN
    FOR same IN SELECT * FROM partition_ranges('messages') LOOP
        IF same.since IS NULL THEN
            EXECUTE format('CREATE TABLE replies_1 PARTITION OF replies FOR VALUES FROM (MINVALUE) TO (%s)', same.upto);
        ELSE
            PERFORM add_partition('replies', same.since, same.upto);
        END IF;
    END LOOP;
END
$$;

-- The inbox in rows of many callbacks: those that came together for one account are one row, written by one commit.
-- So a callback pays a share of a row's head and of its key instead of both, and bodies that resemble each other are
-- compressed together. They are kept as they came, once, and can be read in SQL: unnest(bodies).
--
-- A writer is a process's committer on one day: all of its rows lie in one partition, and after that day it writes no
-- more. A position is where one writer's entries of one account have been applied to. Both together say when a position
-- may be forgotten: its day is over on every node's clock, and nothing lies beyond it.

ALTER TABLE callbacks RENAME TO callbacks_before;
ALTER TABLE callbacks_rest RENAME TO callbacks_before_rest;
ALTER TABLE inbox_positions RENAME TO inbox_positions_before;
ALTER INDEX callbacks_pkey RENAME TO callbacks_before_pkey;
ALTER INDEX callbacks_rest_pkey RENAME TO callbacks_before_rest_pkey;
ALTER INDEX inbox_positions_pkey RENAME TO inbox_positions_before_pkey;

CREATE TABLE callbacks (
    day         date NOT NULL,                      -- the writer's
    account     text NOT NULL,
    writer      bigint NOT NULL,
    seq         bigint NOT NULL,                    -- the number of its last entry; numbers ascend by one within a row
    received_at timestamptz NOT NULL,
    kind        smallint NOT NULL,                  -- 1 a vendor's callbacks, 2 outcomes of ours kept as evidence
    size_bytes  integer NOT NULL,                   -- of all bodies: a reader must not hold more than it planned
    bodies      text[] NOT NULL,                    -- the entries in their order
    PRIMARY KEY (account, writer, seq, day)
) PARTITION BY RANGE (day);

-- Cheaper than the default on a path that every callback takes. A server that was built without it keeps its own.
DO $$
BEGIN
    ALTER TABLE callbacks ALTER COLUMN bodies SET COMPRESSION lz4;
EXCEPTION WHEN feature_not_supported THEN
    NULL;
END
$$;
CREATE TABLE callbacks_rest PARTITION OF callbacks DEFAULT;

CREATE TABLE inbox_positions (
    account text NOT NULL,
    writer  bigint NOT NULL,
    day     date NOT NULL,                          -- of all the writer's rows
    seq     bigint NOT NULL,                        -- the number of the last entry that was applied
    PRIMARY KEY (account, writer)
) WITH (fillfactor = 50);

-- What was there is carried over. A writer of before may have written on several days; its last one is its day now.
INSERT INTO callbacks (day, account, writer, seq, received_at, kind, size_bytes, bodies)
SELECT max(day) OVER (PARTITION BY account, writer), account, writer, seq, received_at, kind,
       octet_length(body), ARRAY[body]
FROM callbacks_before;
INSERT INTO inbox_positions (account, writer, day, seq)
SELECT p.account, p.writer, coalesce(max(c.day), CURRENT_DATE), p.seq
FROM inbox_positions_before p LEFT JOIN callbacks_before c ON c.account = p.account AND c.writer = p.writer
GROUP BY p.account, p.writer, p.seq;

DROP TABLE callbacks_before;
DROP TABLE inbox_positions_before;

-- How often what is written over and over is cleaned. The defaults clean a table when a fifth of it is dead, slowly, as
-- suits a machine that also does other things; a queue that is emptied and filled again each second grows without end
-- under them, and each look into it goes through what is dead.

-- Few rows, written over all the time: cleaned by number, and without pausing, which takes milliseconds.
DO $$
DECLARE
    small text;
BEGIN
    FOREACH small IN ARRAY ARRAY['requests', 'progress', 'retries', 'early_reports', 'tasks', 'task_counts',
                                 'inbox_positions', 'commit_marks', 'account_leases', 'nodes'] LOOP
        EXECUTE format('ALTER TABLE %I SET (autovacuum_vacuum_scale_factor = 0.01, autovacuum_vacuum_threshold = 2000,
                                            autovacuum_vacuum_cost_delay = 0, autovacuum_analyze_scale_factor = 0.1,
                                            autovacuum_analyze_threshold = 5000)', small);
    END LOOP;
END
$$;

-- Many rows, each written over a few times while it is young: pages clean themselves as they are written, as long as half
-- of each is kept free, so that what vacuum finds is little. It must not come too rarely, since it is also what lets new
-- rows use old pages; nor pause so long that it never comes to the end.
CREATE OR REPLACE FUNCTION partition_settings(parent text) RETURNS text
LANGUAGE sql IMMUTABLE AS $$
    SELECT CASE parent
        WHEN 'messages' THEN 'fillfactor = 50, autovacuum_vacuum_scale_factor = 0.05, autovacuum_vacuum_threshold = 10000,
                              autovacuum_vacuum_cost_limit = 2000, autovacuum_vacuum_insert_scale_factor = 0.5'
        WHEN 'troubles' THEN 'autovacuum_vacuum_scale_factor = 0.05, autovacuum_vacuum_threshold = 5000,
                              autovacuum_vacuum_cost_limit = 2000'
        ELSE 'fillfactor = 100'
    END
$$;
DO $$
DECLARE
    leaf record;
BEGIN
    FOR leaf IN
        SELECT c.relname, p.relname AS parent
        FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid JOIN pg_class p ON p.oid = i.inhparent
        WHERE c.relkind = 'r' AND p.relname IN ('messages', 'troubles')
    LOOP
        EXECUTE format('ALTER TABLE %I SET (%s)', leaf.relname, partition_settings(leaf.parent));
    END LOOP;
END
$$;

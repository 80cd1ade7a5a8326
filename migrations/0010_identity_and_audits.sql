-- How another database is told from the one that a node has worked on, why a task is paused, and the book of the nightly
-- audit.

-- The timeline that the server writes now: it changes when a standby is promoted, and when an old state is recovered.
-- Not the one in the control file, which stays the old one until the next checkpoint.
CREATE FUNCTION database_timeline() RETURNS integer
LANGUAGE sql VOLATILE AS $$
    SELECT ('x' || left(pg_walfile_name(pg_current_wal_lsn()), 8))::bit(32)::integer
$$;

-- Server, database, timeline, table: a dump changes the last part even when it is restored into the same database.
CREATE FUNCTION database_identity() RETURNS text
LANGUAGE sql VOLATILE AS $$
    SELECT concat_ws('/', s.system_identifier, d.oid, database_timeline(), 'account_leases'::regclass::oid)
    FROM pg_control_system() s, pg_database d
    WHERE d.datname = current_database()
$$;

-- The identities that are kept had no table yet.
UPDATE account_leases SET database_identity = database_identity || '/' || 'account_leases'::regclass::oid;

-- Why a task is paused, when no operator did it.
ALTER TABLE tasks ADD COLUMN pause_reason text;

-- What the last audit of a task found; empty: everything holds.
CREATE TABLE task_audits (
    task_id    bigint PRIMARY KEY,
    audited_at timestamptz NOT NULL,
    findings   text[] NOT NULL
) WITH (fillfactor = 80);
CREATE INDEX task_audits_wrong ON task_audits (task_id) WHERE findings <> '{}';

-- The nightly audits: one node does each, and another goes on with it when that one dies.
CREATE TABLE audits (
    night       date PRIMARY KEY,
    node        uuid NOT NULL,
    began_at    timestamptz NOT NULL,               -- by the business clock, of the first node
    alive_at    timestamptz NOT NULL,               -- by the database's clock
    finished_at timestamptz,
    tasks       integer NOT NULL DEFAULT 0,
    wrong       integer NOT NULL DEFAULT 0
);

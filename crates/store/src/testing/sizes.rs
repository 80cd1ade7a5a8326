//! How large the tables are, and how much in them is dead: what a run under load is judged by.

use sqlx::{FromRow, PgConnection};

/// A table with all of its partitions.
#[derive(Clone, Debug, PartialEq, Eq, FromRow)]
pub struct Size {
    /// The table, or the parent of its partitions.
    pub name: String,
    /// Rows, indexes and texts kept aside, in bytes.
    pub bytes: i64,
    /// Rows.
    pub live: i64,
    /// Versions of rows that wait to be cleaned.
    pub dead: i64,
    /// How often they have been cleaned by the server itself.
    pub vacuums: i64,
}

/// The tables of the database, the largest first.
pub async fn sizes(conn: &mut PgConnection) -> Vec<Size> {
    let sizes = sqlx::query_as(
        "SELECT coalesce(p.relname, s.relname)::text AS name, sum(pg_total_relation_size(s.relid))::bigint AS bytes,
                sum(n_live_tup)::bigint AS live, sum(n_dead_tup)::bigint AS dead,
                sum(autovacuum_count)::bigint AS vacuums
         FROM pg_stat_user_tables s
         LEFT JOIN pg_inherits i ON i.inhrelid = s.relid LEFT JOIN pg_class p ON p.oid = i.inhparent
         WHERE NOT EXISTS (SELECT FROM pg_inherits WHERE inhparent = s.relid)
         GROUP BY 1 ORDER BY bytes DESC, name",
    );
    sizes.fetch_all(conn).await.expect("sizes can be read")
}

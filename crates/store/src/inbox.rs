//! The callbacks' inbox: append-only, by writer and sequence, applied in that order by the account's owner.
//!
//! A writer appends from one connection, so its rows become visible in the order of their numbers; the position that
//! has been applied is kept in the transaction that applied it.

use chrono::{DateTime, NaiveDate, Utc};
use sqlx::PgConnection;

use crate::{Error, Result};

/// What an entry is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(i16)]
pub enum EntryKind {
    /// A vendor's callback, as it came.
    Callback = 1,
    /// Outcomes of ours that the fence refused: evidence.
    Evidence = 2,
}

/// An entry to be appended.
#[derive(Clone, Debug)]
pub struct NewEntry {
    /// The account.
    pub account: String,
    /// Its number within the writer.
    pub seq: i64,
    /// What it is.
    pub kind: EntryKind,
    /// The JSON.
    pub body: String,
    /// When it came.
    pub received_at: DateTime<Utc>,
}

/// An entry as it is read.
#[derive(Clone, Debug, sqlx::FromRow)]
pub struct Entry {
    /// Who wrote it.
    pub writer: i64,
    /// Its number within the writer.
    pub seq: i64,
    /// [`EntryKind`] as a number.
    pub kind: i16,
    /// The JSON.
    pub body: String,
    /// When it came.
    pub received_at: DateTime<Utc>,
}

/// Appends entries in one statement. Numbers must ascend from call to call.
///
/// # Errors
/// The database did not do it, or may have.
pub async fn append(conn: &mut PgConnection, writer: i64, entries: &[NewEntry]) -> Result<()> {
    // The position row tells the reader that there is such a writer; it is there before the entry is seen.
    sqlx::query(
        "WITH writers AS (
            INSERT INTO inbox_positions (account, writer, seq)
            SELECT DISTINCT account, $1, 0 FROM UNNEST($2::text[]) AS i (account)
            ON CONFLICT DO NOTHING
         )
         INSERT INTO callbacks (day, account, writer, seq, received_at, kind, body)
         SELECT (received_at AT TIME ZONE 'UTC')::date, account, $1, seq, received_at, kind, body
         FROM UNNEST($2::text[], $3::bigint[], $4::timestamptz[], $5::smallint[], $6::text[])
              AS i (account, seq, received_at, kind, body)",
    )
    .bind(writer)
    .bind(entries.iter().map(|entry| entry.account.as_str()).collect::<Vec<_>>())
    .bind(entries.iter().map(|entry| entry.seq).collect::<Vec<_>>())
    .bind(entries.iter().map(|entry| entry.received_at).collect::<Vec<_>>())
    .bind(entries.iter().map(|entry| entry.kind as i16).collect::<Vec<_>>())
    .bind(entries.iter().map(|entry| entry.body.as_str()).collect::<Vec<_>>())
    .execute(conn)
    .await
    .map_err(Error::database("storing callbacks"))?;
    Ok(())
}

/// The next entries of an account that have not been applied, in order within each writer.
///
/// # Errors
/// The database did not do it.
pub async fn unapplied(conn: &mut PgConnection, account: &str, limit: i64) -> Result<Vec<Entry>> {
    sqlx::query_as(
        "SELECT p.writer, c.seq, c.kind, c.body, c.received_at
         FROM inbox_positions p
         CROSS JOIN LATERAL (
            SELECT seq, kind, body, received_at FROM callbacks
            WHERE account = p.account AND writer = p.writer AND seq > p.seq
            ORDER BY seq LIMIT $2
         ) c
         WHERE p.account = $1
         LIMIT $2",
    )
    .bind(account)
    .bind(limit)
    .fetch_all(conn)
    .await
    .map_err(Error::database("reading the inbox"))
}

/// Remembers how far the inbox has been applied, in the transaction that applied it.
///
/// # Errors
/// The database did not do it.
pub async fn advance(conn: &mut PgConnection, account: &str, entries: &[Entry]) -> Result<()> {
    sqlx::query(
        "UPDATE inbox_positions p SET seq = i.seq
         FROM (SELECT writer, max(seq) AS seq FROM UNNEST($2::bigint[], $3::bigint[]) AS e (writer, seq)
               GROUP BY writer) i
         WHERE p.account = $1 AND p.writer = i.writer",
    )
    .bind(account)
    .bind(entries.iter().map(|entry| entry.writer).collect::<Vec<_>>())
    .bind(entries.iter().map(|entry| entry.seq).collect::<Vec<_>>())
    .execute(conn)
    .await
    .map_err(Error::database("advancing the inbox"))?;
    Ok(())
}

/// Makes sure that the inbox has a partition for `day`.
///
/// # Errors
/// The database did not do it.
pub async fn ensure_partition(conn: &mut PgConnection, day: NaiveDate) -> Result<()> {
    let name = format!("callbacks_{}", day.format("%Y%m%d"));
    let exists: bool = sqlx::query_scalar("SELECT to_regclass($1) IS NOT NULL")
        .bind(&name)
        .fetch_one(&mut *conn)
        .await
        .map_err(Error::database("looking for the inbox's partition"))?;
    if exists {
        return Ok(());
    }
    let next = day.succ_opt().unwrap_or(day);
    // Names and bounds cannot be bound. Both are made of a date alone.
    let statement = format!(
        "CREATE TABLE IF NOT EXISTS {name} PARTITION OF callbacks FOR VALUES FROM ('{day}') TO ('{next}')"
    );
    sqlx::raw_sql(sqlx::AssertSqlSafe(statement))
        .execute(conn)
        .await
        .map_err(Error::database("creating the inbox's partition"))?;
    Ok(())
}

//! The callbacks' inbox: append-only, by writer and sequence, applied in that order by the account's owner.
//!
//! A writer appends from one connection, so its rows become visible in the order of their numbers; the position that
//! has been applied is kept in the transaction that applied it.

use std::collections::BTreeMap;

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
    /// How far the writer's entries had been applied when it was read.
    pub position: i64,
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

/// Whether the account has entries that have not been applied. Locks nothing.
///
/// # Errors
/// The database did not do it.
pub async fn has_unapplied(conn: &mut PgConnection, account: &str) -> Result<bool> {
    sqlx::query_scalar(
        "SELECT EXISTS (SELECT FROM inbox_positions p
                        CROSS JOIN LATERAL (SELECT FROM callbacks c
                                            WHERE c.account = p.account AND c.writer = p.writer AND c.seq > p.seq
                                            LIMIT 1) c
                        WHERE p.account = $1)",
    )
    .bind(account)
    .fetch_one(conn)
    .await
    .map_err(Error::database("looking into the inbox"))
}

/// The next entries of an account that have not been applied, in order within each writer.
///
/// The positions are locked first. So a step that is repeated because its commit was not answered waits until that
/// commit has ended, and then reads beyond it: a second statement sees what was committed while the first waited.
///
/// # Errors
/// The database did not do it.
pub async fn unapplied(conn: &mut PgConnection, account: &str, limit: i64) -> Result<Vec<Entry>> {
    let writers: Vec<i64> = sqlx::query_scalar(
        "SELECT p.writer FROM inbox_positions p
         WHERE p.account = $1
           AND EXISTS (SELECT FROM callbacks c
                       WHERE c.account = p.account AND c.writer = p.writer AND c.seq > p.seq)
         ORDER BY p.writer LIMIT $2
         FOR UPDATE OF p",
    )
    .bind(account)
    .bind(limit)
    .fetch_all(&mut *conn)
    .await
    .map_err(Error::database("locking the inbox"))?;
    if writers.is_empty() {
        return Ok(Vec::new());
    }
    sqlx::query_as(
        "SELECT p.writer, p.seq AS position, c.seq, c.kind, c.body, c.received_at
         FROM inbox_positions p
         CROSS JOIN LATERAL (
            SELECT seq, kind, body, received_at FROM callbacks
            WHERE account = p.account AND writer = p.writer AND seq > p.seq
            ORDER BY seq LIMIT $2
         ) c
         WHERE p.account = $1 AND p.writer = ANY ($3)
         ORDER BY p.writer, c.seq
         LIMIT $2",
    )
    .bind(account)
    .bind(limit)
    .bind(writers)
    .fetch_all(conn)
    .await
    .map_err(Error::database("reading the inbox"))
}

/// Remembers how far the inbox has been applied, in the transaction that applied it. False: it had been applied
/// further already; roll back.
///
/// # Errors
/// The database did not do it.
pub async fn advance(conn: &mut PgConnection, account: &str, entries: &[Entry]) -> Result<bool> {
    let mut moves: BTreeMap<i64, (i64, i64)> = BTreeMap::new();
    for entry in entries {
        let (_, to) = moves.entry(entry.writer).or_insert((entry.position, entry.seq));
        *to = entry.seq.max(*to);
    }
    let advanced = sqlx::query(
        "UPDATE inbox_positions p SET seq = i.to_seq
         FROM UNNEST($2::bigint[], $3::bigint[], $4::bigint[]) AS i (writer, from_seq, to_seq)
         WHERE p.account = $1 AND p.writer = i.writer AND p.seq = i.from_seq",
    )
    .bind(account)
    .bind(moves.keys().copied().collect::<Vec<_>>())
    .bind(moves.values().map(|(from, _)| *from).collect::<Vec<_>>())
    .bind(moves.values().map(|(_, to)| *to).collect::<Vec<_>>())
    .execute(conn)
    .await
    .map_err(Error::database("advancing the inbox"))?;
    Ok(advanced.rows_affected() == moves.len() as u64)
}

/// Makes sure that the inbox has a partition for `day`. A day of which there is something in the rest already stays
/// there: a partition cannot be made around rows.
///
/// # Errors
/// The database did not do it.
pub async fn ensure_partition(conn: &mut PgConnection, day: NaiveDate) -> Result<()> {
    let name = format!("callbacks_{}", day.format("%Y%m%d"));
    let is_settled: bool = sqlx::query_scalar(
        "SELECT to_regclass($1) IS NOT NULL OR EXISTS (SELECT FROM callbacks_rest WHERE day = $2)",
    )
    .bind(&name)
    .bind(day)
    .fetch_one(&mut *conn)
    .await
    .map_err(Error::database("looking for the inbox's partition"))?;
    if is_settled {
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

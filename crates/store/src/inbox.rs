//! The callbacks' inbox: append-only, by writer and number, applied in that order by the account's owner.
//!
//! A writer appends from one connection at a time, so its rows become visible in the order of their numbers; the position
//! that has been applied is kept in the transaction that applied it. A row holds the entries of one account that were
//! committed together; entries are numbered, rows bear the number of their last.

use std::collections::BTreeMap;

use chrono::{DateTime, NaiveDate, Utc};
use sqlx::PgConnection;

use crate::{Error, Result, sql};

/// Rows that are read in one step at the most.
const ROWS: i64 = 200;
/// After so many days nobody's clock is in a position's day any more.
const DAYS_UNTIL_FORGOTTEN: i32 = 3;

/// What an entry is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(i16)]
pub enum EntryKind {
    /// A vendor's callback, as it came.
    Callback = 1,
    /// Outcomes of ours that the fence refused: evidence.
    Evidence = 2,
}

/// Who writes. Its numbers are never used twice, and it writes on its day alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Writer {
    /// Its number, drawn from the database.
    pub id: i64,
    /// The day that it was drawn on, by the business clock.
    pub day: NaiveDate,
}

/// Entries of one account and one kind, to be appended as one row.
#[derive(Clone, Debug)]
pub struct NewEntries<'a> {
    /// The account.
    pub account: &'a str,
    /// What they are.
    pub kind: EntryKind,
    /// The number of the first; the others follow by one.
    pub first: i64,
    /// Their bodies, in order; at least one.
    pub bodies: Vec<&'a str>,
}

/// An entry as it is read.
#[derive(Clone, Debug)]
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

/// How much is read at once.
#[derive(Clone, Copy, Debug)]
pub struct Limit {
    /// Entries.
    pub entries: usize,
    /// Bytes of bodies, from which on no further row is read: what is read may exceed it by less than one row.
    pub bytes: i64,
}

/// Says that the writer will write for these accounts, before it does: the row tells the reader that there is such a
/// writer. Nothing may be appended for an account that the writer has not been registered for.
///
/// # Errors
/// The database did not do it, or may have.
pub async fn register(conn: &mut PgConnection, writer: Writer, accounts: &[&str]) -> Result<()> {
    sql::query(
        "INSERT INTO inbox_positions (account, writer, day, seq)
         SELECT account, $1, $2, 0 FROM UNNEST($3::text[]) AS i (account)
         ON CONFLICT DO NOTHING",
    )
    .bind(writer.id)
    .bind(writer.day)
    .bind(accounts)
    .execute(conn)
    .await
    .map_err(Error::database("registering a writer of callbacks"))?;
    Ok(())
}

/// Appends entries in one statement. Numbers must ascend from row to row and from call to call.
///
/// # Errors
/// The database did not do it, or may have.
pub async fn append(
    conn: &mut PgConnection,
    writer: Writer,
    received_at: DateTime<Utc>,
    rows: &[NewEntries<'_>],
) -> Result<()> {
    let mut bodies: Vec<&str> = Vec::with_capacity(rows.iter().map(|row| row.bodies.len()).sum());
    // Where each row's bodies begin and end among all of them, from 1.
    let mut ends = Vec::with_capacity(rows.len());
    for row in rows {
        bodies.extend(&row.bodies);
        ends.push(as_i32(bodies.len()));
    }
    let begins: Vec<i32> =
        rows.iter().zip(&ends).map(|(row, end)| end - as_i32(row.bodies.len()) + 1).collect();
    let last = |row: &NewEntries<'_>| row.first + i64::from(as_i32(row.bodies.len())) - 1;
    let size = |row: &NewEntries<'_>| as_i32(row.bodies.iter().map(|body| body.len()).sum());
    sql::query(
        "INSERT INTO callbacks (day, account, writer, seq, received_at, kind, size_bytes, bodies)
         SELECT $1, account, $2, seq, $3, kind, size_bytes, ($4::text[])[first_body:last_body]
         FROM UNNEST($5::text[], $6::bigint[], $7::smallint[], $8::integer[], $9::integer[], $10::integer[])
              AS i (account, seq, kind, size_bytes, first_body, last_body)",
    )
    .bind(writer.day)
    .bind(writer.id)
    .bind(received_at)
    .bind(bodies)
    .bind(rows.iter().map(|row| row.account).collect::<Vec<_>>())
    .bind(rows.iter().map(last).collect::<Vec<_>>())
    .bind(rows.iter().map(|row| row.kind as i16).collect::<Vec<_>>())
    .bind(rows.iter().map(size).collect::<Vec<_>>())
    .bind(begins)
    .bind(ends)
    .execute(conn)
    .await
    .map_err(Error::database("storing callbacks"))?;
    Ok(())
}

fn as_i32(n: usize) -> i32 {
    i32::try_from(n).unwrap_or(i32::MAX)
}

/// Whether the account has entries that have not been applied. Locks nothing.
///
/// # Errors
/// The database did not do it.
pub async fn has_unapplied(conn: &mut PgConnection, account: &str) -> Result<bool> {
    sql::query_scalar(
        "SELECT EXISTS (SELECT FROM inbox_positions p
                        CROSS JOIN LATERAL (SELECT FROM callbacks c
                                            WHERE c.account = p.account AND c.writer = p.writer
                                              AND c.seq > p.seq AND c.day = p.day
                                            LIMIT 1) c
                        WHERE p.account = $1)",
    )
    .bind(account)
    .fetch_one(conn)
    .await
    .map_err(Error::database("looking into the inbox"))
}

/// A row as it is read: writer, position, the last entry's number, kind, time, bodies.
type Row = (i64, i64, i64, i16, DateTime<Utc>, Vec<String>);

/// The next entries of an account that have not been applied, in order within each writer; whether there may be more.
///
/// The positions are locked first. So a step that is repeated because its commit was not answered waits until that
/// commit has ended, and then reads beyond it: a second statement sees what was committed while the first waited.
///
/// # Errors
/// The database did not do it.
pub async fn unapplied(conn: &mut PgConnection, account: &str, limit: Limit) -> Result<(Vec<Entry>, bool)> {
    let writers: Vec<i64> = sql::query_scalar(
        "SELECT p.writer FROM inbox_positions p
         WHERE p.account = $1
           AND EXISTS (SELECT FROM callbacks c
                       WHERE c.account = p.account AND c.writer = p.writer AND c.seq > p.seq AND c.day = p.day)
         ORDER BY p.writer LIMIT $2
         FOR UPDATE OF p",
    )
    .bind(account)
    .bind(ROWS)
    .fetch_all(&mut *conn)
    .await
    .map_err(Error::database("locking the inbox"))?;
    if writers.is_empty() {
        return Ok((Vec::new(), false));
    }
    let rows: Vec<Row> = sql::query_as(
        "WITH next AS (
            SELECT p.writer, p.seq AS position, c.seq, c.kind, c.received_at, c.bodies, c.size_bytes,
                   sum(c.size_bytes) OVER (ORDER BY p.writer, c.seq) - c.size_bytes AS bytes_before
            FROM inbox_positions p
            CROSS JOIN LATERAL (
                SELECT seq, kind, received_at, size_bytes, bodies FROM callbacks
                WHERE account = p.account AND writer = p.writer AND seq > p.seq AND day = p.day
                ORDER BY seq LIMIT $2
            ) c
            WHERE p.account = $1 AND p.writer = ANY ($3)
            ORDER BY p.writer, c.seq
            LIMIT $2
         )
         SELECT writer, position, seq, kind, received_at, bodies FROM next
         WHERE bytes_before < $4 ORDER BY writer, seq",
    )
    .bind(account)
    .bind(ROWS)
    .bind(writers)
    .bind(limit.bytes)
    .fetch_all(conn)
    .await
    .map_err(Error::database("reading the inbox"))?;
    let is_full = i64::try_from(rows.len()).is_ok_and(|rows| rows >= ROWS);
    let mut bytes = 0;
    let mut entries = Vec::new();
    for entry in rows.into_iter().flat_map(entries_of) {
        if entries.len() >= limit.entries {
            return Ok((entries, true));
        }
        bytes += entry.body.len();
        entries.push(entry);
    }
    Ok((entries, is_full || i64::try_from(bytes).is_ok_and(|bytes| bytes >= limit.bytes)))
}

/// The entries of a row that lie beyond the position.
fn entries_of((writer, position, last, kind, received_at, bodies): Row) -> impl Iterator<Item = Entry> {
    let first = last - i64::from(as_i32(bodies.len())) + 1;
    (first..).zip(bodies).filter(move |(seq, _)| *seq > position).map(move |(seq, body)| Entry {
        writer,
        position,
        seq,
        kind,
        body,
        received_at,
    })
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
    if moves.is_empty() {
        return Ok(true);
    }
    let advanced = sql::query(
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

/// Forgets how far writers of days long past were applied, where all of what they wrote was; how many.
///
/// Writers write on their day alone, so nothing can come behind what is looked at here.
///
/// # Errors
/// The database did not do it.
pub async fn forget_positions(conn: &mut PgConnection, account: &str, today: NaiveDate) -> Result<u64> {
    let forgotten = sql::query(
        "DELETE FROM inbox_positions p
         WHERE p.account = $1 AND p.day < $2::date - $3
           AND NOT EXISTS (SELECT FROM callbacks c
                           WHERE c.account = p.account AND c.writer = p.writer AND c.seq > p.seq AND c.day = p.day)",
    )
    .bind(account)
    .bind(today)
    .bind(DAYS_UNTIL_FORGOTTEN)
    .execute(conn)
    .await
    .map_err(Error::database("forgetting positions of the inbox"))?;
    Ok(forgotten.rows_affected())
}

/// Makes sure that the inbox has a partition for `day`. A day of which there is something in the rest already stays
/// there: a partition cannot be made around rows.
///
/// # Errors
/// The database did not do it.
pub async fn ensure_partition(conn: &mut PgConnection, day: NaiveDate) -> Result<()> {
    let name = format!("callbacks_{}", day.format("%Y%m%d"));
    let is_settled: bool = sql::query_scalar(
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

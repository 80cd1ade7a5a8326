//! Batches of events: what was written down, numbered for each webhook and task, fixed before it is first posted, and kept
//! until it is taken or given up.
//!
//! Run by the account's owner alone, in transactions that begin with the fence.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use model::event::EventKind;
use serde::{Deserialize, Serialize};
use sqlx::{FromRow, PgConnection, types::Json};
use uuid::Uuid;

use crate::{Error, Result, people::ERASED_DIGITS, sql};

/// Something that was written down.
#[derive(Clone, Debug, PartialEq, Eq, FromRow)]
pub struct Happened {
    /// What happens to one message has rising numbers.
    pub id: i64,
    /// The task.
    pub task_id: i64,
    /// The recipient's number; none: the task itself.
    pub no: Option<i32>,
    /// The state, as a number.
    pub state: i16,
    /// The code.
    pub code: Option<String>,
    /// When.
    pub at: Option<DateTime<Utc>>,
}

/// Takes what was written down of an account, at most `limit`, in its order. Whoever takes it writes batches of it in the
/// same transaction.
///
/// # Errors
/// The database did not do it.
pub async fn take(conn: &mut PgConnection, account: &str, limit: i64) -> Result<Vec<Happened>> {
    let mut rows: Vec<Happened> = sql::query_as(
        "WITH next AS (
            SELECT id FROM event_outbox WHERE account = $1 ORDER BY id LIMIT $2
         )
         DELETE FROM event_outbox o USING next
         WHERE o.account = $1 AND o.id = next.id
         RETURNING o.id, o.task_id, o.no, o.state, o.code, o.at",
    )
    .bind(account)
    .bind(limit)
    .fetch_all(conn)
    .await
    .map_err(Error::database("taking events"))?;
    rows.sort_unstable_by_key(|row| row.id);
    Ok(rows)
}

/// The states of tasks as they are shown now, as numbers.
///
/// # Errors
/// The database did not do it.
pub async fn task_states(conn: &mut PgConnection, task_ids: &[i64]) -> Result<BTreeMap<i64, i16>> {
    let rows: Vec<(i64, i16)> = sql::query_as(
        "SELECT id, shown_task_state(state, paused, task_is_halted(id, account, sender, template))
         FROM tasks WHERE id = ANY ($1)",
    )
    .bind(task_ids)
    .fetch_all(conn)
    .await
    .map_err(Error::database("reading the states of tasks"))?;
    Ok(rows.into_iter().collect())
}

/// How far a task's events have been numbered for a webhook.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Stream {
    /// The number of the last event; 0: there is none yet.
    pub last_sequence: i64,
    /// The task's state as it was told last.
    pub last_state: Option<i16>,
}

/// The streams of these tasks for a webhook.
///
/// # Errors
/// The database did not do it.
pub async fn streams(
    conn: &mut PgConnection,
    webhook: &str,
    task_ids: &[i64],
) -> Result<BTreeMap<i64, Stream>> {
    let rows: Vec<(i64, i64, Option<i16>)> = sql::query_as(
        "SELECT task_id, last_sequence, last_state FROM event_streams WHERE webhook = $1 AND task_id = ANY ($2)",
    )
    .bind(webhook)
    .bind(task_ids)
    .fetch_all(conn)
    .await
    .map_err(Error::database("reading how far events are numbered"))?;
    let stream = |(task_id, last_sequence, last_state)| (task_id, Stream { last_sequence, last_state });
    Ok(rows.into_iter().map(stream).collect())
}

/// An event as its batch keeps it: without the phone, and without its number, which its place tells.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Item {
    /// The recipient's number; none: the task itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub no: Option<i32>,
    /// The state, as a number.
    pub state: i16,
    /// The code.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<String>,
    /// When.
    pub at: DateTime<Utc>,
}

/// A batch to be fixed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewBatch {
    /// The task.
    pub task_id: i64,
    /// The number of its first event.
    pub first_sequence: i64,
    /// What its events are about.
    pub kind: EventKind,
    /// The events, in their order.
    pub items: Vec<Item>,
}

/// Fixes batches of one webhook, and how far their tasks are numbered by them.
///
/// # Errors
/// The database did not do it.
pub async fn fix(
    conn: &mut PgConnection,
    account: &str,
    webhook: &str,
    batches: &[NewBatch],
    streams: &BTreeMap<i64, Stream>,
    now: DateTime<Utc>,
) -> Result<()> {
    if batches.is_empty() {
        return Ok(());
    }
    let events = |batch: &NewBatch| i32::try_from(batch.items.len()).unwrap_or(i32::MAX);
    sql::query(
        "INSERT INTO event_batches (webhook, account, task_id, first_sequence, kind, events, items, created_at)
         SELECT $1, $2, * , $8
         FROM UNNEST($3::bigint[], $4::bigint[], $5::smallint[], $6::integer[], $7::jsonb[])",
    )
    .bind(webhook)
    .bind(account)
    .bind(batches.iter().map(|batch| batch.task_id).collect::<Vec<_>>())
    .bind(batches.iter().map(|batch| batch.first_sequence).collect::<Vec<_>>())
    .bind(batches.iter().map(|batch| batch.kind as i16).collect::<Vec<_>>())
    .bind(batches.iter().map(events).collect::<Vec<_>>())
    .bind(batches.iter().map(|batch| Json(&batch.items)).collect::<Vec<_>>())
    .bind(now)
    .execute(&mut *conn)
    .await
    .map_err(Error::database("fixing batches of events"))?;
    let mut waiting: BTreeMap<i64, i64> = BTreeMap::new();
    for batch in batches {
        *waiting.entry(batch.task_id).or_default() += i64::from(events(batch));
    }
    let of = |task_id: &i64| streams.get(task_id).cloned().unwrap_or_default();
    sql::query(
        "INSERT INTO event_streams AS s (webhook, account, task_id, waiting, last_sequence, last_state, next_try_at)
         SELECT $1, $2, *, $7 FROM UNNEST($3::bigint[], $4::bigint[], $5::bigint[], $6::smallint[])
         ON CONFLICT (webhook, task_id) DO UPDATE
         SET waiting = s.waiting + excluded.waiting, last_sequence = excluded.last_sequence,
             last_state = excluded.last_state, next_try_at = coalesce(s.next_try_at, excluded.next_try_at)",
    )
    .bind(webhook)
    .bind(account)
    .bind(waiting.keys().copied().collect::<Vec<_>>())
    .bind(waiting.values().copied().collect::<Vec<_>>())
    .bind(waiting.keys().map(|task_id| of(task_id).last_sequence).collect::<Vec<_>>())
    .bind(waiting.keys().map(|task_id| of(task_id).last_state).collect::<Vec<_>>())
    .bind(now)
    .execute(conn)
    .await
    .map_err(Error::database("numbering events"))?;
    Ok(())
}

/// The tasks of an account whose next batch is to be posted to a webhook now, the longest due first.
///
/// # Errors
/// The database did not do it.
pub async fn due(
    conn: &mut PgConnection,
    account: &str,
    webhook: &str,
    now: DateTime<Utc>,
    limit: i64,
) -> Result<Vec<i64>> {
    sql::query_scalar(
        "SELECT task_id FROM event_streams
         WHERE webhook = $1 AND account = $2 AND next_try_at <= $3 ORDER BY next_try_at, task_id LIMIT $4",
    )
    .bind(webhook)
    .bind(account)
    .bind(now)
    .bind(limit)
    .fetch_all(conn)
    .await
    .map_err(Error::database("looking which events are due"))
}

/// A batch that is to be posted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Batch {
    /// Its id, the same at each try.
    pub id: Uuid,
    /// The task.
    pub task_id: i64,
    /// The number of its first event.
    pub first_sequence: i64,
    /// What its events are about.
    pub kind: EventKind,
    /// The events, in their order.
    pub items: Vec<Item>,
    /// Tries that failed.
    pub tries: usize,
    /// When it was fixed.
    pub created_at: DateTime<Utc>,
    /// The recipients' phones by their numbers. Who was erased has none.
    pub phones: BTreeMap<i32, i64>,
}

#[derive(FromRow)]
struct BatchRow {
    id: Uuid,
    first_sequence: i64,
    kind: i16,
    items: Json<Vec<Item>>,
    tries: i16,
    created_at: DateTime<Utc>,
}

/// The first batch of a task that a webhook has not taken yet, when it is due.
///
/// # Errors
/// The database did not do it, or a row says what cannot be.
pub async fn head(
    conn: &mut PgConnection,
    webhook: &str,
    task_id: i64,
    now: DateTime<Utc>,
) -> Result<Option<Batch>> {
    let row: Option<BatchRow> = sql::query_as(
        "SELECT b.id, b.first_sequence, b.kind, b.items, b.tries, b.created_at
         FROM event_streams s JOIN event_batches b ON b.webhook = s.webhook AND b.task_id = s.task_id
         WHERE s.webhook = $1 AND s.task_id = $2 AND s.next_try_at <= $3
         ORDER BY b.first_sequence LIMIT 1",
    )
    .bind(webhook)
    .bind(task_id)
    .bind(now)
    .fetch_optional(&mut *conn)
    .await
    .map_err(Error::database("reading a batch of events"))?;
    let Some(row) = row else { return Ok(None) };
    let kind = EventKind::from_i16(row.kind)
        .ok_or_else(|| Error::contradiction("event_batches", "kind", row.id, row.kind))?;
    let nos: Vec<i32> = row.items.iter().filter_map(|item| item.no).collect();
    let phones = phones(conn, task_id, nos).await?;
    Ok(Some(Batch {
        id: row.id,
        task_id,
        first_sequence: row.first_sequence,
        kind,
        items: row.items.0,
        tries: usize::try_from(row.tries).unwrap_or_default(),
        created_at: row.created_at,
        phones,
    }))
}

async fn phones(conn: &mut PgConnection, task_id: i64, nos: Vec<i32>) -> Result<BTreeMap<i32, i64>> {
    if nos.is_empty() {
        return Ok(BTreeMap::new());
    }
    let rows: Vec<(i32, i64)> = sql::query_as(
        "SELECT p.no, p.phone FROM tasks t JOIN recipients p ON p.audience_id = t.audience_id AND p.no = ANY ($2)
         WHERE t.id = $1 AND p.phone <> $3",
    )
    .bind(task_id)
    .bind(nos)
    .bind(ERASED_DIGITS)
    .fetch_all(conn)
    .await
    .map_err(Error::database("reading the numbers of events"))?;
    Ok(rows.into_iter().collect())
}

/// What a request to a webhook came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Posted {
    /// It was taken.
    Taken,
    /// It is to be tried again at this time.
    Again {
        /// When.
        at: DateTime<Utc>,
        /// What went wrong.
        error: String,
    },
    /// It is not tried any more by itself.
    GivenUp {
        /// What went wrong.
        error: String,
    },
}

/// Records what came of a batch. One that is gone meanwhile is left alone.
///
/// # Errors
/// The database did not do it.
pub async fn record(
    conn: &mut PgConnection,
    account: &str,
    webhook: &str,
    batch: &Batch,
    posted: &Posted,
    now: DateTime<Utc>,
) -> Result<()> {
    lock_stream(conn, webhook, batch.task_id).await?;
    match posted {
        Posted::Taken => remove(conn, batch.id).await?,
        Posted::GivenUp { error } => {
            bury(conn, batch.id, now, error).await?;
            remove(conn, batch.id).await?;
        }
        Posted::Again { .. } => count_try(conn, batch.id).await?,
    }
    let next = if let Posted::Again { at, .. } = posted { *at } else { now };
    set_next_try(conn, webhook, batch.task_id, next).await?;
    let error = match posted {
        Posted::Taken => None,
        Posted::Again { error, .. } | Posted::GivenUp { error } => Some(error.as_str()),
    };
    note_health(conn, account, webhook, error, now).await
}

/// Locked in a statement of its own: those after it see the batches that were fixed while it waited.
async fn lock_stream(conn: &mut PgConnection, webhook: &str, task_id: i64) -> Result<()> {
    sql::query("SELECT FROM event_streams WHERE webhook = $1 AND task_id = $2 FOR NO KEY UPDATE")
        .bind(webhook)
        .bind(task_id)
        .execute(conn)
        .await
        .map_err(Error::database("locking the events of a task"))?;
    Ok(())
}

async fn remove(conn: &mut PgConnection, id: Uuid) -> Result<()> {
    sql::query(
        "WITH gone AS (DELETE FROM event_batches WHERE id = $1 RETURNING webhook, task_id, events)
         UPDATE event_streams s SET waiting = s.waiting - gone.events
         FROM gone WHERE s.webhook = gone.webhook AND s.task_id = gone.task_id",
    )
    .bind(id)
    .execute(conn)
    .await
    .map_err(Error::database("removing a batch of events"))?;
    Ok(())
}

async fn bury(conn: &mut PgConnection, id: Uuid, now: DateTime<Utc>, error: &str) -> Result<()> {
    sql::query(
        "INSERT INTO event_dead_letters (id, webhook, task_id, first_sequence, account, kind, events, items, tries,
                                         created_at, failed_at, error)
         SELECT id, webhook, task_id, first_sequence, account, kind, events, items, tries + 1, created_at, $2, $3
         FROM event_batches WHERE id = $1",
    )
    .bind(id)
    .bind(now)
    .bind(error)
    .execute(conn)
    .await
    .map_err(Error::database("giving up a batch of events"))?;
    Ok(())
}

async fn count_try(conn: &mut PgConnection, id: Uuid) -> Result<()> {
    sql::query("UPDATE event_batches SET tries = tries + 1 WHERE id = $1")
        .bind(id)
        .execute(conn)
        .await
        .map_err(Error::database("counting a try of events"))?;
    Ok(())
}

/// When the next batch of the task is posted, where there is one.
async fn set_next_try(conn: &mut PgConnection, webhook: &str, task_id: i64, at: DateTime<Utc>) -> Result<()> {
    sql::query(
        "UPDATE event_streams s
         SET next_try_at = CASE WHEN EXISTS (SELECT FROM event_batches b
                                             WHERE b.webhook = s.webhook AND b.task_id = s.task_id)
                                THEN $3::timestamptz END
         WHERE s.webhook = $1 AND s.task_id = $2",
    )
    .bind(webhook)
    .bind(task_id)
    .bind(at)
    .execute(conn)
    .await
    .map_err(Error::database("noting when events are tried"))?;
    Ok(())
}

async fn note_health(
    conn: &mut PgConnection,
    account: &str,
    webhook: &str,
    error: Option<&str>,
    now: DateTime<Utc>,
) -> Result<()> {
    sql::query(
        "INSERT INTO event_health AS h (webhook, account, delivered, failed, consecutive_failures, last_success_at,
                                        last_failure_at, last_error)
         VALUES ($1, $2, CASE WHEN $3::text IS NULL THEN 1 ELSE 0 END, CASE WHEN $3 IS NULL THEN 0 ELSE 1 END,
                 CASE WHEN $3 IS NULL THEN 0 ELSE 1 END, CASE WHEN $3 IS NULL THEN $4::timestamptz END,
                 CASE WHEN $3 IS NOT NULL THEN $4 END, $3)
         ON CONFLICT (webhook, account) DO UPDATE
         SET delivered = h.delivered + excluded.delivered, failed = h.failed + excluded.failed,
             consecutive_failures = CASE WHEN $3 IS NULL THEN 0 ELSE h.consecutive_failures + 1 END,
             last_success_at = coalesce(excluded.last_success_at, h.last_success_at),
             last_failure_at = coalesce(excluded.last_failure_at, h.last_failure_at),
             last_error = coalesce(excluded.last_error, h.last_error)",
    )
    .bind(webhook)
    .bind(account)
    .bind(error)
    .bind(now)
    .execute(conn)
    .await
    .map_err(Error::database("noting how a webhook fares"))?;
    Ok(())
}

//! How webhooks fare, and the batches of events that were given up: listed, posted again, and in the end forgotten.

use chrono::{DateTime, TimeDelta, Utc};
use sqlx::{FromRow, PgConnection};
use uuid::Uuid;

use crate::{Error, Result, sql};

/// What waits or was given up is kept this long, and no longer.
pub const KEPT_DAYS: i64 = 30;
/// Batches that are posted again by one call.
pub const LIMIT_REDRIVEN: i64 = 10_000;

/// How a webhook fares.
#[derive(Clone, Debug, Default, PartialEq, Eq, FromRow)]
pub struct Health {
    /// The webhook.
    pub webhook: String,
    /// Requests that were taken.
    pub delivered: i64,
    /// Requests that were not.
    pub failed: i64,
    /// Requests that were not, since the last that was.
    pub consecutive_failures: i64,
    /// When a request was last taken.
    pub last_success_at: Option<DateTime<Utc>>,
    /// When a request was last not taken.
    pub last_failure_at: Option<DateTime<Utc>>,
    /// What went wrong then.
    pub last_error: Option<String>,
    /// Events that wait.
    pub backlog: i64,
    /// Since when the oldest of them waits.
    pub oldest_at: Option<DateTime<Utc>>,
    /// Batches that were given up.
    pub dead_letters: i64,
}

/// How these webhooks fare, in the order of their names.
///
/// # Errors
/// The database did not do it.
pub async fn health(conn: &mut PgConnection, webhooks: &[&str]) -> Result<Vec<Health>> {
    sql::query_as(
        "SELECT w.webhook, h.delivered, h.failed, h.consecutive_failures, h.last_success_at, h.last_failure_at,
                (SELECT last_error FROM event_health WHERE webhook = w.webhook
                 ORDER BY last_failure_at DESC NULLS LAST LIMIT 1) AS last_error,
                s.backlog, s.oldest_at,
                (SELECT count(*) FROM event_dead_letters WHERE webhook = w.webhook) AS dead_letters
         FROM UNNEST($1::text[]) AS w (webhook)
         CROSS JOIN LATERAL (
            SELECT coalesce(sum(delivered), 0)::bigint AS delivered, coalesce(sum(failed), 0)::bigint AS failed,
                   coalesce(max(consecutive_failures), 0)::bigint AS consecutive_failures,
                   max(last_success_at) AS last_success_at, max(last_failure_at) AS last_failure_at
            FROM event_health WHERE webhook = w.webhook
         ) h
         CROSS JOIN LATERAL (
            SELECT coalesce(sum(s.waiting), 0)::bigint AS backlog, min(b.created_at) AS oldest_at
            FROM event_streams s
            CROSS JOIN LATERAL (SELECT created_at FROM event_batches
                                WHERE webhook = s.webhook AND task_id = s.task_id
                                ORDER BY first_sequence LIMIT 1) b
            WHERE s.webhook = w.webhook AND s.next_try_at IS NOT NULL
         ) s
         ORDER BY w.webhook",
    )
    .bind(webhooks)
    .fetch_all(conn)
    .await
    .map_err(Error::database("reading how webhooks fare"))
}

/// A batch that was given up.
#[derive(Clone, Debug, PartialEq, Eq, FromRow)]
pub struct DeadLetter {
    /// Where it stands in the list.
    pub number: i64,
    /// The batch's id.
    pub id: Uuid,
    /// The task.
    pub task_id: i64,
    /// The number of its first event.
    pub first_sequence: i64,
    /// How many events it has.
    pub events: i32,
    /// What they are about, as a number.
    pub kind: i16,
    /// How often it was tried.
    pub tries: i16,
    /// When it was fixed.
    pub created_at: DateTime<Utc>,
    /// When it was given up.
    pub failed_at: DateTime<Utc>,
    /// What went wrong at the last try.
    pub error: String,
}

/// A page of the batches that a webhook was given up on, the oldest first.
///
/// # Errors
/// The database did not do it.
pub async fn dead_letters(
    conn: &mut PgConnection,
    webhook: &str,
    after: Option<i64>,
    limit: i64,
) -> Result<Vec<DeadLetter>> {
    sql::query_as(
        "SELECT number, id, task_id, first_sequence, events, kind, tries, created_at, failed_at, error
         FROM event_dead_letters WHERE webhook = $1 AND number > $2 ORDER BY number LIMIT $3",
    )
    .bind(webhook)
    .bind(after.unwrap_or(0))
    .bind(limit)
    .fetch_all(conn)
    .await
    .map_err(Error::database("listing dead letters"))
}

/// Has batches posted again that were given up, in the caller's transaction: those that are named, or the oldest
/// [`LIMIT_REDRIVEN`]. They come before later events of their tasks, under their old ids. How many there were.
///
/// # Errors
/// The database did not do it.
pub async fn redrive(
    conn: &mut PgConnection,
    webhook: &str,
    ids: Option<&[Uuid]>,
    now: DateTime<Utc>,
) -> Result<i64> {
    let tasks: Vec<i64> = sql::query_scalar(
        "SELECT DISTINCT task_id FROM event_dead_letters
         WHERE webhook = $1 AND ($2::uuid[] IS NULL OR id = ANY ($2)) ORDER BY task_id",
    )
    .bind(webhook)
    .bind(ids)
    .fetch_all(&mut *conn)
    .await
    .map_err(Error::database("looking for dead letters"))?;
    // As the owner does before it looks whether a batch waits; in the order of the tasks, so that two wait for each other.
    sql::query(
        "SELECT FROM event_streams WHERE webhook = $1 AND task_id = ANY ($2) ORDER BY task_id FOR NO KEY UPDATE",
    )
    .bind(webhook)
    .bind(&tasks)
    .execute(&mut *conn)
    .await
    .map_err(Error::database("locking the events of tasks"))?;
    sql::query_scalar(
        "WITH taken AS (
            DELETE FROM event_dead_letters WHERE number IN (
                SELECT number FROM event_dead_letters
                WHERE webhook = $1 AND ($2::uuid[] IS NULL OR id = ANY ($2)) AND task_id = ANY ($3)
                ORDER BY number LIMIT $4)
            RETURNING *
         ), back AS (
            INSERT INTO event_batches (webhook, task_id, first_sequence, id, account, kind, events, items, created_at)
            SELECT webhook, task_id, first_sequence, id, account, kind, events, items, created_at FROM taken
         ), due AS (
            UPDATE event_streams s SET next_try_at = $5, waiting = s.waiting + t.events
            FROM (SELECT task_id, sum(events)::bigint AS events FROM taken GROUP BY task_id) t
            WHERE s.webhook = $1 AND s.task_id = t.task_id
         )
         SELECT count(*) FROM taken",
    )
    .bind(webhook)
    .bind(ids)
    .bind(tasks)
    .bind(LIMIT_REDRIVEN)
    .bind(now)
    .fetch_one(conn)
    .await
    .map_err(Error::database("redriving dead letters"))
}

/// A name for a request that tries a webhook out.
///
/// # Errors
/// The database did not do it.
pub async fn new_id(conn: &mut PgConnection) -> Result<Uuid> {
    sql::query_scalar("SELECT gen_random_uuid()")
        .fetch_one(conn)
        .await
        .map_err(Error::database("naming a request"))
}

/// What was forgotten for its age.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Forgotten {
    /// Events that nobody took: of accounts or webhooks that are configured no more.
    pub events: u64,
    /// Batches that waited.
    pub batches: u64,
    /// Batches that had been given up.
    pub dead_letters: u64,
}

/// Forgets what is older than [`KEPT_DAYS`], in the caller's transaction.
///
/// # Errors
/// The database did not do it.
pub async fn forget(conn: &mut PgConnection, now: DateTime<Utc>) -> Result<Forgotten> {
    let before = now - TimeDelta::days(KEPT_DAYS);
    let attempted = "forgetting old events";
    let mut rows = [0; 3];
    for (n, statement) in [
        "DELETE FROM event_outbox WHERE written_at < $1",
        "DELETE FROM event_batches WHERE created_at < $1",
        "DELETE FROM event_dead_letters WHERE failed_at < $1",
    ]
    .into_iter()
    .enumerate()
    {
        let done = sql::query(statement).bind(before).execute(&mut *conn).await;
        rows[n] = done.map_err(Error::database(attempted))?.rows_affected();
    }
    let [events, batches, dead_letters] = rows;
    if batches > 0 {
        // A stream without a batch waits for nothing.
        sql::query(
            "UPDATE event_streams s
             SET waiting = w.events, next_try_at = CASE WHEN w.events > 0 THEN s.next_try_at END
             FROM (SELECT s.webhook, s.task_id, coalesce(sum(b.events), 0)::bigint AS events
                   FROM event_streams s
                   LEFT JOIN event_batches b ON b.webhook = s.webhook AND b.task_id = s.task_id
                   WHERE s.next_try_at IS NOT NULL GROUP BY s.webhook, s.task_id) w
             WHERE s.webhook = w.webhook AND s.task_id = w.task_id AND s.waiting <> w.events",
        )
        .execute(conn)
        .await
        .map_err(Error::database(attempted))?;
    }
    Ok(Forgotten { events, batches, dead_letters })
}

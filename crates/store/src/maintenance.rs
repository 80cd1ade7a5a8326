//! The small steps that keep tasks and halts true to the clock: completing, expiring, lifting.

use chrono::{DateTime, Utc};
use sqlx::PgConnection;

use crate::{Error, Result, events, sql};

/// Codes of one task that are looked at: more than vendors have.
const CODES: i64 = 200;

/// Expires the account's tasks whose campaign has; how many.
///
/// # Errors
/// The database did not do it.
pub async fn expire_tasks(conn: &mut PgConnection, account: &str, now: DateTime<Utc>) -> Result<u64> {
    let expired: Vec<i64> = sql::query_scalar(
        "UPDATE tasks SET state = 5, ended_at = $2, paused = false, pause_reason = NULL
         WHERE account = $1 AND state IN (1, 2) AND expires_at <= $2 RETURNING id",
    )
    .bind(account)
    .bind(now)
    .fetch_all(&mut *conn)
    .await
    .map_err(Error::database("expiring tasks"))?;
    events::tasks(conn, &expired, Some(now)).await?;
    Ok(expired.len() as u64)
}

/// Completes the account's tasks that have nothing left to send; their ids.
///
/// The look-ups are ordered so that each is one probe of an index, however many wait. They are made after the row is locked: whoever adds a retry locks it as well and wakes the task again.
///
/// # Errors
/// The database did not do it.
pub async fn complete_tasks(conn: &mut PgConnection, account: &str, now: DateTime<Utc>) -> Result<Vec<i64>> {
    let candidates: Vec<i64> = sql::query_scalar(
        "SELECT id FROM tasks t
         WHERE account = $1 AND state = 2 AND cursor = total AND NOT paused
           AND NOT task_is_halted(id, account, sender, template)
           AND (SELECT id FROM requests q WHERE q.task_id = t.id ORDER BY q.task_id LIMIT 1) IS NULL
           AND (SELECT no FROM retries r WHERE r.task_id = t.id ORDER BY r.due_at LIMIT 1) IS NULL
         ORDER BY id FOR NO KEY UPDATE",
    )
    .bind(account)
    .fetch_all(&mut *conn)
    .await
    .map_err(Error::database("looking for tasks that are done"))?;
    if candidates.is_empty() {
        return Ok(Vec::new());
    }
    // Looked at again under the lock, in a statement that sees what was committed while it was waited for.
    let completed: Vec<i64> = sql::query_scalar(
        "UPDATE tasks t SET state = 3, ended_at = $2
         WHERE id = ANY ($1) AND state = 2 AND cursor = total
           AND (SELECT id FROM requests q WHERE q.task_id = t.id ORDER BY q.task_id LIMIT 1) IS NULL
           AND (SELECT no FROM retries r WHERE r.task_id = t.id ORDER BY r.due_at LIMIT 1) IS NULL
         RETURNING id",
    )
    .bind(candidates)
    .bind(now)
    .fetch_all(&mut *conn)
    .await
    .map_err(Error::database("completing tasks"))?;
    events::tasks(conn, &completed, Some(now)).await?;
    Ok(completed)
}

/// Lifts the account's halts whose time is over; how many.
///
/// # Errors
/// The database did not do it.
pub async fn lift_due_halts(conn: &mut PgConnection, account: &str, now: DateTime<Utc>) -> Result<u64> {
    let lifted = sql::query("DELETE FROM halts WHERE account = $1 AND lifts_at <= $2")
        .bind(account)
        .bind(now)
        .execute(&mut *conn)
        .await
        .map_err(Error::database("lifting halts that are over"))?;
    if lifted.rows_affected() > 0 {
        events::tasks_of(conn, account, Some(now)).await?;
    }
    Ok(lifted.rows_affected())
}

/// How many outcomes a running task has had, and how many of them failed.
#[derive(Clone, Debug, sqlx::FromRow)]
pub struct OutcomeCounts {
    /// The task.
    pub task_id: i64,
    /// When it started.
    pub started_at: Option<DateTime<Utc>>,
    /// Accepted and failed.
    pub outcomes: i64,
    /// Failed.
    pub failed: i64,
}

/// The codes by which the task's messages failed or are unknown, the most frequent first.
///
/// # Errors
/// The database did not do it.
pub async fn error_codes(conn: &mut PgConnection, task_id: i64) -> Result<Vec<(String, i64)>> {
    sql::query_as(
        "SELECT code, n::bigint FROM task_counts WHERE task_id = $1 AND kind = 15 AND code <> '' AND n > 0
         ORDER BY n DESC, code LIMIT $2",
    )
    .bind(task_id)
    .bind(CODES)
    .fetch_all(conn)
    .await
    .map_err(Error::database("reading the codes of failures"))
}

/// The outcomes of the account's running tasks.
///
/// # Errors
/// The database did not do it.
pub async fn outcome_counts(conn: &mut PgConnection, account: &str) -> Result<Vec<OutcomeCounts>> {
    sql::query_as(
        "SELECT t.id AS task_id, t.started_at, coalesce(sum(c.n), 0)::bigint AS outcomes,
                coalesce(sum(c.n) FILTER (WHERE c.kind = 9), 0)::bigint AS failed
         FROM tasks t JOIN task_counts c ON c.task_id = t.id AND c.kind IN (5, 9) AND c.code = ''
         WHERE t.account = $1 AND t.state = 2
         GROUP BY t.id",
    )
    .bind(account)
    .fetch_all(conn)
    .await
    .map_err(Error::database("counting outcomes"))
}

//! The small steps that keep tasks and halts true to the clock: completing, expiring, lifting.

use chrono::{DateTime, Utc};
use sqlx::PgConnection;

use crate::{Error, Result};

/// Expires the account's tasks whose campaign has; how many.
///
/// # Errors
/// The database did not do it.
pub async fn expire_tasks(conn: &mut PgConnection, account: &str, now: DateTime<Utc>) -> Result<u64> {
    let expired = sqlx::query(
        "UPDATE tasks SET state = 5, ended_at = $2, paused = false
         WHERE account = $1 AND state IN (1, 2) AND expires_at <= $2",
    )
    .bind(account)
    .bind(now)
    .execute(conn)
    .await
    .map_err(Error::database("expiring tasks"))?;
    Ok(expired.rows_affected())
}

/// Completes the account's tasks that have nothing left to send; their ids.
///
/// The counts are read after the row is locked: whoever adds a retry locks it as well and wakes the task again.
///
/// # Errors
/// The database did not do it.
pub async fn complete_tasks(conn: &mut PgConnection, account: &str, now: DateTime<Utc>) -> Result<Vec<i64>> {
    let candidates: Vec<i64> = sqlx::query_scalar(
        "SELECT id FROM tasks t
         WHERE account = $1 AND state = 2 AND cursor = total AND NOT paused
           AND NOT task_is_halted(id, account, sender, template)
           AND NOT EXISTS (SELECT FROM requests q WHERE q.task_id = t.id)
           AND NOT EXISTS (SELECT FROM retries r WHERE r.task_id = t.id)
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
    sqlx::query_scalar(
        "UPDATE tasks t SET state = 3, ended_at = $2
         WHERE id = ANY ($1) AND state = 2 AND cursor = total
           AND NOT EXISTS (SELECT FROM requests q WHERE q.task_id = t.id)
           AND NOT EXISTS (SELECT FROM retries r WHERE r.task_id = t.id)
         RETURNING id",
    )
    .bind(candidates)
    .bind(now)
    .fetch_all(conn)
    .await
    .map_err(Error::database("completing tasks"))
}

/// Lifts the account's halts whose time is over; how many.
///
/// # Errors
/// The database did not do it.
pub async fn lift_due_halts(conn: &mut PgConnection, account: &str, now: DateTime<Utc>) -> Result<u64> {
    let lifted = sqlx::query("DELETE FROM halts WHERE account = $1 AND lifts_at <= $2")
        .bind(account)
        .bind(now)
        .execute(conn)
        .await
        .map_err(Error::database("lifting halts that are over"))?;
    Ok(lifted.rows_affected())
}

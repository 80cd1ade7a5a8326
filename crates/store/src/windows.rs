//! Recipients whose own window is closed: they wait in `retries` until it opens.
//!
//! Written with the intent that came upon them (see [`crate::groups`]), so that the cursor passes nobody who is nowhere.

use chrono::{DateTime, Utc};
use sqlx::PgConnection;

use crate::{Error, Result, intents::Deferred, sql};

/// Puts off those who were taken from beyond the cursor: not tried yet, and still queued.
pub(crate) async fn put_off_fresh(conn: &mut PgConnection, rows: &[(i64, &Deferred)]) -> Result<()> {
    if rows.is_empty() {
        return Ok(());
    }
    // The cursor was moved in this transaction, so the task runs and is locked: it cannot complete meanwhile.
    sql::query(
        "INSERT INTO retries (task_id, no, due_at, attempt, batch_max, for_window)
         SELECT task_id, no, due_at, 0, $4, true
         FROM UNNEST($1::bigint[], $2::integer[], $3::timestamptz[]) AS i (task_id, no, due_at)",
    )
    .bind(rows.iter().map(|(task_id, _)| *task_id).collect::<Vec<_>>())
    .bind(rows.iter().map(|(_, row)| row.no).collect::<Vec<_>>())
    .bind(rows.iter().map(|(_, row)| row.opens_at).collect::<Vec<_>>())
    .bind(i16::MAX)
    .execute(conn)
    .await
    .map_err(Error::database("putting recipients off until their windows open"))?;
    Ok(())
}

/// Puts off those who were due: their attempts stay. A row that was written since it was read is left alone.
pub(crate) async fn put_off_due(
    conn: &mut PgConnection,
    rows: &[(i64, &Deferred)],
    now: DateTime<Utc>,
) -> Result<()> {
    if rows.is_empty() {
        return Ok(());
    }
    sql::query(
        "UPDATE retries r SET due_at = i.due_at, for_window = true
         FROM UNNEST($1::bigint[], $2::integer[], $3::timestamptz[], $4::smallint[])
              AS i (task_id, no, due_at, attempt)
         WHERE r.task_id = i.task_id AND r.no = i.no AND r.attempt = i.attempt AND r.due_at <= $5",
    )
    .bind(rows.iter().map(|(task_id, _)| *task_id).collect::<Vec<_>>())
    .bind(rows.iter().map(|(_, row)| row.no).collect::<Vec<_>>())
    .bind(rows.iter().map(|(_, row)| row.opens_at).collect::<Vec<_>>())
    .bind(rows.iter().map(|(_, row)| row.attempts_used).collect::<Vec<_>>())
    .bind(now)
    .execute(conn)
    .await
    .map_err(Error::database("putting retries off until windows open"))?;
    Ok(())
}

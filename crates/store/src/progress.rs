//! The counts of tasks: deltas appended by the transactions that move somebody, folded into one row a kind.
//!
//! No count is written otherwise. Reading takes folded and unfolded together in one statement (see `tasks`).

use chrono::{DateTime, Utc};
use model::counts::{Deltas, Kind};
use sqlx::PgConnection;

use crate::{Error, Result, sql};

/// Deltas folded in one step at the most.
const FOLD_ROWS: i64 = 20_000;

/// Appends the deltas, in the transaction of the moves that they count.
///
/// # Errors
/// The database did not do it.
pub async fn append(conn: &mut PgConnection, deltas: &Deltas) -> Result<()> {
    let rows: Vec<_> = deltas.iter().collect();
    if rows.is_empty() {
        return Ok(());
    }
    sql::query(
        "INSERT INTO progress (task_id, kind, code, delta)
         SELECT * FROM UNNEST($1::bigint[], $2::smallint[], $3::text[], $4::integer[])",
    )
    .bind(rows.iter().map(|row| row.0).collect::<Vec<_>>())
    .bind(rows.iter().map(|row| row.1 as i16).collect::<Vec<_>>())
    .bind(rows.iter().map(|row| row.2).collect::<Vec<_>>())
    .bind(rows.iter().map(|row| row.3).collect::<Vec<_>>())
    .execute(conn)
    .await
    .map_err(Error::database("appending progress"))?;
    Ok(())
}

/// What is also kept by the minute (see `timelines`).
const BY_MINUTE: [Kind; 5] = [Kind::Accepted, Kind::Sent, Kind::Delivered, Kind::Read, Kind::Failed];

/// Folds deltas into the counts, and into those of the minute that `now` lies in; whether there may be more.
///
/// Any node may run it at any time: a delta is deleted and added in one statement.
///
/// # Errors
/// The database did not do it.
pub async fn fold(conn: &mut PgConnection, now: DateTime<Utc>) -> Result<bool> {
    hooks::point!("fold.before");
    let folded: i64 = sql::query_scalar(
        "WITH taken AS (
            DELETE FROM progress WHERE ctid = ANY (ARRAY(
                SELECT ctid FROM progress LIMIT $1 FOR UPDATE SKIP LOCKED))
            RETURNING task_id, kind, code, delta
         ), sums AS (
            SELECT task_id, kind, code, sum(delta) AS n FROM taken
            GROUP BY task_id, kind, code ORDER BY task_id, kind, code
         ), folded AS (
            INSERT INTO task_counts AS c (task_id, kind, code, n)
            SELECT task_id, kind, code, n FROM sums
            ON CONFLICT (task_id, kind, code) DO UPDATE SET n = c.n + excluded.n
         ), in_minute AS (
            -- In the same order as above: two nodes that fold must not wait for each other.
            INSERT INTO task_minutes AS m (task_id, minute, kind, n)
            SELECT task_id, date_trunc('minute', $2::timestamptz, 'UTC'), kind, n FROM sums
            WHERE kind = ANY ($3) AND n <> 0
            ON CONFLICT (task_id, minute, kind) DO UPDATE SET n = m.n + excluded.n
         )
         SELECT count(*) FROM taken",
    )
    .bind(FOLD_ROWS)
    .bind(now)
    .bind(BY_MINUTE.map(|kind| kind as i16).to_vec())
    .fetch_one(conn)
    .await
    .map_err(Error::database("folding progress"))?;
    hooks::point!("fold.after", if folded > 0);
    Ok(folded == FOLD_ROWS)
}

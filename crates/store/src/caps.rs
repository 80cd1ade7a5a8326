//! Marketing messages that a person has had lately from any account, where `limits.max_per_recipient` says how many may be.
//!
//! A message counts by its task: tried again, it counts once, and not at all when it surely did not leave.

use std::collections::HashSet;

use chrono::{DateTime, TimeDelta, Utc};
use model::limits::{FrequencyCap, LIMIT_CAP_DAYS};
use sqlx::PgConnection;

use crate::{Error, Result, sql};

/// Rows forgotten in one statement at the most.
const FORGOTTEN: i64 = 10_000;

/// A phone and the task whose message it gets.
pub(crate) type Marketed = (i64, i64);

/// Counts a message to each of those who have not had as many as they may; their phones. A phone may stand in it once.
///
/// Their rows are locked in one order, for all accounts that write to the same persons.
pub(crate) async fn admit(
    conn: &mut PgConnection,
    cap: &FrequencyCap,
    who: &[Marketed],
    now: DateTime<Utc>,
) -> Result<HashSet<i64>> {
    let admitted: Vec<i64> = sql::query_scalar(
        "INSERT INTO marketing_days AS m (phone, task_ids, times, last_at)
         SELECT phone, ARRAY[task_id], ARRAY[$3], $3
         FROM UNNEST($1::bigint[], $2::bigint[]) AS i (phone, task_id) ORDER BY phone
         ON CONFLICT (phone) DO UPDATE
         SET task_ids = excluded.task_ids || ARRAY(
                SELECT e.task_id FROM UNNEST(m.task_ids, m.times) WITH ORDINALITY AS e (task_id, at, place)
                WHERE e.at > $4 AND e.task_id <> excluded.task_ids[1] ORDER BY e.place),
             times = excluded.times || ARRAY(
                SELECT e.at FROM UNNEST(m.task_ids, m.times) WITH ORDINALITY AS e (task_id, at, place)
                WHERE e.at > $4 AND e.task_id <> excluded.task_ids[1] ORDER BY e.place),
             last_at = excluded.last_at
         WHERE (SELECT count(*) FROM UNNEST(m.task_ids, m.times) AS e (task_id, at)
                WHERE e.at > $4 AND e.task_id <> excluded.task_ids[1]) < $5
         RETURNING phone",
    )
    .bind(who.iter().map(|(phone, _)| *phone).collect::<Vec<_>>())
    .bind(who.iter().map(|(_, task_id)| *task_id).collect::<Vec<_>>())
    .bind(now)
    .bind(cap.since(now))
    .bind(i64::from(cap.count))
    .fetch_all(conn)
    .await
    .map_err(Error::database("counting marketing messages"))?;
    Ok(admitted.into_iter().collect())
}

/// Takes back what surely did not leave. Best effort: a row that another account writes at this instant is passed over, so
/// that none waits for another; its message then counts until it is old.
pub(crate) async fn give_back(conn: &mut PgConnection, who: &[Marketed]) -> Result<()> {
    if who.is_empty() {
        return Ok(());
    }
    sql::query(
        "WITH free AS MATERIALIZED (
            SELECT phone FROM marketing_days WHERE phone = ANY ($1) ORDER BY phone FOR UPDATE SKIP LOCKED
         )
         UPDATE marketing_days m
         SET task_ids = ARRAY(
                SELECT e.task_id FROM UNNEST(m.task_ids, m.times) WITH ORDINALITY AS e (task_id, at, place)
                WHERE e.task_id <> i.task_id ORDER BY e.place),
             times = ARRAY(
                SELECT e.at FROM UNNEST(m.task_ids, m.times) WITH ORDINALITY AS e (task_id, at, place)
                WHERE e.task_id <> i.task_id ORDER BY e.place)
         FROM free JOIN UNNEST($1::bigint[], $2::bigint[]) AS i (phone, task_id) ON i.phone = free.phone
         WHERE m.phone = free.phone",
    )
    .bind(who.iter().map(|(phone, _)| *phone).collect::<Vec<_>>())
    .bind(who.iter().map(|(_, task_id)| *task_id).collect::<Vec<_>>())
    .execute(conn)
    .await
    .map_err(Error::database("taking back marketing messages"))?;
    Ok(())
}

/// Forgets persons whose last message no cap looks back to; whether there may be others.
///
/// # Errors
/// The database did not do it.
pub async fn forget(conn: &mut PgConnection, now: DateTime<Utc>) -> Result<bool> {
    let forgotten = sql::query(
        "DELETE FROM marketing_days WHERE ctid = ANY (ARRAY(
            SELECT ctid FROM marketing_days WHERE last_at <= $1 LIMIT $2 FOR UPDATE SKIP LOCKED))",
    )
    .bind(now - TimeDelta::days(i64::from(LIMIT_CAP_DAYS)))
    .bind(FORGOTTEN)
    .execute(conn)
    .await
    .map_err(Error::database("forgetting marketing messages"))?;
    Ok(forgotten.rows_affected() == FORGOTTEN.unsigned_abs())
}

//! What webhooks are to be told, written by the transaction in which it happens. So nothing is told that was rolled back, and
//! nothing is lost that was committed.
//!
//! Without a webhook in the configuration nothing is written: every function here returns at once. What becomes of the rows
//! stands in `event_batches`.

use std::sync::atomic::{AtomicBool, Ordering};

use chrono::{DateTime, Utc};
use model::status::MessageState;
use sqlx::PgConnection;

use crate::{Error, Result, sql};

/// A process has one configuration: either somebody is to be told, or nobody is.
static IS_ON: AtomicBool = AtomicBool::new(false);

/// From now on what happens is written down for webhooks. Every node of a database must have the same ones.
pub fn record_from_now_on() {
    IS_ON.store(true, Ordering::Relaxed);
}

pub(crate) fn is_on() -> bool {
    IS_ON.load(Ordering::Relaxed)
}

/// A message that has come to a state.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Moved<'a> {
    pub(crate) task_id: i64,
    pub(crate) no: i32,
    pub(crate) state: MessageState,
    pub(crate) code: Option<&'a str>,
    /// None: when it is numbered.
    pub(crate) at: Option<DateTime<Utc>>,
}

/// Writes what became of messages. Called after their rows were written: a later move of the same message then has a higher
/// number, because it had to wait for these rows.
pub(crate) async fn messages<'a>(
    conn: &mut PgConnection,
    moved: impl IntoIterator<Item = Moved<'a>>,
) -> Result<()> {
    if !is_on() {
        return Ok(());
    }
    let moved: Vec<Moved<'a>> = moved.into_iter().collect();
    if moved.is_empty() {
        return Ok(());
    }
    sql::query(
        "INSERT INTO event_outbox (account, task_id, no, state, code, at)
         SELECT t.account, i.task_id, i.no, i.state, i.code, i.at
         FROM UNNEST($1::bigint[], $2::integer[], $3::smallint[], $4::text[], $5::timestamptz[])
              WITH ORDINALITY AS i (task_id, no, state, code, at, place)
         JOIN tasks t ON t.id = i.task_id
         ORDER BY place",
    )
    .bind(moved.iter().map(|moved| moved.task_id).collect::<Vec<_>>())
    .bind(moved.iter().map(|moved| moved.no).collect::<Vec<_>>())
    .bind(moved.iter().map(|moved| moved.state as i16).collect::<Vec<_>>())
    .bind(moved.iter().map(|moved| moved.code).collect::<Vec<_>>())
    .bind(moved.iter().map(|moved| moved.at).collect::<Vec<_>>())
    .execute(conn)
    .await
    .map_err(Error::database("writing down what became of messages"))?;
    Ok(())
}

/// Writes the states that tasks have now. One that it has been told of already is told once.
pub(crate) async fn tasks(
    conn: &mut PgConnection,
    task_ids: &[i64],
    at: Option<DateTime<Utc>>,
) -> Result<()> {
    if !is_on() || task_ids.is_empty() {
        return Ok(());
    }
    sql::query(
        "INSERT INTO event_outbox (account, task_id, state, at)
         SELECT account, id,
                shown_task_state(state, paused, task_is_halted(id, account, sender, template)), $2
         FROM tasks WHERE id = ANY ($1) ORDER BY id",
    )
    .bind(task_ids)
    .bind(at)
    .execute(conn)
    .await
    .map_err(Error::database("writing down the states of tasks"))?;
    Ok(())
}

/// The same for all unfinished tasks of an account: a halt came or went, and may hold any of them.
pub(crate) async fn tasks_of(
    conn: &mut PgConnection,
    account: &str,
    at: Option<DateTime<Utc>>,
) -> Result<()> {
    if !is_on() {
        return Ok(());
    }
    let live: Vec<i64> = sql::query_scalar("SELECT id FROM tasks WHERE account = $1 AND state IN (1, 2)")
        .bind(account)
        .fetch_all(&mut *conn)
        .await
        .map_err(Error::database("reading the tasks that a halt may hold"))?;
    tasks(conn, &live, at).await
}

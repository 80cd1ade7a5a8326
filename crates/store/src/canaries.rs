//! Canaries: who of a task is sent to before the others, how they fare, and what was decided.
//!
//! The sample stands in `retries` from the moment at which its task begins; while nothing is decided no cursor moves (see
//! [`crate::groups`]), and later it passes over them. Who they are is a function of the task's row and stands nowhere.

use chrono::{DateTime, TimeDelta, Utc};
use model::{
    campaign::{Canary, Sample},
    counts::{Deltas, Kind},
    status::MessageState,
};
use sqlx::{FromRow, PgConnection, types::Json};

use crate::{Error, Result, progress, sql};

/// What was decided of a canary.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(i16)]
pub enum State {
    /// Nothing yet: nobody else is sent to.
    Trying = 1,
    /// The task goes on.
    Passed = 2,
    /// The task was halted; lifted, it goes on with everybody.
    Failed = 3,
}

impl State {
    const ALL: [Self; 3] = [Self::Trying, Self::Passed, Self::Failed];

    pub(crate) fn from_i16(number: i16) -> Option<Self> {
        Self::ALL.into_iter().find(|state| *state as i16 == number)
    }
}

/// The canary of a task that has begun.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Canaried {
    /// What was decided.
    pub state: State,
    /// How many are sent to first.
    pub recipients: i32,
    /// How many of them have failed for good.
    pub failed: i32,
    /// All of them were called: until when news of them is waited for.
    pub until: Option<DateTime<Utc>>,
}

/// The recipients whom a task's canary has taken from beyond its cursor, in order.
pub(crate) fn ahead(task_id: i64, total: i32, cursor: i32, size: i32) -> Vec<i32> {
    Sample::new(task_id, total, size).iter().filter(|no| *no > cursor).collect()
}

/// How many recipients nobody has taken: beyond the cursor, and not of the canary.
pub(crate) fn untaken(task_id: i64, total: i32, cursor: i32, size: i32) -> i32 {
    let sample = Sample::new(task_id, total, size);
    total - cursor - (sample.size() - sample.count_up_to(cursor))
}

#[derive(FromRow)]
struct BegunRow {
    id: i64,
    total: i32,
    canary: Json<Canary>,
}

/// Puts the samples of tasks before everybody else, in the transaction in which they begin to run; tasks without a canary
/// are left alone.
///
/// # Errors
/// The database did not do it.
pub async fn begin(conn: &mut PgConnection, task_ids: &[i64], now: DateTime<Utc>) -> Result<()> {
    let begun: Vec<BegunRow> = sql::query_as(
        "SELECT t.id, t.total, c.canary FROM tasks t JOIN campaigns c ON c.id = t.campaign_id
         WHERE t.id = ANY ($1) AND t.state = 2 AND t.canary_state IS NULL AND NOT t.hidden AND t.cursor = 0
           AND c.canary IS NOT NULL",
    )
    .bind(task_ids)
    .fetch_all(&mut *conn)
    .await
    .map_err(Error::database("looking for tasks with a canary"))?;
    let mut deltas = Deltas::default();
    for BegunRow { id, total, canary } in begun {
        let sample = canary.sample(id, total);
        sql::query(
            "WITH sampled AS (
                INSERT INTO retries (task_id, no, due_at, attempt, batch_max)
                SELECT $1, no, $3, 0, $4 FROM UNNEST($2::integer[]) AS i (no)
             )
             UPDATE tasks SET canary_state = $5, canary_size = $6 WHERE id = $1",
        )
        .bind(id)
        .bind(sample.iter().collect::<Vec<_>>())
        .bind(now)
        .bind(i16::MAX)
        .bind(State::Trying as i16)
        .bind(sample.size())
        .execute(&mut *conn)
        .await
        .map_err(Error::database("beginning a canary"))?;
        deltas.add(id, Kind::Waiting, sample.size());
    }
    progress::append(conn, &deltas).await
}

/// A canary of which nothing is decided.
#[derive(Clone, Debug)]
pub struct Pending {
    /// Its task.
    pub task_id: i64,
    /// The task takes nobody: it is paused, or a halt holds it.
    pub stands_still: bool,
    /// The rules.
    pub canary: Canary,
    /// Who is tried.
    pub sample: Sample,
    /// When all of them had been called, where that was noted.
    pub called_at: Option<DateTime<Utc>>,
    /// How many of them had failed when that was noted.
    pub failed: i32,
}

#[derive(FromRow)]
struct PendingRow {
    id: i64,
    total: i32,
    canary_size: i32,
    canary_called_at: Option<DateTime<Utc>>,
    canary_failed: i32,
    stands_still: bool,
    canary: Json<Canary>,
}

/// The account's canaries of which nothing is decided.
///
/// # Errors
/// The database did not do it.
pub async fn pending(conn: &mut PgConnection, account: &str) -> Result<Vec<Pending>> {
    let rows: Vec<PendingRow> = sql::query_as(
        "SELECT t.id, t.total, t.canary_size, t.canary_called_at, t.canary_failed, c.canary,
                t.paused OR task_is_halted(t.id, t.account, t.sender, t.template) AS stands_still
         FROM tasks t JOIN campaigns c ON c.id = t.campaign_id
         WHERE t.account = $1 AND t.canary_state = 1 AND t.state = 2 AND c.canary IS NOT NULL
         ORDER BY t.id",
    )
    .bind(account)
    .fetch_all(conn)
    .await
    .map_err(Error::database("looking for canaries"))?;
    let pending = |row: PendingRow| Pending {
        task_id: row.id,
        stands_still: row.stands_still,
        canary: row.canary.0,
        sample: Sample::new(row.id, row.total, row.canary_size),
        called_at: row.canary_called_at,
        failed: row.canary_failed,
    };
    Ok(rows.into_iter().map(pending).collect())
}

/// How some of a sample fare.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fared {
    /// Where they stand; none: they have not been called, or are being called for the first time.
    pub state: Option<MessageState>,
    /// Their last code.
    pub code: String,
    /// What the vendor said of one of them.
    pub reason: String,
    /// How many.
    pub n: i64,
}

/// How the sample of a task fares.
///
/// # Errors
/// The database did not do it, or a row says what cannot be.
pub async fn fared(conn: &mut PgConnection, task_id: i64, sample: &Sample) -> Result<Vec<Fared>> {
    let rows: Vec<(Option<i16>, String, String, i64)> = sql::query_as(
        "SELECT m.state, coalesce(m.code, ''), coalesce(min(m.reason), ''), count(*)
         FROM UNNEST($2::integer[]) AS i (no)
         LEFT JOIN LATERAL (SELECT state, code, reason FROM messages WHERE task_id = $1 AND no = i.no LIMIT 1) m
                ON true
         GROUP BY 1, 2",
    )
    .bind(task_id)
    .bind(sample.iter().collect::<Vec<_>>())
    .fetch_all(conn)
    .await
    .map_err(Error::database("reading how a canary fares"))?;
    let known = |state: i16| {
        MessageState::from_i16(state).ok_or_else(|| Error::contradiction("messages", "state", task_id, state))
    };
    rows.into_iter()
        .map(|(state, code, reason, n)| Ok(Fared { state: state.map(known).transpose()?, code, reason, n }))
        .collect()
}

/// Notes how a sample fares, for people and for the next look.
///
/// # Errors
/// The database did not do it.
pub async fn note(
    conn: &mut PgConnection,
    task_id: i64,
    called_at: Option<DateTime<Utc>>,
    failed: i32,
) -> Result<()> {
    sql::query(
        "UPDATE tasks SET canary_called_at = $2, canary_failed = $3 WHERE id = $1 AND canary_state = 1",
    )
    .bind(task_id)
    .bind(called_at)
    .bind(failed)
    .execute(conn)
    .await
    .map_err(Error::database("noting how a canary fares"))?;
    Ok(())
}

/// Decides a canary; false: the task was paused or has ended meanwhile, and nothing is decided.
///
/// # Errors
/// The database did not do it.
pub async fn decide(conn: &mut PgConnection, task_id: i64, state: State, failed: i32) -> Result<bool> {
    let decided = sql::query(
        "UPDATE tasks SET canary_state = $2, canary_failed = $3
         WHERE id = $1 AND canary_state = 1 AND state = 2 AND NOT paused",
    )
    .bind(task_id)
    .bind(state as i16)
    .bind(failed)
    .execute(conn)
    .await
    .map_err(Error::database("deciding a canary"))?;
    Ok(decided.rows_affected() == 1)
}

/// The canary as a task's row has it.
#[derive(FromRow)]
pub(crate) struct CanaryRow {
    canary_state: Option<i16>,
    canary_size: i32,
    canary_failed: i32,
    canary_called_at: Option<DateTime<Utc>>,
    canary: Option<Json<Canary>>,
}

impl CanaryRow {
    /// How many the sample has.
    pub(crate) fn size(&self) -> i32 {
        self.canary_size
    }

    /// The canary; none: the task has none, or has not begun.
    pub(crate) fn canaried(&self, task_id: i64) -> Result<Option<Canaried>> {
        let Some(number) = self.canary_state else { return Ok(None) };
        let state = State::from_i16(number)
            .ok_or_else(|| Error::contradiction("tasks", "canary_state", task_id, number))?;
        let wait = self.canary.as_ref().map_or(0, |canary| canary.wait_seconds);
        let until = self.canary_called_at.map(|at| at + TimeDelta::seconds(i64::from(wait)));
        let until = until.filter(|_| state == State::Trying);
        Ok(Some(Canaried { state, recipients: self.canary_size, failed: self.canary_failed, until }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_is_counted_twice_wherever_the_cursor_stands() {
        for (task_id, total, size) in [(1, 100, 10), (2, 100, 1), (3, 7, 100), (4711, 250, 249), (5, 1, 1)] {
            for cursor in 0..=total {
                let ahead = i32::try_from(ahead(task_id, total, cursor, size).len()).unwrap();
                assert_eq!(
                    untaken(task_id, total, cursor, size) + ahead + cursor,
                    total,
                    "{task_id} {cursor}"
                );
            }
            assert_eq!(untaken(task_id, total, 3, 0), total - 3);
        }
    }
}

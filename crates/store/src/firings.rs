//! Timed tasks: which are due, and the task of a recurring campaign's next firing.
//!
//! A recurring campaign has one scheduled task, which is its next firing; whoever starts it writes the one after it in the same
//! transaction. So each firing is a task of its own, once, and a campaign whose scheduled task was cancelled has ended, unless
//! whoever cancelled it wrote the one after it.

use chrono::{DateTime, Utc};
use model::campaign::Schedule;
use sqlx::{FromRow, PgConnection, types::Json};

use crate::{Error, Result, campaigns, canaries, events, sql};

/// A scheduled task whose time has come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Due {
    /// The task.
    pub task_id: i64,
    /// Its campaign.
    pub campaign_id: i64,
    /// When it was to start.
    pub starts_at: DateTime<Utc>,
    /// It starts paused: a person decides when it goes on.
    pub is_paused: bool,
    /// The campaign's schedule.
    pub schedule: Option<Schedule>,
}

#[derive(FromRow)]
struct DueRow {
    id: i64,
    campaign_id: i64,
    starts_at: DateTime<Utc>,
    paused: bool,
    schedule: Option<Json<Schedule>>,
}

/// The account's scheduled tasks whose time has come, locked, the longest due first.
///
/// # Errors
/// The database did not do it.
pub async fn due(conn: &mut PgConnection, account: &str, now: DateTime<Utc>, limit: i64) -> Result<Vec<Due>> {
    let rows: Vec<DueRow> = sql::query_as(
        "SELECT t.id, t.campaign_id, t.starts_at, t.paused, c.schedule
         FROM tasks t JOIN campaigns c ON c.id = t.campaign_id
         WHERE t.account = $1 AND t.state = 1 AND t.starts_at <= $2
         ORDER BY t.starts_at, t.id LIMIT $3 FOR NO KEY UPDATE OF t",
    )
    .bind(account)
    .bind(now)
    .bind(limit)
    .fetch_all(conn)
    .await
    .map_err(Error::database("looking for due tasks"))?;
    let due = |row: DueRow| Due {
        task_id: row.id,
        campaign_id: row.campaign_id,
        starts_at: row.starts_at,
        is_paused: row.paused,
        schedule: row.schedule.map(|json| json.0),
    };
    Ok(rows.into_iter().map(due).collect())
}

/// Starts scheduled tasks. A paused one starts paused.
///
/// # Errors
/// The database did not do it.
pub async fn start(conn: &mut PgConnection, task_ids: &[i64], now: DateTime<Utc>) -> Result<u64> {
    let started = sql::query("UPDATE tasks SET state = 2, started_at = $2 WHERE id = ANY ($1) AND state = 1")
        .bind(task_ids)
        .bind(now)
        .execute(&mut *conn)
        .await
        .map_err(Error::database("starting scheduled tasks"))?;
    canaries::begin(conn, task_ids, now).await?;
    events::tasks(conn, task_ids, Some(now)).await?;
    Ok(started.rows_affected())
}

/// The campaign's scheduled task, locked; none: nothing is scheduled (any more).
///
/// # Errors
/// The database did not do it.
pub async fn hold_scheduled(conn: &mut PgConnection, campaign_id: i64) -> Result<Option<i64>> {
    sql::query_scalar(
        "SELECT id FROM tasks WHERE campaign_id = $1 AND state = 1 AND NOT hidden ORDER BY id LIMIT 1 FOR UPDATE",
    )
    .bind(campaign_id)
    .fetch_optional(conn)
    .await
    .map_err(Error::database("looking for a campaign's scheduled task"))
}

/// Gives a scheduled task another time, unless none is given, and another end; false when it has started meanwhile.
///
/// # Errors
/// The database did not do it.
pub async fn reschedule(
    conn: &mut PgConnection,
    task_id: i64,
    starts_at: Option<DateTime<Utc>>,
    expires_at: Option<DateTime<Utc>>,
) -> Result<bool> {
    let rows = sql::query(
        "UPDATE tasks SET starts_at = COALESCE($2, starts_at), expires_at = $3 WHERE id = $1 AND state = 1",
    )
    .bind(task_id)
    .bind(starts_at)
    .bind(expires_at)
    .execute(conn)
    .await
    .map_err(Error::database("giving a scheduled task another time"))?
    .rows_affected();
    Ok(rows == 1)
}

/// Writes the task of a campaign's next firing; its id. None: the audience cannot be sent to any more.
///
/// # Errors
/// The database did not do it.
pub async fn schedule(
    conn: &mut PgConnection,
    campaign_id: i64,
    starts_at: DateTime<Utc>,
    now: DateTime<Utc>,
) -> Result<Option<i64>> {
    let audience_id: i64 = sql::query_scalar("SELECT audience_id FROM campaigns WHERE id = $1")
        .bind(campaign_id)
        .fetch_one(&mut *conn)
        .await
        .map_err(Error::database("reading a campaign's audience"))?;
    if campaigns::hold_audience(conn, audience_id).await?.is_some() {
        return Ok(None);
    }
    let task_id: Option<i64> = sql::query_scalar(
        "INSERT INTO tasks (campaign_id, account, sender, template, audience_id, state, total, starts_at,
                            expires_at, created_at)
         SELECT c.id, c.account, c.sender, c.template, c.audience_id, 1, a.rows_accepted::integer, $2,
                c.expires_at, $3
         FROM campaigns c JOIN audiences a ON a.id = c.audience_id
         WHERE c.id = $1 RETURNING id",
    )
    .bind(campaign_id)
    .bind(starts_at)
    .bind(now)
    .fetch_optional(&mut *conn)
    .await
    .map_err(Error::database("writing the next firing of a campaign"))?;
    events::tasks(conn, task_id.as_slice(), Some(now)).await?;
    Ok(task_id)
}

//! The book of the nightly audit: who does it, which tasks it still has to look at, and what it found.
//!
//! One node does a night's audit. When it dies, another one goes on where it was; nothing is audited twice in a night.

use chrono::{DateTime, NaiveDate, TimeDelta, Utc};
use sqlx::{FromRow, PgConnection};

use crate::{Error, Result, audit::TaskAudit, sql};
use uuid::Uuid;

/// Whoever has not recorded anything for so long has died: longer than the largest task takes.
const SILENCE_SECONDS: f64 = 1_800.0;
/// A task's rows still change for so long after its end: reports come late.
const SETTLES_DAYS: i32 = 7;
/// What has settled is looked at again this often.
const AGAIN_DAYS: i64 = 30;
/// Nights that are remembered.
const REMEMBERED_DAYS: i64 = 400;

/// The right to do a night's audit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromRow)]
pub struct Night {
    night: NaiveDate,
    node: Uuid,
    /// When it was first begun.
    began_at: DateTime<Utc>,
}

/// The last audit that came to its end, and what is wrong by now.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromRow)]
pub struct Last {
    /// When it ended; none: no audit has.
    pub finished_at: Option<DateTime<Utc>>,
    /// Tasks that it looked at.
    pub tasks: Option<i32>,
    /// Tasks whose rows and counts did not agree when they were last looked at.
    pub wrong: i64,
}

/// Takes a night's audit, unless it has been done or another node does it.
///
/// # Errors
/// The database did not do it.
pub async fn begin(
    conn: &mut PgConnection,
    night: NaiveDate,
    node: Uuid,
    now: DateTime<Utc>,
) -> Result<Option<Night>> {
    sql::query_as(
        "WITH forgotten AS (
            DELETE FROM audits WHERE night < $5
         )
         INSERT INTO audits AS a (night, node, began_at, alive_at) VALUES ($1, $2, $3, clock_timestamp())
         ON CONFLICT (night) DO UPDATE SET node = excluded.node, alive_at = excluded.alive_at
         WHERE a.finished_at IS NULL
           AND (a.node = excluded.node OR a.alive_at < clock_timestamp() - make_interval(secs => $4))
         RETURNING night, node, began_at",
    )
    .bind(night)
    .bind(node)
    .bind(now)
    .bind(SILENCE_SECONDS)
    .bind(night - TimeDelta::days(REMEMBERED_DAYS))
    .fetch_optional(conn)
    .await
    .map_err(Error::database("beginning the nightly audit"))
}

/// The next tasks beyond `after` that the night still has to look at: those that may have changed since they were last
/// looked at, those of which something was wrong, and those that nobody has looked at for long.
///
/// # Errors
/// The database did not do it.
pub async fn due(conn: &mut PgConnection, night: &Night, after: i64, limit: i64) -> Result<Vec<i64>> {
    sql::query_scalar(
        "SELECT t.id FROM tasks t LEFT JOIN task_audits a ON a.task_id = t.id
         WHERE t.id > $1 AND t.details_removed_at IS NULL
           AND (a.audited_at IS NULL
                OR (a.audited_at < $2
                    AND (t.state IN (1, 2) OR a.findings <> '{}'
                         OR t.ended_at > a.audited_at - make_interval(days => $3)
                         OR a.audited_at < $4)))
         ORDER BY t.id LIMIT $5",
    )
    .bind(after)
    .bind(night.began_at)
    .bind(SETTLES_DAYS)
    .bind(night.began_at - TimeDelta::days(AGAIN_DAYS))
    .bind(limit)
    .fetch_all(conn)
    .await
    .map_err(Error::database("looking for tasks to audit"))
}

/// Notes what was found. False: another node has taken the night over; leave it alone.
///
/// # Errors
/// The database did not do it.
pub async fn record(
    conn: &mut PgConnection,
    night: &Night,
    audit: &TaskAudit,
    now: DateTime<Utc>,
) -> Result<bool> {
    let recorded = sql::query(
        "WITH ours AS (
            UPDATE audits SET alive_at = clock_timestamp(), tasks = tasks + 1,
                              wrong = wrong + (cardinality($5::text[]) > 0)::integer
            WHERE night = $1 AND node = $2 AND finished_at IS NULL
            RETURNING night
         )
         INSERT INTO task_audits (task_id, audited_at, findings) SELECT $3, $4, $5 FROM ours
         ON CONFLICT (task_id) DO UPDATE SET audited_at = excluded.audited_at, findings = excluded.findings",
    )
    .bind(night.night)
    .bind(night.node)
    .bind(audit.task_id)
    .bind(now)
    .bind(&audit.findings)
    .execute(conn)
    .await
    .map_err(Error::database("noting what the audit found"))?;
    Ok(recorded.rows_affected() == 1)
}

/// Says that the night's audit is done.
///
/// # Errors
/// The database did not do it.
pub async fn finish(conn: &mut PgConnection, night: &Night, now: DateTime<Utc>) -> Result<()> {
    sql::query("UPDATE audits SET finished_at = $3 WHERE night = $1 AND node = $2 AND finished_at IS NULL")
        .bind(night.night)
        .bind(night.node)
        .bind(now)
        .execute(conn)
        .await
        .map_err(Error::database("ending the nightly audit"))?;
    Ok(())
}

/// The last audit, for those who watch.
///
/// # Errors
/// The database did not do it.
pub async fn last(conn: &mut PgConnection) -> Result<Last> {
    sql::query_as(
        "SELECT l.finished_at, l.tasks, w.wrong
         FROM (SELECT count(*) AS wrong FROM task_audits WHERE findings <> '{}') w
         LEFT JOIN (SELECT finished_at, tasks FROM audits WHERE finished_at IS NOT NULL
                    ORDER BY night DESC LIMIT 1) l ON true",
    )
    .fetch_one(conn)
    .await
    .map_err(Error::database("reading the last audit"))
}

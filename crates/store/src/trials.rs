//! Trial sends: a campaign's message to a few named numbers, with the values of one of its recipients.
//!
//! A trial is a hidden task with a hidden audience of its own, so it goes the way of every message: intents, pacing,
//! suppression, reports, audit.

use chrono::{DateTime, Utc};
use model::{Phone, task::Phase};
use sqlx::PgConnection;

use crate::{Error, Result, events, recipients, sql};

/// Starts a trial in the caller's transaction; its task. None: the campaign's audience has no recipient of that number.
///
/// # Errors
/// The database did not do it.
pub async fn start(
    conn: &mut PgConnection,
    campaign_id: i64,
    row: i32,
    to: &[Phone],
    now: DateTime<Utc>,
) -> Result<Option<i64>> {
    let Some(audience_id) = write_audience(conn, campaign_id, row, to, now).await? else {
        return Ok(None);
    };
    let task_id: i64 = sql::query_scalar(
        "INSERT INTO tasks (campaign_id, account, sender, template, audience_id, state, hidden, total, starts_at,
                            started_at, created_at)
         SELECT id, account, sender, template, $2, $3, true, $4, $5, $5, $5 FROM campaigns WHERE id = $1
         RETURNING id",
    )
    .bind(campaign_id)
    .bind(audience_id)
    .bind(Phase::Running as i16)
    .bind(i32::try_from(to.len()).unwrap_or(i32::MAX))
    .bind(now)
    .fetch_one(&mut *conn)
    .await
    .map_err(Error::database("starting a trial send"))?;
    events::tasks(conn, &[task_id], Some(now)).await?;
    Ok(Some(task_id))
}

/// Writes the hidden audience: each number once, with the row's values.
async fn write_audience(
    conn: &mut PgConnection,
    campaign_id: i64,
    row: i32,
    to: &[Phone],
    now: DateTime<Utc>,
) -> Result<Option<i64>> {
    let vars: Option<Vec<String>> = sql::query_scalar(
        "SELECT r.vars FROM campaigns c JOIN recipients r ON r.audience_id = c.audience_id AND r.no = $2
         WHERE c.id = $1",
    )
    .bind(campaign_id)
    .bind(row)
    .fetch_optional(&mut *conn)
    .await
    .map_err(Error::database("reading the row of a trial send"))?;
    let Some(vars) = vars else { return Ok(None) };
    let audience_id: i64 = sql::query_scalar(
        "INSERT INTO audiences (name, status, hidden, phone_column, columns, rows_read, rows_accepted, heartbeat_at,
                                created_at)
         SELECT 'Trial of campaign ' || c.id, 2, true, a.phone_column, a.columns, $2, $2, $3, $3
         FROM campaigns c JOIN audiences a ON a.id = c.audience_id
         WHERE c.id = $1 RETURNING id",
    )
    .bind(campaign_id)
    .bind(i64::try_from(to.len()).unwrap_or(i64::MAX))
    .bind(now)
    .fetch_one(&mut *conn)
    .await
    .map_err(Error::database("writing the audience of a trial send"))?;
    recipients::write_few(conn, audience_id, to, &vars).await?;
    Ok(Some(audience_id))
}

//! Confirmations of opt-outs: a text to those who asked for nothing more, from the number that they wrote to.
//!
//! They go the way of every message, as a hidden task with a hidden audience under a campaign that is in no list: so each is
//! sent once, paced, reported on and audited. Written in the transaction that lists the numbers, so that neither is without
//! the other.

use chrono::{DateTime, TimeDelta, Utc};
use model::{
    Phone,
    campaign::{CampaignState, Category, OnUnknown, Priority},
    task::Phase,
};
use serde_json::{Value, json};
use sqlx::PgConnection;

use crate::{Error, Result, events, recipients, sql};

/// Later than this a confirmation is of no use, and WhatsApp takes no free text any more.
const USEFUL: TimeDelta = TimeDelta::hours(23);
const MAX_ATTEMPTS: i16 = 5;

/// Sends the text to these numbers, in the caller's transaction; the task.
///
/// # Errors
/// The database did not do it.
pub async fn start(
    conn: &mut PgConnection,
    account: &str,
    sender: &str,
    text: &str,
    to: &[Phone],
    now: DateTime<Utc>,
) -> Result<i64> {
    let audience_id = write_audience(conn, to, now).await?;
    let message = json!({"type": "text", "text": {"body": text}});
    let campaign_id = campaign(conn, account, sender, &message, audience_id, now).await?;
    let task_id: i64 = sql::query_scalar(
        "INSERT INTO tasks (campaign_id, account, sender, audience_id, state, hidden, total, starts_at, started_at,
                            created_at, expires_at)
         VALUES ($1, $2, $3, $4, $5, true, $6, $7, $7, $7, $8) RETURNING id",
    )
    .bind(campaign_id)
    .bind(account)
    .bind(sender)
    .bind(audience_id)
    .bind(Phase::Running as i16)
    .bind(i32::try_from(to.len()).unwrap_or(i32::MAX))
    .bind(now)
    .bind(now + USEFUL)
    .fetch_one(&mut *conn)
    .await
    .map_err(Error::database("starting a confirmation"))?;
    events::tasks(conn, &[task_id], Some(now)).await?;
    Ok(task_id)
}

async fn write_audience(conn: &mut PgConnection, to: &[Phone], now: DateTime<Utc>) -> Result<i64> {
    let audience_id: i64 = sql::query_scalar(
        "INSERT INTO audiences (name, status, hidden, columns, rows_read, rows_accepted, heartbeat_at, created_at)
         VALUES ('Opted out', 2, true, '{}', $1, $1, $2, $2) RETURNING id",
    )
    .bind(i64::try_from(to.len()).unwrap_or(i64::MAX))
    .bind(now)
    .fetch_one(&mut *conn)
    .await
    .map_err(Error::database("writing the audience of a confirmation"))?;
    recipients::write_few(conn, audience_id, to, &[]).await?;
    Ok(audience_id)
}

/// The campaign of this sender and text, made when there is none. Only the account's owner asks, so it is made once.
async fn campaign(
    conn: &mut PgConnection,
    account: &str,
    sender: &str,
    message: &Value,
    audience_id: i64,
    now: DateTime<Utc>,
) -> Result<i64> {
    let known: Option<i64> = sql::query_scalar(
        "SELECT id FROM campaigns WHERE hidden AND account = $1 AND sender = $2 AND message = $3
         ORDER BY id DESC LIMIT 1",
    )
    .bind(account)
    .bind(sender)
    .bind(message)
    .fetch_optional(&mut *conn)
    .await
    .map_err(Error::database("looking up the campaign of confirmations"))?;
    if let Some(id) = known {
        return Ok(id);
    }
    // Utility: an opt-out withholds marketing.
    sql::query_scalar(
        "INSERT INTO campaigns (name, state, hidden, account, sender, audience_id, message, category, priority,
                                max_attempts, on_unknown, created_at)
         VALUES ('Confirmations of opt-outs', $1, true, $2, $3, $4, $5, $6, $7, $8, $9, $10) RETURNING id",
    )
    .bind(CampaignState::Launched as i16)
    .bind(account)
    .bind(sender)
    .bind(audience_id)
    .bind(message)
    .bind(Category::Utility as i16)
    .bind(Priority::High as i16)
    .bind(MAX_ATTEMPTS)
    .bind(OnUnknown::Hold as i16)
    .bind(now)
    .fetch_one(conn)
    .await
    .map_err(Error::database("writing the campaign of confirmations"))
}

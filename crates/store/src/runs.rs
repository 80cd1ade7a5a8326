//! What the dispatcher reads: the tasks that may send now, and who of them is due to be tried again.

use chrono::{DateTime, TimeDelta, Utc};
use model::{Phone, campaign::SendingWindow};
use sqlx::{FromRow, PgConnection, types::Json};

use crate::{Error, Result, sql};

/// A task that may send now.
#[derive(Clone, Debug, FromRow)]
pub struct Run {
    /// The task.
    pub task_id: i64,
    /// Its campaign.
    pub campaign_id: i64,
    /// The sender.
    pub sender: String,
    /// `name/language` of a template message.
    pub template: Option<String>,
    /// The audience.
    pub audience_id: i64,
    /// The audience's phone column.
    pub phone_column: Option<String>,
    /// The audience's other columns.
    pub columns: Vec<String>,
    /// Recipients in all.
    pub total: i32,
    /// Recipients that have been taken.
    pub cursor: i32,
    /// The canonical message.
    pub message: serde_json::Value,
    /// The campaign's category as a number.
    pub category: i16,
    /// The campaign's priority as a number.
    pub priority: i16,
    /// The campaign's `max_attempts`.
    pub max_attempts: i16,
    /// The campaign's own rate.
    pub messages_per_second: Option<f64>,
    /// Of these, so many are sent to first, as a canary; none: 0.
    pub canary_size: i32,
    /// Only who is due may be taken: nothing is decided of the canary.
    pub takes_due_alone: bool,
    /// At which hours.
    pub sending_window: Option<Json<SendingWindow>>,
    /// Somebody of it is due to be tried again.
    pub has_due: bool,
    /// A few numbers that somebody named, not an audience.
    pub is_trial: bool,
}

/// The account's tasks that may send now.
///
/// # Errors
/// The database did not do it.
pub async fn runnable(conn: &mut PgConnection, account: &str, now: DateTime<Utc>) -> Result<Vec<Run>> {
    sql::query_as(
        "SELECT t.id AS task_id, t.campaign_id, t.sender, t.template, t.audience_id, a.phone_column, a.columns,
                t.total, t.cursor, t.canary_size, t.canary_state IS NOT DISTINCT FROM 1 AS takes_due_alone, c.message, c.category, c.priority, c.max_attempts, c.messages_per_second,
                -- a trial goes at once
                CASE WHEN NOT t.hidden THEN c.sending_window END AS sending_window,
                EXISTS (SELECT FROM retries r WHERE r.task_id = t.id AND r.due_at <= $2) AS has_due,
                t.hidden AS is_trial
         FROM tasks t
         JOIN campaigns c ON c.id = t.campaign_id
         JOIN audiences a ON a.id = t.audience_id
         WHERE t.account = $1 AND t.state = 2 AND NOT t.paused
           AND (t.expires_at IS NULL OR t.expires_at > $2)
           AND NOT task_is_halted(t.id, t.account, t.sender, t.template)
         ORDER BY t.id",
    )
    .bind(account)
    .bind(now)
    .fetch_all(conn)
    .await
    .map_err(Error::database("reading the tasks that may send"))
}

/// A task that ended this long ago may have sent in the last seconds, by whichever clock.
const LATELY_SECONDS: i64 = 60;

/// The account's senders that may have sent in the last seconds, each with the task that did; none: several did.
///
/// # Errors
/// The database did not do it.
pub async fn busy_senders(
    conn: &mut PgConnection,
    account: &str,
    now: DateTime<Utc>,
) -> Result<Vec<(String, Option<i64>)>> {
    sql::query_as(
        "SELECT sender, CASE WHEN count(*) = 1 THEN min(id) END FROM tasks
         WHERE account = $1 AND started_at IS NOT NULL AND cursor > 0 AND (state = 2 OR ended_at > $2)
         GROUP BY sender",
    )
    .bind(account)
    .bind(now - TimeDelta::seconds(LATELY_SECONDS))
    .fetch_all(conn)
    .await
    .map_err(Error::database("looking which senders sent lately"))
}

/// Somebody who is due to be tried again.
#[derive(Clone, Debug)]
pub struct Due {
    /// The number in the audience.
    pub no: i32,
    /// Since when.
    pub due_at: DateTime<Utc>,
    /// Whom to.
    pub phone: Phone,
    /// The row's values.
    pub vars: Vec<String>,
    /// Attempts used up.
    pub attempts_used: i16,
    /// The largest batch it may travel in.
    pub batch_max: i16,
    /// The last code; none when it was not tried yet.
    pub code: Option<String>,
}

/// number, since when, phone, vars, attempts used, largest batch, was tried, last code
type DueRow = (i32, DateTime<Utc>, i64, Vec<String>, i16, i16, bool, Option<String>);

/// Where a page of those who are due ended: since when the last one is due, and its number.
pub type After = (DateTime<Utc>, i32);

/// Before everybody who is due.
pub const FIRST: After = (DateTime::UNIX_EPOCH, 0);

/// A page of those of a task who are due, the longest waiting first, beyond `after`.
///
/// # Errors
/// The database did not do it, or a row says what cannot be.
pub async fn due(
    conn: &mut PgConnection,
    task_id: i64,
    now: DateTime<Utc>,
    after: After,
    limit: i64,
) -> Result<Vec<Due>> {
    let rows: Vec<DueRow> = sql::query_as(
        "SELECT r.no, r.due_at, p.phone, p.vars, r.attempt, r.batch_max, m.no IS NOT NULL, m.code
         FROM retries r
         JOIN tasks t ON t.id = r.task_id
         JOIN recipients p ON p.audience_id = t.audience_id AND p.no = r.no
         LEFT JOIN messages m ON m.task_id = r.task_id AND m.no = r.no
         WHERE r.task_id = $1 AND r.due_at <= $2 AND (r.due_at, r.no) > ($3, $4)
         ORDER BY r.due_at, r.no LIMIT $5",
    )
    .bind(task_id)
    .bind(now)
    .bind(after.0)
    .bind(after.1)
    .bind(limit)
    .fetch_all(conn)
    .await
    .map_err(Error::database("reading who is due"))?;
    rows.into_iter()
        .map(|(no, due_at, digits, vars, attempts_used, batch_max, was_tried, code)| {
            let phone = Phone::from_digits(digits.cast_unsigned())
                .ok_or_else(|| Error::contradiction("recipients", "phone", no, "no phone number"))?;
            let code = was_tried.then(|| code.unwrap_or_default());
            Ok(Due { no, due_at, phone, vars, attempts_used, batch_max, code })
        })
        .collect()
}

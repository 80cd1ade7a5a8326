//! Campaigns: what to send to whom and when. A draft may be changed and deleted; a launched one has a task.

use chrono::{DateTime, Utc};
use model::campaign::{CampaignState, Canary, Category, OnUnknown, Priority, Schedule, SendingWindow};
use serde_json::Value;
use sqlx::{FromRow, PgConnection, types::Json};

use crate::{Error, Result, sql};

/// A campaign's definition, checked by the caller.
#[derive(Clone, Debug, PartialEq)]
pub struct Definition {
    /// A name for people.
    pub name: String,
    /// The account that sends.
    pub account: String,
    /// The sender, exactly as the configuration writes it.
    pub sender: String,
    /// Whom to.
    pub audience_id: i64,
    /// The message in canonical form.
    pub message: Value,
    /// `name/language` of a template message.
    pub template: Option<String>,
    /// What the message is for.
    pub category: Category,
    /// Which of an account's tasks go first.
    pub priority: Priority,
    /// How often a message is tried.
    pub max_attempts: i16,
    /// The most messages a second.
    pub messages_per_second: Option<f64>,
    /// What is done with messages that may have reached the vendor.
    pub on_unknown: OnUnknown,
    /// When to send.
    pub schedule: Option<Schedule>,
    /// At which hours.
    pub sending_window: Option<SendingWindow>,
    /// A trial first.
    pub canary: Option<Canary>,
    /// From when on nobody is sent to.
    pub expires_at: Option<DateTime<Utc>>,
}

/// A campaign.
#[derive(Clone, Debug, PartialEq)]
pub struct Campaign {
    /// Its id.
    pub id: i64,
    /// Whether it has been launched.
    pub state: CampaignState,
    /// What was asked for.
    pub definition: Definition,
    /// When it was created.
    pub created_at: DateTime<Utc>,
    /// Its latest task.
    pub task_id: Option<i64>,
    /// When its scheduled task starts; none: none is scheduled.
    pub next_run_at: Option<DateTime<Utc>>,
}

#[derive(FromRow)]
struct CampaignRow {
    id: i64,
    name: String,
    state: i16,
    account: String,
    sender: String,
    audience_id: i64,
    message: Value,
    template: Option<String>,
    category: i16,
    priority: i16,
    max_attempts: i16,
    messages_per_second: Option<f64>,
    on_unknown: i16,
    schedule: Option<Json<Schedule>>,
    sending_window: Option<Json<SendingWindow>>,
    canary: Option<Json<Canary>>,
    expires_at: Option<DateTime<Utc>>,
    created_at: DateTime<Utc>,
    task_id: Option<i64>,
    next_run_at: Option<DateTime<Utc>>,
}

impl TryFrom<CampaignRow> for Campaign {
    type Error = Error;

    fn try_from(row: CampaignRow) -> Result<Self> {
        let wrong = |column, found: i16| Error::contradiction("campaigns", column, row.id, found);
        Ok(Self {
            id: row.id,
            state: CampaignState::from_i16(row.state).ok_or_else(|| wrong("state", row.state))?,
            definition: Definition {
                category: Category::from_i16(row.category).ok_or_else(|| wrong("category", row.category))?,
                priority: Priority::from_i16(row.priority).ok_or_else(|| wrong("priority", row.priority))?,
                on_unknown: OnUnknown::from_i16(row.on_unknown)
                    .ok_or_else(|| wrong("on_unknown", row.on_unknown))?,
                name: row.name,
                account: row.account,
                sender: row.sender,
                audience_id: row.audience_id,
                message: row.message,
                template: row.template,
                max_attempts: row.max_attempts,
                messages_per_second: row.messages_per_second,
                schedule: row.schedule.map(|json| json.0),
                sending_window: row.sending_window.map(|json| json.0),
                canary: row.canary.map(|json| json.0),
                expires_at: row.expires_at,
            },
            created_at: row.created_at,
            task_id: row.task_id,
            next_run_at: row.next_run_at,
        })
    }
}

/// Writes a draft; its id.
///
/// # Errors
/// The database did not do it.
pub async fn create(conn: &mut PgConnection, definition: &Definition, now: DateTime<Utc>) -> Result<i64> {
    sql::query_scalar(
        "INSERT INTO campaigns (state, name, account, sender, audience_id, message, template, category,
                                priority, max_attempts, messages_per_second, on_unknown, schedule,
                                sending_window, canary, expires_at, created_at)
         VALUES (1, $1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16)
         RETURNING id",
    )
    .bind(&definition.name)
    .bind(&definition.account)
    .bind(&definition.sender)
    .bind(definition.audience_id)
    .bind(&definition.message)
    .bind(&definition.template)
    .bind(definition.category as i16)
    .bind(definition.priority as i16)
    .bind(definition.max_attempts)
    .bind(definition.messages_per_second)
    .bind(definition.on_unknown as i16)
    .bind(definition.schedule.as_ref().map(Json))
    .bind(definition.sending_window.as_ref().map(Json))
    .bind(definition.canary.as_ref().map(Json))
    .bind(definition.expires_at)
    .bind(now)
    .fetch_one(conn)
    .await
    .map_err(Error::database("writing a campaign"))
}

/// Writes a draft anew; false when it is no draft any more.
///
/// # Errors
/// The database did not do it.
pub async fn update_draft(conn: &mut PgConnection, id: i64, definition: &Definition) -> Result<bool> {
    let rows = sql::query(
        "UPDATE campaigns
         SET name = $2, account = $3, sender = $4, audience_id = $5, message = $6, template = $7,
             category = $8, priority = $9, max_attempts = $10, messages_per_second = $11, on_unknown = $12,
             schedule = $13, sending_window = $14, canary = $15, expires_at = $16
         WHERE id = $1 AND state = 1",
    )
    .bind(id)
    .bind(&definition.name)
    .bind(&definition.account)
    .bind(&definition.sender)
    .bind(definition.audience_id)
    .bind(&definition.message)
    .bind(&definition.template)
    .bind(definition.category as i16)
    .bind(definition.priority as i16)
    .bind(definition.max_attempts)
    .bind(definition.messages_per_second)
    .bind(definition.on_unknown as i16)
    .bind(definition.schedule.as_ref().map(Json))
    .bind(definition.sending_window.as_ref().map(Json))
    .bind(definition.canary.as_ref().map(Json))
    .bind(definition.expires_at)
    .execute(conn)
    .await
    .map_err(Error::database("changing a draft"))?
    .rows_affected();
    Ok(rows == 1)
}

/// Writes anew what may be changed of a launched campaign while its task is scheduled.
///
/// # Errors
/// The database did not do it.
pub async fn update_timing(conn: &mut PgConnection, id: i64, definition: &Definition) -> Result<bool> {
    let rows = sql::query(
        "UPDATE campaigns SET priority = $2, messages_per_second = $3, schedule = $4, sending_window = $5, expires_at = $6
         WHERE id = $1 AND state = 2",
    )
    .bind(id)
    .bind(definition.priority as i16)
    .bind(definition.messages_per_second)
    .bind(definition.schedule.as_ref().map(Json))
    .bind(definition.sending_window.as_ref().map(Json))
    .bind(definition.expires_at)
    .execute(conn)
    .await
    .map_err(Error::database("changing a launched campaign"))?
    .rows_affected();
    Ok(rows == 1)
}

/// Gives a draft the category of its template, where that is known.
///
/// # Errors
/// The database did not do it.
pub async fn adopt_category(conn: &mut PgConnection, id: i64) -> Result<()> {
    sql::query(
        "UPDATE campaigns c SET category = t.category FROM templates t
         WHERE c.id = $1 AND c.state = 1 AND t.account = c.account AND t.name || '/' || t.language = c.template
           AND t.category <> c.category",
    )
    .bind(id)
    .execute(conn)
    .await
    .map_err(Error::database("giving a campaign its template's category"))?;
    Ok(())
}

/// Deletes a draft; false when it is none (any more), or has had trial sends, whose results are kept.
///
/// # Errors
/// The database did not do it.
pub async fn delete_draft(conn: &mut PgConnection, id: i64) -> Result<bool> {
    let rows = sql::query(
        "DELETE FROM campaigns c WHERE id = $1 AND state = 1
           AND NOT EXISTS (SELECT FROM tasks t WHERE t.campaign_id = c.id)",
    )
    .bind(id)
    .execute(conn)
    .await
    .map_err(Error::database("deleting a draft"))?
    .rows_affected();
    Ok(rows == 1)
}

/// Why an audience cannot be sent to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unusable {
    /// There is none of this id.
    Missing,
    /// Its rows are being read.
    Importing,
    /// Its import failed.
    Failed,
    /// It has no recipients.
    Empty,
}

/// Keeps an audience from being deleted until the transaction ends; why it cannot be sent to, where it cannot.
///
/// # Errors
/// The database did not do it.
pub async fn hold_audience(conn: &mut PgConnection, id: i64) -> Result<Option<Unusable>> {
    let row: Option<(i16, i64)> =
        sql::query_as("SELECT status, rows_accepted FROM audiences WHERE id = $1 FOR SHARE")
            .bind(id)
            .fetch_optional(conn)
            .await
            .map_err(Error::database("holding an audience"))?;
    Ok(match row {
        Some((1, _)) => Some(Unusable::Importing),
        Some((2, 0)) => Some(Unusable::Empty),
        Some((2, _)) => None,
        Some((3, _)) => Some(Unusable::Failed),
        // Any other number is that of a deleted one.
        Some(_) | None => Some(Unusable::Missing),
    })
}

/// Locks a campaign until the transaction ends, so that two launches (or a launch and a change) cannot cross;
/// false when there is none.
///
/// # Errors
/// The database did not do it.
pub async fn lock(conn: &mut PgConnection, id: i64) -> Result<bool> {
    let row: Option<i64> = sql::query_scalar("SELECT id FROM campaigns WHERE id = $1 FOR NO KEY UPDATE")
        .bind(id)
        .fetch_optional(conn)
        .await
        .map_err(Error::database("locking a campaign"))?;
    Ok(row.is_some())
}

macro_rules! select_campaigns {
    ($rest:literal) => {
        concat!(
            "SELECT c.id, c.name, c.state, c.account, c.sender, c.audience_id, c.message, c.template, c.category,
                    c.priority, c.max_attempts, c.messages_per_second, c.on_unknown, c.schedule,
                    c.sending_window, c.canary, c.expires_at, c.created_at,
                    (SELECT max(t.id) FROM tasks t WHERE t.campaign_id = c.id AND NOT t.hidden) AS task_id,
                    (SELECT min(t.starts_at) FROM tasks t
                     WHERE t.campaign_id = c.id AND NOT t.hidden AND t.state = 1) AS next_run_at
             FROM campaigns c ",
            $rest
        )
    };
}

/// A campaign.
///
/// # Errors
/// The database did not do it.
pub async fn get(conn: &mut PgConnection, id: i64) -> Result<Option<Campaign>> {
    let row: Option<CampaignRow> = sql::query_as(select_campaigns!("WHERE c.id = $1"))
        .bind(id)
        .fetch_optional(conn)
        .await
        .map_err(Error::database("reading a campaign"))?;
    row.map(Campaign::try_from).transpose()
}

/// A page of campaigns, the newest first, without the hidden ones; `state` and a part of the name narrow.
///
/// # Errors
/// The database did not do it.
pub async fn list(
    conn: &mut PgConnection,
    state: Option<CampaignState>,
    q: Option<&str>,
    before: Option<i64>,
    limit: i64,
) -> Result<Vec<Campaign>> {
    let rows: Vec<CampaignRow> = sql::query_as(select_campaigns!(
        "WHERE NOT c.hidden AND ($1::smallint IS NULL OR c.state = $1)
           AND ($2::text IS NULL OR strpos(lower(c.name), lower($2)) > 0)
           AND ($3::bigint IS NULL OR c.id < $3)
         ORDER BY c.id DESC LIMIT $4"
    ))
    .bind(state.map(|state| state as i16))
    .bind(q)
    .bind(before)
    .bind(limit)
    .fetch_all(conn)
    .await
    .map_err(Error::database("listing campaigns"))?;
    rows.into_iter().map(Campaign::try_from).collect()
}

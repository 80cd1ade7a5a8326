//! What vendors told by callback of templates, numbers and accounts. The same told twice is kept once, and the newest of
//! each account are kept.

use chrono::{DateTime, Utc};
use sqlx::{FromRow, PgConnection};

use crate::{Error, Result, sql};

/// Events of one account that are kept.
pub const LIMIT_EVENTS: i64 = 10_000;

/// What an event is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(i16)]
pub enum EventKind {
    /// A template may be sent, or may not.
    Template = 1,
    /// People like a template more or less.
    TemplateQuality = 2,
    /// A number's quality or limit.
    Number = 3,
    /// The account.
    Account = 4,
    /// Something else.
    Other = 5,
}

impl EventKind {
    /// All of them.
    pub const ALL: [Self; 5] =
        [Self::Template, Self::TemplateQuality, Self::Number, Self::Account, Self::Other];

    fn from_i16(number: i16) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| *kind as i16 == number)
    }
}

/// An event that has come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewEvent {
    /// What it is about.
    pub kind: EventKind,
    /// Which one: `name/language`, the number, or nothing.
    pub subject: String,
    /// The vendor's word.
    pub event: String,
    /// What else it says.
    pub detail: Option<String>,
    /// When, by the vendor's clock.
    pub told_at: Option<DateTime<Utc>>,
    /// When it came.
    pub received_at: DateTime<Utc>,
}

impl NewEvent {
    /// What is the same for a repetition: what is told, and when. Without a time the same is told once a day.
    fn fingerprint(&self) -> String {
        let when = match self.told_at {
            Some(at) => at.timestamp_millis().to_string(),
            None => self.received_at.date_naive().to_string(),
        };
        let parts = [self.subject.as_str(), &self.event, self.detail.as_deref().unwrap_or_default(), &when];
        // Lengths, because any part may hold what separates them.
        let told: String = parts.iter().map(|part| format!("{}:{part}", part.len())).collect();
        format!("{}:{told}", self.kind as i16)
    }
}

/// An event that is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VendorEvent {
    /// Its id.
    pub id: i64,
    /// The account.
    pub account: String,
    /// What it is about.
    pub kind: EventKind,
    /// Which one.
    pub subject: String,
    /// The vendor's word.
    pub event: String,
    /// What else it says.
    pub detail: Option<String>,
    /// When, by the vendor's clock.
    pub told_at: Option<DateTime<Utc>>,
    /// When it came.
    pub received_at: DateTime<Utc>,
    /// What was done about it.
    pub outcome: Option<String>,
}

#[derive(FromRow)]
struct EventRow {
    id: i64,
    account: String,
    kind: i16,
    subject: String,
    event: String,
    detail: Option<String>,
    told_at: Option<DateTime<Utc>>,
    received_at: DateTime<Utc>,
    outcome: Option<String>,
}

impl TryFrom<EventRow> for VendorEvent {
    type Error = Error;

    fn try_from(row: EventRow) -> Result<Self> {
        let wrong = || Error::contradiction("vendor_events", "kind", row.id, row.kind);
        Ok(Self {
            kind: EventKind::from_i16(row.kind).ok_or_else(wrong)?,
            id: row.id,
            account: row.account,
            subject: row.subject,
            event: row.event,
            detail: row.detail,
            told_at: row.told_at,
            received_at: row.received_at,
            outcome: row.outcome,
        })
    }
}

/// What became of an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kept {
    /// It is news.
    New(i64),
    /// It is kept, but something newer about the same subject is known: it is not to be acted on.
    Older,
    /// It was told before.
    Repeated,
}

/// Keeps an event. Those of one account come from its owner alone, in order.
///
/// # Errors
/// The database did not do it.
pub async fn keep(conn: &mut PgConnection, account: &str, event: &NewEvent) -> Result<Kept> {
    let id: Option<i64> = sql::query_scalar(
        "INSERT INTO vendor_events (account, kind, subject, event, detail, fingerprint, told_at, received_at)
         VALUES ($1, $2, $3, $4, $5, md5($6), $7, $8)
         ON CONFLICT (account, fingerprint) DO NOTHING RETURNING id",
    )
    .bind(account)
    .bind(event.kind as i16)
    .bind(&event.subject)
    .bind(&event.event)
    .bind(&event.detail)
    .bind(event.fingerprint())
    .bind(event.told_at)
    .bind(event.received_at)
    .fetch_optional(&mut *conn)
    .await
    .map_err(Error::database("keeping a vendor's event"))?;
    let Some(id) = id else { return Ok(Kept::Repeated) };
    forget_old(conn, account).await?;
    let is_older: bool = sql::query_scalar(
        "SELECT EXISTS (SELECT FROM vendor_events
                        WHERE account = $1 AND kind = $2 AND subject = $3 AND id < $4 AND told_at > $5)",
    )
    .bind(account)
    .bind(event.kind as i16)
    .bind(&event.subject)
    .bind(id)
    .bind(event.told_at)
    .fetch_one(conn)
    .await
    .map_err(Error::database("looking for newer events"))?;
    Ok(if is_older { Kept::Older } else { Kept::New(id) })
}

async fn forget_old(conn: &mut PgConnection, account: &str) -> Result<()> {
    sql::query(
        "DELETE FROM vendor_events
         WHERE account = $1
           AND id <= (SELECT id FROM vendor_events WHERE account = $1 ORDER BY id DESC OFFSET $2 LIMIT 1)",
    )
    .bind(account)
    .bind(LIMIT_EVENTS)
    .execute(conn)
    .await
    .map_err(Error::database("forgetting old events"))?;
    Ok(())
}

/// Says what was done about an event.
///
/// # Errors
/// The database did not do it.
pub async fn acted(conn: &mut PgConnection, id: i64, outcome: &str) -> Result<()> {
    sql::query("UPDATE vendor_events SET outcome = $2 WHERE id = $1")
        .bind(id)
        .bind(outcome)
        .execute(conn)
        .await
        .map_err(Error::database("noting what an event brought"))?;
    Ok(())
}

/// A page of events, the newest first; account and kind narrow.
///
/// # Errors
/// The database did not do it.
pub async fn list(
    conn: &mut PgConnection,
    account: Option<&str>,
    kind: Option<EventKind>,
    before: Option<i64>,
    limit: i64,
) -> Result<Vec<VendorEvent>> {
    let rows: Vec<EventRow> = sql::query_as(
        "SELECT id, account, kind, subject, event, detail, told_at, received_at, outcome FROM vendor_events
         WHERE ($1::text IS NULL OR account = $1) AND ($2::smallint IS NULL OR kind = $2)
           AND ($3::bigint IS NULL OR id < $3)
         ORDER BY id DESC LIMIT $4",
    )
    .bind(account)
    .bind(kind.map(|kind| kind as i16))
    .bind(before)
    .bind(limit)
    .fetch_all(conn)
    .await
    .map_err(Error::database("listing vendors' events"))?;
    rows.into_iter().map(VendorEvent::try_from).collect()
}

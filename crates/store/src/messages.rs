//! Per-recipient results: every recipient of a task has exactly one place, and here it can be looked up.
//!
//! Only reads. The place is the first that holds: an open request that has no outcome for it yet names it → sending; it
//! waits in `retries` or stands beyond the cursor → queued or retrying, or by the task's phase cancelled or expired; else
//! its message row tells.

use chrono::{DateTime, Utc};
use model::{Phone, status::MessageState};
use sqlx::{FromRow, PgConnection};

use crate::{Error, Result};

/// Where a recipient is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Place {
    /// Not sent to yet.
    Queued,
    /// In an open request.
    Sending,
    /// Never sent to: the task was cancelled.
    Cancelled,
    /// As its message row says.
    Message(MessageState),
}

const QUEUED: i16 = 10;
const SENDING: i16 = 11;
const CANCELLED: i16 = 12;

impl Place {
    fn number(self) -> i16 {
        match self {
            Self::Queued => QUEUED,
            Self::Sending => SENDING,
            Self::Cancelled => CANCELLED,
            Self::Message(state) => state as i16,
        }
    }

    fn from_number(number: i16) -> Option<Self> {
        match number {
            QUEUED => Some(Self::Queued),
            SENDING => Some(Self::Sending),
            CANCELLED => Some(Self::Cancelled),
            state => MessageState::from_i16(state).map(Self::Message),
        }
    }
}

/// One recipient's message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// The recipient's number in the audience.
    pub no: i32,
    /// Whom to.
    pub to: Phone,
    /// Where it is.
    pub place: Place,
    /// How often it has been tried.
    pub attempts: i16,
    /// The vendor's id.
    pub vendor_id: Option<String>,
    /// The last code.
    pub code: Option<String>,
    /// The vendor's text, or our reason.
    pub reason: Option<String>,
    /// When it is tried again.
    pub retry_at: Option<DateTime<Utc>>,
    /// When the vendor took it.
    pub accepted_at: Option<DateTime<Utc>>,
    /// When WhatsApp took it.
    pub sent_at: Option<DateTime<Utc>>,
    /// When it came to the phone.
    pub delivered_at: Option<DateTime<Utc>>,
    /// When it was opened.
    pub read_at: Option<DateTime<Utc>>,
    /// When it failed.
    pub failed_at: Option<DateTime<Utc>>,
}

#[derive(FromRow)]
struct MessageRow {
    no: i32,
    phone: i64,
    place: i16,
    attempts: i16,
    vendor_id: Option<String>,
    code: Option<String>,
    reason: Option<String>,
    retry_at: Option<DateTime<Utc>>,
    accepted_at: Option<DateTime<Utc>>,
    sent_at: Option<DateTime<Utc>>,
    delivered_at: Option<DateTime<Utc>>,
    read_at: Option<DateTime<Utc>>,
    failed_at: Option<DateTime<Utc>>,
}

impl TryFrom<MessageRow> for Message {
    type Error = Error;

    fn try_from(row: MessageRow) -> Result<Self> {
        let to = u64::try_from(row.phone)
            .ok()
            .and_then(Phone::from_digits)
            .ok_or_else(|| Error::contradiction("recipients", "phone", row.no, "no phone number"))?;
        let place = Place::from_number(row.place)
            .ok_or_else(|| Error::contradiction("messages", "state", row.no, row.place))?;
        Ok(Self {
            no: row.no,
            to,
            place,
            attempts: row.attempts,
            vendor_id: row.vendor_id,
            code: row.code,
            reason: row.reason,
            retry_at: row.retry_at,
            accepted_at: row.accepted_at,
            sent_at: row.sent_at,
            delivered_at: row.delivered_at,
            read_at: row.read_at,
            failed_at: row.failed_at,
        })
    }
}

/// The messages of those whom `$candidates` names (a query of `no`s after $2, in any order), with their places.
///
/// One statement, so that a cursor that moves meanwhile leaves nobody without a place.
macro_rules! select_messages {
    ($candidates:literal) => {
        concat!(
            "WITH t AS (SELECT audience_id, cursor, total, state FROM tasks WHERE id = $1),
             -- Few: what all open requests of the task name.
             open AS MATERIALIZED (
                SELECT DISTINCT ON (u.no) u.no, u.attempt, q.id
                FROM requests q CROSS JOIN UNNEST(q.nos, q.attempts) AS u (no, attempt)
                WHERE q.task_id = $1 AND u.no > $2
                ORDER BY u.no, q.id DESC
             ),
             candidates (no) AS (",
            $candidates,
            "),
             placed AS (
                SELECT c.no, r.phone,
                       -- 4 and 5 are the phases of tasks that will send no more; 9 is expired, 10 to 12 are ours.
                       CASE WHEN o.attempt IS NOT NULL THEN 11
                            WHEN w.no IS NULL AND m.no IS NOT NULL AND m.state <> 6 THEN m.state
                            WHEN t.state = 4 THEN 12
                            WHEN t.state = 5 THEN 9
                            WHEN m.state = 6 OR w.attempt > 0 THEN 6
                            ELSE 10 END::smallint AS place,
                       COALESCE(o.attempt, w.attempt, m.attempt, 0)::smallint AS attempts,
                       m.vendor_id, NULLIF(m.code, '') AS code, m.reason, w.due_at AS retry_at,
                       m.accepted_at, m.sent_at, m.delivered_at, m.read_at, m.failed_at
                FROM candidates c CROSS JOIN t
                JOIN recipients r ON r.audience_id = t.audience_id AND r.no = c.no
                LEFT JOIN messages m ON m.task_id = $1 AND m.no = c.no
                LEFT JOIN retries w ON w.task_id = $1 AND w.no = c.no
                -- Whoever waits again, or whose row is of this call or a later one, has the call behind it.
                LEFT JOIN open o ON o.no = c.no AND w.no IS NULL AND o.id > COALESCE(m.request_id, 0)
             )
             SELECT * FROM placed
             WHERE ($4::smallint IS NULL OR place = $4) AND ($5::text IS NULL OR code = $5)
             ORDER BY no LIMIT $3"
        )
    };
}

/// Everybody: the next numbers.
const ALL: &str = select_messages!(
    "SELECT generate_series($2::integer + 1, LEAST($2::integer + $3::integer, t.total)) FROM t"
);
/// One phone. It may stand in the audience only once.
const BY_PHONE: &str = select_messages!(
    "SELECT p.no FROM recipients p
     WHERE p.audience_id = (SELECT audience_id FROM t) AND p.phone = $6 AND p.no > $2
       AND p.no <= (SELECT total FROM t)"
);
/// One state of `troubles`.
const BY_TROUBLE: &str = select_messages!(
    "SELECT x.no FROM troubles x
     WHERE x.task_id = $1 AND x.state = $4 AND x.no > $2 AND ($5::text IS NULL OR x.code = $5)"
);
/// One code, whatever the state.
const BY_CODE: &str = select_messages!(
    "SELECT x.no FROM troubles x
     WHERE x.task_id = $1 AND x.state IN (5, 6, 7, 8, 9) AND x.code = $5 AND x.no > $2
     UNION SELECT no FROM open"
);
/// One state of those that are accepted or further.
const BY_STATE: &str =
    select_messages!("SELECT x.no FROM messages x WHERE x.task_id = $1 AND x.no > $2 AND x.state = $4");
/// Those in open requests.
const BY_REQUEST: &str = select_messages!("SELECT no FROM open");
/// Those who have not been sent to: beyond the cursor, and those who wait within it.
const BY_REST: &str = select_messages!(
    "SELECT generate_series(GREATEST(t.cursor, $2::integer) + 1,
                            LEAST(GREATEST(t.cursor, $2::integer) + $3::integer, t.total)) FROM t
     UNION SELECT x.no FROM retries x WHERE x.task_id = $1 AND x.no > $2
     UNION SELECT x.no FROM troubles x WHERE x.task_id = $1 AND x.state IN (6, 9) AND x.no > $2"
);

/// What narrows a list of messages.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    /// Exactly there.
    pub place: Option<Place>,
    /// With this last code.
    pub code: Option<String>,
    /// To this phone.
    pub to: Option<Phone>,
}

impl Filter {
    fn statement(&self) -> &'static str {
        use MessageState as S;
        match (self.to, self.place) {
            (Some(_), _) => BY_PHONE,
            (None, None) if self.code.is_some() => BY_CODE,
            (None, None) => ALL,
            (None, Some(Place::Sending)) => BY_REQUEST,
            (None, Some(Place::Queued | Place::Cancelled | Place::Message(S::Expired))) => BY_REST,
            (None, Some(Place::Message(S::Accepted | S::Sent | S::Delivered | S::Read))) => BY_STATE,
            (None, Some(Place::Message(S::Failed | S::Retrying | S::Unknown | S::Suppressed))) => BY_TROUBLE,
        }
    }
}

/// A page of a task's messages by their numbers, from the one after `after` on.
///
/// # Errors
/// The database did not do it.
pub async fn list(
    conn: &mut PgConnection,
    task_id: i64,
    filter: &Filter,
    after: i32,
    limit: i32,
) -> Result<Vec<Message>> {
    // Beyond this there is nobody, and the sum would overflow.
    let after = after.clamp(0, i32::MAX - limit.max(0) - 1);
    let mut query = sqlx::query_as(filter.statement())
        .bind(task_id)
        .bind(after)
        .bind(limit)
        .bind(filter.place.map(Place::number))
        .bind(filter.code.as_deref());
    if let Some(to) = filter.to {
        query = query.bind(to.as_i64());
    }
    let rows: Vec<MessageRow> =
        query.fetch_all(conn).await.map_err(Error::database("listing a task's messages"))?;
    rows.into_iter().map(Message::try_from).collect()
}

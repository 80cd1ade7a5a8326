//! Per-recipient results: every recipient of a task has exactly one place, and here it can be looked up.
//!
//! Only reads. The place is the first that holds: an open request that has no outcome for it yet names it → sending; it
//! waits in `retries` or stands beyond the cursor → queued or retrying, or by the task's phase cancelled or expired; else
//! its message row tells.

use chrono::{DateTime, Utc};
use model::{Phone, status::MessageState};
use sqlx::{FromRow, PgConnection};

use crate::{Error, Result, sql};

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
    /// Since when it may or may not have reached the vendor.
    pub unknown_since: Option<DateTime<Utc>>,
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
    unknown_since: Option<DateTime<Utc>>,
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
            unknown_since: row.unknown_since,
        })
    }
}

/// The messages of those whom `$candidates` names, by number, with their places: `$3` of them at the most.
///
/// One statement, so that a cursor that moves meanwhile leaves nobody without a place. Every look is a probe of an index,
/// kept so by LIMIT whatever the planner believes of the tables.
macro_rules! select_messages {
    ($candidates:expr) => {
        concat!(
            "WITH RECURSIVE t AS (
                SELECT audience_id, cursor, total, state FROM tasks WHERE id = $1 AND details_removed_at IS NULL
             ),
             -- Few: what all open requests of the task name.
             open AS MATERIALIZED (
                SELECT DISTINCT ON (u.no) u.no, u.attempt, q.id
                FROM requests q CROSS JOIN UNNEST(q.nos, q.attempts) AS u (no, attempt)
                WHERE q.task_id = $1 AND u.no > $2
                ORDER BY u.no, q.id DESC
             ),
             -- Few: the task's kinds of troubles, found by going from each to the next.
             kinds (state, code) AS (
                (SELECT state, code FROM troubles WHERE task_id = $1 ORDER BY state, code LIMIT 1)
                UNION ALL
                SELECT n.state, n.code FROM kinds k CROSS JOIN LATERAL (
                    SELECT state, code FROM troubles WHERE task_id = $1 AND (state, code) > (k.state, k.code)
                    ORDER BY state, code LIMIT 1) n
             ),
             candidates (no) AS MATERIALIZED (
                SELECT no FROM (",
            $candidates,
            ") AS named (no) ORDER BY no LIMIT $3
             )
             SELECT c.no, r.phone,
                    -- 4 and 5 are the phases of tasks that will send no more; 9 is expired, 10 to 12 are ours.
                    CASE WHEN o.attempt IS NOT NULL THEN 11
                         WHEN w.due_at IS NULL AND m.state IS NOT NULL AND m.state <> 6 THEN m.state
                         WHEN t.state = 4 THEN 12
                         WHEN t.state = 5 THEN 9
                         WHEN m.state = 6 OR w.attempt > 0 THEN 6
                         ELSE 10 END::smallint AS place,
                    COALESCE(o.attempt, w.attempt, m.attempt, 0)::smallint AS attempts,
                    m.vendor_id, NULLIF(m.code, '') AS code, m.reason, w.due_at AS retry_at,
                    m.accepted_at, m.sent_at, m.delivered_at, m.read_at, m.failed_at,
                    u.since AS unknown_since
             FROM candidates c CROSS JOIN t
             CROSS JOIN LATERAL (SELECT phone FROM recipients
                                 WHERE audience_id = t.audience_id AND no = c.no LIMIT 1) r
             LEFT JOIN LATERAL (SELECT * FROM messages WHERE task_id = $1 AND no = c.no LIMIT 1) m ON true
             LEFT JOIN LATERAL (SELECT * FROM retries WHERE task_id = $1 AND no = c.no LIMIT 1) w ON true
             LEFT JOIN LATERAL (SELECT since FROM unknowns WHERE m.state = 7 AND task_id = $1 AND no = c.no LIMIT 1) u
                    ON true
             -- Whoever waits again, or whose row is of this call or a later one, has the call behind it.
             LEFT JOIN open o ON o.no = c.no AND w.due_at IS NULL AND o.id > COALESCE(m.request_id, 0)
             ORDER BY c.no"
        )
    };
}

/// Those of `troubles`, of `$4` or any state and `$5` or any code.
macro_rules! troubled {
    () => {
        "SELECT x.no FROM kinds k CROSS JOIN LATERAL (
            SELECT no FROM troubles
            WHERE task_id = $1 AND state = k.state AND code = k.code AND no > $2
            ORDER BY no LIMIT $3) x
         WHERE ($4::smallint IS NULL OR k.state = $4) AND ($5::text IS NULL OR k.code = $5)"
    };
}

/// Everybody: the next numbers.
const ALL: &str = select_messages!(
    "SELECT generate_series($2::integer + 1, LEAST($2::integer + $3::integer, t.total))
     FROM t"
);
/// The number `$6`.
const ONE: &str = select_messages!(
    "SELECT $6::integer FROM t
     WHERE $6 > $2 AND $6 <= t.total"
);
/// Some states of `troubles`, or one code.
const BY_TROUBLE: &str = select_messages!(troubled!());
/// One code, whatever the state.
const BY_CODE: &str = select_messages!(concat!(troubled!(), " UNION SELECT no FROM open"));
/// One state of those that are accepted or further, of the next `$6` numbers: no index tells it, since one would cost each
/// report more than all else.
const BY_STATE: &str = select_messages!(
    "SELECT x.no FROM messages x
     WHERE x.task_id = $1 AND x.no > $2 AND x.no <= $2 + $6::integer AND x.state = $4
       AND ($5::text IS NULL OR x.code = $5)"
);
/// Those in open requests.
const BY_REQUEST: &str = select_messages!("SELECT no FROM open");
/// Those who have not been sent to: beyond the cursor, and those who wait within it.
const BY_REST: &str = select_messages!(
    "SELECT generate_series(GREATEST(t.cursor, $2::integer) + 1,
                            LEAST(GREATEST(t.cursor, $2::integer) + $3::integer, t.total)) FROM t
     UNION (SELECT x.no FROM retries x WHERE x.task_id = $1 AND x.no > $2 ORDER BY x.no LIMIT $3)
     UNION SELECT x.no FROM kinds k CROSS JOIN LATERAL (
        SELECT no FROM troubles WHERE task_id = $1 AND state = k.state AND code = k.code AND no > $2
        ORDER BY no LIMIT $3) x
     WHERE k.state IN (6, 9)"
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
            (Some(_), _) => ONE,
            (None, None) if self.code.is_some() => BY_CODE,
            (None, None) => ALL,
            (None, Some(Place::Sending)) => BY_REQUEST,
            (None, Some(Place::Queued | Place::Cancelled | Place::Message(S::Expired))) => BY_REST,
            (None, Some(Place::Message(S::Accepted | S::Sent | S::Delivered | S::Read))) => BY_STATE,
            (None, Some(Place::Message(S::Failed | S::Retrying | S::Unknown | S::Suppressed))) => BY_TROUBLE,
        }
    }

    fn admits(&self, message: &Message) -> bool {
        self.place.is_none_or(|place| place == message.place)
            && (self.code.is_none() || self.code == message.code)
    }
}

/// Some messages of a task.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Page {
    /// By their numbers. There may be fewer than were asked for, or none, though more follow.
    pub items: Vec<Message>,
    /// The number after which to go on; none: this was the last page.
    pub next: Option<i32>,
}

/// Numbers that one statement looks through for a state.
const SLICE: i32 = 10_000;
/// Numbers that one page looks through: whoever waits for it gets what there is so far.
const MOST_LOOKED_AT: i32 = 50_000;

/// A page of a task's messages by their numbers, from the one after `after` on. Costs the same wherever it begins and
/// whatever narrows it.
///
/// # Errors
/// The database did not do it.
pub async fn list(
    conn: &mut PgConnection,
    task_id: i64,
    filter: &Filter,
    after: i32,
    limit: i32,
) -> Result<Page> {
    let limit = limit.max(1);
    // Beyond this there is nobody, and the sums would overflow.
    let begin = after.clamp(0, i32::MAX - MOST_LOOKED_AT - SLICE - limit - 1);
    let Some((total, recipient)) = scope(conn, task_id, filter).await? else { return Ok(Page::default()) };
    let statement = filter.statement();
    let is_sliced = statement == BY_STATE;
    let (mut items, mut at) = (Vec::new(), begin);
    // One more than asked for tells whether any follow.
    let wanted = limit + 1;
    loop {
        let rows = read(conn, statement, task_id, filter, at, wanted, recipient).await?;
        let is_full = i32::try_from(rows.len()).is_ok_and(|n| n >= wanted);
        let last = rows.last().map(|row| row.no);
        items.extend(rows.into_iter().filter(|message| filter.admits(message)));
        let has_all = !is_full && (!is_sliced || at.saturating_add(SLICE) >= total);
        at = last.filter(|_| is_full).unwrap_or_else(|| at.saturating_add(SLICE));
        if items.len() > limit.unsigned_abs() as usize {
            items.truncate(limit.unsigned_abs() as usize);
            let next = items.last().map(|item| item.no);
            return Ok(Page { items, next });
        }
        if has_all {
            return Ok(Page { items, next: None });
        }
        if at - begin >= MOST_LOOKED_AT.max(wanted.saturating_mul(4)) {
            return Ok(Page { items, next: Some(at) });
        }
    }
}

/// The task's size, and the recipient that the filter names; none: there is nobody to be listed.
async fn scope(conn: &mut PgConnection, task_id: i64, filter: &Filter) -> Result<Option<(i32, Option<i32>)>> {
    let task: Option<(i32, i64)> =
        sql::query_as("SELECT total, audience_id FROM tasks WHERE id = $1 AND details_removed_at IS NULL")
            .bind(task_id)
            .fetch_optional(&mut *conn)
            .await
            .map_err(Error::database("reading a task"))?;
    let Some((total, audience_id)) = task else { return Ok(None) };
    let Some(phone) = filter.to else { return Ok(Some((total, None))) };
    let recipient = crate::people::no_of(conn, audience_id, phone).await?;
    Ok(recipient.map(|no| (total, Some(no))))
}

async fn read(
    conn: &mut PgConnection,
    statement: &'static str,
    task_id: i64,
    filter: &Filter,
    after: i32,
    limit: i32,
    recipient: Option<i32>,
) -> Result<Vec<Message>> {
    let mut query = sql::query_as(statement)
        .bind(task_id)
        .bind(after)
        .bind(limit)
        .bind(filter.place.map(Place::number))
        .bind(filter.code.as_deref());
    if statement == BY_STATE {
        query = query.bind(SLICE);
    } else if let Some(no) = recipient {
        query = query.bind(no);
    }
    let rows: Vec<MessageRow> =
        query.fetch_all(conn).await.map_err(Error::database("listing a task's messages"))?;
    rows.into_iter().map(Message::try_from).collect()
}

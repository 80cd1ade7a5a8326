//! Messages that may have reached the vendor and of which no answer came: since when, and what is done about them when.
//!
//! A row here accompanies a message row in state `unknown`, written and deleted by whoever moves the message. Nothing here
//! moves a message itself.

use chrono::{DateTime, TimeDelta, Utc};
use model::{Phone, status::MessageState};
use sqlx::{FromRow, PgConnection};

use crate::{
    Error, Result,
    decisions::{self, Candidate, Decided, Decision},
    ids::vendor_hash,
    sql,
    standings::Standing,
};

/// From the call that gave no answer to the one that the campaign's policy makes in its place.
pub const RESEND_AFTER: TimeDelta = TimeDelta::minutes(10);

/// A message that has become unknown.
#[derive(Clone, Copy, Debug)]
pub(crate) struct NewUnknown {
    pub(crate) task_id: i64,
    pub(crate) no: i32,
    pub(crate) request_id: i64,
    pub(crate) attempt: i16,
    pub(crate) since: DateTime<Utc>,
}

/// Writes the rows of messages that become unknown; called before their message rows are written, because those tell
/// whether there was a call before.
pub(crate) async fn insert(conn: &mut PgConnection, rows: &[NewUnknown]) -> Result<()> {
    if rows.is_empty() {
        return Ok(());
    }
    sql::query(
        "INSERT INTO unknowns AS u (task_id, no, account, request_id, phone, since, requested_at, deadline_at,
                                    is_first_call, ask_at, resend_at)
         SELECT i.task_id, i.no, t.account, i.request_id, p.phone, i.since,
                coalesce(q.created_at, i.since), coalesce(q.deadline_at, i.since),
                NOT EXISTS (SELECT FROM messages m WHERE m.task_id = i.task_id AND m.no = i.no),
                -- Records name templates and no texts: only messages of templates can be told apart in them.
                CASE WHEN t.template IS NOT NULL THEN i.since END,
                CASE WHEN c.on_unknown = 2 AND i.attempt < c.max_attempts
                          AND NOT EXISTS (SELECT FROM resends r WHERE r.task_id = i.task_id AND r.no = i.no)
                     THEN i.since + $6 END
         FROM UNNEST($1::bigint[], $2::integer[], $3::bigint[], $4::smallint[], $5::timestamptz[])
              AS i (task_id, no, request_id, attempt, since)
         JOIN tasks t ON t.id = i.task_id
         JOIN campaigns c ON c.id = t.campaign_id
         LEFT JOIN requests q ON q.id = i.request_id
         LEFT JOIN LATERAL (SELECT phone FROM recipients
                            WHERE audience_id = t.audience_id AND no = i.no LIMIT 1) p ON true
         ON CONFLICT (task_id, no) DO UPDATE
         SET request_id = excluded.request_id, since = excluded.since, requested_at = excluded.requested_at,
             deadline_at = excluded.deadline_at, is_first_call = false, asked = 0, ask_at = excluded.ask_at,
             resend_at = excluded.resend_at",
    )
    .bind(rows.iter().map(|row| row.task_id).collect::<Vec<_>>())
    .bind(rows.iter().map(|row| row.no).collect::<Vec<_>>())
    .bind(rows.iter().map(|row| row.request_id).collect::<Vec<_>>())
    .bind(rows.iter().map(|row| row.attempt).collect::<Vec<_>>())
    .bind(rows.iter().map(|row| row.since).collect::<Vec<_>>())
    .bind(RESEND_AFTER)
    .execute(conn)
    .await
    .map_err(Error::database("noting what is unknown"))?;
    Ok(())
}

/// Deletes the rows of messages that are unknown no more.
pub(crate) async fn delete(
    conn: &mut PgConnection,
    recipients: impl Iterator<Item = (i64, i32)>,
) -> Result<()> {
    let (tasks, nos): (Vec<i64>, Vec<i32>) = recipients.unzip();
    if tasks.is_empty() {
        return Ok(());
    }
    sql::query(
        "DELETE FROM unknowns u USING UNNEST($1::bigint[], $2::integer[]) AS i (task_id, no)
         WHERE u.task_id = i.task_id AND u.no = i.no",
    )
    .bind(tasks)
    .bind(nos)
    .execute(conn)
    .await
    .map_err(Error::database("clearing what was unknown"))?;
    Ok(())
}

/// Notes that somebody is sent to again after these calls (task, number, request) gave no answer.
pub(crate) async fn note_resends(conn: &mut PgConnection, calls: &[(i64, i32, i64)]) -> Result<()> {
    if calls.is_empty() {
        return Ok(());
    }
    sql::query(
        "INSERT INTO resends (task_id, no, request_id)
         SELECT * FROM UNNEST($1::bigint[], $2::integer[], $3::bigint[]) ON CONFLICT DO NOTHING",
    )
    .bind(calls.iter().map(|call| call.0).collect::<Vec<_>>())
    .bind(calls.iter().map(|call| call.1).collect::<Vec<_>>())
    .bind(calls.iter().map(|call| call.2).collect::<Vec<_>>())
    .execute(conn)
    .await
    .map_err(Error::database("noting what is sent again"))?;
    Ok(())
}

/// A message whose vendor may be asked what it sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unknown {
    /// The task.
    pub task_id: i64,
    /// The recipient's number.
    pub no: i32,
    /// The call that gave no answer.
    pub request_id: i64,
    /// Whom it was for.
    pub phone: Phone,
    /// From which sender.
    pub sender: String,
    /// With which template: `name/language`.
    pub template: String,
    /// The vendor's id, where a report brought it.
    pub vendor_id: Option<String>,
    /// Since when it is unknown.
    pub since: DateTime<Utc>,
    /// When the call's intent was committed.
    pub requested_at: DateTime<Utc>,
    /// When the call was over, whatever came.
    pub deadline_at: DateTime<Utc>,
    /// There was no call before it.
    pub is_first_call: bool,
    /// How often the records were asked and answered.
    pub asked: i16,
}

#[derive(FromRow)]
struct Row {
    task_id: i64,
    no: i32,
    request_id: i64,
    phone: i64,
    sender: String,
    template: String,
    vendor_id: Option<String>,
    since: DateTime<Utc>,
    requested_at: DateTime<Utc>,
    deadline_at: DateTime<Utc>,
    is_first_call: bool,
    asked: i16,
}

impl TryFrom<Row> for Unknown {
    type Error = Error;

    fn try_from(row: Row) -> Result<Self> {
        let phone = Phone::from_digits(row.phone.cast_unsigned())
            .ok_or_else(|| Error::contradiction("unknowns", "phone", row.no, "no phone number"))?;
        Ok(Self {
            task_id: row.task_id,
            no: row.no,
            request_id: row.request_id,
            phone,
            sender: row.sender,
            template: row.template,
            vendor_id: row.vendor_id,
            since: row.since,
            requested_at: row.requested_at,
            deadline_at: row.deadline_at,
            is_first_call: row.is_first_call,
            asked: row.asked,
        })
    }
}

/// What is read of each unknown message that records may tell of.
macro_rules! select_unknown {
    ($which:literal) => {
        concat!(
            "SELECT u.task_id, u.no, u.request_id, u.phone, t.sender, t.template, m.vendor_id, u.since,
                    u.requested_at, u.deadline_at, u.is_first_call, u.asked
             FROM unknowns u
             JOIN tasks t ON t.id = u.task_id AND t.template IS NOT NULL
             CROSS JOIN LATERAL (SELECT vendor_id FROM messages
                                 WHERE task_id = u.task_id AND no = u.no AND state = 7 LIMIT 1) m
             WHERE u.account = $1 AND u.phone IS NOT NULL AND ",
            $which
        )
    };
}

/// The account's unknown messages whose vendor is to be asked now, the longest due first.
///
/// # Errors
/// The database did not do it, or a row says what cannot be.
pub async fn to_be_asked(
    conn: &mut PgConnection,
    account: &str,
    now: DateTime<Utc>,
    limit: i64,
) -> Result<Vec<Unknown>> {
    let rows: Vec<Row> = sql::query_as(select_unknown!("u.ask_at <= $2 ORDER BY u.ask_at, u.no LIMIT $3"))
        .bind(account)
        .bind(now)
        .bind(limit)
        .fetch_all(conn)
        .await
        .map_err(Error::database("reading what is to be asked"))?;
    rows.into_iter().map(Unknown::try_from).collect()
}

/// All of the account's unknown messages to these people: a record may speak of any of them.
///
/// # Errors
/// The database did not do it, or a row says what cannot be.
pub async fn to_people(conn: &mut PgConnection, account: &str, people: &[Phone]) -> Result<Vec<Unknown>> {
    let rows: Vec<Row> = sql::query_as(select_unknown!("u.phone = ANY ($2) ORDER BY u.task_id, u.no"))
        .bind(account)
        .bind(people.iter().map(|phone| phone.as_i64()).collect::<Vec<_>>())
        .fetch_all(conn)
        .await
        .map_err(Error::database("reading what is unknown of people"))?;
    rows.into_iter().map(Unknown::try_from).collect()
}

/// Those of the people who are named by an open request of the account without an outcome: what a record says of them may
/// be of that call.
///
/// # Errors
/// The database did not do it.
pub async fn being_sent_to(conn: &mut PgConnection, account: &str, people: &[Phone]) -> Result<Vec<Phone>> {
    let phones: Vec<i64> = sql::query_scalar(
        "SELECT DISTINCT p.phone
         FROM requests q
         JOIN tasks t ON t.id = q.task_id AND t.template IS NOT NULL
         CROSS JOIN UNNEST(q.nos) AS i (no)
         CROSS JOIN LATERAL (SELECT phone FROM recipients
                             WHERE audience_id = t.audience_id AND no = i.no LIMIT 1) p
         WHERE q.account = $1 AND p.phone = ANY ($2)
           AND NOT EXISTS (SELECT FROM messages m
                           WHERE m.task_id = q.task_id AND m.no = i.no AND m.request_id >= q.id)",
    )
    .bind(account)
    .bind(people.iter().map(|phone| phone.as_i64()).collect::<Vec<_>>())
    .fetch_all(conn)
    .await
    .map_err(Error::database("looking who is being sent to"))?;
    Ok(phones.into_iter().filter_map(|digits| Phone::from_digits(digits.cast_unsigned())).collect())
}

/// A vendor's id that a message of ours bears, now or from an older call: (hash, task, number).
pub type Claim = (i64, i64, i32);

/// Which of the vendor's ids messages of ours bear already, of any account.
///
/// # Errors
/// The database did not do it.
pub async fn claims(conn: &mut PgConnection, vendor_ids: &[&str]) -> Result<Vec<Claim>> {
    sql::query_as(
        "SELECT vendor_hash, task_id, no FROM messages WHERE vendor_hash = ANY ($1)
         UNION ALL SELECT vendor_hash, task_id, no FROM old_vendor_ids WHERE vendor_hash = ANY ($1)",
    )
    .bind(vendor_ids.iter().map(|id| vendor_hash(id)).collect::<Vec<_>>())
    .fetch_all(conn)
    .await
    .map_err(Error::database("looking whose a vendor's ids are"))
}

/// Whether another task of the account may have sent this template to this person at that time: then a refusal that
/// names no message may be of that one.
///
/// # Errors
/// The database did not do it.
pub async fn has_company(
    conn: &mut PgConnection,
    account: &str,
    of: &Unknown,
    from: DateTime<Utc>,
    until: DateTime<Utc>,
) -> Result<bool> {
    sql::query_scalar(
        "SELECT EXISTS (
            SELECT FROM tasks t
            WHERE t.account = $1 AND t.template = $2 AND t.id <> $3 AND t.details_removed_at IS NULL
              AND t.started_at <= $6 AND (t.ended_at IS NULL OR t.ended_at >= $5)
              AND EXISTS (SELECT FROM recipients r WHERE r.audience_id = t.audience_id AND r.phone = $4))",
    )
    .bind(account)
    .bind(&of.template)
    .bind(of.task_id)
    .bind(of.phone.as_i64())
    .bind(from)
    .bind(until)
    .fetch_one(conn)
    .await
    .map_err(Error::database("looking for company of a message"))
}

/// When a message's records are asked next.
#[derive(Clone, Copy, Debug)]
pub struct NextAsk {
    /// The task.
    pub task_id: i64,
    /// The recipient's number.
    pub no: i32,
    /// The call, so that a later one's times are left alone.
    pub request_id: i64,
    /// How often they were asked and answered by now.
    pub asked: i16,
    /// When; none: no more.
    pub at: Option<DateTime<Utc>>,
}

/// Notes when records are asked next of what is still unknown.
///
/// # Errors
/// The database did not do it.
pub async fn ask_again(conn: &mut PgConnection, next: &[NextAsk]) -> Result<()> {
    if next.is_empty() {
        return Ok(());
    }
    sql::query(
        "UPDATE unknowns u SET asked = i.asked, ask_at = i.at
         FROM UNNEST($1::bigint[], $2::integer[], $3::bigint[], $4::smallint[], $5::timestamptz[])
              AS i (task_id, no, request_id, asked, at)
         WHERE u.task_id = i.task_id AND u.no = i.no AND u.request_id = i.request_id",
    )
    .bind(next.iter().map(|next| next.task_id).collect::<Vec<_>>())
    .bind(next.iter().map(|next| next.no).collect::<Vec<_>>())
    .bind(next.iter().map(|next| next.request_id).collect::<Vec<_>>())
    .bind(next.iter().map(|next| next.asked).collect::<Vec<_>>())
    .bind(next.iter().map(|next| next.at).collect::<Vec<_>>())
    .execute(conn)
    .await
    .map_err(Error::database("noting when records are asked again"))?;
    Ok(())
}

/// Gives up the policy for what is unknown at present: only an operator decides.
///
/// # Errors
/// The database did not do it.
pub async fn hold(conn: &mut PgConnection, account: &str) -> Result<()> {
    sql::query("UPDATE unknowns SET resend_at = NULL WHERE account = $1 AND resend_at IS NOT NULL")
        .bind(account)
        .execute(conn)
        .await
        .map_err(Error::database("holding what is unknown"))?;
    Ok(())
}

/// Unknown messages that the policy sends again in one step at the most.
const RESENT: i64 = 500;

#[derive(FromRow)]
struct DueRow {
    task_id: i64,
    no: i32,
    request_id: i64,
    attempt: i16,
    code: Option<String>,
    reason: Option<String>,
    has_vendor_id: bool,
}

/// Sends again, once, what is unknown for long enough and whose campaign wants it so; how many. None: one of them moved
/// meanwhile, and all is to be rolled back and looked at again.
///
/// `asked` is how often the vendor's records must have been asked in vain before, where there are any. A task that stands
/// still keeps its unknown ones: evidence may come meanwhile.
///
/// # Errors
/// The database did not do it.
pub async fn resend_due(
    conn: &mut PgConnection,
    account: &str,
    asked: i16,
    now: DateTime<Utc>,
) -> Result<Option<usize>> {
    let rows: Vec<DueRow> = sql::query_as(
        "SELECT u.task_id, u.no, u.request_id, m.attempt, m.code, m.reason,
                m.vendor_id IS NOT NULL AS has_vendor_id
         FROM unknowns u
         JOIN tasks t ON t.id = u.task_id
         CROSS JOIN LATERAL (SELECT * FROM messages
                             WHERE task_id = u.task_id AND no = u.no AND state = 7
                               AND request_id = u.request_id LIMIT 1) m
         WHERE u.account = $1 AND u.resend_at <= $2 AND (u.asked >= $3 OR t.template IS NULL)
           AND t.state IN (2, 3) AND NOT t.paused AND (t.expires_at IS NULL OR t.expires_at > $2)
           AND NOT task_is_halted(t.id, t.account, t.sender, t.template)
         ORDER BY u.resend_at, u.task_id, u.no LIMIT $4",
    )
    .bind(account)
    .bind(now)
    .bind(asked)
    .bind(RESENT)
    .fetch_all(&mut *conn)
    .await
    .map_err(Error::database("reading what is to be sent again"))?;
    let mut resent = 0;
    for of_task in rows.chunk_by(|row, next| row.task_id == next.task_id) {
        let Some(first) = of_task.first() else { continue };
        let candidates: Vec<Candidate> = of_task.iter().map(candidate).collect();
        match decisions::decide(conn, first.task_id, &candidates, Decision::Resend, now).await? {
            Decided::Done => resent += candidates.len(),
            Decided::Changed | Decided::Refused(_) => return Ok(None),
        }
    }
    Ok(Some(resent))
}

fn candidate(row: &DueRow) -> Candidate {
    Candidate {
        standing: Standing {
            task_id: row.task_id,
            no: row.no,
            phone: None,
            state: MessageState::Unknown,
            attempt: row.attempt,
            request_id: row.request_id,
            has_vendor_id: row.has_vendor_id,
            code: row.code.clone(),
            waits: false,
            is_resent: false,
            has_sent: false,
            has_delivered: false,
            has_read: false,
        },
        code: row.code.clone().unwrap_or_default(),
        reason: row.reason.clone().unwrap_or_default(),
    }
}

//! Reports of vendors applied to messages, in the order of the inbox. Statuses only climb; applying never errors.
//!
//! Run by the account's owner alone. Message rows are read without locks and written only where they still stand as
//! they were read; the caller applies the batch again when one did not.

use std::collections::{BTreeMap, HashMap, HashSet};

use chrono::{DateTime, Utc};
use model::{
    Phone,
    counts::{Deltas, Place},
    report::StatusReport,
    status::MessageState,
};
use sqlx::{PgConnection, Row as _, postgres::PgRow};

use crate::{
    Error, Result,
    ids::vendor_hash,
    outcomes::{self, Again},
    progress, troubles,
};

/// A message as reports see it.
#[derive(Clone, Debug)]
pub struct Standing {
    /// The task.
    pub task_id: i64,
    /// The recipient's number.
    pub no: i32,
    /// The recipient.
    pub phone: Option<Phone>,
    /// The state.
    pub state: MessageState,
    /// Attempts used up.
    pub attempt: i16,
    /// The latest decided call.
    pub request_id: i64,
    /// The vendor's id of that call.
    pub vendor_id: Option<String>,
    /// The last code.
    pub code: Option<String>,
    /// A row in `retries` waits for it.
    pub waits: bool,
    /// The time of `sent` is known.
    pub has_sent: bool,
    /// The time of `delivered` is known.
    pub has_delivered: bool,
    /// The time of `read` is known.
    pub has_read: bool,
}

/// Where a message is to stand, and since when.
#[derive(Clone, Debug)]
pub struct Change {
    /// As it was read.
    pub before: Standing,
    /// The state.
    pub state: MessageState,
    /// The vendor's id, where the row had none.
    pub vendor_id: Option<String>,
    /// The last code and its text, when the message failed or is retried.
    pub why: Option<outcomes::Why>,
    /// When and how it is tried again.
    pub again: Option<Again>,
    /// A waiting retry is withdrawn.
    pub withdraw: bool,
    /// Times of milestones reached.
    pub times: Times,
}

/// When milestones were reached; none: not told.
#[derive(Clone, Copy, Debug, Default)]
#[expect(missing_docs, reason = "the fields are the words of the HTTP interface")]
pub struct Times {
    pub accepted_at: Option<DateTime<Utc>>,
    pub sent_at: Option<DateTime<Utc>>,
    pub delivered_at: Option<DateTime<Utc>>,
    pub read_at: Option<DateTime<Utc>>,
    pub failed_at: Option<DateTime<Utc>>,
}

/// The messages that reports may speak of, by recipient and by vendor id.
#[derive(Debug, Default)]
pub struct Found {
    /// By (task, number).
    pub by_recipient: HashMap<(i64, i32), Standing>,
    /// (task, number) by the vendor's id of the latest call.
    pub by_vendor_id: HashMap<String, (i64, i32)>,
    /// (task, number) by the hash of the vendor's id of an older call.
    pub by_old_hash: HashMap<i64, (i64, i32)>,
}

/// A recipient of a task.
type Key = (i64, i32);

/// Reads the messages that the reports may speak of.
///
/// # Errors
/// The database did not do it, or a row says what cannot be.
pub async fn find(conn: &mut PgConnection, account: &str, reports: &[StatusReport]) -> Result<Found> {
    let named: HashSet<Key> =
        reports.iter().filter_map(|report| report.correlation).map(|c| (c.task_id, c.no)).collect();
    let hashes: HashSet<i64> = reports
        .iter()
        .filter(|report| report.correlation.is_none())
        .map(|report| vendor_hash(&report.vendor_id))
        .collect();
    let mut found = Found::default();
    let latest = by_hash(
        conn,
        "SELECT vendor_hash, task_id, no FROM messages WHERE vendor_hash = ANY ($1)",
        hashes.iter().copied().collect(),
    )
    .await?;
    found
        .read(conn, account, named.into_iter().chain(latest.into_iter().map(|(_, key)| key)).collect())
        .await?;
    let known: HashSet<i64> = found.by_vendor_id.keys().map(|id| vendor_hash(id)).collect();
    // Ids that no message of the account bears any more: of older calls.
    let older = by_hash(
        conn,
        "SELECT vendor_hash, task_id, no FROM old_vendor_ids WHERE vendor_hash = ANY ($1)",
        hashes.difference(&known).copied().collect(),
    )
    .await?;
    found.read(conn, account, older.iter().map(|(_, key)| *key).collect()).await?;
    let of_account = older.into_iter().filter(|(_, key)| found.by_recipient.contains_key(key));
    found.by_old_hash = of_account.collect();
    Ok(found)
}

/// Looks hashes up, of any account.
async fn by_hash(
    conn: &mut PgConnection,
    statement: &'static str,
    hashes: Vec<i64>,
) -> Result<Vec<(i64, Key)>> {
    if hashes.is_empty() {
        return Ok(Vec::new());
    }
    let rows: Vec<(i64, i64, i32)> = sqlx::query_as(statement)
        .bind(hashes)
        .fetch_all(conn)
        .await
        .map_err(Error::database("finding messages by vendor id"))?;
    Ok(rows.into_iter().map(|(hash, task_id, no)| (hash, (task_id, no))).collect())
}

impl Found {
    /// Reads the rows of recipients, of the account's tasks alone: a token of one account must not move another's
    /// messages.
    ///
    /// The tasks are looked up before: joined, a table without statistics may be gone through once for each of them.
    async fn read(&mut self, conn: &mut PgConnection, account: &str, keys: HashSet<Key>) -> Result<()> {
        let tasks: HashSet<i64> = keys.iter().map(|(task_id, _)| *task_id).collect();
        let audiences = audiences_of(conn, account, tasks.into_iter().collect()).await?;
        let wanted: Vec<(Key, i64)> = keys
            .into_iter()
            .filter(|key| !self.by_recipient.contains_key(key))
            .filter_map(|key| Some((key, *audiences.get(&key.0)?)))
            .collect();
        if wanted.is_empty() {
            return Ok(());
        }
        let rows = sqlx::query(
            "SELECT m.task_id, m.no, m.state, m.attempt, m.request_id, m.vendor_id, m.code,
                    r.no IS NOT NULL AS waits, p.phone, m.sent_at IS NOT NULL AS has_sent,
                    m.delivered_at IS NOT NULL AS has_delivered, m.read_at IS NOT NULL AS has_read
             FROM UNNEST($1::bigint[], $2::integer[], $3::bigint[]) AS i (task_id, no, audience_id)
             JOIN messages m ON m.task_id = i.task_id AND m.no = i.no
             LEFT JOIN recipients p ON p.audience_id = i.audience_id AND p.no = i.no
             LEFT JOIN retries r ON r.task_id = i.task_id AND r.no = i.no",
        )
        .bind(wanted.iter().map(|((task_id, _), _)| *task_id).collect::<Vec<_>>())
        .bind(wanted.iter().map(|((_, no), _)| *no).collect::<Vec<_>>())
        .bind(wanted.iter().map(|(_, audience_id)| *audience_id).collect::<Vec<_>>())
        .fetch_all(conn)
        .await
        .map_err(Error::database("reading the messages of reports"))?;
        for row in &rows {
            let standing = standing(row)?;
            let key = (standing.task_id, standing.no);
            if let Some(vendor_id) = &standing.vendor_id {
                self.by_vendor_id.insert(vendor_id.clone(), key);
            }
            self.by_recipient.insert(key, standing);
        }
        Ok(())
    }
}

/// Which of the tasks are the account's: their audiences.
async fn audiences_of(conn: &mut PgConnection, account: &str, tasks: Vec<i64>) -> Result<HashMap<i64, i64>> {
    if tasks.is_empty() {
        return Ok(HashMap::new());
    }
    let rows: Vec<(i64, i64)> =
        sqlx::query_as("SELECT id, audience_id FROM tasks WHERE id = ANY ($1) AND account = $2")
            .bind(tasks)
            .bind(account)
            .fetch_all(conn)
            .await
            .map_err(Error::database("looking up the tasks of reports"))?;
    Ok(rows.into_iter().collect())
}

fn standing(row: &PgRow) -> Result<Standing> {
    let (task_id, no, state): (i64, i32, i16) = (row.get("task_id"), row.get("no"), row.get("state"));
    let known = MessageState::from_i16(state);
    let phone: Option<i64> = row.get("phone");
    Ok(Standing {
        task_id,
        no,
        phone: phone.and_then(|digits| Phone::from_digits(digits.cast_unsigned())),
        state: known
            .ok_or_else(|| Error::contradiction("messages", "state", format!("{task_id}/{no}"), state))?,
        attempt: row.get("attempt"),
        request_id: row.get("request_id"),
        vendor_id: row.get("vendor_id"),
        code: row.get("code"),
        waits: row.get("waits"),
        has_sent: row.get("has_sent"),
        has_delivered: row.get("has_delivered"),
        has_read: row.get("has_read"),
    })
}

/// Writes the changes with their counts. False: a row no longer stands as it was read; roll back and apply again.
///
/// # Errors
/// The database did not do it.
pub async fn write(conn: &mut PgConnection, changes: &[Change]) -> Result<bool> {
    if changes.is_empty() {
        return Ok(true);
    }
    if !withdraw_retries(conn, changes).await? || !update_messages(conn, changes).await? {
        return Ok(false);
    }
    let mut deltas = Deltas::default();
    let (mut cleared, mut listed, mut retries) = (Vec::new(), Vec::new(), Vec::new());
    for change in changes {
        let before = &change.before;
        let code_before = before.code.as_deref().unwrap_or("");
        let code_now = change.why.as_ref().map_or(code_before, |why| why.code.as_str());
        if change.state == before.state && code_now == code_before {
            continue;
        }
        deltas.moved(
            before.task_id,
            Place::Message(before.state, code_before),
            Place::Message(change.state, code_now),
        );
        if before.state.is_trouble() {
            cleared.push((before.task_id, before.state, before.no, code_before));
        }
        if change.state.is_trouble() {
            listed.push((before.task_id, change.state, before.no, code_now));
        }
        if let Some(again) = change.again {
            retries.push((before.task_id, before.no, again));
        }
    }
    troubles::delete(conn, cleared.into_iter()).await?;
    troubles::insert(conn, listed.into_iter()).await?;
    outcomes::insert_retries(conn, &retries).await?;
    progress::append(conn, &deltas).await?;
    Ok(true)
}

async fn withdraw_retries(conn: &mut PgConnection, changes: &[Change]) -> Result<bool> {
    let withdrawn: Vec<&Standing> =
        changes.iter().filter(|change| change.withdraw).map(|change| &change.before).collect();
    if withdrawn.is_empty() {
        return Ok(true);
    }
    let deleted = sqlx::query(
        "DELETE FROM retries r USING UNNEST($1::bigint[], $2::integer[]) AS i (task_id, no)
         WHERE r.task_id = i.task_id AND r.no = i.no",
    )
    .bind(withdrawn.iter().map(|row| row.task_id).collect::<Vec<_>>())
    .bind(withdrawn.iter().map(|row| row.no).collect::<Vec<_>>())
    .execute(conn)
    .await
    .map_err(Error::database("withdrawing retries"))?;
    Ok(deleted.rows_affected() == withdrawn.len() as u64)
}

async fn update_messages(conn: &mut PgConnection, changes: &[Change]) -> Result<bool> {
    let times =
        |of: fn(&Times) -> Option<DateTime<Utc>>| changes.iter().map(|c| of(&c.times)).collect::<Vec<_>>();
    let updated = sqlx::query(
        "UPDATE messages m
         SET state = i.state,
             vendor_id = coalesce(m.vendor_id, i.vendor_id),
             vendor_hash = coalesce(m.vendor_hash, i.vendor_hash),
             code = CASE WHEN i.state <= 4 THEN NULL ELSE coalesce(i.code, m.code) END,
             reason = CASE WHEN i.state <= 4 THEN NULL ELSE coalesce(i.reason, m.reason) END,
             accepted_at = coalesce(m.accepted_at, i.accepted_at),
             sent_at = coalesce(m.sent_at, i.sent_at),
             delivered_at = coalesce(m.delivered_at, i.delivered_at),
             read_at = coalesce(m.read_at, i.read_at),
             failed_at = CASE WHEN i.state <= 4 THEN NULL ELSE coalesce(i.failed_at, m.failed_at) END
         FROM UNNEST($1::bigint[], $2::integer[], $3::smallint[], $4::bigint[], $5::smallint[], $6::text[],
                     $7::bigint[], $8::text[], $9::text[], $10::timestamptz[], $11::timestamptz[],
                     $12::timestamptz[], $13::timestamptz[], $14::timestamptz[], $15::text[])
              AS i (task_id, no, state_before, request_id, state, vendor_id, vendor_hash, code, reason,
                    accepted_at, sent_at, delivered_at, read_at, failed_at, code_before)
         WHERE m.task_id = i.task_id AND m.no = i.no
           AND m.state = i.state_before AND m.request_id = i.request_id
           -- The counts and the troubles are moved out of the place that the code names.
           AND m.code IS NOT DISTINCT FROM i.code_before",
    )
    .bind(changes.iter().map(|c| c.before.task_id).collect::<Vec<_>>())
    .bind(changes.iter().map(|c| c.before.no).collect::<Vec<_>>())
    .bind(changes.iter().map(|c| c.before.state as i16).collect::<Vec<_>>())
    .bind(changes.iter().map(|c| c.before.request_id).collect::<Vec<_>>())
    .bind(changes.iter().map(|c| c.state as i16).collect::<Vec<_>>())
    .bind(changes.iter().map(|c| c.vendor_id.as_deref()).collect::<Vec<_>>())
    .bind(changes.iter().map(|c| c.vendor_id.as_deref().map(vendor_hash)).collect::<Vec<_>>())
    .bind(changes.iter().map(|c| c.why.as_ref().map(|why| why.code.as_str())).collect::<Vec<_>>())
    .bind(changes.iter().map(|c| c.why.as_ref().map(|why| why.reason.as_str())).collect::<Vec<_>>())
    .bind(times(|t| t.accepted_at))
    .bind(times(|t| t.sent_at))
    .bind(times(|t| t.delivered_at))
    .bind(times(|t| t.read_at))
    .bind(times(|t| t.failed_at))
    .bind(changes.iter().map(|c| c.before.code.as_deref()).collect::<Vec<_>>())
    .execute(conn)
    .await
    .map_err(Error::database("applying reports"))?;
    Ok(updated.rows_affected() == changes.len() as u64)
}

/// A report that waits for its message to be known.
#[derive(Clone, Debug)]
pub struct EarlyReport {
    /// Its number.
    pub id: i64,
    /// The report in our words, as JSON.
    pub body: serde_json::Value,
    /// When it came.
    pub received_at: DateTime<Utc>,
}

/// Keeps reports whose message is not known yet.
///
/// # Errors
/// The database did not do it.
pub async fn keep_early(
    conn: &mut PgConnection,
    account: &str,
    reports: &[(StatusReport, serde_json::Value, DateTime<Utc>)],
) -> Result<()> {
    if reports.is_empty() {
        return Ok(());
    }
    let named = |report: &StatusReport| report.correlation;
    sqlx::query(
        "INSERT INTO early_reports (account, vendor_hash, request_id, task_id, no, body, received_at)
         SELECT $1, * FROM UNNEST($2::bigint[], $3::bigint[], $4::bigint[], $5::integer[], $6::jsonb[],
                                  $7::timestamptz[])",
    )
    .bind(account)
    .bind(reports.iter().map(|(report, ..)| vendor_hash(&report.vendor_id)).collect::<Vec<_>>())
    .bind(reports.iter().map(|(report, ..)| named(report).map(|c| c.request_id)).collect::<Vec<_>>())
    .bind(reports.iter().map(|(report, ..)| named(report).map(|c| c.task_id)).collect::<Vec<_>>())
    .bind(reports.iter().map(|(report, ..)| named(report).map(|c| c.no)).collect::<Vec<_>>())
    .bind(reports.iter().map(|(_, body, _)| body.clone()).collect::<Vec<_>>())
    .bind(reports.iter().map(|(.., at)| *at).collect::<Vec<_>>())
    .execute(conn)
    .await
    .map_err(Error::database("keeping early reports"))?;
    Ok(())
}

/// A slice of the reports that wait: what was taken of it, and where the next begins.
#[derive(Clone, Debug, Default)]
pub struct EarlySlice {
    /// The reports whose message is known by now, in the order of their coming.
    pub known: Vec<EarlyReport>,
    /// The last report that was looked at; none: there are no more beyond it.
    pub goes_on_after: Option<i64>,
}

/// Looks at the next `limit` waiting reports beyond the number `after`, and takes those whose message is known by now.
///
/// It asks as [`find`] finds, account and all: a report that is taken in vain would be put back and taken for ever.
///
/// # Errors
/// The database did not do it.
pub async fn take_known_early(
    conn: &mut PgConnection,
    account: &str,
    after: i64,
    limit: i64,
) -> Result<EarlySlice> {
    // Rows that are not taken come back without their body, to say how far it went.
    let rows: Vec<(i64, Option<serde_json::Value>, DateTime<Utc>)> = sqlx::query_as(
        "WITH slice AS MATERIALIZED (
            SELECT * FROM early_reports WHERE account = $1 AND id > $2 ORDER BY id LIMIT $3
         ), known AS (
            -- LIMIT keeps each look a probe of an index, whatever the planner believes of the tables.
            SELECT s.id FROM slice s CROSS JOIN LATERAL (
                SELECT FROM messages m JOIN tasks t ON t.id = m.task_id AND t.account = $1
                WHERE m.task_id = s.task_id AND m.no = s.no AND m.request_id >= s.request_id
                UNION ALL
                SELECT FROM messages m JOIN tasks t ON t.id = m.task_id AND t.account = $1
                WHERE m.vendor_hash = s.vendor_hash AND s.task_id IS NULL
                UNION ALL
                SELECT FROM old_vendor_ids o JOIN tasks t ON t.id = o.task_id AND t.account = $1
                WHERE o.vendor_hash = s.vendor_hash AND s.task_id IS NULL
                LIMIT 1
            ) message
         ), taken AS (
            DELETE FROM early_reports e
            USING known WHERE e.id = known.id
            RETURNING e.id
         )
         SELECT s.id, CASE WHEN taken.id IS NOT NULL THEN s.body END, s.received_at
         FROM slice s LEFT JOIN taken ON taken.id = s.id
         ORDER BY s.id",
    )
    .bind(account)
    .bind(after)
    .bind(limit)
    .fetch_all(conn)
    .await
    .map_err(Error::database("looking at early reports"))?;
    let is_full = i64::try_from(rows.len()).is_ok_and(|looked_at| looked_at >= limit);
    let goes_on_after = rows.last().map(|(id, ..)| *id).filter(|_| is_full);
    let known = rows
        .into_iter()
        .filter_map(|(id, body, received_at)| Some(EarlyReport { id, body: body?, received_at }))
        .collect();
    Ok(EarlySlice { known, goes_on_after })
}

/// The number beyond which the waiting reports that came after `since` lie, and all that are still to come.
///
/// # Errors
/// The database did not do it.
pub async fn early_since(conn: &mut PgConnection, account: &str, since: DateTime<Utc>) -> Result<i64> {
    sqlx::query_scalar(
        "SELECT coalesce(min(id) FILTER (WHERE received_at > $2) - 1, max(id), 0)
         FROM early_reports WHERE account = $1",
    )
    .bind(account)
    .bind(since)
    .fetch_one(conn)
    .await
    .map_err(Error::database("looking how old early reports are"))
}

/// Drops early reports that nobody will ever claim; how many.
///
/// # Errors
/// The database did not do it.
pub async fn drop_foreign_early(
    conn: &mut PgConnection,
    account: &str,
    before: DateTime<Utc>,
) -> Result<u64> {
    let dropped = sqlx::query("DELETE FROM early_reports WHERE account = $1 AND received_at < $2")
        .bind(account)
        .bind(before)
        .execute(conn)
        .await
        .map_err(Error::database("dropping foreign reports"))?;
    Ok(dropped.rows_affected())
}

/// What rules must know of a task.
#[derive(Clone, Debug)]
pub struct TaskFacts {
    /// The task.
    pub task_id: i64,
    /// The sender.
    pub sender: String,
    /// `name/language` of a template message.
    pub template: Option<String>,
    /// The canonical message.
    pub message: serde_json::Value,
    /// [`model::campaign`] category as a number; 1 is marketing.
    pub category: i16,
    /// The campaign's `max_attempts`.
    pub max_attempts: i16,
}

/// Reads what rules must know of tasks.
///
/// # Errors
/// The database did not do it.
pub async fn task_facts(conn: &mut PgConnection, task_ids: &[i64]) -> Result<BTreeMap<i64, TaskFacts>> {
    let rows = sqlx::query(
        "SELECT t.id, t.sender, t.template, c.message, c.category, c.max_attempts
         FROM tasks t JOIN campaigns c ON c.id = t.campaign_id WHERE t.id = ANY ($1)",
    )
    .bind(task_ids)
    .fetch_all(conn)
    .await
    .map_err(Error::database("reading tasks' messages"))?;
    Ok(rows
        .iter()
        .map(|row| {
            let task_id = row.get("id");
            let facts = TaskFacts {
                task_id,
                sender: row.get("sender"),
                template: row.get("template"),
                message: row.get("message"),
                category: row.get("category"),
                max_attempts: row.get("max_attempts"),
            };
            (task_id, facts)
        })
        .collect())
}

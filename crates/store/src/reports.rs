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

const COLUMNS: &str = "m.task_id, m.no, m.state, m.attempt, m.request_id, m.vendor_id, m.code, r.no IS NOT NULL AS waits, p.phone,
     m.sent_at IS NOT NULL AS has_sent, m.delivered_at IS NOT NULL AS has_delivered, m.read_at IS NOT NULL AS has_read";

/// Reads the messages that the reports may speak of.
///
/// # Errors
/// The database did not do it, or a row says what cannot be.
pub async fn find(conn: &mut PgConnection, account: &str, reports: &[StatusReport]) -> Result<Found> {
    let named: Vec<(i64, i32)> =
        reports.iter().filter_map(|report| report.correlation).map(|c| (c.task_id, c.no)).collect();
    let hashes: Vec<i64> = reports
        .iter()
        .filter(|report| report.correlation.is_none())
        .map(|report| vendor_hash(&report.vendor_id))
        .collect();
    let mut found = Found::default();
    if !named.is_empty() {
        // The account is part of the question: a token of one account must not move another's messages.
        let rows = sqlx::query(sqlx::AssertSqlSafe(format!(
            "SELECT {COLUMNS} FROM UNNEST($1::bigint[], $2::integer[]) AS i (task_id, no)
             JOIN messages m ON m.task_id = i.task_id AND m.no = i.no
             JOIN tasks t ON t.id = m.task_id AND t.account = $3
             LEFT JOIN recipients p ON p.audience_id = t.audience_id AND p.no = m.no
             LEFT JOIN retries r ON r.task_id = m.task_id AND r.no = m.no"
        )))
        .bind(named.iter().map(|row| row.0).collect::<Vec<_>>())
        .bind(named.iter().map(|row| row.1).collect::<Vec<_>>())
        .bind(account)
        .fetch_all(&mut *conn)
        .await
        .map_err(Error::database("finding messages by recipient"))?;
        found.add(&rows)?;
    }
    if !hashes.is_empty() {
        let rows = sqlx::query(sqlx::AssertSqlSafe(format!(
            "SELECT {COLUMNS} FROM messages m
             JOIN tasks t ON t.id = m.task_id AND t.account = $2
             LEFT JOIN recipients p ON p.audience_id = t.audience_id AND p.no = m.no
             LEFT JOIN retries r ON r.task_id = m.task_id AND r.no = m.no
             WHERE m.vendor_hash = ANY ($1)"
        )))
        .bind(&hashes)
        .bind(account)
        .fetch_all(&mut *conn)
        .await
        .map_err(Error::database("finding messages by vendor id"))?;
        found.add(&rows)?;
        found.add_old(conn, account, &hashes).await?;
    }
    Ok(found)
}

impl Found {
    fn add(&mut self, rows: &[PgRow]) -> Result<()> {
        for row in rows {
            let standing = standing(row)?;
            let key = (standing.task_id, standing.no);
            if let Some(vendor_id) = &standing.vendor_id {
                self.by_vendor_id.insert(vendor_id.clone(), key);
            }
            self.by_recipient.insert(key, standing);
        }
        Ok(())
    }

    /// Vendor ids that no message bears any more: of older calls.
    async fn add_old(&mut self, conn: &mut PgConnection, account: &str, hashes: &[i64]) -> Result<()> {
        let known: HashSet<i64> = self.by_vendor_id.keys().map(|id| vendor_hash(id)).collect();
        let rest: Vec<i64> = hashes.iter().copied().filter(|hash| !known.contains(hash)).collect();
        if rest.is_empty() {
            return Ok(());
        }
        let rows = sqlx::query(sqlx::AssertSqlSafe(format!(
            "SELECT {COLUMNS}, o.vendor_hash AS old_hash FROM old_vendor_ids o
             JOIN messages m ON m.task_id = o.task_id AND m.no = o.no
             JOIN tasks t ON t.id = m.task_id AND t.account = $2
             LEFT JOIN recipients p ON p.audience_id = t.audience_id AND p.no = m.no
             LEFT JOIN retries r ON r.task_id = m.task_id AND r.no = m.no
             WHERE o.vendor_hash = ANY ($1)"
        )))
        .bind(rest)
        .bind(account)
        .fetch_all(conn)
        .await
        .map_err(Error::database("finding messages by older vendor ids"))?;
        for row in &rows {
            self.by_old_hash.insert(row.get("old_hash"), (row.get("task_id"), row.get("no")));
        }
        self.add(&rows)
    }
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
                     $12::timestamptz[], $13::timestamptz[], $14::timestamptz[])
              AS i (task_id, no, state_before, request_id, state, vendor_id, vendor_hash, code, reason,
                    accepted_at, sent_at, delivered_at, read_at, failed_at)
         WHERE m.task_id = i.task_id AND m.no = i.no
           AND m.state = i.state_before AND m.request_id = i.request_id",
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

/// Takes the early reports whose message is known by now, in the order of their coming.
///
/// # Errors
/// The database did not do it.
pub async fn take_known_early(
    conn: &mut PgConnection,
    account: &str,
    limit: i64,
) -> Result<Vec<EarlyReport>> {
    let rows: Vec<(i64, serde_json::Value, DateTime<Utc>)> = sqlx::query_as(
        "DELETE FROM early_reports WHERE id IN (
            SELECT e.id FROM early_reports e
            WHERE e.account = $1
              AND (EXISTS (SELECT FROM messages m
                           WHERE m.task_id = e.task_id AND m.no = e.no AND m.request_id >= e.request_id)
                   OR EXISTS (SELECT FROM messages m WHERE m.vendor_hash = e.vendor_hash))
            ORDER BY e.id LIMIT $2)
         RETURNING id, body, received_at",
    )
    .bind(account)
    .bind(limit)
    .fetch_all(conn)
    .await
    .map_err(Error::database("looking at early reports"))?;
    let mut rows: Vec<_> =
        rows.into_iter().map(|(id, body, received_at)| EarlyReport { id, body, received_at }).collect();
    rows.sort_by_key(|row| row.id);
    Ok(rows)
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

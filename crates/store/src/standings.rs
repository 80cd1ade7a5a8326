//! The messages that reports speak of, as they stand, and what rules must know of their tasks.
//!
//! Read without locks by the account's owner alone: [`crate::reports`] writes them only where they still stand so.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use model::{
    Phone,
    report::{ReportedOutcome, StatusReport},
    status::MessageState,
};
use sqlx::{PgConnection, Row as _, postgres::PgRow};

use crate::{Error, Result, ids::vendor_hash, sql};

/// A message as reports see it.
#[derive(Clone, Debug)]
pub struct Standing {
    /// The task.
    pub task_id: i64,
    /// The recipient's number.
    pub no: i32,
    /// The recipient's number; read only where a report says that the message failed.
    pub phone: Option<Phone>,
    /// The state.
    pub state: MessageState,
    /// Attempts used up.
    pub attempt: i16,
    /// The latest decided call.
    pub request_id: i64,
    /// The vendor's id of that call is known.
    pub has_vendor_id: bool,
    /// The last code.
    pub code: Option<String>,
    /// A row in `retries` waits for it.
    pub waits: bool,
    /// It waits because that call gave no answer: news of the call decides after all.
    pub is_resent: bool,
    /// The time of `sent` is known.
    pub has_sent: bool,
    /// The time of `delivered` is known.
    pub has_delivered: bool,
    /// The time of `read` is known.
    pub has_read: bool,
}

/// The messages that reports may speak of, by recipient and by vendor id.
#[derive(Debug, Default)]
pub struct Found {
    /// By (task, number).
    pub by_recipient: HashMap<(i64, i32), Standing>,
    /// (task, number) by the vendor's id of the latest call, where reports asked by id.
    pub by_vendor_id: HashMap<String, (i64, i32)>,
    /// (task, number) by the hash of the vendor's id of an older call.
    pub by_old_hash: HashMap<i64, (i64, i32)>,
}

/// A recipient of a task.
type Key = (i64, i32);

/// Makes the rest of the transaction look single rows up by their indexes. Without statistics, or with those of a table
/// that was nearly empty, joining a few reports with all messages may look cheaper to the planner.
///
/// # Errors
/// The database did not do it.
pub async fn look_up_by_index(conn: &mut PgConnection) -> Result<()> {
    sql::query(
        "SELECT set_config('enable_hashjoin', 'off', true), set_config('enable_mergejoin', 'off', true),
                set_config('enable_seqscan', 'off', true)",
    )
    .execute(conn)
    .await
    .map_err(Error::database("preparing to apply reports"))?;
    Ok(())
}

/// Reads the messages that the reports may speak of.
///
/// # Errors
/// The database did not do it, or a row says what cannot be.
pub async fn find<'a>(
    conn: &mut PgConnection,
    account: &str,
    reports: impl IntoIterator<Item = &'a StatusReport> + Clone,
) -> Result<Found> {
    let mut asked = Asked::default();
    for report in reports.clone() {
        match report.correlation {
            Some(named) => asked.keys.push((named.task_id, named.no)),
            None => asked.hashes.push(vendor_hash(&report.vendor_id)),
        }
    }
    let mut found = Found::default();
    found.read_by_hash(conn, &mut asked.hashes).await?;
    found.keep_only(conn, account).await?;
    found.read_by_key(conn, account, asked.keys).await?;
    // Ids that no message of the account bears any more: of older calls.
    let known: HashSet<i64> = found.by_vendor_id.keys().map(|id| vendor_hash(id)).collect();
    asked.hashes.retain(|hash| !known.contains(hash));
    let older = older_calls(conn, asked.hashes).await?;
    if !older.is_empty() {
        found.read_by_key(conn, account, older.iter().map(|(_, key)| *key).collect()).await?;
    }
    let of_account = older.into_iter().filter(|(_, key)| found.by_recipient.contains_key(key));
    found.by_old_hash = of_account.collect();
    let failed: HashSet<Key> = reports
        .into_iter()
        .filter(|report| matches!(report.outcome, ReportedOutcome::Failed { .. }))
        .filter_map(|report| found.recipient(report))
        .collect();
    found.read_phones(conn, &failed).await?;
    Ok(found)
}

/// What reports ask for.
#[derive(Default)]
struct Asked {
    keys: Vec<Key>,
    hashes: Vec<i64>,
}

/// What is read of each message.
macro_rules! select_standing {
    ($which:literal) => {
        concat!(
            "SELECT m.task_id, m.no, m.state, m.attempt, m.request_id, m.vendor_id, m.code,
                    -- Asked only where it can be: most messages have never been tried again.
                    CASE WHEN m.state = 6 THEN EXISTS (SELECT FROM retries r WHERE r.task_id = m.task_id
                                                                               AND r.no = m.no)
                         ELSE false END,
                    CASE WHEN m.state = 6 THEN EXISTS (SELECT FROM resends r WHERE r.task_id = m.task_id AND r.no = m.no
                                                                               AND r.request_id = m.request_id)
                         ELSE false END,
                    m.sent_at IS NOT NULL, m.delivered_at IS NOT NULL, m.read_at IS NOT NULL
             FROM messages m WHERE ",
            $which
        )
    };
}

impl Found {
    /// The recipient that a report speaks of.
    fn recipient(&self, report: &StatusReport) -> Option<Key> {
        let key = match report.correlation {
            Some(named) => (named.task_id, named.no),
            None => match self.by_vendor_id.get(&report.vendor_id) {
                Some(key) => *key,
                None => *self.by_old_hash.get(&vendor_hash(&report.vendor_id))?,
            },
        };
        self.by_recipient.contains_key(&key).then_some(key)
    }

    async fn read_by_hash(&mut self, conn: &mut PgConnection, hashes: &mut Vec<i64>) -> Result<()> {
        hashes.sort_unstable();
        hashes.dedup();
        if hashes.is_empty() {
            return Ok(());
        }
        let rows = sql::query(select_standing!("m.vendor_hash = ANY ($1)"))
            .bind(hashes.as_slice())
            .fetch_all(conn)
            .await
            .map_err(Error::database("finding messages by vendor id"))?;
        for row in &rows {
            let (standing, vendor_id) = standing(row)?;
            let key = (standing.task_id, standing.no);
            if let Some(vendor_id) = vendor_id {
                self.by_vendor_id.insert(vendor_id.to_owned(), key);
            }
            self.by_recipient.insert(key, standing);
        }
        Ok(())
    }

    async fn read_by_key(
        &mut self,
        conn: &mut PgConnection,
        account: &str,
        mut keys: Vec<Key>,
    ) -> Result<()> {
        keys.retain(|key| !self.by_recipient.contains_key(key));
        let own = of_account(conn, account, keys.iter().map(|(task_id, _)| *task_id).collect()).await?;
        keys.retain(|(task_id, _)| own.contains(task_id));
        // In the order in which the rows lie: neighbours share pages.
        keys.sort_unstable();
        keys.dedup();
        if keys.is_empty() {
            return Ok(());
        }
        // A statement for each task: its partition is then chosen once, and not for every row.
        for of_task in keys.chunk_by(|(task, _), (next, _)| task == next) {
            let Some((task_id, _)) = of_task.first() else { continue };
            let rows = sql::query(select_standing!("m.task_id = $1 AND m.no = ANY ($2)"))
                .bind(task_id)
                .bind(of_task.iter().map(|(_, no)| *no).collect::<Vec<_>>())
                .fetch_all(&mut *conn)
                .await
                .map_err(Error::database("reading the messages of reports"))?;
            for row in &rows {
                let (standing, _) = standing(row)?;
                self.by_recipient.insert((standing.task_id, standing.no), standing);
            }
        }
        Ok(())
    }

    /// Forgets messages of other accounts' tasks.
    async fn keep_only(&mut self, conn: &mut PgConnection, account: &str) -> Result<()> {
        let own = of_account(conn, account, self.by_recipient.keys().map(|key| key.0).collect()).await?;
        self.by_recipient.retain(|(task_id, _), _| own.contains(task_id));
        self.by_vendor_id.retain(|_, (task_id, _)| own.contains(task_id));
        Ok(())
    }

    /// Reads the phones of recipients: only a failure may concern the number itself.
    async fn read_phones(&mut self, conn: &mut PgConnection, of: &HashSet<Key>) -> Result<()> {
        if of.is_empty() {
            return Ok(());
        }
        let rows: Vec<(i64, i32, i64)> = sql::query_as(
            "SELECT i.task_id, i.no, p.phone
             FROM UNNEST($1::bigint[], $2::integer[]) AS i (task_id, no)
             JOIN tasks t ON t.id = i.task_id
             CROSS JOIN LATERAL (SELECT phone FROM recipients
                                 WHERE audience_id = t.audience_id AND no = i.no LIMIT 1) p",
        )
        .bind(of.iter().map(|(task_id, _)| *task_id).collect::<Vec<_>>())
        .bind(of.iter().map(|(_, no)| *no).collect::<Vec<_>>())
        .fetch_all(conn)
        .await
        .map_err(Error::database("reading the numbers of failed messages"))?;
        for (task_id, no, phone) in rows {
            if let Some(standing) = self.by_recipient.get_mut(&(task_id, no)) {
                standing.phone = Phone::from_digits(phone.cast_unsigned());
            }
        }
        Ok(())
    }
}

/// Which of the tasks are the account's: a token of one account must not move another's messages.
async fn of_account(conn: &mut PgConnection, account: &str, tasks: BTreeSet<i64>) -> Result<HashSet<i64>> {
    if tasks.is_empty() {
        return Ok(HashSet::new());
    }
    let own: Vec<i64> = sql::query_scalar("SELECT id FROM tasks WHERE id = ANY ($1) AND account = $2")
        .bind(tasks.into_iter().collect::<Vec<_>>())
        .bind(account)
        .fetch_all(conn)
        .await
        .map_err(Error::database("looking up the tasks of reports"))?;
    Ok(own.into_iter().collect())
}

/// The recipients whose older calls had ids with these hashes, of any account.
async fn older_calls(conn: &mut PgConnection, hashes: Vec<i64>) -> Result<Vec<(i64, Key)>> {
    if hashes.is_empty() {
        return Ok(Vec::new());
    }
    let rows: Vec<(i64, i64, i32)> =
        sql::query_as("SELECT vendor_hash, task_id, no FROM old_vendor_ids WHERE vendor_hash = ANY ($1)")
            .bind(hashes)
            .fetch_all(conn)
            .await
            .map_err(Error::database("finding messages by an older vendor id"))?;
    Ok(rows.into_iter().map(|(hash, task_id, no)| (hash, (task_id, no))).collect())
}

/// A row of [`select_standing`], and the vendor's id in it.
fn standing(row: &PgRow) -> Result<(Standing, Option<&str>)> {
    let (task_id, no, state): (i64, i32, i16) = (row.get(0), row.get(1), row.get(2));
    let known = MessageState::from_i16(state);
    let vendor_id: Option<&str> = row.get(5);
    let standing = Standing {
        task_id,
        no,
        phone: None,
        state: known
            .ok_or_else(|| Error::contradiction("messages", "state", format!("{task_id}/{no}"), state))?,
        attempt: row.get(3),
        request_id: row.get(4),
        has_vendor_id: vendor_id.is_some(),
        code: row.get(6),
        waits: row.get(7),
        is_resent: row.get(8),
        has_sent: row.get(9),
        has_delivered: row.get(10),
        has_read: row.get(11),
    };
    Ok((standing, vendor_id))
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
    let rows = sql::query(
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

//! What came of calls: message rows, retries, closed requests (see [`crate::groups`] for the transaction).

use chrono::{DateTime, Utc};
use model::{counts::Place, status::MessageState};
use sqlx::PgConnection;

use crate::{
    Error, Result,
    events::{self, Moved},
    ids::vendor_hash,
    intents::{Intent, Taken, Unfit},
    sql, troubles,
    unknown::NewUnknown,
};

/// What came of one recipient's call.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// The task.
    pub task_id: i64,
    /// The call.
    pub request_id: i64,
    /// The recipient, as it was taken.
    pub taken: Taken,
    /// What came of it.
    pub result: CallResult,
    /// When the answer came, by the business clock.
    pub at: DateTime<Utc>,
}

/// What came of a call, with what is done about it decided already.
#[derive(Clone, Debug)]
pub enum CallResult {
    /// The vendor took it under this id.
    Accepted(String),
    /// It will not come.
    Failed(Why),
    /// It is tried again.
    Retry(Why, Again),
    /// It may have reached the vendor.
    Unknown(Why),
    /// The call never began, or was refused only for its company: back to where it was, as if never taken.
    Requeued(Again),
}

/// A code and its text.
#[derive(Clone, Debug)]
pub struct Why {
    /// The vendor's code, or one of ours.
    pub code: String,
    /// The text.
    pub reason: String,
}

/// When and how a recipient is tried again.
#[derive(Clone, Copy, Debug)]
pub struct Again {
    /// When.
    pub due_at: DateTime<Utc>,
    /// Attempts used up so far.
    pub attempts_used: i16,
    /// The largest batch it may travel in.
    pub batch_max: i16,
}

/// A row of `messages` to be written.
#[derive(Clone, Debug)]
pub(crate) struct MessageRow {
    task_id: i64,
    no: i32,
    state: MessageState,
    attempt: i16,
    request_id: i64,
    vendor_id: Option<String>,
    code: Option<String>,
    reason: Option<String>,
    at: Option<DateTime<Utc>>,
}

impl MessageRow {
    /// The request's id is kept though nothing leaves: a request that is still open for others may name the recipient
    /// from before, and only a newer id says that this is the later word.
    pub(crate) fn unfit(intent: &Intent, unfit: &Unfit) -> Self {
        Self {
            task_id: intent.task_id,
            no: unfit.no,
            state: MessageState::Failed,
            attempt: unfit.attempt - 1,
            request_id: intent.request_id,
            vendor_id: None,
            code: Some(unfit.code.clone()),
            reason: Some(unfit.reason.clone()),
            at: None,
        }
    }

    /// See [`MessageRow::unfit`] for the request's id.
    pub(crate) fn suppressed(intent: &Intent, taken: &Taken, why: &Why) -> Self {
        Self {
            task_id: intent.task_id,
            no: taken.no,
            state: MessageState::Suppressed,
            attempt: taken.attempt - 1,
            request_id: intent.request_id,
            vendor_id: None,
            code: Some(why.code.clone()).filter(|code| !code.is_empty()),
            reason: Some(why.reason.clone()),
            at: None,
        }
    }

    pub(crate) fn unknown(task_id: i64, no: i32, attempt: i16, request_id: i64, why: &Why) -> Self {
        Self {
            task_id,
            no,
            state: MessageState::Unknown,
            attempt,
            request_id,
            vendor_id: None,
            code: Some(why.code.clone()),
            reason: Some(why.reason.clone()),
            at: None,
        }
    }

    /// The row of a call's outcome; none where it never began.
    pub(crate) fn of(outcome: &Outcome) -> Option<Self> {
        let (state, attempt, vendor_id, why) = match &outcome.result {
            CallResult::Accepted(id) => {
                (MessageState::Accepted, outcome.taken.attempt, Some(id.clone()), None)
            }
            CallResult::Failed(why) => (MessageState::Failed, outcome.taken.attempt, None, Some(why)),
            CallResult::Retry(why, again) => (MessageState::Retrying, again.attempts_used, None, Some(why)),
            CallResult::Unknown(why) => (MessageState::Unknown, outcome.taken.attempt, None, Some(why)),
            CallResult::Requeued(_) => return None,
        };
        Some(Self {
            task_id: outcome.task_id,
            no: outcome.taken.no,
            state,
            attempt,
            request_id: outcome.request_id,
            vendor_id,
            code: why.map(|why| why.code.clone()),
            reason: why.map(|why| why.reason.clone()),
            at: Some(outcome.at),
        })
    }

    /// Whom it speaks of.
    pub(crate) fn recipient(&self) -> (i64, i32) {
        (self.task_id, self.no)
    }

    /// What is noted beside it, when it is unknown.
    pub(crate) fn as_unknown(&self, since: DateTime<Utc>) -> Option<NewUnknown> {
        (self.state == MessageState::Unknown).then_some(NewUnknown {
            task_id: self.task_id,
            no: self.no,
            request_id: self.request_id,
            attempt: self.attempt,
            since,
        })
    }

    /// What webhooks are told of it; `now` is when it was written.
    pub(crate) fn moved(&self, now: DateTime<Utc>) -> Moved<'_> {
        Moved {
            task_id: self.task_id,
            no: self.no,
            state: self.state,
            code: self.code.as_deref(),
            at: Some(self.at.unwrap_or(now)),
        }
    }

    pub(crate) fn trouble(&self) -> troubles::Trouble<'_> {
        (self.task_id, self.state, self.no, self.code.as_deref().unwrap_or(""))
    }
}

impl Outcome {
    /// Where it puts the recipient.
    pub(crate) fn place(&self) -> Place<'_> {
        match &self.result {
            CallResult::Accepted(_) => Place::Message(MessageState::Accepted, ""),
            CallResult::Failed(why) => Place::Message(MessageState::Failed, &why.code),
            CallResult::Retry(why, _) => Place::Message(MessageState::Retrying, &why.code),
            CallResult::Unknown(why) => Place::Message(MessageState::Unknown, &why.code),
            CallResult::Requeued(_) => self.taken.prior.place_back(),
        }
    }
}

/// Writes message rows; a row of an earlier call becomes this call's.
pub(crate) async fn upsert_messages(
    conn: &mut PgConnection,
    rows: &[MessageRow],
    now: DateTime<Utc>,
) -> Result<()> {
    if rows.is_empty() {
        return Ok(());
    }
    let at = |row: &MessageRow, wanted: bool| wanted.then(|| row.at.unwrap_or(now));
    sql::query(
        "INSERT INTO messages AS m (task_id, no, state, attempt, request_id, vendor_hash, vendor_id,
                                    code, reason, accepted_at, failed_at)
         SELECT * FROM UNNEST($1::bigint[], $2::integer[], $3::smallint[], $4::smallint[], $5::bigint[],
                              $6::bigint[], $7::text[], $8::text[], $9::text[],
                              $10::timestamptz[], $11::timestamptz[])
         ON CONFLICT (task_id, no) DO UPDATE
         SET state = excluded.state, attempt = excluded.attempt, request_id = excluded.request_id,
             vendor_hash = excluded.vendor_hash, vendor_id = excluded.vendor_id,
             code = excluded.code, reason = excluded.reason, accepted_at = excluded.accepted_at,
             sent_at = NULL, delivered_at = NULL, read_at = NULL, failed_at = excluded.failed_at",
    )
    .bind(rows.iter().map(|row| row.task_id).collect::<Vec<_>>())
    .bind(rows.iter().map(|row| row.no).collect::<Vec<_>>())
    .bind(rows.iter().map(|row| row.state as i16).collect::<Vec<_>>())
    .bind(rows.iter().map(|row| row.attempt).collect::<Vec<_>>())
    .bind(rows.iter().map(|row| row.request_id).collect::<Vec<_>>())
    .bind(rows.iter().map(|row| row.vendor_id.as_deref().map(vendor_hash)).collect::<Vec<_>>())
    .bind(rows.iter().map(|row| row.vendor_id.as_deref()).collect::<Vec<_>>())
    .bind(rows.iter().map(|row| row.code.as_deref()).collect::<Vec<_>>())
    .bind(rows.iter().map(|row| row.reason.as_deref()).collect::<Vec<_>>())
    .bind(rows.iter().map(|row| at(row, row.state.is_accepted())).collect::<Vec<_>>())
    .bind(rows.iter().map(|row| at(row, row.state == MessageState::Failed)).collect::<Vec<_>>())
    .execute(conn)
    .await
    .map_err(Error::database("writing messages"))?;
    Ok(())
}

/// Keeps the vendor ids of the calls that are about to be overwritten, so that a late report finds its recipient.
pub(crate) async fn keep_old_ids(
    conn: &mut PgConnection,
    recipients: impl Iterator<Item = (i64, i32)>,
) -> Result<()> {
    let (tasks, nos): (Vec<i64>, Vec<i32>) = recipients.unzip();
    if tasks.is_empty() {
        return Ok(());
    }
    sql::query(
        "INSERT INTO old_vendor_ids (vendor_hash, task_id, no)
         SELECT m.vendor_hash, m.task_id, m.no
         FROM UNNEST($1::bigint[], $2::integer[]) AS i (task_id, no)
         JOIN messages m ON m.task_id = i.task_id AND m.no = i.no
         WHERE m.vendor_hash IS NOT NULL
         ON CONFLICT DO NOTHING",
    )
    .bind(tasks)
    .bind(nos)
    .execute(conn)
    .await
    .map_err(Error::database("keeping older vendor ids"))?;
    Ok(())
}

/// Queues recipients to be tried again, and wakes tasks that had completed.
///
/// The tasks are locked, so that none completes while a retry of it is being written.
pub(crate) async fn insert_retries(conn: &mut PgConnection, rows: &[(i64, i32, Again)]) -> Result<()> {
    if rows.is_empty() {
        return Ok(());
    }
    let task_ids: Vec<i64> = rows.iter().map(|row| row.0).collect();
    wake_tasks(conn, &task_ids).await?;
    sql::query(
        "INSERT INTO retries (task_id, no, due_at, attempt, batch_max)
         SELECT * FROM UNNEST($1::bigint[], $2::integer[], $3::timestamptz[], $4::smallint[], $5::smallint[])",
    )
    .bind(rows.iter().map(|row| row.0).collect::<Vec<_>>())
    .bind(rows.iter().map(|row| row.1).collect::<Vec<_>>())
    .bind(rows.iter().map(|row| row.2.due_at).collect::<Vec<_>>())
    .bind(rows.iter().map(|row| row.2.attempts_used).collect::<Vec<_>>())
    .bind(rows.iter().map(|row| row.2.batch_max).collect::<Vec<_>>())
    .execute(conn)
    .await
    .map_err(Error::database("queueing retries"))?;
    Ok(())
}

/// Makes completed tasks run again, and keeps every task named from completing until the transaction ends.
///
/// Two statements: the second must see what a completion wrote while the first waited for it.
pub(crate) async fn wake_tasks(conn: &mut PgConnection, task_ids: &[i64]) -> Result<()> {
    sql::query("SELECT FROM tasks WHERE id = ANY ($1) ORDER BY id FOR NO KEY UPDATE")
        .bind(task_ids)
        .execute(&mut *conn)
        .await
        .map_err(Error::database("locking tasks"))?;
    let woken = sql::query("UPDATE tasks SET state = 2, ended_at = NULL WHERE id = ANY ($1) AND state = 3")
        .bind(task_ids)
        .execute(&mut *conn)
        .await
        .map_err(Error::database("waking tasks"))?;
    if woken.rows_affected() > 0 {
        events::tasks(conn, task_ids, None).await?;
    }
    Ok(())
}

//! An operator's decisions on messages that have come to an end or to none: failed ones are taken again, unknown ones
//! are decided. The moves are those of reports, made by hand.

use chrono::{DateTime, Utc};
use model::{
    status::MessageState,
    task::{Phase, Refused, TaskState},
};
use sqlx::{FromRow, PgConnection};

use crate::{
    Error, Result,
    outcomes::Again,
    reports::{self, Change, Times},
    sql,
    standings::Standing,
};

/// A failed or unknown message, as it was read.
#[derive(Clone, Debug)]
pub struct Candidate {
    /// Where it stands.
    pub standing: Standing,
    /// The last code.
    pub code: String,
    /// The vendor's text, or our reason.
    pub reason: String,
}

/// Where a page of candidates ended.
pub type After = (String, i32);

#[derive(FromRow)]
struct CandidateRow {
    no: i32,
    code: String,
    reason: Option<String>,
    attempt: i16,
    request_id: i64,
    has_vendor_id: bool,
}

/// A page of a task's failed or unknown messages, by code and number; `code` and `nos` narrow.
///
/// # Errors
/// The database did not do it.
pub async fn candidates(
    conn: &mut PgConnection,
    task_id: i64,
    state: MessageState,
    code: Option<&str>,
    nos: Option<&[i32]>,
    after: &After,
    limit: i64,
) -> Result<Vec<Candidate>> {
    let rows: Vec<CandidateRow> = sql::query_as(
        "SELECT x.no, x.code, m.reason, m.attempt, m.request_id,
                m.vendor_id IS NOT NULL AS has_vendor_id
         FROM troubles x JOIN messages m ON m.task_id = x.task_id AND m.no = x.no AND m.state = x.state
         WHERE x.task_id = $1 AND x.state = $2 AND ($3::text IS NULL OR x.code = $3)
           AND ($4::integer[] IS NULL OR x.no = ANY ($4)) AND (x.code, x.no) > ($5, $6)
         ORDER BY x.code, x.no LIMIT $7",
    )
    .bind(task_id)
    .bind(state as i16)
    .bind(code)
    .bind(nos)
    .bind(&after.0)
    .bind(after.1)
    .bind(limit)
    .fetch_all(conn)
    .await
    .map_err(Error::database("reading messages to be decided"))?;
    let candidate = |row: CandidateRow| Candidate {
        standing: Standing {
            task_id,
            no: row.no,
            phone: None,
            state,
            attempt: row.attempt,
            request_id: row.request_id,
            has_vendor_id: row.has_vendor_id,
            code: Some(row.code.clone()),
            waits: false,
            is_resent: false,
            has_sent: false,
            has_delivered: false,
            has_read: false,
        },
        code: row.code,
        reason: row.reason.unwrap_or_default(),
    };
    Ok(rows.into_iter().map(candidate).collect())
}

/// What becomes of the messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    /// They are tried again now, with all attempts before them.
    TryAgain,
    /// They are sent again now; the attempts used up stay so.
    Resend,
    /// They count as taken by the vendor.
    Accepted,
    /// They will not come.
    Failed,
}

/// What came of a decision.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decided {
    /// All of them moved.
    Done,
    /// One of them no longer stands as it was read: roll back and read them again.
    Changed,
    /// The task's end forbids that anybody is sent to: roll back.
    Refused(Refused),
}

/// Moves messages of one task, in the caller's transaction.
///
/// # Errors
/// The database did not do it.
pub async fn decide(
    conn: &mut PgConnection,
    task_id: i64,
    candidates: &[Candidate],
    decision: Decision,
    now: DateTime<Utc>,
) -> Result<Decided> {
    let changes: Vec<Change> =
        candidates.iter().map(|candidate| change(&candidate.standing, decision, now)).collect();
    if !reports::write(conn, &changes).await? {
        return Ok(Decided::Changed);
    }
    if !matches!(decision, Decision::TryAgain | Decision::Resend) {
        return Ok(Decided::Done);
    }
    // Asked under the lock: a cancel that came first is seen, one that comes later waits for us.
    let state: i16 = sql::query_scalar("SELECT state FROM tasks WHERE id = $1 FOR SHARE")
        .bind(task_id)
        .fetch_one(conn)
        .await
        .map_err(Error::database("locking a task"))?;
    let phase =
        Phase::from_i16(state).ok_or_else(|| Error::contradiction("tasks", "state", task_id, state))?;
    Ok(match phase {
        Phase::Cancelled | Phase::Expired => {
            Decided::Refused(Refused { state: TaskState::new(phase, false, false) })
        }
        Phase::Scheduled | Phase::Running | Phase::Completed => Decided::Done,
    })
}

fn change(before: &Standing, decision: Decision, now: DateTime<Utc>) -> Change {
    let again = |attempts_used| Some(Again { due_at: now, attempts_used, batch_max: i16::MAX });
    let (state, again, times) = match decision {
        Decision::TryAgain => (MessageState::Retrying, again(0), Times::default()),
        Decision::Resend => (MessageState::Retrying, again(before.attempt), Times::default()),
        Decision::Accepted => {
            (MessageState::Accepted, None, Times { accepted_at: Some(now), ..Times::default() })
        }
        Decision::Failed => (MessageState::Failed, None, Times { failed_at: Some(now), ..Times::default() }),
    };
    Change { before: before.clone(), state, vendor_id: None, why: None, again, withdraw: false, times }
}

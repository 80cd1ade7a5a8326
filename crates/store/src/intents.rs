//! Taking recipients: the write-ahead intent, committed before its call leaves (see [`crate::groups`]).

use std::{collections::HashSet, sync::Arc};

use chrono::{DateTime, Utc};
use model::{Phone, counts::Place, status::MessageState};
use sqlx::PgConnection;

use crate::{Error, Result, guards::Guards, sql, troubles};

/// What is to be taken in one request: a batch, or up to 64 single calls.
#[derive(Clone, Debug)]
pub struct Intent {
    /// Its identity, drawn beforehand.
    pub request_id: i64,
    /// The task.
    pub task_id: i64,
    /// Where its recipients come from.
    pub source: Source,
    /// Who is to be sent to.
    pub taken: Vec<Taken>,
    /// Who cannot be sent to, because the row lacks what the message needs.
    pub unfit: Vec<Unfit>,
    /// Whose own window is closed: they wait until it opens.
    pub deferred: Vec<Deferred>,
    /// Marketing is withheld from those who opted out of it.
    pub is_marketing: bool,
    /// The limits that its task's recipients are held to.
    pub guards: Arc<Guards>,
    /// Recipients whom its sender wrote to a moment ago, and when it may again.
    pub early: Vec<(i32, DateTime<Utc>)>,
}

/// Where the recipients of an intent come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// Beyond the cursor: it moves from `from` to `to`.
    Fresh {
        /// Where the cursor must stand.
        from: i32,
        /// Where it will stand.
        to: i32,
    },
    /// The table of those who are due.
    Retries,
}

/// What was known of a recipient before it was taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Prior {
    /// Nothing: it stood beyond the cursor.
    Queued,
    /// It waited for its first call.
    Waiting,
    /// It waited for another call after this code.
    Retrying(String),
}

impl Prior {
    /// The place that it is counted under.
    #[must_use]
    pub fn place(&self) -> Place<'_> {
        match self {
            Self::Queued => Place::Queued,
            Self::Waiting => Place::Waiting,
            Self::Retrying(code) => Place::Message(MessageState::Retrying, code),
        }
    }

    /// The place that it is counted under when it was taken and not called: the cursor has passed it.
    pub(crate) fn place_back(&self) -> Place<'_> {
        match self {
            Self::Queued => Place::Waiting,
            Self::Waiting | Self::Retrying(_) => self.place(),
        }
    }
}

/// A recipient to be sent to.
#[derive(Clone, Debug)]
pub struct Taken {
    /// Its number in the audience.
    pub no: i32,
    /// Whom to.
    pub phone: Phone,
    /// The number of this call, from 1, not counting calls that used up no attempt.
    pub attempt: i16,
    /// Where it comes from.
    pub prior: Prior,
    /// The largest batch it may travel in; any: [`ANY_BATCH`].
    pub batch_max: i16,
}

/// In whatever batch there is.
pub const ANY_BATCH: i16 = i16::MAX;

/// A recipient whose row does not fit the message.
#[derive(Clone, Debug)]
pub struct Unfit {
    /// Its number in the audience.
    pub no: i32,
    /// Where it comes from.
    pub prior: Prior,
    /// The number that its call would have had, from 1.
    pub attempt: i16,
    /// `missing_value`, `too_long` …
    pub code: String,
    /// Names the column and the field.
    pub reason: String,
}

/// A recipient whose own window is closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Deferred {
    /// Its number in the audience.
    pub no: i32,
    /// Attempts used up so far.
    pub attempts_used: i16,
    /// When the window opens.
    pub opens_at: DateTime<Utc>,
}

/// What became of an intent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Committed {
    /// All of its recipients are being sent to.
    All,
    /// The recipients whose numbers are named are being sent to, and no others.
    Only(HashSet<i32>),
    /// Nobody was taken: the task stands still, or the cursor stands elsewhere.
    Dropped,
}

/// Takes the named rows out of `retries` where their tasks may run; those that were there.
pub(crate) async fn take_retries(
    conn: &mut PgConnection,
    intents: &[&Intent],
    now: DateTime<Utc>,
) -> Result<HashSet<(i64, i32)>> {
    let mut due: Vec<(i64, i32, i16, Option<&str>)> = Vec::new();
    for intent in intents.iter().filter(|intent| intent.source == Source::Retries) {
        let taken = intent.taken.iter().map(|taken| (taken.no, taken.attempt, &taken.prior));
        let unfit = intent.unfit.iter().map(|unfit| (unfit.no, unfit.attempt, &unfit.prior));
        for (no, attempt, prior) in taken.chain(unfit) {
            let code = if let Prior::Retrying(code) = prior { Some(code.as_str()) } else { None };
            due.push((intent.task_id, no, attempt - 1, code));
        }
    }
    if due.is_empty() {
        return Ok(HashSet::new());
    }
    // FOR SHARE: a pause or cancel that commits first is seen, one that comes later waits for us. Attempt, due time and code:
    // what was read before a quick pause must not take a row that was written since. The code names the place that the
    // counts and the troubles are moved out of.
    let rows: Vec<(i64, i32)> = sql::query_as(
        "WITH running AS (
            SELECT id FROM tasks
            WHERE id = ANY ($1) AND state = 2 AND NOT paused
              AND (expires_at IS NULL OR expires_at > $4)
              AND NOT task_is_halted(id, account, sender, template)
            ORDER BY id FOR SHARE
         )
         DELETE FROM retries r
         USING UNNEST($1::bigint[], $2::integer[], $3::smallint[], $5::text[]) AS i (task_id, no, attempt, code)
         WHERE r.task_id = i.task_id AND r.no = i.no AND r.attempt = i.attempt AND r.due_at <= $4
           AND r.task_id IN (SELECT id FROM running)
           AND i.code = coalesce((SELECT code FROM messages m WHERE m.task_id = r.task_id AND m.no = r.no), '')
         RETURNING r.task_id, r.no",
    )
    .bind(due.iter().map(|row| row.0).collect::<Vec<_>>())
    .bind(due.iter().map(|row| row.1).collect::<Vec<_>>())
    .bind(due.iter().map(|row| row.2).collect::<Vec<_>>())
    .bind(now)
    .bind(due.iter().map(|row| row.3.unwrap_or("")).collect::<Vec<_>>())
    .fetch_all(&mut *conn)
    .await
    .map_err(Error::database("taking retries"))?;
    let taken: HashSet<(i64, i32)> = rows.into_iter().collect();
    let gone = due.iter().filter(|(task_id, no, ..)| taken.contains(&(*task_id, *no)));
    troubles::delete(
        conn,
        gone.filter_map(|(task_id, no, _, code)| Some((*task_id, MessageState::Retrying, *no, (*code)?))),
    )
    .await?;
    Ok(taken)
}

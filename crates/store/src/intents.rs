//! Taking recipients: the write-ahead intent, committed before its call leaves.
//!
//! The cursor moves in the transaction that writes the intent, so nobody is skipped and nobody is taken twice; a task
//! that was paused, cancelled or halted meanwhile, or has expired, lets nobody be taken, and what was prefetched for it
//! is dropped.

use std::collections::{BTreeMap, HashMap, HashSet};

use chrono::{DateTime, Utc};
use model::{
    Phone,
    counts::{Deltas, Place},
    status::MessageState,
};
use sqlx::PgConnection;

use crate::{
    Error, Result,
    leases::Lease,
    outcomes::{self, MessageRow},
    progress, troubles,
};

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
    /// Marketing is withheld from those who opted out of it.
    pub is_marketing: bool,
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
}

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

/// What became of an intent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Committed {
    /// The recipients whose numbers are named are being sent to, and no others.
    Taken(HashSet<i32>),
    /// Nobody was taken: the task stands still, or the cursor stands elsewhere.
    Dropped,
}

/// Writes intents and moves cursors, after the fence, in the caller's transaction.
///
/// # Errors
/// [`Error::Fenced`], or the database did not do it.
pub async fn commit_intents(
    conn: &mut PgConnection,
    lease: &Lease,
    intents: &[Intent],
    now: DateTime<Utc>,
    deadline_at: DateTime<Utc>,
) -> Result<Vec<Committed>> {
    let moved = move_cursors(conn, intents, now).await?;
    let mut withdrawn = take_retries(conn, intents, now).await?;
    let listed = suppressed_phones(conn, intents, now).await?;
    let mut deltas = Deltas::default();
    let mut settled: Vec<MessageRow> = Vec::new();
    let mut requests: Vec<(&Intent, Vec<&Taken>)> = Vec::new();
    let mut results = Vec::with_capacity(intents.len());
    for intent in intents {
        let is_fresh = matches!(intent.source, Source::Fresh { .. });
        if is_fresh && !moved.contains(&intent.request_id) {
            results.push(Committed::Dropped);
            continue;
        }
        // A row goes to the first intent of the group that names it: another may have been read before a quick pause.
        let mut came = |no: i32| is_fresh || withdrawn.remove(&(intent.task_id, no));
        for unfit in intent.unfit.iter().filter(|unfit| came(unfit.no)) {
            settled.push(MessageRow::unfit(intent, unfit));
            let to = Place::Message(MessageState::Failed, &unfit.code);
            deltas.moved(intent.task_id, unfit.prior.place(), to);
        }
        let mut leaving = Vec::with_capacity(intent.taken.len());
        for taken in intent.taken.iter().filter(|taken| came(taken.no)) {
            let reason = listed.get(&taken.phone.as_i64()).copied();
            if reason.is_some_and(|reason| intent.is_marketing || reason != OPT_OUT) {
                settled.push(MessageRow::suppressed(intent, taken));
                deltas.moved(
                    intent.task_id,
                    taken.prior.place(),
                    Place::Message(MessageState::Suppressed, ""),
                );
            } else {
                deltas.moved(intent.task_id, taken.prior.place(), Place::Sending);
                leaving.push(taken);
            }
        }
        results.push(Committed::Taken(leaving.iter().map(|taken| taken.no).collect()));
        if !leaving.is_empty() {
            requests.push((intent, leaving));
        }
    }
    insert_requests(conn, lease, &requests, now, deadline_at).await?;
    outcomes::keep_old_ids(conn, settled.iter().map(MessageRow::recipient)).await?;
    outcomes::upsert_messages(conn, &settled, now).await?;
    troubles::insert(conn, settled.iter().map(MessageRow::trouble)).await?;
    progress::append(conn, &deltas).await?;
    Ok(results)
}

/// `suppressions.reason` of those who opted out: it withholds marketing only.
const OPT_OUT: i16 = 1;

/// Moves the cursors of tasks that may run and stand where they are expected; the requests that joined on.
async fn move_cursors(
    conn: &mut PgConnection,
    intents: &[Intent],
    now: DateTime<Utc>,
) -> Result<HashSet<i64>> {
    let mut ranges: BTreeMap<i64, std::ops::Range<i32>> = BTreeMap::new();
    let mut joined: Vec<(i64, i64)> = Vec::new();
    for intent in intents {
        if let Source::Fresh { from, to } = intent.source {
            let range = ranges.entry(intent.task_id).or_insert(from..from);
            // One that does not join on was prefetched before a drop, or a second time: it is dropped.
            if range.end == from {
                range.end = to;
                joined.push((intent.task_id, intent.request_id));
            }
        }
    }
    if ranges.is_empty() {
        return Ok(HashSet::new());
    }
    let moved: HashSet<i64> = sqlx::query_scalar(
        "UPDATE tasks t SET cursor = i.upto
         FROM UNNEST($1::bigint[], $2::integer[], $3::integer[]) AS i (id, since, upto)
         WHERE t.id = i.id AND t.cursor = i.since AND t.state = 2 AND NOT t.paused
           AND (t.expires_at IS NULL OR t.expires_at > $4)
           AND NOT task_is_halted(t.id, t.account, t.sender, t.template)
         RETURNING t.id",
    )
    .bind(ranges.keys().copied().collect::<Vec<_>>())
    .bind(ranges.values().map(|range| range.start).collect::<Vec<_>>())
    .bind(ranges.values().map(|range| range.end).collect::<Vec<_>>())
    .bind(now)
    .fetch_all(conn)
    .await
    .map_err(Error::database("moving cursors"))?
    .into_iter()
    .collect();
    Ok(joined.into_iter().filter(|(task_id, _)| moved.contains(task_id)).map(|(_, id)| id).collect())
}

/// Takes the named rows out of `retries` where their tasks may run; those that were there.
async fn take_retries(
    conn: &mut PgConnection,
    intents: &[Intent],
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
    // FOR SHARE: a pause or cancel that commits first is seen, one that comes later waits for us. Attempt and due time:
    // what was read before a quick pause must not take a row that was written since.
    let rows: Vec<(i64, i32)> = sqlx::query_as(
        "WITH running AS (
            SELECT id FROM tasks
            WHERE id = ANY ($1) AND state = 2 AND NOT paused
              AND (expires_at IS NULL OR expires_at > $4)
              AND NOT task_is_halted(id, account, sender, template)
            ORDER BY id FOR SHARE
         )
         DELETE FROM retries r USING UNNEST($1::bigint[], $2::integer[], $3::smallint[]) AS i (task_id, no, attempt)
         WHERE r.task_id = i.task_id AND r.no = i.no AND r.attempt = i.attempt AND r.due_at <= $4
           AND r.task_id IN (SELECT id FROM running)
         RETURNING r.task_id, r.no",
    )
    .bind(due.iter().map(|row| row.0).collect::<Vec<_>>())
    .bind(due.iter().map(|row| row.1).collect::<Vec<_>>())
    .bind(due.iter().map(|row| row.2).collect::<Vec<_>>())
    .bind(now)
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

/// Which of the phones are suppressed now, with the reason.
async fn suppressed_phones(
    conn: &mut PgConnection,
    intents: &[Intent],
    now: DateTime<Utc>,
) -> Result<HashMap<i64, i16>> {
    let phones: Vec<i64> =
        intents.iter().flat_map(|intent| &intent.taken).map(|taken| taken.phone.as_i64()).collect();
    if phones.is_empty() {
        return Ok(HashMap::new());
    }
    let rows: Vec<(i64, i16)> = sqlx::query_as(
        "SELECT phone, reason FROM suppressions
         WHERE phone = ANY ($1) AND (expires_at IS NULL OR expires_at > $2)",
    )
    .bind(phones)
    .bind(now)
    .fetch_all(conn)
    .await
    .map_err(Error::database("looking up suppressions"))?;
    Ok(rows.into_iter().collect())
}

async fn insert_requests(
    conn: &mut PgConnection,
    lease: &Lease,
    requests: &[(&Intent, Vec<&Taken>)],
    now: DateTime<Utc>,
    deadline_at: DateTime<Utc>,
) -> Result<()> {
    if requests.is_empty() {
        return Ok(());
    }
    // Arrays of arrays of unequal length do not exist: each request's numbers travel as an array's text.
    let array = |numbers: &mut dyn Iterator<Item = i32>| {
        format!("{{{}}}", numbers.map(|n| n.to_string()).collect::<Vec<_>>().join(","))
    };
    sqlx::query(
        "INSERT INTO requests (id, account, task_id, epoch, nos, attempts, created_at, deadline_at)
         SELECT i.id, $1, i.task_id, $2, i.nos::integer[], i.attempts::smallint[], $3, $4
         FROM UNNEST($5::bigint[], $6::bigint[], $7::text[], $8::text[]) AS i (id, task_id, nos, attempts)",
    )
    .bind(&lease.account)
    .bind(lease.epoch)
    .bind(now)
    .bind(deadline_at)
    .bind(requests.iter().map(|(intent, _)| intent.request_id).collect::<Vec<_>>())
    .bind(requests.iter().map(|(intent, _)| intent.task_id).collect::<Vec<_>>())
    .bind(requests.iter().map(|(_, taken)| array(&mut taken.iter().map(|t| t.no))).collect::<Vec<_>>())
    .bind(
        requests
            .iter()
            .map(|(_, taken)| array(&mut taken.iter().map(|t| i32::from(t.attempt))))
            .collect::<Vec<_>>(),
    )
    .execute(conn)
    .await
    .map_err(Error::database("writing intents"))?;
    Ok(())
}

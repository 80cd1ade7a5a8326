//! What an owner who died left open: whoever was surely never called goes back to where it was, everybody else is unknown.

use std::collections::{HashMap, HashSet};

use chrono::{DateTime, Utc};
use model::{
    Phone,
    counts::{Deltas, Place},
    status::MessageState,
};
use sqlx::{FromRow, PgConnection};

use crate::{
    Error, Result, events,
    groups::{self, Group},
    intents::{ANY_BATCH, Prior, Taken},
    leases::Lease,
    outcomes::{self, Again, CallResult, MessageRow, Outcome, Why},
    progress, sql, troubles,
    unknown::{self, NewUnknown},
};

/// Open requests that are settled in one step at the most.
const SETTLED_REQUESTS: i64 = 50;
/// The number of no group that a committer writes: theirs begin with 1.
const BEFORE_ALL_GROUPS: i64 = 0;

/// What is known of the calls of older epochs: by epoch, request and the recipient's place in it, whether its call surely
/// never began.
pub type NeverBegan<'a> = &'a (dyn Fn(i64, i64, usize) -> bool + Sync);

/// What settling needs besides the database.
#[derive(Clone, Copy)]
pub struct Settling<'a> {
    /// Whom the dead process surely never called.
    pub never_began: NeverBegan<'a>,
    /// Why the others are unknown.
    pub why: &'a Why,
    /// Business time.
    pub now: DateTime<Utc>,
    /// As in [`Group::counts_marketing`].
    pub counts_marketing: bool,
}

/// A request of an older epoch.
#[derive(FromRow)]
struct OpenRequest {
    id: i64,
    task_id: i64,
    epoch: i64,
    nos: Vec<i32>,
    attempts: Vec<i16>,
}

/// A recipient of such a request of whom nothing is known.
struct Left {
    request_id: i64,
    task_id: i64,
    no: i32,
    attempt: i16,
}

/// task, number, phone, the message row's state and code
type LeftRow = (i64, i32, i64, Option<i16>, Option<String>);

/// Settles some of what older epochs left open, after the fence and in the caller's transaction. Whether there may be more;
/// call it until there is none, before anything is sent.
///
/// # Errors
/// [`Error::Fenced`], or the database did not do it.
pub async fn settle_older_epochs(
    conn: &mut PgConnection,
    lease: &Lease,
    settling: &Settling<'_>,
) -> Result<bool> {
    let open: Vec<OpenRequest> = sql::query_as(
        "SELECT id, task_id, epoch, nos, attempts FROM requests
         WHERE account = $1 AND epoch < $2 ORDER BY id LIMIT $3 FOR UPDATE",
    )
    .bind(&lease.account)
    .bind(lease.epoch)
    .bind(SETTLED_REQUESTS)
    .fetch_all(&mut *conn)
    .await
    .map_err(Error::database("reading what an older owner left open"))?;
    if open.is_empty() {
        return Ok(false);
    }
    let ids: Vec<i64> = open.iter().map(|request| request.id).collect();
    let decided = decided(conn, &ids).await?;
    let (mut unknown, mut never_called) = (Vec::new(), Vec::new());
    for request in &open {
        for (index, (&no, &attempt)) in request.nos.iter().zip(&request.attempts).enumerate() {
            if decided.contains(&(request.id, no)) {
                continue;
            }
            let left = Left { request_id: request.id, task_id: request.task_id, no, attempt };
            let was_called = !(settling.never_began)(request.epoch, request.id, index);
            if was_called { unknown.push(left) } else { never_called.push(left) }
        }
    }
    let requeued = requeued(conn, &never_called, settling.now).await?;
    let back: HashSet<(i64, i32)> =
        requeued.iter().map(|outcome| (outcome.request_id, outcome.taken.no)).collect();
    unknown.extend(never_called.into_iter().filter(|left| !back.contains(&(left.request_id, left.no))));
    mark_unknown(conn, &unknown, settling).await?;
    let group = Group {
        number: BEFORE_ALL_GROUPS,
        intents: &[],
        outcomes: &requeued.iter().collect::<Vec<_>>(),
        closed: &ids,
        now: settling.now,
        deadline_at: settling.now,
        is_careful: false,
        counts_marketing: settling.counts_marketing,
    };
    groups::write(conn, lease, &group).await?;
    Ok(true)
}

/// The recipients of the requests of whom it is known what came of their call.
///
/// An outcome is a message row, or a `retries` row when the call never began. A request that is still open for others may
/// name somebody whom a later request took again: the later one speaks for it.
async fn decided(conn: &mut PgConnection, ids: &[i64]) -> Result<HashSet<(i64, i32)>> {
    let decided: Vec<(i64, i32)> = sql::query_as(
        "SELECT q.id, i.no FROM requests q CROSS JOIN UNNEST(q.nos) AS i (no)
         WHERE q.id = ANY ($1)
           AND (EXISTS (SELECT FROM messages m
                        WHERE m.task_id = q.task_id AND m.no = i.no AND m.request_id >= q.id)
                OR EXISTS (SELECT FROM retries r WHERE r.task_id = q.task_id AND r.no = i.no)
                OR EXISTS (SELECT FROM requests later
                           WHERE later.task_id = q.task_id AND later.id > q.id AND i.no = ANY (later.nos)))",
    )
    .bind(ids)
    .fetch_all(conn)
    .await
    .map_err(Error::database("reading which outcomes there are"))?;
    Ok(decided.into_iter().collect())
}

/// The outcomes of those who were never called, as their own process would have written them. Not of whom something was
/// heard meanwhile that is no longer "to be tried again".
async fn requeued(conn: &mut PgConnection, left: &[Left], now: DateTime<Utc>) -> Result<Vec<Outcome>> {
    if left.is_empty() {
        return Ok(Vec::new());
    }
    let rows: Vec<LeftRow> = sql::query_as(
        "SELECT i.task_id, i.no, p.phone, m.state, m.code
         FROM UNNEST($1::bigint[], $2::integer[]) AS i (task_id, no)
         JOIN tasks t ON t.id = i.task_id
         JOIN recipients p ON p.audience_id = t.audience_id AND p.no = i.no
         LEFT JOIN messages m ON m.task_id = i.task_id AND m.no = i.no",
    )
    .bind(left.iter().map(|left| left.task_id).collect::<Vec<_>>())
    .bind(left.iter().map(|left| left.no).collect::<Vec<_>>())
    .fetch_all(conn)
    .await
    .map_err(Error::database("reading who was never called"))?;
    let known = rows.into_iter().filter_map(|(task_id, no, digits, state, code)| {
        let phone = Phone::from_digits(digits.cast_unsigned())?;
        let prior = match state {
            None => Prior::Waiting,
            Some(state) if state == MessageState::Retrying as i16 => {
                Prior::Retrying(code.unwrap_or_default())
            }
            Some(_) => return None,
        };
        Some(((task_id, no), (phone, prior)))
    });
    let known: HashMap<(i64, i32), (Phone, Prior)> = known.collect();
    let outcomes = left.iter().filter_map(|left| {
        let (phone, prior) = known.get(&(left.task_id, left.no))?.clone();
        let again = Again { due_at: now, attempts_used: left.attempt - 1, batch_max: ANY_BATCH };
        Some(Outcome {
            task_id: left.task_id,
            request_id: left.request_id,
            taken: Taken { no: left.no, phone, attempt: left.attempt, prior, batch_max: ANY_BATCH },
            result: CallResult::Requeued(again),
            at: now,
        })
    });
    Ok(outcomes.collect())
}

async fn mark_unknown(conn: &mut PgConnection, left: &[Left], settling: &Settling<'_>) -> Result<()> {
    let &Settling { why, now, .. } = settling;
    let mut deltas = Deltas::default();
    let mut rows = Vec::with_capacity(left.len());
    for &Left { request_id, task_id, no, attempt } in left {
        rows.push(MessageRow::unknown(task_id, no, attempt, request_id, why));
        deltas.moved(task_id, Place::Sending, Place::Message(MessageState::Unknown, &why.code));
    }
    outcomes::keep_old_ids(conn, rows.iter().map(MessageRow::recipient)).await?;
    let unknown: Vec<NewUnknown> = rows.iter().filter_map(|row| row.as_unknown(now)).collect();
    unknown::insert(conn, &unknown).await?;
    outcomes::upsert_messages(conn, &rows, now).await?;
    events::messages(conn, rows.iter().map(|row| row.moved(now))).await?;
    troubles::insert(conn, rows.iter().map(MessageRow::trouble)).await?;
    progress::append(conn, &deltas).await
}

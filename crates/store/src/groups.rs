//! What one account's committer writes in one transaction: who is taken, and what came of calls.
//!
//! Two statements carry the usual group, because each costs a way to the server and back whatever it holds: the first
//! closes the fence, marks the transaction and moves the cursors; the second writes the intents and the outcomes. What is
//! rare (retries, failures, suppressed numbers) adds statements of its own.
//!
//! The cursor moves in the transaction that writes the intent, so nobody is skipped and nobody is taken twice; a task
//! that was paused, cancelled or halted meanwhile, or has expired, lets nobody be taken, and what was prefetched for it
//! is dropped.

use std::collections::{BTreeMap, HashMap, HashSet};

use chrono::{DateTime, Utc};
use model::{
    counts::{Deltas, Place},
    status::MessageState,
};
use sqlx::PgConnection;

use crate::{
    Error, Result, caps,
    events::{self, Moved},
    guards::{self, Held, Hold},
    ids::vendor_hash,
    intents::{self, Committed, Deferred, Intent, Prior, Source, Taken, Unfit},
    leases::Lease,
    outcomes::{self, Again, CallResult, MessageRow, Outcome, Why},
    sql, troubles,
    unknown::{self, NewUnknown},
    windows,
};

/// What one transaction writes.
#[derive(Clone, Copy, Debug)]
pub struct Group<'a> {
    /// No other group of this lease bears it (see [`crate::leases::is_committed`]).
    pub number: i64,
    /// Who is to be taken.
    pub intents: &'a [&'a Intent],
    /// What came of calls. The caller sees to it that an outcome is written once.
    pub outcomes: &'a [&'a Outcome],
    /// The requests whose last outcome is among these.
    pub closed: &'a [i64],
    /// Business time.
    pub now: DateTime<Utc>,
    /// When the calls of these intents are over, whatever came.
    pub deadline_at: DateTime<Utc>,
    /// A message row may be there already where none should be: after a failure for that reason.
    pub is_careful: bool,
    /// What surely did not leave is taken out of the count of marketing messages.
    pub counts_marketing: bool,
}

/// `suppressions.reason` of those who opted out: it withholds marketing only.
const OPT_OUT: i16 = 1;

/// Writes the group after the fence, in the caller's transaction; what became of each intent, in their order.
///
/// # Errors
/// [`Error::Fenced`], or the database did not do it.
pub async fn write(conn: &mut PgConnection, lease: &Lease, group: &Group<'_>) -> Result<Vec<Committed>> {
    let allowed = allow(conn, lease, group).await?;
    let mut retried = intents::take_retries(conn, group.intents, group.now).await?;
    let may_leave =
        |intent: &Intent, taken: &Taken| allowed.lets_in(intent) && !allowed.withholds(intent, taken);
    let candidates = guards::candidates(group, &retried, may_leave);
    let held = guards::hold(conn, &lease.account, group, candidates).await?;
    let mut writes = Writes { held, ..Writes::default() };
    let committed = group.intents.iter().map(|intent| writes.take(intent, &allowed, &mut retried)).collect();
    for outcome in group.outcomes {
        writes.record(outcome, group.is_careful);
    }
    // Side by side in the table and in the index of recipients: less log than wherever their answers came.
    writes.accepted.sort_unstable_by_key(|(outcome, _)| (outcome.task_id, outcome.taken.no));
    writes.run(conn, lease, group).await?;
    Ok(committed)
}

/// What the first statement let through.
struct Allowed {
    /// Requests whose recipients the cursor has passed.
    joined: HashSet<i64>,
    /// Phones that are suppressed, with the reason.
    listed: HashMap<i64, i16>,
}

impl Allowed {
    /// Its recipients may be taken, as far as its source is the cursor.
    fn lets_in(&self, intent: &Intent) -> bool {
        intent.source == Source::Retries || self.joined.contains(&intent.request_id)
    }

    /// The number is suppressed for what the intent sends.
    fn withholds(&self, intent: &Intent, taken: &Taken) -> bool {
        let reason = self.listed.get(&taken.phone.as_i64());
        reason.is_some_and(|reason| intent.is_marketing || *reason != OPT_OUT)
    }
}

/// Closes the fence, marks the transaction, moves the cursors of tasks that may run and stand where they are expected,
/// and looks up who is suppressed.
async fn allow(conn: &mut PgConnection, lease: &Lease, group: &Group<'_>) -> Result<Allowed> {
    let (ranges, joined) = ranges(group.intents);
    let phones = group.intents.iter().flat_map(|intent| &intent.taken).map(|taken| taken.phone.as_i64());
    let rows: Vec<(i16, i64)> = sql::query_as(
        "WITH fence AS MATERIALIZED (
            -- As leases::fence: also against a standby that was promoted or a dump that was restored under us.
            SELECT FROM account_leases
            WHERE account = $1 AND epoch = $2
              AND database_identity LIKE '%/' || database_timeline() || '/' || tableoid
            FOR KEY SHARE
         ), mark AS (
            UPDATE commit_marks SET epoch = $2, number = $3 WHERE account = $1 AND EXISTS (SELECT FROM fence)
         ), moved AS (
            UPDATE tasks t SET cursor = i.upto
            FROM UNNEST($4::bigint[], $5::integer[], $6::integer[]) AS i (id, since, upto)
            WHERE EXISTS (SELECT FROM fence)
              AND t.id = i.id AND t.cursor = i.since AND t.state = 2 AND NOT t.paused
              -- while a canary is undecided nobody else is taken
              AND t.canary_state IS DISTINCT FROM 1
              AND (t.expires_at IS NULL OR t.expires_at > $7)
              -- As task_is_halted(), written out: the server would plan that function's query anew for each group.
              AND NOT EXISTS (
                  SELECT FROM halts h
                  WHERE h.account = t.account
                    AND (h.scope = 4
                         OR (h.scope = 3 AND h.value = t.sender)
                         OR (h.scope = 2 AND h.value = t.template)
                         OR (h.scope = 1 AND h.value = t.id::text)))
            RETURNING t.id
         )
         SELECT -2::smallint, 0::bigint FROM fence
         UNION ALL SELECT -1::smallint, id FROM moved
         UNION ALL SELECT reason, phone FROM suppressions
                   WHERE phone = ANY ($8) AND (expires_at IS NULL OR expires_at > $7)",
    )
    .bind(&lease.account)
    .bind(lease.epoch)
    .bind(group.number)
    .bind(ranges.keys().copied().collect::<Vec<_>>())
    .bind(ranges.values().map(|range| range.start).collect::<Vec<_>>())
    .bind(ranges.values().map(|range| range.end).collect::<Vec<_>>())
    .bind(group.now)
    .bind(phones.collect::<Vec<_>>())
    .fetch_all(conn)
    .await
    .map_err(Error::database("moving cursors"))?;
    if !rows.iter().any(|(kind, _)| *kind == -2) {
        return Err(Error::Fenced);
    }
    let moved: HashSet<i64> = rows.iter().filter(|(kind, _)| *kind == -1).map(|(_, id)| *id).collect();
    let listed = rows.iter().filter(|(kind, _)| *kind >= 0).map(|(reason, phone)| (*phone, *reason));
    Ok(Allowed {
        listed: listed.collect(),
        joined: joined.into_iter().filter(|(task_id, _)| moved.contains(task_id)).map(|(_, id)| id).collect(),
    })
}

/// From where to where each task's cursor is to move.
type Ranges = BTreeMap<i64, std::ops::Range<i32>>;

/// How far each task's cursor is to move, and the (task, request) pairs that this takes in.
fn ranges(intents: &[&Intent]) -> (Ranges, Vec<(i64, i64)>) {
    let mut ranges = Ranges::new();
    let mut joined = Vec::new();
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
    (ranges, joined)
}

/// The rows that the group writes.
#[derive(Default)]
struct Writes<'a> {
    held: Held,
    deltas: Deltas,
    requests: Vec<(&'a Intent, Vec<&'a Taken>)>,
    /// Accepted at their first call: no row can be there yet.
    accepted: Vec<(&'a Outcome, &'a str)>,
    /// All other message rows.
    rows: Vec<MessageRow>,
    /// Recipients who may have been called before.
    recalled: Vec<(i64, i32)>,
    retries: Vec<(i64, i32, Again)>,
    troubles: Vec<(i64, MessageState, i32, String)>,
    unknown: Vec<NewUnknown>,
    /// Whose window is closed, from beyond the cursor.
    waiting: Vec<(i64, &'a Deferred)>,
    /// The same, of those who were due.
    put_off: Vec<(i64, &'a Deferred)>,
    /// Phones to which a task's message surely did not leave.
    not_sent: Vec<caps::Marketed>,
}

impl<'a> Writes<'a> {
    fn take(
        &mut self,
        intent: &'a Intent,
        allowed: &Allowed,
        retried: &mut HashSet<(i64, i32)>,
    ) -> Committed {
        if !allowed.lets_in(intent) {
            return Committed::Dropped;
        }
        let is_fresh = intent.source != Source::Retries;
        self.defer(intent, is_fresh);
        // A row goes to the first intent of the group that names it: another may have been read before a quick pause.
        let mut came = |no: i32| is_fresh || retried.remove(&(intent.task_id, no));
        for unfit in intent.unfit.iter().filter(|unfit| came(unfit.no)) {
            self.fail(intent, unfit);
        }
        let mut leaving = Vec::with_capacity(intent.taken.len());
        for taken in intent.taken.iter().filter(|taken| came(taken.no)) {
            if allowed.withholds(intent, taken) {
                let to = Place::Message(MessageState::Suppressed, "");
                self.deltas.moved(intent.task_id, taken.prior.place(), to);
                self.settle(MessageRow::suppressed(intent, taken, &on_the_list()));
            } else if let Some(hold) = self.held.remove(&(intent.request_id, taken.no)) {
                self.hold(intent, taken, hold);
            } else {
                self.deltas.moved(intent.task_id, taken.prior.place(), Place::Sending);
                leaving.push(taken);
            }
        }
        let committed = if leaving.len() == intent.taken.len() {
            Committed::All
        } else {
            Committed::Only(leaving.iter().map(|taken| taken.no).collect())
        };
        if !leaving.is_empty() {
            self.requests.push((intent, leaving));
        }
        committed
    }

    /// Those whose own window is closed wait until it opens.
    fn defer(&mut self, intent: &'a Intent, is_fresh: bool) {
        let deferred = intent.deferred.iter().map(|deferred| (intent.task_id, deferred));
        if is_fresh {
            for _ in &intent.deferred {
                self.deltas.moved(intent.task_id, Place::Queued, Place::Waiting);
            }
            self.waiting.extend(deferred);
        } else {
            self.put_off.extend(deferred);
        }
    }

    /// Somebody who is held by a limit.
    fn hold(&mut self, intent: &Intent, taken: &Taken, hold: Hold) {
        match hold {
            Hold::Until(due_at) => {
                self.deltas.moved(intent.task_id, taken.prior.place(), taken.prior.place_back());
                let attempts_used = taken.attempt - 1;
                let again = Again { due_at, attempts_used, batch_max: taken.batch_max };
                self.put_back(intent.task_id, taken, again);
            }
            Hold::Failed(Why { code, reason }) => {
                let (no, prior, attempt) = (taken.no, taken.prior.clone(), taken.attempt);
                self.fail(intent, &Unfit { no, prior, attempt, code, reason });
            }
            Hold::Suppressed(why) => {
                let to = Place::Message(MessageState::Suppressed, &why.code);
                self.deltas.moved(intent.task_id, taken.prior.place(), to);
                self.settle(MessageRow::suppressed(intent, taken, &why));
            }
        }
    }

    /// Somebody who is not called, because it would be in vain.
    fn fail(&mut self, intent: &Intent, unfit: &Unfit) {
        let to = Place::Message(MessageState::Failed, &unfit.code);
        self.deltas.moved(intent.task_id, unfit.prior.place(), to);
        self.settle(MessageRow::unfit(intent, unfit));
    }

    /// Back to `retries`, as if never taken.
    fn put_back(&mut self, task_id: i64, taken: &Taken, again: Again) {
        if let Prior::Retrying(code) = &taken.prior {
            self.troubles.push((task_id, MessageState::Retrying, taken.no, code.clone()));
        }
        self.retries.push((task_id, taken.no, again));
    }

    /// A row of somebody who is not called.
    fn settle(&mut self, row: MessageRow) {
        self.recalled.push(row.recipient());
        self.trouble(&row);
        self.rows.push(row);
    }

    fn trouble(&mut self, row: &MessageRow) {
        let (task_id, state, no, code) = row.trouble();
        if state.is_trouble() {
            self.troubles.push((task_id, state, no, code.to_owned()));
        }
    }

    fn record(&mut self, outcome: &'a Outcome, is_careful: bool) {
        self.deltas.moved(outcome.task_id, Place::Sending, outcome.place());
        let taken = &outcome.taken;
        if let CallResult::Accepted(vendor_id) = &outcome.result
            && taken.prior == Prior::Queued
            && !is_careful
        {
            return self.accepted.push((outcome, vendor_id));
        }
        if let Prior::Retrying(_) = &taken.prior {
            self.recalled.push((outcome.task_id, taken.no));
        }
        if !matches!(outcome.result, CallResult::Accepted(_) | CallResult::Unknown(_)) {
            self.not_sent.push((taken.phone.as_i64(), outcome.task_id));
        }
        match &outcome.result {
            CallResult::Requeued(again) => self.put_back(outcome.task_id, taken, *again),
            CallResult::Retry(_, again) => self.retries.push((outcome.task_id, taken.no, *again)),
            _ => {}
        }
        if let Some(row) = MessageRow::of(outcome) {
            self.unknown.extend(row.as_unknown(outcome.at));
            self.trouble(&row);
            self.rows.push(row);
        }
    }

    async fn run(&self, conn: &mut PgConnection, lease: &Lease, group: &Group<'_>) -> Result<()> {
        if group.counts_marketing {
            caps::give_back(conn, &self.not_sent).await?;
        }
        outcomes::keep_old_ids(conn, self.recalled.iter().copied()).await?;
        unknown::insert(conn, &self.unknown).await?;
        let latest = group.outcomes.iter().map(|outcome| outcome.at).max().unwrap_or(group.now);
        outcomes::upsert_messages(conn, &self.rows, latest).await?;
        outcomes::insert_retries(conn, &self.retries).await?;
        windows::put_off_fresh(conn, &self.waiting).await?;
        windows::put_off_due(conn, &self.put_off, group.now).await?;
        let troubles = self.troubles.iter();
        troubles::insert(conn, troubles.map(|row| (row.0, row.1, row.2, row.3.as_str()))).await?;
        self.run_usual(conn, lease, group).await?;
        events::messages(conn, self.moved(latest)).await
    }

    /// What webhooks are told of it, in the order of happening.
    fn moved(&self, latest: DateTime<Utc>) -> impl Iterator<Item = Moved<'_>> {
        let accepted = self.accepted.iter().map(|(outcome, _)| Moved {
            task_id: outcome.task_id,
            no: outcome.taken.no,
            state: MessageState::Accepted,
            code: None,
            at: Some(outcome.at),
        });
        accepted.chain(self.rows.iter().map(move |row| row.moved(latest)))
    }

    /// The second statement: intents, accepted messages, closed requests, counts.
    async fn run_usual(&self, conn: &mut PgConnection, lease: &Lease, group: &Group<'_>) -> Result<()> {
        let deltas: Vec<_> = self.deltas.iter().collect();
        if self.requests.is_empty()
            && self.accepted.is_empty()
            && group.closed.is_empty()
            && deltas.is_empty()
        {
            return Ok(());
        }
        let accepted = &self.accepted;
        let requests = &self.requests;
        sql::query(
            "WITH intents AS (
                INSERT INTO requests (id, account, task_id, epoch, nos, attempts, created_at, deadline_at)
                SELECT i.id, $1, i.task_id, $2, i.nos::integer[], i.attempts::smallint[], $3, $4
                FROM UNNEST($5::bigint[], $6::bigint[], $7::text[], $8::text[]) AS i (id, task_id, nos, attempts)
             ), accepted AS (
                INSERT INTO messages (task_id, no, state, attempt, request_id, vendor_hash, vendor_id, accepted_at)
                SELECT i.task_id, i.no, 1, i.attempt, i.request_id, i.hash, i.vendor_id, i.at
                FROM UNNEST($9::bigint[], $10::integer[], $11::smallint[], $12::bigint[], $13::bigint[],
                            $14::text[], $15::timestamptz[])
                     AS i (task_id, no, attempt, request_id, hash, vendor_id, at)
             ), closed AS (
                DELETE FROM requests WHERE id = ANY ($16)
             )
             INSERT INTO progress (task_id, kind, code, delta)
             SELECT * FROM UNNEST($17::bigint[], $18::smallint[], $19::text[], $20::integer[])",
        )
        .bind(&lease.account)
        .bind(lease.epoch)
        .bind(group.now)
        .bind(group.deadline_at)
        .bind(requests.iter().map(|(intent, _)| intent.request_id).collect::<Vec<_>>())
        .bind(requests.iter().map(|(intent, _)| intent.task_id).collect::<Vec<_>>())
        .bind(requests.iter().map(|(_, taken)| array(taken.iter().map(|t| t.no))).collect::<Vec<_>>())
        .bind(
            requests
                .iter()
                .map(|(_, taken)| array(taken.iter().map(|t| i32::from(t.attempt))))
                .collect::<Vec<_>>(),
        )
        .bind(accepted.iter().map(|(outcome, _)| outcome.task_id).collect::<Vec<_>>())
        .bind(accepted.iter().map(|(outcome, _)| outcome.taken.no).collect::<Vec<_>>())
        .bind(accepted.iter().map(|(outcome, _)| outcome.taken.attempt).collect::<Vec<_>>())
        .bind(accepted.iter().map(|(outcome, _)| outcome.request_id).collect::<Vec<_>>())
        .bind(accepted.iter().map(|(_, id)| vendor_hash(id)).collect::<Vec<_>>())
        .bind(accepted.iter().map(|(_, id)| *id).collect::<Vec<_>>())
        .bind(accepted.iter().map(|(outcome, _)| outcome.at).collect::<Vec<_>>())
        .bind(group.closed)
        .bind(deltas.iter().map(|row| row.0).collect::<Vec<_>>())
        .bind(deltas.iter().map(|row| row.1 as i16).collect::<Vec<_>>())
        .bind(deltas.iter().map(|row| row.2).collect::<Vec<_>>())
        .bind(deltas.iter().map(|row| row.3).collect::<Vec<_>>())
        .execute(conn)
        .await
        .map_err(Error::database("writing intents and outcomes"))?;
        Ok(())
    }
}

/// Why a listed number is not sent to.
fn on_the_list() -> Why {
    Why { code: String::new(), reason: "the number is on the suppression list".to_owned() }
}

/// Arrays of arrays of unequal length do not exist: each request's numbers travel as an array's text.
fn array(numbers: impl Iterator<Item = i32>) -> String {
    use std::fmt::Write as _;
    let mut text = String::from("{");
    for (index, number) in numbers.enumerate() {
        let comma = if index > 0 { "," } else { "" };
        let _ = write!(text, "{comma}{number}");
    }
    text.push('}');
    text
}

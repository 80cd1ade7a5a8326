//! The committer of one account: whatever queued while the last commit ran goes into the next, in one transaction.
//!
//! It holds on to what it has until it is recorded: while the database is away nothing new is taken, what comes back from
//! calls is kept in the journal, and a commit whose outcome is not known is looked up before it is repeated.

use std::{
    collections::{HashMap, HashSet},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use chrono::{DateTime, TimeDelta, Utc};
use model::report::Correlation;
use store::{
    Error, Kept, PgConnection,
    database::LIMIT_HOT,
    effects::{self, Effects},
    groups::{self, Group},
    intents::{Committed, Intent, Source, Taken},
    leases,
    outcomes::{Again, CallResult, Outcome},
};
use tokio::{
    sync::{Notify, mpsc},
    time::Instant,
};
use vendors::Outgoing;

use crate::{
    Shared,
    account::Owner,
    call::{Call, Departure},
    departures::{Ledger, Place},
    evidence,
    journal::Claim,
    late,
    pacer::Heard,
    pairs::Holds,
    run::RunFacts,
    slots::Permit,
};

/// Jobs in one transaction at the most.
const GROUP: usize = 2000;
/// Without anything to write for so long, the connection is given back.
const IDLE: Duration = Duration::from_millis(100);
/// Between two tries to record.
const RETRY: Duration = Duration::from_millis(200);
/// A group that is not recorded by then is late: the database is away. Longer than a disk stalls, shorter than anybody
/// waits before he ends a process that does not answer.
pub(crate) const LATE: Duration = Duration::from_secs(2);
/// A try that is too slow is given longer the next time, up to this: a slow database must not be taken for one that is away
/// for ever.
const LIMIT_LONGEST: Duration = Duration::from_secs(20);

/// What the committer is given.
pub(crate) enum Job {
    /// Recipients to be taken.
    Intent(Box<Taking>),
    /// Outcomes of a call.
    Outcomes(Vec<Recorded>),
}

/// Recipients to be taken, with all that their calls need.
pub(crate) struct Taking {
    pub(crate) intent: Intent,
    pub(crate) facts: Arc<RunFacts>,
    /// In the order of `intent.taken`.
    pub(crate) rendered: Vec<Bytes>,
    /// As many as calls.
    pub(crate) permits: Permit,
    /// Those of them who may be sent to now.
    pub(crate) holds: Holds,
    /// All in one call, or one call each.
    pub(crate) is_batch: bool,
    pub(crate) jobs: mpsc::Sender<Job>,
    /// Where it stands until its group begins.
    pub(crate) queued: Arc<Queued>,
    /// Tells the pacer that retries have been heard of.
    pub(crate) heard: mpsc::UnboundedSender<Heard>,
}

/// The intents of one pacer that wait for their group.
///
/// A pacer that handed on each place as it came free would write an intent for each message: while one waits, the places
/// gather for the next.
#[derive(Debug, Default)]
pub(crate) struct Queued {
    count: AtomicUsize,
    changed: Notify,
}

impl Queued {
    pub(crate) fn entered(&self) {
        self.count.fetch_add(1, Ordering::AcqRel);
    }

    fn left(&self) {
        self.count.fetch_sub(1, Ordering::AcqRel);
        self.changed.notify_one();
    }

    /// Waits until none waits.
    pub(crate) async fn empty(&self) {
        while self.count.load(Ordering::Acquire) > 0 {
            self.changed.notified().await;
        }
    }
}

/// An outcome and what it does around it.
#[derive(Debug)]
pub(crate) struct Recorded {
    pub(crate) outcome: Outcome,
    pub(crate) effects: Effects,
}

/// Runs until every sender of jobs is dropped, or the process ends without a database.
pub(crate) async fn run(
    shared: Arc<Shared>,
    owner: Arc<Owner>,
    ledger: Ledger,
    mut jobs: mpsc::Receiver<Job>,
) {
    let claim = shared.journal.claim();
    let database = Kept::of(&shared.db.hot);
    let open = HashMap::new();
    let mut committer =
        Committer { shared, owner, database, claim, ledger, open, number: 0, held: Vec::new() };
    let mut group = Vec::with_capacity(GROUP);
    while committer.gather(&mut group, &mut jobs).await {
        if !committer.record(&mut group, &mut jobs).await {
            break;
        }
    }
    let away = &committer.owner.account.database_is_away;
    away.store(false, Ordering::Release);
    if committer.open.is_empty() && !committer.owner.is_lost() {
        committer.ledger.close();
    }
}

/// The state of an account's committer.
struct Committer {
    shared: Arc<Shared>,
    owner: Arc<Owner>,
    database: Kept,
    /// What of this account's the journal holds.
    claim: Claim,
    /// Which calls have begun.
    ledger: Ledger,
    /// Requests that are open.
    open: HashMap<i64, Open>,
    /// Groups so far.
    number: i64,
    /// Came while a group was late, and goes into the next. As bounded as calls under way.
    held: Vec<Job>,
}

/// A request that is open.
struct Open {
    /// Outcomes that are still to come.
    left: usize,
    /// Where its calls are marked.
    place: Option<Arc<Place>>,
}

impl Committer {
    /// Fills the next group. False: nothing will come any more.
    async fn gather(&mut self, group: &mut Vec<Job>, jobs: &mut mpsc::Receiver<Job>) -> bool {
        if !self.held.is_empty() {
            group.append(&mut self.held);
            return true;
        }
        match tokio::time::timeout(IDLE, jobs.recv_many(group, GROUP)).await {
            Ok(received) => received > 0,
            Err(_) => {
                self.database.release();
                jobs.recv_many(group, GROUP).await > 0
            }
        }
    }

    /// Records the group, however long it takes, and begins the calls of whom it took. False: the process ends, and what
    /// is not recorded is in the journal.
    async fn record(&mut self, group: &mut Vec<Job>, jobs: &mut mpsc::Receiver<Job>) -> bool {
        let (mut takings, mut recorded) = (Vec::new(), Vec::new());
        for job in group.drain(..) {
            match job {
                Job::Intent(taking) => {
                    taking.queued.left();
                    takings.push(taking);
                }
                Job::Outcomes(outcomes) => recorded.extend(outcomes),
            }
        }
        if self.owner.stop.is_cancelled() || self.owner.is_lost() {
            // Taken by nobody: the cursor has not moved.
            takings.drain(..).for_each(|taking| dropped(&self.owner, &taking));
        }
        let (closed, places): (Vec<_>, Vec<_>) = closed_by(&mut self.open, &recorded).unzip();
        self.number += 1;
        let began = Instant::now();
        let work = Work { number: self.number, takings: &takings, recorded: &recorded, closed: &closed };
        let Self { shared, owner, database, claim, held, .. } = &mut *self;
        let is_unanswered = AtomicBool::new(false);
        let commit = commit(shared, owner, database, &work, &is_unanswered);
        let ended = late::attend(commit, shared, owner, claim, held, jobs, &work, &is_unanswered).await;
        match ended {
            late::Ended::Recorded { results, are_withdrawn } => {
                self.owner.account.slots.committed(began.elapsed());
                places.iter().flatten().for_each(|place| self.ledger.leave(place));
                for (taking, committed) in takings.into_iter().zip(results) {
                    if are_withdrawn {
                        self.withdraw(&taking, &committed);
                    } else {
                        self.begin(*taking, committed);
                    }
                }
                if self.held.is_empty() {
                    self.claim.settled().await;
                }
                true
            }
            late::Ended::Fenced => {
                self.owner.lose();
                takings.iter().for_each(|taking| dropped(&self.owner, taking));
                let mut reports: Vec<_> =
                    recorded.iter().filter_map(|recorded| evidence::of_outcome(&recorded.outcome)).collect();
                if is_unanswered.load(Ordering::Acquire) {
                    // They may have been taken, and whoever owns the account now has found them open.
                    let now = self.shared.clock.now();
                    reports.extend(
                        takings.iter().flat_map(|taking| evidence::of_withdrawn(&taking.intent, now)),
                    );
                }
                if !reports.is_empty() {
                    evidence::give(&self.shared, &self.owner, &reports).await;
                }
                true
            }
            late::Ended::GivenUp => false,
        }
    }

    /// The journal says that nobody of it was ever called: so it is, also now that the intent is committed.
    fn withdraw(&mut self, taking: &Taking, committed: &Committed) {
        let only = match committed {
            Committed::All => None,
            Committed::Only(nos) => Some(nos),
            Committed::Dropped => return dropped(&self.owner, taking),
        };
        tell_heard(taking);
        let intent = &taking.intent;
        let leaving: Vec<Recorded> = intent
            .taken
            .iter()
            .filter(|taken| only.is_none_or(|nos| nos.contains(&taken.no)))
            .map(|taken| requeued(intent.request_id, intent.task_id, taken, self.shared.clock.now()))
            .collect();
        if !leaving.is_empty() {
            self.open.insert(intent.request_id, Open { left: leaving.len(), place: None });
            self.held.push(Job::Outcomes(leaving));
        }
    }

    /// Begins the calls of what was taken.
    fn begin(&mut self, mut taking: Taking, committed: Committed) {
        let (shared, owner) = (&self.shared, &self.owner);
        let only = match committed {
            Committed::All => None,
            Committed::Only(nos) => Some(nos),
            Committed::Dropped => return dropped(owner, &taking),
        };
        if only.is_some() && taking.facts.guards.daily.is_some() {
            // The day's limit may be reached.
            owner.account.wake.notify_one();
        }
        tell_heard(&taking);
        let mut leaving = leaving(&mut taking, only.as_ref());
        if leaving.is_empty() {
            return;
        }
        let Taking { intent, facts, jobs, is_batch, permits, holds, .. } = &mut taking;
        if holds.len() > leaving.len() {
            holds.retain(|no| leaving.iter().any(|(taken, _)| taken.no == no));
        }
        let place = self.ledger.enter(intent.request_id);
        self.open.insert(intent.request_id, Open { left: leaving.len(), place: place.clone() });
        let per_call = if *is_batch { leaving.len() } else { 1 };
        for index in (0..leaving.len()).step_by(per_call) {
            let (taken, outgoing): (Vec<_>, _) = leaving.drain(..per_call).unzip();
            let call = Call {
                request_id: intent.request_id,
                facts: Arc::clone(facts),
                holds: holds.split(taken.len()),
                departure: place.clone().map(|place| Departure { place, index, is_batch: *is_batch }),
                taken,
                outgoing,
                // The pacer took one permit a call.
                permit: permits.split(1),
                jobs: jobs.clone(),
            };
            tokio::spawn(call.run(Arc::clone(shared), Arc::clone(owner)));
        }
    }
}

/// A recipient whose call never began: back where it was, due now.
pub(crate) fn requeued(request_id: i64, task_id: i64, taken: &Taken, now: DateTime<Utc>) -> Recorded {
    let again = Again { due_at: now, attempts_used: taken.attempt - 1, batch_max: i16::MAX };
    let result = CallResult::Requeued(again);
    let outcome = Outcome { task_id, request_id, taken: taken.clone(), result, at: now };
    Recorded { outcome, effects: Effects::default() }
}

/// The requests whose last outcome is among these, each with its place.
fn closed_by(
    open: &mut HashMap<i64, Open>,
    recorded: &[Recorded],
) -> impl Iterator<Item = (i64, Option<Arc<Place>>)> {
    recorded.iter().filter_map(|Recorded { outcome, .. }| {
        let left = &mut open.get_mut(&outcome.request_id)?.left;
        *left -= 1;
        if *left > 0 {
            return None;
        }
        let closed = open.remove(&outcome.request_id)?;
        Some((outcome.request_id, closed.place))
    })
}

/// Commits the group, however long it takes. None: the account belongs to a newer owner, and nothing was written.
///
/// `is_unanswered` holds while the group may be committed without anybody knowing.
async fn commit(
    shared: &Shared,
    owner: &Owner,
    database: &mut Kept,
    work: &Work<'_>,
    is_unanswered: &AtomicBool,
) -> Option<Vec<Committed>> {
    let (mut is_careful, mut is_told) = (false, false);
    let mut limit = LIMIT_HOT;
    loop {
        let how = How { is_careful, limit, is_unanswered };
        let tried = try_commit(shared, owner, database, work, &how).await;
        if !matches!(tried, Ok(Commit::Done(_))) {
            database.release();
        }
        let error = match tried {
            Ok(Commit::Done(results)) => {
                is_back(owner);
                return Some(results);
            }
            Ok(Commit::Unanswered(results, error)) => {
                note_away(owner);
                tracing::warn!(account.name = owner.account.config.name, %error,
                    "a commit was not answered; what became of it is asked before anything is repeated");
                match is_committed(shared, owner, work.number).await {
                    Ok(true) => {
                        is_back(owner);
                        return Some(results);
                    }
                    Ok(false) => {
                        is_unanswered.store(false, Ordering::Release);
                        continue;
                    }
                    Err(error) => error,
                }
            }
            Err(error) => error,
        };
        if matches!(error, Error::Fenced) {
            return None;
        }
        if error.is_duplicate() {
            tracing::error!(account.name = owner.account.config.name, %error, "a message has an outcome already");
            is_careful = true;
        }
        if error.is_timeout() {
            limit = (limit * 2).min(LIMIT_LONGEST);
        }
        // Once a group, so that the log says why and is not filled with it.
        if !std::mem::replace(&mut is_told, true) {
            tracing::warn!(account.name = owner.account.config.name, %error, "trying again to record");
        }
        note_away(owner);
        tokio::time::sleep(RETRY).await;
    }
}

pub(crate) fn note_away(owner: &Owner) {
    if !owner.account.database_is_away.swap(true, Ordering::AcqRel) {
        tracing::error!(
            account.name = owner.account.config.name,
            "outcomes cannot be recorded; nothing is sent until they can"
        );
    }
}

fn is_back(owner: &Owner) {
    if owner.account.database_is_away.swap(false, Ordering::AcqRel) {
        tracing::info!(account.name = owner.account.config.name, "outcomes are recorded again");
    }
}

/// Whether the group whose commit gave no answer is there; asked until it is known.
///
/// # Errors
/// [`Error::Fenced`] alone.
async fn is_committed(shared: &Shared, owner: &Owner, number: i64) -> store::Result<bool> {
    loop {
        let asked = leases::is_committed(&shared.db.hot, &owner.lease, number);
        match shared.db.within(LIMIT_HOT, "asking what became of a commit", asked).await {
            Err(Error::Fenced) => return Err(Error::Fenced),
            Err(error) => tracing::debug!(%error, "what became of a commit cannot be asked yet"),
            known => return known,
        }
        tokio::time::sleep(RETRY).await;
    }
}

/// What one transaction writes.
pub(crate) struct Work<'a> {
    /// No other transaction of this lease has it.
    number: i64,
    pub(crate) takings: &'a [Box<Taking>],
    pub(crate) recorded: &'a [Recorded],
    closed: &'a [i64],
}

/// How it is tried.
struct How<'a> {
    is_careful: bool,
    limit: Duration,
    is_unanswered: &'a AtomicBool,
}

/// How a commit ended.
enum Commit {
    Done(Vec<Committed>),
    /// It gave no answer: the results hold if the transaction is there.
    Unanswered(Vec<Committed>, Error),
}

async fn try_commit(
    shared: &Shared,
    owner: &Owner,
    database: &mut Kept,
    work: &Work<'_>,
    how: &How<'_>,
) -> store::Result<Commit> {
    let &How { is_careful, limit, is_unanswered } = how;
    let began = "recording intents and outcomes";
    let now = shared.clock.now();
    let timeout = owner.account.config.timeouts.total;
    let intents: Vec<&Intent> = work.takings.iter().map(|taking| &taking.intent).collect();
    let outcomes: Vec<&Outcome> = work.recorded.iter().map(|recorded| &recorded.outcome).collect();
    let effects: Vec<&Effects> = work.recorded.iter().map(|recorded| &recorded.effects).collect();
    let group = Group {
        number: work.number,
        intents: &intents,
        outcomes: &outcomes,
        closed: work.closed,
        now,
        deadline_at: now + TimeDelta::from_std(timeout).unwrap_or(TimeDelta::MAX),
        is_careful,
        counts_marketing: shared.limits.max_per_recipient.is_some(),
    };
    let write = async {
        let mut transaction = database.begin(began).await?;
        let conn: &mut PgConnection = &mut transaction;
        let committed = groups::write(conn, &owner.lease, &group).await?;
        effects::apply_all(conn, &effects, now).await?;
        Ok((transaction, committed))
    };
    let (transaction, committed) = shared.db.within(limit, began, write).await?;
    hooks::point!("intent.before_commit", if !work.takings.is_empty());
    hooks::point!("outcome.before_commit", if !work.recorded.is_empty());
    is_unanswered.store(true, Ordering::Release);
    let commit = async { transaction.commit().await.map_err(Error::database(began)) };
    let ended = shared.db.within(limit, began, commit).await;
    hooks::point!("intent.after_commit", if !work.takings.is_empty());
    hooks::point!("outcome.after_commit", if !work.recorded.is_empty());
    Ok(match ended {
        Ok(()) => Commit::Done(committed),
        Err(error) => Commit::Unanswered(committed, error),
    })
}

/// Who of the taking is called, each with what he is sent, in the order of the request's row.
fn leaving(taking: &mut Taking, only: Option<&HashSet<i32>>) -> Vec<(Taken, Outgoing)> {
    let Intent { request_id, task_id, taken, .. } = &mut taking.intent;
    let (request_id, task_id) = (*request_id, *task_id);
    taken
        .drain(..)
        .zip(taking.rendered.drain(..))
        .filter(|(taken, _)| only.is_none_or(|nos| nos.contains(&taken.no)))
        .map(|(taken, rendered)| {
            let correlation = Correlation { request_id, task_id, no: taken.no };
            let outgoing = Outgoing { to: taken.phone, correlation, rendered };
            (taken, outgoing)
        })
        .collect()
}

/// Nobody of it was taken: what the pacer prefetched no longer joins the cursor.
fn dropped(owner: &Owner, taking: &Taking) {
    if let Source::Fresh { .. } = taking.intent.source {
        taking.facts.is_stale.store(true, Ordering::Release);
        // It is begun afresh as soon as the account has looked where its cursor stands.
        owner.account.wake.notify_one();
    }
    tell_heard(taking);
}

fn tell_heard(taking: &Taking) {
    if taking.intent.source == Source::Retries {
        let nos = taking.intent.taken.iter().map(|taken| taken.no);
        let unfit = taking.intent.unfit.iter().map(|unfit| unfit.no);
        let deferred = taking.intent.deferred.iter().map(|deferred| deferred.no);
        let _ = taking.heard.send((taking.intent.task_id, nos.chain(unfit).chain(deferred).collect()));
    }
}

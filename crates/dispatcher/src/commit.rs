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
use chrono::{DateTime, Utc};
use model::report::Correlation;
use store::{
    Kept,
    effects::Effects,
    intents::{Committed, Intent, Source, Taken},
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
    transact::{Work, commit},
};

/// Jobs in one transaction at the most.
const GROUP: usize = 2000;
/// Without anything to write for so long, the connection is given back.
const IDLE: Duration = Duration::from_millis(100);
/// A group that is not recorded by then is late: the database is away. Longer than a disk stalls, shorter than anybody
/// waits before he ends a process that does not answer.
pub(crate) const LATE: Duration = Duration::from_secs(2);

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
    let again = Again { due_at: now, attempts_used: taken.attempt - 1, batch_max: taken.batch_max };
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

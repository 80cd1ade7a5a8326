//! The committer of one account: whatever queued while the last commit ran goes into the next, in one transaction.
//!
//! It holds on to what it has until it is recorded: while the database is away nothing new is taken, and a commit whose
//! outcome is not known is looked up before it is repeated.

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use chrono::TimeDelta;
use model::report::Correlation;
use store::{
    Error, Kept, PgConnection,
    effects::{self, Effects},
    groups::{self, Group},
    intents::{Committed, Intent, Source},
    leases,
    outcomes::Outcome,
};
use tokio::{
    sync::{Notify, OwnedSemaphorePermit, mpsc},
    time::Instant,
};
use vendors::Outgoing;

use crate::{Shared, account::Owner, call::Call, pacer::Heard, run::RunFacts};

/// Jobs in one transaction at the most.
const GROUP: usize = 500;
/// Without anything to write for so long, the connection is given back.
const IDLE: Duration = Duration::from_millis(100);
/// Between two tries to record.
const RETRY: Duration = Duration::from_millis(200);

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
    pub(crate) permits: OwnedSemaphorePermit,
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

/// Runs until every sender of jobs is dropped, or the account is lost.
pub(crate) async fn run(shared: Arc<Shared>, owner: Arc<Owner>, mut jobs: mpsc::Receiver<Job>) {
    let mut open: HashMap<i64, usize> = HashMap::new();
    let mut number = 0;
    let mut group = Vec::with_capacity(GROUP);
    let mut database = Kept::of(&shared.db.hot);
    loop {
        group.clear();
        let received = match tokio::time::timeout(IDLE, jobs.recv_many(&mut group, GROUP)).await {
            Ok(received) => received,
            Err(_) => {
                database.release();
                jobs.recv_many(&mut group, GROUP).await
            }
        };
        if received == 0 {
            return;
        }
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
        if owner.stop.is_cancelled() || owner.is_lost() {
            // Taken by nobody: the cursor has not moved.
            takings.drain(..).for_each(|taking| dropped(&owner, &taking));
        }
        let closed = closed_by(&mut open, &recorded);
        number += 1;
        let began = Instant::now();
        let work = Work { number, takings: &takings, recorded: &recorded, closed: &closed };
        match commit(&shared, &owner, &mut database, &work).await {
            Some(results) => {
                owner.account.slots.committed(began.elapsed());
                for (taking, committed) in takings.into_iter().zip(results) {
                    begin(&shared, &owner, &mut open, *taking, committed);
                }
            }
            None => {
                owner.lose();
                takings.iter().for_each(|taking| dropped(&owner, taking));
                give_evidence(&shared, &owner, &recorded).await;
            }
        }
    }
}

/// The requests whose last outcome is among these.
fn closed_by(open: &mut HashMap<i64, usize>, recorded: &[Recorded]) -> Vec<i64> {
    let mut closed = Vec::new();
    for Recorded { outcome, .. } in recorded {
        if let Some(left) = open.get_mut(&outcome.request_id) {
            *left -= 1;
            if *left == 0 {
                open.remove(&outcome.request_id);
                closed.push(outcome.request_id);
            }
        }
    }
    closed
}

/// Commits the group, however long it takes. None: the account belongs to a newer owner, and nothing was written.
async fn commit(
    shared: &Shared,
    owner: &Owner,
    database: &mut Kept,
    work: &Work<'_>,
) -> Option<Vec<Committed>> {
    let mut is_careful = false;
    loop {
        let tried = try_commit(shared, owner, database, work, is_careful).await;
        if !matches!(tried, Ok(Commit::Done(_))) {
            database.release();
        }
        let error = match tried {
            Ok(Commit::Done(results)) => {
                owner.account.database_is_away.store(false, Ordering::Release);
                return Some(results);
            }
            Ok(Commit::Unanswered(results, error)) => {
                note_away(owner, &error);
                match is_committed(shared, owner, work.number).await {
                    Ok(true) => return Some(results),
                    Ok(false) => continue,
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
        note_away(owner, &error);
        tokio::time::sleep(RETRY).await;
    }
}

fn note_away(owner: &Owner, error: &Error) {
    if !owner.account.database_is_away.swap(true, Ordering::AcqRel) {
        tracing::error!(account.name = owner.account.config.name, %error,
            "outcomes cannot be recorded; nothing is sent until they can");
    }
}

/// Whether the group whose commit gave no answer is there; asked until it is known.
///
/// # Errors
/// [`Error::Fenced`] alone.
async fn is_committed(shared: &Shared, owner: &Owner, number: i64) -> store::Result<bool> {
    loop {
        match leases::is_committed(&shared.db.hot, &owner.lease, number).await {
            Err(Error::Fenced) => return Err(Error::Fenced),
            Err(error) => tracing::debug!(%error, "what became of a commit cannot be asked yet"),
            known => return known,
        }
        tokio::time::sleep(RETRY).await;
    }
}

/// What one transaction writes.
struct Work<'a> {
    /// No other transaction of this lease has it.
    number: i64,
    takings: &'a [Box<Taking>],
    recorded: &'a [Recorded],
    closed: &'a [i64],
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
    is_careful: bool,
) -> store::Result<Commit> {
    let began = "recording intents and outcomes";
    let mut transaction = database.begin(began).await?;
    let conn: &mut PgConnection = &mut transaction;
    let now = shared.clock.now();
    let timeout = owner.account.config.timeouts.total;
    let intents: Vec<&Intent> = work.takings.iter().map(|taking| &taking.intent).collect();
    let outcomes: Vec<&Outcome> = work.recorded.iter().map(|recorded| &recorded.outcome).collect();
    let group = Group {
        number: work.number,
        intents: &intents,
        outcomes: &outcomes,
        closed: work.closed,
        now,
        deadline_at: now + TimeDelta::from_std(timeout).unwrap_or(TimeDelta::MAX),
        is_careful,
    };
    let committed = groups::write(conn, &owner.lease, &group).await?;
    let effects: Vec<&Effects> = work.recorded.iter().map(|recorded| &recorded.effects).collect();
    effects::apply_all(conn, &effects, now).await?;
    hooks::point!("intent.before_commit", if !work.takings.is_empty());
    hooks::point!("outcome.before_commit", if !work.recorded.is_empty());
    let ended = transaction.commit().await;
    hooks::point!("intent.after_commit", if !work.takings.is_empty());
    hooks::point!("outcome.after_commit", if !work.recorded.is_empty());
    Ok(match ended {
        Ok(()) => Commit::Done(committed),
        Err(error) => Commit::Unanswered(committed, Error::database(began)(error)),
    })
}

/// Begins the calls of what was taken.
fn begin(
    shared: &Arc<Shared>,
    owner: &Arc<Owner>,
    open: &mut HashMap<i64, usize>,
    mut taking: Taking,
    committed: Committed,
) {
    let only = match committed {
        Committed::All => None,
        Committed::Only(nos) => Some(nos),
        Committed::Dropped => return dropped(owner, &taking),
    };
    tell_heard(&taking);
    let Taking { intent, facts, rendered, jobs, is_batch, permits, .. } = &mut taking;
    let correlation = |no| Correlation { request_id: intent.request_id, task_id: intent.task_id, no };
    let mut leaving: Vec<_> = intent
        .taken
        .drain(..)
        .zip(rendered.drain(..))
        .filter(|(taken, _)| only.as_ref().is_none_or(|nos| nos.contains(&taken.no)))
        .map(|(taken, rendered)| {
            let outgoing = Outgoing { to: taken.phone, correlation: correlation(taken.no), rendered };
            (taken, outgoing)
        })
        .collect();
    if leaving.is_empty() {
        return;
    }
    open.insert(intent.request_id, leaving.len());
    let per_call = if *is_batch { leaving.len() } else { 1 };
    while !leaving.is_empty() {
        let (taken, outgoing) = leaving.drain(..per_call.min(leaving.len())).unzip();
        // The pacer took one permit a call.
        let permit = permits.split(1);
        let call = Call {
            request_id: intent.request_id,
            facts: Arc::clone(facts),
            taken,
            outgoing,
            permit,
            jobs: jobs.clone(),
        };
        tokio::spawn(call.run(Arc::clone(shared), Arc::clone(owner)));
    }
}

/// Nobody of it was taken: what the pacer prefetched no longer joins the cursor.
fn dropped(owner: &Owner, taking: &Taking) {
    owner.account.breaker.release_probe();
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
        let _ = taking.heard.send((taking.intent.task_id, nos.chain(unfit).collect()));
    }
}

/// What was learned after the fence had closed goes into the inbox: the new owner decides by it.
async fn give_evidence(shared: &Shared, owner: &Owner, recorded: &[Recorded]) {
    let reports: Vec<_> = recorded.iter().filter_map(|recorded| evidence(&recorded.outcome)).collect();
    if reports.is_empty() {
        return;
    }
    match serde_json::to_string(&reports) {
        Ok(body) => (shared.evidence)(owner.account.config.name.clone(), body).await,
        Err(error) => tracing::error!(%error, "evidence cannot be written down"),
    }
}

/// An outcome as a report; none where it tells nothing.
fn evidence(outcome: &Outcome) -> Option<model::report::StatusReport> {
    use model::report::{ReportedOutcome, StatusReport};
    use store::outcomes::CallResult;
    let (vendor_id, reported) = match &outcome.result {
        CallResult::Accepted(vendor_id) => (vendor_id.clone(), ReportedOutcome::Accepted),
        CallResult::Failed(why) | CallResult::Retry(why, _) => {
            let (code, reason) = (why.code.clone(), why.reason.clone());
            (String::new(), ReportedOutcome::Failed { code, reason })
        }
        CallResult::Unknown(_) | CallResult::Requeued(_) => return None,
    };
    Some(StatusReport {
        vendor_id,
        correlation: Some(Correlation {
            request_id: outcome.request_id,
            task_id: outcome.task_id,
            no: outcome.taken.no,
        }),
        to: Some(outcome.taken.phone),
        outcome: reported,
        at: Some(outcome.at),
    })
}

//! While a group cannot be recorded: what it holds and what comes back meanwhile goes into the journal.
//!
//! Calls end, but none begins: the committer alone begins them, and it waits here. So what is held is bounded by what was
//! under way.

use std::{
    future::Future,
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

use model::report::StatusReport;
use store::intents::Committed;
use tokio::{sync::mpsc, time::Instant};

use crate::{
    Shared,
    account::Owner,
    commit::{Job, LATE, Recorded},
    evidence,
    journal::Claim,
    transact::{Work, note_away},
};

/// Between two looks whether a commit has stayed without an answer.
const LOOK: Duration = Duration::from_millis(500);
/// How long a process that is to end tries on after its last call has ended. All it knows is in the journal by then.
const LAST_TRIES: Duration = Duration::from_secs(3);

/// How the work on a group ended.
pub(crate) enum Ended {
    /// It is recorded.
    Recorded {
        /// What became of its intents.
        results: Vec<Committed>,
        /// The journal says that none of them ever left.
        are_withdrawn: bool,
    },
    /// The account belongs to a newer owner.
    Fenced,
    /// The process ends without a database; the journal holds what is known.
    GivenUp,
}

/// Waits for `commit`, and from [`LATE`] on keeps what is known.
#[expect(
    clippy::too_many_arguments,
    reason = "they are the committer, of which the commit has borrowed a part"
)]
pub(crate) async fn attend(
    commit: impl Future<Output = Option<Vec<Committed>>>,
    shared: &Shared,
    owner: &Owner,
    claim: &mut Claim,
    held: &mut Vec<Job>,
    jobs: &mut mpsc::Receiver<Job>,
    work: &Work<'_>,
    is_unanswered: &AtomicBool,
) -> Ended {
    tokio::pin!(commit);
    if let Ok(ended) = tokio::time::timeout(LATE, &mut commit).await {
        return Ended::of(ended, false);
    }
    note_away(owner);
    let mut keeper = Keeper { shared, owner, claim, are_withdrawn: false };
    keeper.keep(known(work.recorded)).await;
    let mut fresh = Vec::new();
    let mut give_up_at = None;
    loop {
        if is_unanswered.load(Ordering::Acquire) {
            keeper.withdraw(work).await;
        }
        let look = Instant::now() + LOOK;
        tokio::select! {
            biased;
            ended = &mut commit => return Ended::of(ended, keeper.are_withdrawn),
            _ = jobs.recv_many(&mut fresh, usize::MAX), if give_up_at.is_none() => {
                for job in fresh.drain(..) {
                    if let Job::Outcomes(outcomes) = &job {
                        keeper.keep(known(outcomes)).await;
                    }
                    held.push(job);
                }
            }
            () = tokio::time::sleep_until(look) => {}
        }
        // Whoever waits to be taken holds the way to us open, and waits for us.
        let waiting = work.takings.len() + held.iter().filter(|job| matches!(job, Job::Intent(_))).count();
        if give_up_at.is_none() && jobs.is_empty() && jobs.sender_strong_count() <= waiting {
            give_up_at = Some(Instant::now() + LAST_TRIES);
        }
        if give_up_at.is_some_and(|at| at <= Instant::now()) {
            if is_unanswered.load(Ordering::Acquire) {
                keeper.withdraw(work).await;
            }
            tracing::warn!(
                account.name = owner.account.config.name,
                "ending without a database; what is known of calls is in the journal, for the next start to read"
            );
            return Ended::GivenUp;
        }
    }
}

impl Ended {
    fn of(ended: Option<Vec<Committed>>, are_withdrawn: bool) -> Self {
        ended.map_or(Self::Fenced, |results| Self::Recorded { results, are_withdrawn })
    }
}

fn known(recorded: &[Recorded]) -> Vec<StatusReport> {
    recorded.iter().filter_map(|recorded| evidence::of_outcome(&recorded.outcome)).collect()
}

/// Writes the journal of one group.
struct Keeper<'a> {
    shared: &'a Shared,
    owner: &'a Owner,
    claim: &'a mut Claim,
    are_withdrawn: bool,
}

impl Keeper<'_> {
    async fn keep(&mut self, reports: Vec<StatusReport>) {
        let account = &self.owner.account.config.name;
        for entry in evidence::entries(&reports) {
            if let Err(error) = self.claim.keep(account, &entry).await {
                tracing::error!(account.name = account, %error, recipients = reports.len(),
                    "the journal cannot be written: should this process die now, these outcomes become unknown");
            }
        }
    }

    /// A commit stayed without an answer: should the process end now, whoever it took would be found open, though nobody
    /// of them was called. Once the journal says so, nobody of them may be called any more.
    async fn withdraw(&mut self, work: &Work<'_>) {
        if self.are_withdrawn || work.takings.is_empty() {
            return;
        }
        // Before it is written: it may be on disk though writing it failed.
        self.are_withdrawn = true;
        let now = self.shared.clock.now();
        let reports = work.takings.iter().flat_map(|taking| evidence::of_withdrawn(&taking.intent, now));
        self.keep(reports.collect()).await;
    }
}

//! One call to the vendor: from a committed intent to outcomes on their way to the committer.

use std::{
    cell::OnceCell,
    panic::AssertUnwindSafe,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use chrono::{DateTime, Utc};
use futures::FutureExt as _;
use model::{
    disposition::Disposition,
    verdict::{Failure, Verdict},
};
use store::{intents::Taken, outcomes::Again};
use tokio::{sync::mpsc, time::Instant};
use vendors::{Outgoing, codes};

use crate::{
    Shared,
    account::{AccountState, Owner},
    commit::{Job, requeued},
    departures::Place,
    judge::About,
    pairs::Holds,
    run::RunFacts,
    slots::Permit,
};

/// A call whose intent is committed.
pub(crate) struct Call {
    pub(crate) request_id: i64,
    pub(crate) facts: Arc<RunFacts>,
    /// Who is sent to, and in the same order what.
    pub(crate) taken: Vec<Taken>,
    pub(crate) outgoing: Vec<Outgoing>,
    /// Given back when the call is over.
    pub(crate) permit: Option<Permit>,
    /// The recipients, who are not written to otherwise meanwhile.
    pub(crate) holds: Holds,
    /// Where it is marked before it begins.
    pub(crate) departure: Option<Departure>,
    pub(crate) jobs: mpsc::Sender<Job>,
}

/// Where a call is marked.
pub(crate) struct Departure {
    pub(crate) place: Arc<Place>,
    /// Of its first recipient in the request's row.
    pub(crate) index: usize,
    pub(crate) is_batch: bool,
}

impl Departure {
    /// False: the call must not begin.
    fn marked(&self) -> bool {
        if self.is_batch { self.place.begins_whole() } else { self.place.begins(self.index) }
    }
}

/// What a call may take beyond the vendor's timeout before its lease must not be trusted any more.
const MARGIN: Duration = Duration::from_secs(2);

impl Call {
    /// Recipient `index` back where it was, due now, in batches of so many.
    pub(crate) fn again(&self, index: usize, now: DateTime<Utc>, batch_max: i16) -> Again {
        Again { due_at: now, attempts_used: self.taken[index].attempt - 1, batch_max }
    }

    /// Makes the call and hands on what came of it.
    pub(crate) async fn run(mut self, shared: Arc<Shared>, owner: Arc<Owner>) {
        let account = Arc::clone(&owner.account);
        let n = u32::try_from(self.outgoing.len()).unwrap_or(u32::MAX);
        let Some(place) = account.slots.call().await else {
            return self.withdraw(&shared).await;
        };
        if let Some(pace) = account.pace(&self.facts.run.sender) {
            pace.depart(n).await;
        }
        hooks::point!("call.placed");
        let probe = self.permit.as_mut().and_then(|permit| permit.probe.take());
        // Those who were taken before the breaker opened need not become unknown one after the other.
        let is_held_back = account.breaker.is_open() && probe.is_none();
        // What came of it could not be recorded: nobody else need become unknown should the process end meanwhile.
        let is_held_back = is_held_back || account.database_is_away.load(Ordering::Acquire);
        let is_held_back = is_held_back || self.facts.is_stopped();
        if is_held_back || owner.is_lost() || !owner.trust.covers(account.config.timeouts.total + MARGIN) {
            return self.withdraw(&shared).await;
        }
        // Last of all: whoever is marked was called, for all that is known after a kill.
        if !self.departure.as_ref().is_none_or(Departure::marked) {
            // Under the next epoch a file is begun anew, or none where the disk takes none.
            owner.stop.cancel();
            return self.withdraw(&shared).await;
        }
        shared.live.departed(&account.config.name, self.facts.run.task_id, n);
        let began = Instant::now();
        hooks::point!("call.before");
        let verdicts = self.send(&account).await;
        hooks::point!("call.answered");
        self.holds.split(usize::MAX).end(verdicts.iter().map(may_have_got));
        let is_usable = verdicts.iter().any(is_usable);
        account.breaker.observe(is_usable, probe);
        let (took, is_overloaded) = (began.elapsed(), !is_usable || verdicts.iter().any(is_throttled));
        account.observe_batch(&verdicts, is_usable);
        let about = About {
            call: &self,
            account: &account.config.name,
            vendor: account.config.vendor,
            random: &shared.random,
            now: shared.clock.now(),
            batch: self.taken.len(),
            slow_downs: OnceCell::new(),
        };
        let mut recorded = Vec::with_capacity(self.taken.len());
        for (index, verdict) in verdicts.into_iter().enumerate() {
            let judged = owner.judge.judge(&about, index, verdict);
            if let Some(scope) = judged.slow_down {
                let measured = shared.live.account(&account.config.name).messages_per_second;
                account.slow_down(scope, &self.facts.run.sender, measured);
            }
            // Calls whose intent is committed would meet the same refusal.
            judged.recorded.effects.halts.iter().for_each(|halt| account.begun.stop_halted(halt));
            recorded.push(judged.recorded);
        }
        // Whoever waited for the place sees whether this call's refusal stops it.
        account.slots.ended(place, took, is_overloaded);
        let Self { permit, jobs, .. } = self;
        drop(permit);
        // The committer outlives every call: it ends when the last of these senders is dropped.
        let _ = jobs.send(Job::Outcomes(recorded)).await;
    }

    /// One verdict per message, whatever the client does: were there none, the recipient would be sending for ever.
    async fn send(&self, account: &AccountState) -> Vec<Verdict> {
        let sent =
            AssertUnwindSafe(account.client.send(&self.facts.compiled.facts, &self.outgoing)).catch_unwind();
        let mut verdicts = sent.await.unwrap_or_default();
        if verdicts.len() != self.taken.len() {
            tracing::error!(
                account.name = account.config.name,
                "the vendor's client gave a wrong number of verdicts"
            );
            let unknown = Verdict::Unknown(Failure {
                code: codes::MISSING_IN_ANSWER.to_owned(),
                reason: "the answer could not be judged".to_owned(),
                rule: Disposition::Unknown.into(),
                retry_after: None,
            });
            verdicts.clear();
            verdicts.resize(self.taken.len(), unknown);
        }
        verdicts
    }

    /// The call never began: everybody back where they were.
    async fn withdraw(self, shared: &Shared) {
        let now = shared.clock.now();
        let (request_id, task_id) = (self.request_id, self.facts.run.task_id);
        let recorded = self.taken.iter().map(|taken| requeued(request_id, task_id, taken, now)).collect();
        let _ = self.jobs.send(Job::Outcomes(recorded)).await;
    }
}

/// The vendor answered, whatever it said.
fn is_usable(verdict: &Verdict) -> bool {
    match verdict {
        Verdict::Accepted { .. } | Verdict::Split(_) => true,
        Verdict::Refused(failure) => {
            failure.code != codes::CONNECT_FAILED && failure.code != codes::TLS_FAILED
        }
        Verdict::Unknown(_) => false,
    }
}

/// The recipient may have got the message.
fn may_have_got(verdict: &Verdict) -> bool {
    matches!(verdict, Verdict::Accepted { .. } | Verdict::Unknown(_))
}

/// The vendor asked for fewer calls.
fn is_throttled(verdict: &Verdict) -> bool {
    matches!(verdict, Verdict::Refused(failure)
        if matches!(failure.rule.disposition, Disposition::SlowDown { .. }))
}

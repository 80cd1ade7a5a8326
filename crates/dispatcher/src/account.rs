//! One account: what lasts as long as the process, and the work while this node owns it.

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use governor::DefaultDirectRateLimiter;
use model::{disposition::Scope, verdict::Verdict};
use store::{
    Error,
    database::LIMIT_HOT,
    leases::{Acquired, Lease},
    runs,
};
use tokio::{
    sync::{Notify, mpsc},
    task::JoinSet,
    time::Instant,
};
use tokio_util::sync::CancellationToken;
use vendors::{Account, AccountConfig};

use crate::{
    Shared, breaker::Breaker, commit, daily, ebb::Ebb, judge::Judge, live::AccountLive, pace, pace::Pace,
    pacer, pairs::Pairs, quiet::Quiet, run::Begun, run::is_open, settle::settle, slots::Slots, stops,
    trust::Trust,
};

/// How often the running tasks are looked up when nothing wakes the account.
pub(crate) const LOOK: Duration = Duration::from_millis(500);
/// Jobs that wait for the committer at the most.
const JOBS: usize = 1024;
/// Messages in one call to an overloaded vendor, at the least.
const LEAST_BATCH: usize = 10;
/// A new owner's first call leaves this much later: the windows of two nodes would add up.
const HAND_OVER: Duration = Duration::from_millis(1100);

/// What an account is in this process, owned or not.
pub(crate) struct AccountState {
    pub(crate) config: AccountConfig,
    pub(crate) client: Arc<Account>,
    paces: HashMap<String, Pace>,
    pairs: HashMap<String, Pairs>,
    pub(crate) slots: Slots,
    /// Messages in one call.
    batch: Ebb,
    pub(crate) requests: Option<DefaultDirectRateLimiter>,
    pub(crate) breaker: Breaker,
    pub(crate) wake: Notify,
    pub(crate) begun: Begun,
    pub(crate) database_is_away: AtomicBool,
}

impl AccountState {
    pub(crate) fn new(config: AccountConfig, client: Arc<Account>) -> Self {
        let paces = config
            .senders
            .iter()
            .map(|sender| {
                let batch =
                    batch_size(client.max_batch(), sender.messages_per_second, config.requests_per_second);
                (sender.from.clone(), Pace::new(sender.messages_per_second, batch))
            })
            .collect();
        let pairs = config.senders.iter().map(|sender| (sender.from.clone(), Pairs::default())).collect();
        Self {
            paces,
            pairs,
            slots: Slots::new(config.max_in_flight, client.max_batch()),
            batch: Ebb::new(client.max_batch(), LEAST_BATCH),
            requests: config
                .requests_per_second
                .and_then(|rate| pace::limiter(rate, (rate * 0.03).ceil().max(1.0) as u32)),
            breaker: Breaker::default(),
            wake: Notify::new(),
            begun: Begun::default(),
            database_is_away: AtomicBool::new(false),
            config,
            client,
        }
    }

    pub(crate) fn pace(&self, sender: &str) -> Option<&Pace> {
        self.paces.get(sender)
    }

    /// Whom a sender has written to lately.
    pub(crate) fn pairs(&self, sender: &str) -> Pairs {
        self.pairs.get(sender).cloned().unwrap_or_default()
    }

    /// What a sender that sends `batch` messages in one call may send in one now.
    pub(crate) fn batch_now(&self, batch: usize) -> usize {
        self.batch.part_of(batch)
    }

    /// A call is over. A vendor that leaves a batch unanswered may fare better with a smaller one, and fewer become unknown
    /// with it. One that merely asks for fewer calls would be called more often for it.
    pub(crate) fn observe_batch(&self, verdicts: &[Verdict], is_usable: bool) {
        let is_unknown = !is_usable && verdicts.iter().any(|verdict| matches!(verdict, Verdict::Unknown(_)));
        if is_unknown && verdicts.len() > 1 {
            self.batch.fall(Instant::now());
        } else if is_usable {
            self.batch.climb(Instant::now());
        }
    }

    /// A vendor's answer or callback said that a scope is too fast. `measured`: the account's messages per second lately.
    pub(crate) fn slow_down(&self, scope: Scope, sender: &str, measured: f64) {
        match scope {
            Scope::Sender => self.paces.get(sender).into_iter().for_each(|pace| pace.slow_down(measured)),
            Scope::Account | Scope::Task | Scope::Template => {
                self.paces.values().for_each(|pace| pace.slow_down(measured));
            }
        }
    }
}

/// Messages in one call: at most the vendor's, and at most half a second of the sender's rate; more only where the
/// account's calls per second could not carry the rate otherwise.
pub(crate) fn batch_size(most: usize, rate: Option<f64>, requests_per_second: Option<f64>) -> u32 {
    let most = u32::try_from(most).unwrap_or(1).max(1);
    let Some(rate) = rate else { return most };
    let needed = requests_per_second.map_or(0.0, |calls| rate / calls);
    most.min((rate / 2.0).max(needed).ceil().max(1.0) as u32)
}

/// The account while this node owns it.
pub(crate) struct Owner {
    pub(crate) account: Arc<AccountState>,
    pub(crate) lease: Lease,
    pub(crate) trust: Arc<Trust>,
    pub(crate) judge: Judge,
    /// Take nobody more.
    pub(crate) stop: CancellationToken,
    lost: AtomicBool,
}

impl Owner {
    pub(crate) fn new(
        account: Arc<AccountState>,
        lease: Lease,
        trust: Arc<Trust>,
        stop: CancellationToken,
    ) -> Self {
        Self { account, lease, trust, judge: Judge::default(), stop, lost: AtomicBool::new(false) }
    }

    /// The fence refused: somebody else owns the account.
    pub(crate) fn lose(&self) {
        if !self.lost.swap(true, Ordering::AcqRel) {
            tracing::warn!(
                account.name = self.account.config.name,
                "the account belongs to another node now"
            );
            self.stop.cancel();
        }
    }

    pub(crate) fn is_lost(&self) -> bool {
        self.lost.load(Ordering::Acquire)
    }
}

/// Works the account until it is told to stop, and until what was under way then is recorded.
pub(crate) async fn work(shared: Arc<Shared>, owner: Arc<Owner>, acquired: Acquired) {
    let account = Arc::clone(&owner.account);
    let Some(ledger) = settle(&shared, &owner, acquired.database_changed).await else { return };
    if acquired.lease.epoch > 1 {
        tokio::select! {
            () = tokio::time::sleep(HAND_OVER) => {}
            () = owner.stop.cancelled() => {}
        }
    }
    let quiet = Quiet::after(&shared, &owner).await;
    let (jobs, queue) = mpsc::channel(JOBS);
    let committer = tokio::spawn(commit::run(Arc::clone(&shared), Arc::clone(&owner), ledger, queue));
    let mut pacers = JoinSet::new();
    let mut plans = HashMap::new();
    for sender in &account.config.senders {
        let plan = Arc::new(pacer::Plan::default());
        plans.insert(sender.from.clone(), Arc::clone(&plan));
        let pacer =
            pacer::Pacer::new(Arc::clone(&shared), Arc::clone(&owner), sender.clone(), plan, jobs.clone());
        pacers.spawn(pacer.run());
    }
    drop(jobs);
    while !owner.stop.is_cancelled() {
        look(&shared, &owner, &plans, &quiet).await;
        if committer.is_finished() && !owner.stop.is_cancelled() {
            tracing::error!(
                account.name = account.config.name,
                "the committer ended; the account begins again"
            );
            owner.stop.cancel();
        }
        tokio::select! {
            Some(ended) = pacers.join_next() => {
                // One that was not told to end has died, and its sender would stand still unseen.
                if !owner.stop.is_cancelled() {
                    tracing::error!(account.name = account.config.name, ?ended, "a pacer died; the account begins again");
                    owner.stop.cancel();
                }
            }
            () = account.wake.notified() => {}
            () = tokio::time::sleep(LOOK) => {}
            () = owner.stop.cancelled() => {}
        }
    }
    plans.values().for_each(|plan| plan.wake.notify_one());
    while pacers.join_next().await.is_some() {}
    // The committer ends when the last call has handed on its outcomes.
    if let Err(error) = committer.await {
        tracing::error!(account.name = account.config.name, %error, "the committer died");
    }
    shared.live.set_account(&account.config.name, AccountLive::default());
}

/// Looks which tasks may send, and tells the pacers.
async fn look(shared: &Shared, owner: &Owner, plans: &HashMap<String, Arc<pacer::Plan>>, quiet: &Quiet) {
    let account = &owner.account;
    stops::obey(shared, account).await;
    let now = shared.clock.now();
    let runs = async {
        let mut conn = shared.db.background.acquire().await.map_err(Error::database("looking for tasks"))?;
        let full = daily::full(&mut conn, &account.config, now).await?;
        Ok((runs::runnable(&mut conn, &account.config.name, now).await?, full))
    };
    match shared.db.within(LIMIT_HOT, "looking for tasks", runs).await {
        Ok((runs, full)) => {
            for (sender, plan) in plans {
                let of_sender = runs
                    .iter()
                    .filter(|run| run.sender == *sender && is_open(run, now) && !quiet.concerns(run));
                plan.set(if full.contains(sender) {
                    of_sender.map(daily::due_alone).collect()
                } else {
                    of_sender.cloned().collect()
                });
            }
        }
        Err(error) => tracing::warn!(account.name = account.config.name, %error, "cannot look for tasks"),
    }
    let open_until = account.breaker.open_until();
    shared.live.set_account(
        &account.config.name,
        AccountLive {
            is_owned: true,
            in_flight: account.slots.in_flight(),
            calls_at_once: account.slots.at_once(),
            messages_per_call: account.batch.now(),
            messages_per_second: 0.0,
            breaker_open_for: open_until.map(|until| until.saturating_duration_since(Instant::now())),
            database_is_away: account.database_is_away.load(Ordering::Acquire),
        },
    );
    shared.live.forget_idle();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_batch_is_half_a_second_of_the_rate_unless_the_calls_cannot_carry_it() {
        assert_eq!(batch_size(100, None, None), 100);
        assert_eq!(batch_size(100, Some(80.0), None), 40);
        assert_eq!(batch_size(100, Some(1000.0), None), 100);
        assert_eq!(batch_size(100, Some(80.0), Some(1.0)), 80);
        assert_eq!(batch_size(1, Some(80.0), None), 1);
        assert_eq!(batch_size(100, Some(0.5), None), 1);
    }
}

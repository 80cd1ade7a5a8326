//! Sending: who owns an account, who is taken next, how fast, and what came of it.
//!
//! One node owns an account; in it one committer writes intents and outcomes in groups, one pacer a sender takes
//! recipients, and calls run between the two. No call leaves before its intent is committed, and no transaction is
//! open while one is under way.

mod account;
mod breaker;
mod call;
mod choose;
mod clocks;
mod commit;
mod daily;
mod departures;
mod ebb;
mod evidence;
mod guard;
mod journal;
mod judge;
mod late;
mod lately;
mod live;
mod ownership;
mod pace;
mod pacer;
mod pairs;
mod quiet;
mod recent;
mod run;
mod settle;
mod slots;
mod stops;
mod transact;
mod trust;

use std::{collections::HashMap, sync::Arc, time::Duration};

use futures::future::BoxFuture;
use model::{Clock, Random, disposition::Scope, limits::FrequencyCap};
use store::{Database, leases::Lease};
use tokio::{sync::watch, task::JoinHandle};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;
use vendors::{Account, AccountConfig};

pub use departures::Departures;
pub use journal::Journal;
pub use live::{AccountLive, Live, TaskLive};

/// Takes what was learned and cannot be recorded as an outcome any more: (account, JSON), to be stored in the inbox as
/// evidence. It answers when that is committed; false: it never will be.
pub type Evidence = Arc<dyn Fn(String, String) -> BoxFuture<'static, bool> + Send + Sync>;

/// Tells the dispatcher that something changed for an account.
pub type Wake = Arc<dyn Fn(&str) + Send + Sync>;

/// Tells the dispatcher that these tasks of an account were paused or cancelled: once this has returned, no call of them
/// begins.
pub type StopTasks = Arc<dyn Fn(&str, Vec<i64>) -> BoxFuture<'static, ()> + Send + Sync>;

/// Waits until the account may make one more call to its vendor.
pub type CallPermit = Arc<dyn Fn(&str) -> BoxFuture<'static, ()> + Send + Sync>;

/// Tells the dispatcher that (account, scope, sender) is too fast.
pub type SlowDown = Arc<dyn Fn(&str, Scope, &str) + Send + Sync>;

/// What a dispatcher is made of.
pub struct Setup {
    /// The database.
    pub db: Database,
    /// Business time.
    pub clock: Clock,
    /// Jitter.
    pub random: Random,
    /// This node.
    pub node: Uuid,
    /// The accounts of the configuration, each with its client.
    pub accounts: Vec<(AccountConfig, Arc<Account>)>,
    /// Where evidence goes.
    pub evidence: Evidence,
    /// Where outcomes are kept while the database is away.
    pub journal: Journal,
    /// Where it stands which calls have begun.
    pub departures: Departures,
    /// What protects people, beside the limits of accounts and senders.
    pub limits: Limits,
}

/// What protects people from getting too much.
#[derive(Clone, Copy, Debug, Default)]
pub struct Limits {
    /// Marketing messages to one person, from all accounts; none: as many as there are campaigns.
    pub max_per_recipient: Option<FrequencyCap>,
    /// A message without a template is called for only where the person wrote lately.
    pub foresee_closed_window: bool,
}

/// What every part of the dispatcher shares.
struct Shared {
    db: Database,
    clock: Clock,
    random: Random,
    node: Uuid,
    evidence: Evidence,
    journal: Journal,
    departures: Departures,
    limits: Limits,
    accounts: HashMap<String, Arc<account::AccountState>>,
    live: Live,
}

/// The running dispatcher.
pub struct Dispatcher {
    shared: Arc<Shared>,
    leases: watch::Receiver<Vec<Lease>>,
    stop: CancellationToken,
    ownership: JoinHandle<()>,
}

/// How long a shutdown waits for calls that are under way.
pub const SHUTDOWN: Duration = Duration::from_secs(30);

impl Dispatcher {
    /// Starts to acquire leases and to send.
    #[must_use]
    pub fn start(setup: Setup) -> Self {
        let accounts = setup
            .accounts
            .into_iter()
            .map(|(config, client)| {
                (config.name.clone(), Arc::new(account::AccountState::new(config, client)))
            })
            .collect();
        let shared = Arc::new(Shared {
            db: setup.db,
            clock: setup.clock,
            random: setup.random,
            node: setup.node,
            evidence: setup.evidence,
            journal: setup.journal,
            departures: setup.departures,
            limits: setup.limits,
            accounts,
            live: Live::default(),
        });
        let of_before = Arc::clone(&shared);
        tokio::spawn(async move { of_before.journal.read_back(&of_before.evidence).await });
        let stop = CancellationToken::new();
        let (sender, leases) = watch::channel(Vec::new());
        let ownership = tokio::spawn(ownership::run(Arc::clone(&shared), sender, stop.clone()));
        Self { shared, leases, stop, ownership }
    }

    /// The accounts that this node owns, as they change.
    #[must_use]
    pub fn leases(&self) -> watch::Receiver<Vec<Lease>> {
        self.leases.clone()
    }

    /// Something changed for the account (a launch, a resume, a lifted halt): look at once.
    #[must_use]
    pub fn wake(&self) -> Wake {
        let shared = Arc::clone(&self.shared);
        Arc::new(move |account| {
            if let Some(account) = shared.accounts.get(account) {
                account.wake.notify_one();
            }
        })
    }

    /// Tasks were paused or cancelled, which is committed: no call of them begins any more on any node, also for those whose
    /// intent was committed before. They go back to where they were.
    #[must_use]
    pub fn stop_tasks(&self) -> StopTasks {
        let shared = Arc::clone(&self.shared);
        Arc::new(move |account, task_ids| {
            let (shared, account) = (Arc::clone(&shared), account.to_owned());
            Box::pin(async move { stops::stop_tasks(&shared, &account, &task_ids).await })
        })
    }

    /// A callback said that a scope of the account is too fast.
    #[must_use]
    pub fn slow_down(&self) -> SlowDown {
        let shared = Arc::clone(&self.shared);
        Arc::new(move |account, scope, sender| {
            if let Some(account) = shared.accounts.get(account) {
                account.slow_down(
                    scope,
                    sender,
                    shared.live.account(&account.config.name).messages_per_second,
                );
            }
        })
    }

    /// Waits until the account may make one more call, beside those that send.
    #[must_use]
    pub fn call_permit(&self) -> CallPermit {
        let shared = Arc::clone(&self.shared);
        Arc::new(move |account| {
            let account = shared.accounts.get(account).map(Arc::clone);
            Box::pin(async move {
                if let Some(requests) = account.as_ref().and_then(|account| account.requests.as_ref()) {
                    requests.until_ready().await;
                }
            })
        })
    }

    /// What moves now: rates, calls under way, what is waited for.
    #[must_use]
    pub fn live(&self) -> Live {
        self.shared.live.clone()
    }

    /// Stops taking, lets what is under way end, records it, gives the leases back: [`SHUTDOWN`] at the most.
    pub async fn shutdown(self) {
        self.stop.cancel();
        if tokio::time::timeout(SHUTDOWN, self.ownership).await.is_err() {
            tracing::warn!("calls were still under way when the time to stop was over; they become unknown");
        }
    }
}

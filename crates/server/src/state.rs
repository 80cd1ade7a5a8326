//! What handlers share, and the hooks through which the daemon tells them what only its running parts know.

use std::{collections::HashMap, fmt, sync::Arc};

use chrono::{DateTime, Utc};
use futures::future::BoxFuture;
use model::Clock;
use reconciler::events::Endpoint;
use scheduler::import::Importer;
use store::{Database, PgTransaction, PoolConnection, Postgres};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use vendors::{Account, AccountConfig};

use crate::{auth::AdminToken, metrics::Counters};

/// Live event streams at once; each asks the database twice a second.
const EVENT_STREAMS: usize = 64;
/// Exports at once; each holds a connection while a page is read.
const EXPORTS: usize = 8;

/// What the daemon hands in.
pub struct Parts {
    /// The database.
    pub database: Database,
    /// Business time.
    pub clock: Clock,
    /// The accounts of the configuration.
    pub accounts: Vec<AccountConfig>,
    /// Their clients, by name: for what a person asks a vendor, never for sending.
    pub clients: HashMap<String, Arc<Account>>,
    /// Where this daemon is reached from outside.
    pub public_url: Option<String>,
    /// The administrator's token; none: nobody is let in.
    pub admin_token: Option<AdminToken>,
    /// Imports audiences.
    pub importer: Importer,
    /// Stores callbacks durably.
    pub inbox: InboxAppend,
    /// The webhooks that are told what happens.
    pub events: Vec<Arc<Endpoint>>,
    /// What only the running parts know.
    pub live: Live,
    /// Cancelled when the daemon is to end.
    pub shutdown: CancellationToken,
}

/// What handlers share. Cheap to clone.
#[derive(Clone)]
pub struct AppState(Arc<Shared>);

/// See [`Parts`].
pub struct Shared {
    pub(crate) database: Database,
    pub(crate) clock: Clock,
    pub(crate) accounts: Vec<AccountConfig>,
    pub(crate) clients: HashMap<String, Arc<Account>>,
    pub(crate) public_url: Option<String>,
    pub(crate) admin_token: Option<AdminToken>,
    pub(crate) importer: Importer,
    pub(crate) inbox: InboxAppend,
    pub(crate) events: Vec<Arc<Endpoint>>,
    pub(crate) live: Live,
    pub(crate) shutdown: CancellationToken,
    pub(crate) counters: Counters,
    pub(crate) event_streams: Arc<Semaphore>,
    pub(crate) exports: Arc<Semaphore>,
    by_name: HashMap<String, usize>,
}

impl AppState {
    /// Puts the parts together.
    #[must_use]
    pub fn new(parts: Parts) -> Self {
        let names = parts.accounts.iter().map(|account| account.name.clone());
        Self(Arc::new(Shared {
            by_name: names.clone().enumerate().map(|(index, name)| (name, index)).collect(),
            counters: Counters::new(names),
            event_streams: Arc::new(Semaphore::new(EVENT_STREAMS)),
            exports: Arc::new(Semaphore::new(EXPORTS)),
            database: parts.database,
            clock: parts.clock,
            accounts: parts.accounts,
            clients: parts.clients,
            public_url: parts.public_url,
            admin_token: parts.admin_token,
            importer: parts.importer,
            inbox: parts.inbox,
            events: parts.events,
            live: parts.live,
            shutdown: parts.shutdown,
        }))
    }
}

impl std::ops::Deref for AppState {
    type Target = Shared;

    fn deref(&self) -> &Shared {
        &self.0
    }
}

impl fmt::Debug for AppState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AppState")
    }
}

impl Shared {
    /// The account with this name.
    pub(crate) fn account(&self, name: &str) -> Option<&AccountConfig> {
        self.by_name.get(name).and_then(|index| self.accounts.get(*index))
    }

    /// A connection for a request of a person or program.
    pub(crate) async fn connection(&self) -> store::Result<PoolConnection<Postgres>> {
        self.database.general.acquire().await.map_err(store::Error::database("waiting for a connection"))
    }

    /// A transaction for a request of a person or program; rolled back when dropped.
    pub(crate) async fn begin(&self) -> store::Result<PgTransaction<'static>> {
        store::begin_in(&self.database.general)
            .await
            .map_err(store::Error::database("beginning a transaction"))
    }
}

/// Stores one callback of an account durably: the account's name and the body. It answers when the body is on disk.
pub type InboxAppend = Arc<dyn Fn(String, String) -> BoxFuture<'static, Result<(), NotStored>> + Send + Sync>;

/// A callback was not stored: the vendor is asked to repeat it.
#[derive(Debug, thiserror::Error)]
#[error("the callback was not stored: {0}")]
pub struct NotStored(pub String);

/// How an account fares, as its owner knows.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct AccountLive {
    /// This node owns it.
    pub owned: bool,
    /// Messages that leave now, each second.
    pub rate_per_second: f64,
    /// Requests that are open now.
    pub in_flight: i64,
    /// Requests that may be open at once now.
    pub calls_at_once: i64,
    /// Messages that one request may hold now.
    pub messages_per_call: i64,
    /// Whether calls are made.
    pub breaker: ::api::Breaker,
}

/// How a task fares, as its account's owner knows.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct TaskLive {
    /// How fast it sends now.
    pub messages_per_second: f64,
    /// What it waits for.
    pub waiting_for: Option<::api::WaitingFor>,
    /// Until when, where that is known.
    pub waiting_until: Option<DateTime<Utc>>,
}

/// How a task of an account fares: the account's name and the task's id.
pub type OfTask = Arc<dyn Fn(&str, i64) -> Option<TaskLive> + Send + Sync>;

/// Stops the calls of an account's tasks: the account's name and the tasks' ids.
pub type StopTasks = Arc<dyn Fn(&str, Vec<i64>) -> BoxFuture<'static, ()> + Send + Sync>;

/// Waits until the named account may make one more call to its vendor.
pub type CallPermit = Arc<dyn Fn(&str) -> BoxFuture<'static, ()> + Send + Sync>;

/// What only the daemon's running parts know. None of these may block a thread.
#[derive(Clone)]
pub struct Live {
    /// How an account fares.
    pub account: Arc<dyn Fn(&str) -> AccountLive + Send + Sync>,
    /// How a task of an account fares; none: not of this node.
    pub task: OfTask,
    /// Something changed that the account's sending should look at now.
    pub wake: Arc<dyn Fn(&str) + Send + Sync>,
    /// Tasks of an account were paused or cancelled, which is committed: once this has returned, no call of them begins.
    pub stop_tasks: StopTasks,
    /// Waits until the account may make one more call to its vendor.
    pub call_permit: CallPermit,
    /// The loop that renews leases is alive.
    pub is_lease_loop_alive: Arc<dyn Fn() -> bool + Send + Sync>,
    /// What vendors answer cannot be recorded at present, and so nothing is sent.
    pub is_database_away: Arc<dyn Fn() -> bool + Send + Sync>,
    /// Appends lines in Prometheus' text format.
    pub metrics: Arc<dyn Fn(&mut String) + Send + Sync>,
}

impl Default for Live {
    /// Nothing is owned and nothing runs; for tests.
    fn default() -> Self {
        Self {
            account: Arc::new(|_| AccountLive::default()),
            task: Arc::new(|_, _| None),
            wake: Arc::new(|_| {}),
            stop_tasks: Arc::new(|_, _| Box::pin(async {})),
            call_permit: Arc::new(|_| Box::pin(async {})),
            is_lease_loop_alive: Arc::new(|| true),
            is_database_away: Arc::new(|| false),
            metrics: Arc::new(|_| {}),
        }
    }
}

impl fmt::Debug for Live {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Live")
    }
}

/// Commits what a request did.
pub(crate) async fn commit(transaction: PgTransaction<'static>) -> store::Result<()> {
    transaction.commit().await.map_err(store::Error::database("committing a request"))
}

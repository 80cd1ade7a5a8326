//! What came back: callbacks into states, retries and halts; and the small steps that keep tasks true to the clock.
//!
//! The inbox is written by any node and applied by the account's owner alone. Applying never fails on what a vendor says.

pub mod inbox;

mod apply;
mod chores;
mod failed;
mod share;

use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
    time::Duration,
};

use model::{Clock, Random, disposition::Scope, watch::Watch};
use store::{Database, leases::Lease};
use tokio::{
    sync::{Notify, watch},
    task::JoinHandle,
};
use tokio_util::sync::CancellationToken;
use vendors::Vendor;

/// Is told that (account, scope, sender) is too fast.
pub type SlowDown = Arc<dyn Fn(&str, Scope, &str) + Send + Sync>;

/// What a reconciler is made of.
pub struct Setup {
    /// The database.
    pub db: Database,
    /// Business time.
    pub clock: Clock,
    /// Jitter.
    pub random: Random,
    /// Every account's vendor.
    pub vendors: HashMap<String, Vendor>,
    /// The accounts that this node owns, as they change.
    pub leases: watch::Receiver<Vec<Lease>>,
    /// Told when a callback says that a scope of an account is too fast: (account, scope, sender).
    pub slow_down: SlowDown,
    /// Told when an account may have something to send again.
    pub wake_dispatcher: Arc<dyn Fn(&str) + Send + Sync>,
    /// Rings when something was appended to the inbox by this node.
    pub appended: Arc<Notify>,
}

/// What every loop shares.
struct Shared {
    db: Database,
    clock: Clock,
    random: Random,
    vendors: HashMap<String, Vendor>,
    slow_down: SlowDown,
    wake_dispatcher: Arc<dyn Fn(&str) + Send + Sync>,
    watches: Mutex<HashMap<String, Watch>>,
}

/// The running reconciler.
pub struct Reconciler {
    stop: CancellationToken,
    work: JoinHandle<()>,
}

/// The inbox is looked into this often when nothing rings.
const LOOK: Duration = Duration::from_millis(200);

impl Reconciler {
    /// Starts to apply what comes back.
    #[must_use]
    pub fn start(setup: Setup) -> Self {
        let stop = CancellationToken::new();
        let shared = Arc::new(Shared {
            db: setup.db,
            clock: setup.clock,
            random: setup.random,
            vendors: setup.vendors,
            slow_down: setup.slow_down,
            wake_dispatcher: setup.wake_dispatcher,
            watches: Mutex::new(HashMap::new()),
        });
        let work = tokio::spawn(run(shared, setup.leases, setup.appended, stop.clone()));
        Self { stop, work }
    }

    /// Ends after the step that is under way.
    pub async fn shutdown(self) {
        self.stop.cancel();
        if let Err(error) = self.work.await {
            tracing::error!(%error, "the reconciler died");
        }
    }
}

async fn run(
    shared: Arc<Shared>,
    mut leases: watch::Receiver<Vec<Lease>>,
    appended: Arc<Notify>,
    stop: CancellationToken,
) {
    let chores = tokio::spawn(chores::run(Arc::clone(&shared), leases.clone(), stop.clone()));
    while !stop.is_cancelled() {
        let owned = leases.borrow_and_update().clone();
        let steps = owned.iter().map(|lease| apply::all(&shared, lease, &stop));
        futures::future::join_all(steps).await;
        tokio::select! {
            () = stop.cancelled() => {}
            () = appended.notified() => {}
            _ = leases.changed() => {}
            () = tokio::time::sleep(LOOK) => {}
        }
    }
    if let Err(error) = chores.await {
        tracing::error!(%error, "the chores died");
    }
}

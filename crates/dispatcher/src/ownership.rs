//! The lease loop: says that this node lives, renews what it owns, takes what is free, gives back at the end.

use std::{collections::HashMap, sync::Arc, time::Duration};

use store::{
    Error,
    database::{LIMIT_HOT, LIMIT_LAST},
    leases::{self, Acquired, Lease},
};
use tokio::{sync::watch, task::JoinHandle};
use tokio_util::sync::CancellationToken;

use crate::{
    Shared,
    account::{self, Owner},
    trust::{Trust, since_boot},
};

/// Renewals in the time of a lease: it survives five failed ones.
const RENEWALS: f64 = 6.0;
/// An account that is more than this node's share is handed back once in this part of a lease, so that others come and go
/// without everything moving at once.
const HAND_BACKS: f64 = 3.0;
/// Between two looks for free accounts.
const LOOK: Duration = Duration::from_secs(1);

struct Owned {
    owner: Arc<Owner>,
    work: JoinHandle<()>,
    /// It is to be another node's: given back when its work has drained.
    is_leaving: bool,
}

/// When a node says what, in parts of a lease.
struct Rhythm {
    renewal: Duration,
    hand_back: Duration,
}

impl Rhythm {
    fn of_leases() -> Self {
        let part = |parts: f64| Duration::from_secs_f64(store::leases::lease_seconds() / parts);
        Self { renewal: part(RENEWALS), hand_back: part(HAND_BACKS) }
    }
}

/// Runs until `stop`, then drains what is owned and gives it back.
pub(crate) async fn run(shared: Arc<Shared>, leases: watch::Sender<Vec<Lease>>, stop: CancellationToken) {
    let mut owned: HashMap<String, Owned> = HashMap::new();
    let rhythm = Rhythm::of_leases();
    let mut renewed = tokio::time::Instant::now();
    let mut handed_back = renewed;
    let mut share = usize::MAX;
    while !stop.is_cancelled() {
        let due = renewed.elapsed() >= rhythm.renewal || owned.is_empty();
        if due {
            match renew(&shared, &owned).await {
                Ok(nodes) => {
                    renewed = tokio::time::Instant::now();
                    share = shared.accounts.len().div_ceil(nodes.max(1));
                }
                Err(error) => tracing::warn!(%error, "leases cannot be renewed"),
            }
        }
        forget_ended(&shared, &mut owned).await;
        if handed_back.elapsed() >= rhythm.hand_back && hand_back(&mut owned, share) {
            handed_back = tokio::time::Instant::now();
        }
        acquire(&shared, &mut owned, share, &stop).await;
        publish(&leases, &owned);
        shared.live.lease_loop_turned();
        tokio::select! {
            () = stop.cancelled() => {}
            () = tokio::time::sleep(LOOK) => {}
        }
    }
    drain(&shared, owned).await;
    leases.send_replace(Vec::new());
}

fn publish(leases: &watch::Sender<Vec<Lease>>, owned: &HashMap<String, Owned>) {
    let mut now: Vec<Lease> = owned.values().map(|owned| owned.owner.lease.clone()).collect();
    now.sort_by(|a, b| a.account.cmp(&b.account));
    leases.send_if_modified(|before| {
        let is_new = *before != now;
        *before = now;
        is_new
    });
}

/// Says that this node lives and renews its leases; how many nodes live.
async fn renew(shared: &Shared, owned: &HashMap<String, Owned>) -> store::Result<usize> {
    let began = since_boot();
    let ours: Vec<Lease> = owned.values().map(|owned| owned.owner.lease.clone()).collect();
    let asked = async {
        let mut conn = shared.db.leases.acquire().await.map_err(Error::database("renewing leases"))?;
        // First what cannot wait.
        let kept = match ours.is_empty() {
            true => Vec::new(),
            false => leases::renew(&mut conn, shared.node, &ours).await?,
        };
        Ok((kept, leases::heartbeat(&mut conn, shared.node).await?))
    };
    let (kept, nodes) = shared.db.within(LIMIT_HOT, "renewing leases", asked).await?;
    for owned in owned.values() {
        if kept.contains(&owned.owner.lease.account) {
            owned.owner.trust.extend(began);
        } else {
            owned.owner.lose();
        }
    }
    Ok(usize::try_from(nodes).unwrap_or(1))
}

/// Lets one account go that is more than this node's share: it takes nobody more, and what is under way ends first. The one
/// with the least under way, which is given back soonest. False: there is none.
fn hand_back(owned: &mut HashMap<String, Owned>, share: usize) -> bool {
    if owned.len() <= share || owned.values().any(|owned| owned.is_leaving) {
        return false;
    }
    let under_way = |owned: &Owned| owned.owner.account.slots.in_flight();
    let Some((name, leaving)) =
        owned.iter_mut().min_by(|(a, one), (b, other)| (under_way(one), a).cmp(&(under_way(other), b)))
    else {
        return false;
    };
    tracing::info!(account.name = name, share, "handing the account back: other nodes have less");
    leaving.is_leaving = true;
    leaving.owner.stop.cancel();
    true
}

/// Lets go of accounts whose work has ended: they were lost, or are given back.
async fn forget_ended(shared: &Shared, owned: &mut HashMap<String, Owned>) {
    let ended: Vec<String> =
        owned.iter().filter(|(_, owned)| owned.work.is_finished()).map(|(name, _)| name.clone()).collect();
    for name in ended {
        let Some(owned) = owned.remove(&name) else { continue };
        if let Err(error) = owned.work.await {
            tracing::error!(account.name = name, %error, "the account's work died");
        }
        if owned.is_leaving && !owned.owner.is_lost() {
            release(shared, &owned.owner.lease).await;
        }
    }
}

async fn acquire(
    shared: &Arc<Shared>,
    owned: &mut HashMap<String, Owned>,
    share: usize,
    stop: &CancellationToken,
) {
    for (name, account) in &shared.accounts {
        if owned.contains_key(name) || owned.len() >= share {
            continue;
        }
        let began = since_boot();
        let asked = leases::acquire(&shared.db.leases, name, shared.node);
        let acquired: Acquired = match shared.db.within(LIMIT_HOT, "acquiring a lease", asked).await {
            Ok(Some(acquired)) => acquired,
            Ok(None) => continue,
            Err(error) => {
                tracing::warn!(account.name = name, %error, "no lease can be acquired");
                return;
            }
        };
        tracing::info!(account.name = name, epoch = acquired.lease.epoch, "owning the account");
        if acquired.database_changed {
            tracing::error!(
                account.name = name,
                "the database is another one than this account last ran on (a restored \
                backup, a failed-over standby): its tasks are paused; resume those that may be sent"
            );
        }
        let trust = Arc::new(Trust::default());
        trust.extend(began);
        // Not a child of the shutdown's token: the loop above renews until the work has drained.
        let owner =
            Arc::new(Owner::new(Arc::clone(account), acquired.lease.clone(), trust, stop.child_token()));
        let work = tokio::spawn(account::work(Arc::clone(shared), Arc::clone(&owner), acquired));
        owned.insert(name.clone(), Owned { owner, work, is_leaving: false });
    }
}

/// Waits for the work to end, renewing meanwhile, and gives the leases back.
async fn drain(shared: &Shared, mut owned: HashMap<String, Owned>) {
    while !owned.is_empty() {
        let done: Vec<String> = owned
            .iter()
            .filter(|(_, owned)| owned.work.is_finished())
            .map(|(name, _)| name.clone())
            .collect();
        for name in done {
            if let Some(Owned { owner, .. }) = owned.remove(&name) {
                release(shared, &owner.lease).await;
            }
        }
        let renewed = shared.db.within(LIMIT_LAST, "renewing leases", renew(shared, &owned));
        if let Err(error) = renewed.await {
            tracing::warn!(%error, "leases cannot be renewed while stopping");
        }
        // Calls end within their timeout; looked at often enough to stop quickly.
        for owned in owned.values_mut() {
            let _ = tokio::time::timeout(LOOK, &mut owned.work).await;
        }
    }
    let farewell = async {
        let mut conn = shared.db.leases.acquire().await.map_err(Error::database("ending"))?;
        leases::farewell(&mut conn, shared.node).await
    };
    if let Err(error) = shared.db.within(LIMIT_LAST, "ending", farewell).await {
        tracing::warn!(%error, "cannot say that this node ends");
    }
}

async fn release(shared: &Shared, lease: &Lease) {
    let released = async {
        let mut conn = shared.db.leases.acquire().await.map_err(Error::database("releasing a lease"))?;
        leases::release(&mut conn, shared.node, lease).await
    };
    if let Err(error) = shared.db.within(LIMIT_LAST, "releasing a lease", released).await {
        tracing::warn!(account.name = lease.account, %error, "the lease is not released; it expires by itself");
    }
}

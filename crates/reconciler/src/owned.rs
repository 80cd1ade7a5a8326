//! The work of the accounts that this node owns: each on its own, so that one with a backlog keeps no other waiting.

use std::{collections::HashMap, sync::Arc, time::Duration};

use store::leases::Lease;
use tokio::{
    sync::{Notify, watch},
    task::{AbortHandle, JoinError, JoinSet},
};
use tokio_util::sync::CancellationToken;

use crate::{Shared, apply::Applier, chores, events, records::Asker, resend};

/// Whether everything still works is looked at this often.
const LOOK: Duration = Duration::from_secs(1);

struct Working {
    epoch: i64,
    stop: CancellationToken,
    handle: AbortHandle,
}

/// Works for the accounts as their leases come and go, until `stop`; then ends after the steps under way.
pub(crate) async fn run(
    shared: Arc<Shared>,
    mut leases: watch::Receiver<Vec<Lease>>,
    appended: Arc<Notify>,
    stop: CancellationToken,
) {
    let mut working: HashMap<String, Working> = HashMap::new();
    let mut tasks = JoinSet::new();
    tasks.spawn(chores::run(Arc::clone(&shared), stop.clone()));
    while !stop.is_cancelled() {
        let owned = leases.borrow_and_update().clone();
        working.retain(|account, working| {
            let is_owned =
                owned.iter().any(|lease| lease.account == *account && lease.epoch == working.epoch);
            if !is_owned {
                working.stop.cancel();
            }
            is_owned && !working.handle.is_finished()
        });
        for lease in owned {
            working.entry(lease.account.clone()).or_insert_with(|| {
                let (epoch, stop) = (lease.epoch, stop.child_token());
                let work = account(Arc::clone(&shared), lease, Arc::clone(&appended), stop.clone());
                Working { epoch, stop, handle: tasks.spawn(work) }
            });
        }
        tokio::select! {
            () = stop.cancelled() => {}
            Ok(()) = leases.changed() => {}
            () = tokio::time::sleep(LOOK) => {}
        }
        while let Some(ended) = tasks.try_join_next() {
            report(ended);
        }
    }
    while let Some(ended) = tasks.join_next().await {
        report(ended);
    }
}

async fn account(shared: Arc<Shared>, lease: Lease, appended: Arc<Notify>, stop: CancellationToken) {
    let applier = Applier::new(Arc::clone(&shared), lease.clone());
    let asker = Asker::new(Arc::clone(&shared), lease.clone());
    let ask = async {
        if let Some(asker) = asker {
            asker.run(stop.clone()).await;
        }
    };
    tokio::join!(
        applier.run(appended, stop.clone()),
        ask,
        resend::run(Arc::clone(&shared), lease.clone(), stop.clone()),
        events::run(Arc::clone(&shared), lease.clone(), stop.clone()),
        chores::run_account(shared, lease, stop.clone()),
    );
}

fn report(ended: Result<(), JoinError>) {
    if let Err(error) = ended {
        tracing::error!(%error, "a part of the reconciler died; an account's part is begun again");
    }
}

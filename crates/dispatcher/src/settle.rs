//! What an older owner of the account left open, settled before anything is sent.

use store::{
    Error,
    database::LIMIT_STEP,
    leases,
    outcomes::Why,
    settling::{self, Settling},
};
use vendors::codes;

use crate::{
    Shared,
    account::{LOOK, Owner},
    departures::{Before, Departures, Ledger},
};

/// Whoever was surely never called goes back to where it was, and everybody else is unknown; then the lease's own file of
/// departures begins. None: the account was lost or is to be left meanwhile.
pub(crate) async fn settle(shared: &Shared, owner: &Owner, database_changed: bool) -> Option<Ledger> {
    let (departures, lease) = (shared.departures.clone(), owner.lease.clone());
    // What was open when a backup was taken is not what was open when the process died.
    let before = if database_changed {
        Before::default()
    } else {
        on_disk(&departures, move |departures| departures.of_before(&lease)).await?
    };
    settle_all(shared, owner, &before).await.then_some(())?;
    let lease = owner.lease.clone();
    on_disk(&departures, move |departures| {
        departures.forget_others(&lease);
        departures.begin(&lease)
    })
    .await
}

/// None: the process ends.
async fn on_disk<T: Send + 'static>(
    departures: &Departures,
    work: impl FnOnce(&Departures) -> T + Send + 'static,
) -> Option<T> {
    let departures = departures.clone();
    tokio::task::spawn_blocking(move || work(&departures)).await.ok()
}

/// False: the account was lost or is to be left meanwhile.
async fn settle_all(shared: &Shared, owner: &Owner, before: &Before) -> bool {
    let entry = codes::find(owner.account.config.vendor, codes::PROCESS_DIED);
    let why = &Why {
        code: codes::PROCESS_DIED.to_owned(),
        reason: entry.map_or_else(String::new, |entry| entry.meaning.to_owned()),
    };
    let never_began = |epoch, request_id, index| before.never_began(epoch, request_id, index);
    loop {
        let settling = Settling {
            never_began: &never_began,
            why,
            now: shared.clock.now(),
            counts_marketing: shared.limits.max_per_recipient.is_some(),
        };
        let step = async {
            let mut transaction =
                store::begin_hot_in(&shared.db.hot).await.map_err(Error::database("settling"))?;
            leases::fence(&mut transaction, &owner.lease).await?;
            let more = settling::settle_older_epochs(&mut transaction, &owner.lease, &settling).await?;
            hooks::point!("settle.before_commit");
            transaction.commit().await.map_err(Error::database("settling"))?;
            hooks::point!("settle.after_commit");
            Ok(more)
        };
        match shared.db.within(LIMIT_STEP, "settling", step).await {
            Ok(true) => {}
            Ok(false) => return true,
            Err(Error::Fenced) => {
                owner.lose();
                return false;
            }
            Err(error) => {
                tracing::warn!(account.name = owner.account.config.name, %error, "cannot settle what was left open");
                tokio::select! {
                    () = tokio::time::sleep(LOOK) => {}
                    () = owner.stop.cancelled() => return false,
                }
            }
        }
    }
}

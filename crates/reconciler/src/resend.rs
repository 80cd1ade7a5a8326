//! The campaign's own policy for what is unknown: sent again once, some minutes later, where nothing was heard meanwhile.
//! Evidence that comes before the second call withdraws it.

use std::{sync::Arc, time::Duration};

use store::{
    Error, Kept,
    database::LIMIT_STEP,
    inbox,
    leases::{self, Lease},
    unknown,
};
use tokio_util::sync::CancellationToken;

use crate::{Shared, records::ASKED_BEFORE_RESEND};

/// Between two looks.
const LOOK: Duration = Duration::from_secs(1);

/// Follows the policies of the account's campaigns until `stop`.
pub(crate) async fn run(shared: Arc<Shared>, lease: Lease, stop: CancellationToken) {
    while !stop.is_cancelled() {
        match shared.db.within(LIMIT_STEP, "sending again what is unknown", step(&shared, &lease)).await {
            Ok(true) => continue,
            Ok(false) | Err(Error::Fenced) => {}
            Err(error) => {
                tracing::warn!(account.name = lease.account, %error, "what is unknown cannot be sent again; trying again");
            }
        }
        tokio::select! {
            () = stop.cancelled() => {}
            () = tokio::time::sleep(LOOK) => {}
        }
    }
}

/// Sends again a bounded number; whether there may be more.
pub(crate) async fn step(shared: &Shared, lease: &Lease) -> store::Result<bool> {
    let Ok(_turn) = shared.chores.acquire().await else { return Ok(false) };
    let mut database = Kept::of(&shared.db.background);
    let mut transaction = database.begin("sending again what is unknown").await?;
    leases::fence(&mut transaction, lease).await?;
    let account = shared.records.accounts.get(&lease.account);
    let keeps_records = account.is_some_and(|account| account.keeps_records());
    let asked = if keeps_records { ASKED_BEFORE_RESEND } else { 0 };
    let now = shared.clock.now();
    let Some(resent) = unknown::resend_due(&mut transaction, &lease.account, asked, now).await? else {
        return Ok(false);
    };
    // What waits in the inbox may tell of them: it is applied first.
    if resent > 0 && inbox::has_unapplied(&mut transaction, &lease.account).await? {
        return Ok(false);
    }
    transaction.commit().await.map_err(Error::database("sending again what is unknown"))?;
    if resent > 0 {
        tracing::info!(
            account.name = lease.account,
            messages = resent,
            "messages that stayed unknown are sent again, as their campaigns want it"
        );
        (shared.wake_dispatcher)(&lease.account);
    }
    Ok(resent > 0)
}

#[cfg(test)]
mod tests;

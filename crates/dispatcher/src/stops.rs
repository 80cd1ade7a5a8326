//! No call of a task begins any more, whichever node begins them.

use std::time::Duration;

use store::{
    Error,
    database::{LIMIT_HOT, LIMIT_STEP},
    stops,
};
use tokio::time::Instant;

use crate::{Shared, account::AccountState};

/// The owner looks twice a second; one that has not by then is cut off from the database, and takes nobody more.
const PATIENCE: Duration = Duration::from_secs(3);
/// Between two looks for its answer.
const LOOK: Duration = Duration::from_millis(25);

/// Stops the calls of tasks that were paused or cancelled, which is committed: on this node at once, and where another one owns
/// the account when that has answered. Those whose intent was committed go back to where they were.
pub(crate) async fn stop_tasks(shared: &Shared, account: &str, task_ids: &[i64]) {
    let Some(state) = shared.accounts.get(account) else { return };
    task_ids.iter().for_each(|id| state.begun.stop_task(*id));
    if let Err(error) = ask_owner(shared, account, task_ids).await {
        tracing::warn!(account.name = account, ?task_ids, %error,
            "the node that owns the account did not say that it has stopped; it looks twice a second");
    }
}

async fn ask_owner(shared: &Shared, account: &str, task_ids: &[i64]) -> store::Result<()> {
    let asking = "asking the owner of an account to stop calls";
    let connect = || async { shared.db.background.acquire().await.map_err(Error::database(asking)) };
    let asked = async {
        let asked = stops::ask(&mut *connect().await?, account, task_ids, shared.node).await?;
        let until = Instant::now() + PATIENCE;
        // No connection is held between two looks: others need it.
        while !asked.is_empty() && !stops::are_answered(&mut *connect().await?, &asked).await? {
            if Instant::now() >= until {
                tracing::warn!(
                    account.name = account,
                    ?task_ids,
                    "the node that owns the account has not answered; a call whose recipient it had taken may still leave"
                );
                return stops::answer(&mut *connect().await?, &asked).await;
            }
            tokio::time::sleep(LOOK).await;
        }
        Ok(())
    };
    shared.db.within(LIMIT_STEP, asking, asked).await
}

/// Does what other nodes ask of this one, which owns the account.
pub(crate) async fn obey(shared: &Shared, account: &AccountState) {
    let reading = "reading which calls are to be stopped";
    let obeyed = async {
        let mut conn = shared.db.background.acquire().await.map_err(Error::database(reading))?;
        let asked = stops::asked_of(&mut conn, &account.config.name).await?;
        if asked.is_empty() {
            return Ok(());
        }
        asked.iter().for_each(|(_, task_id)| account.begun.stop_task(*task_id));
        stops::answer(&mut conn, &asked.into_iter().map(|(id, _)| id).collect::<Vec<_>>()).await
    };
    if let Err(error) = shared.db.within(LIMIT_HOT, reading, obeyed).await {
        tracing::warn!(account.name = account.config.name, %error, "cannot look which calls are to be stopped");
    }
}

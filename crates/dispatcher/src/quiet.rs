//! After a take-over: whom the older owner wrote to in the last seconds, nobody knows (see [`crate::pairs`]).

use std::time::Duration;

use store::{
    Error,
    database::LIMIT_STEP,
    runs::{self, Run},
};
use tokio::time::Instant;

use crate::{Shared, account::Owner, pairs::PAIR};

/// Between two tries to look.
const RETRY: Duration = Duration::from_millis(500);

/// For some seconds after a take-over nobody may be taken by another task than the one that its sender sent for lately: whom
/// that one wrote to, only the older owner knew. A task itself writes to nobody twice within seconds.
pub(crate) struct Quiet {
    until: Instant,
    /// With the task; none: several tasks have sent.
    senders: Vec<(String, Option<i64>)>,
}

impl Quiet {
    /// Looks who sent lately, until it is known.
    pub(crate) async fn after(shared: &Shared, owner: &Owner) -> Self {
        let mut quiet = Self { until: Instant::now() + PAIR, senders: Vec::new() };
        while owner.lease.epoch > 1 && !owner.stop.is_cancelled() {
            let busy = async {
                let mut conn = shared
                    .db
                    .background
                    .acquire()
                    .await
                    .map_err(Error::database("looking which senders sent lately"))?;
                runs::busy_senders(&mut conn, &owner.lease.account, shared.clock.now()).await
            };
            match shared.db.within(LIMIT_STEP, "looking which senders sent lately", busy).await {
                Ok(senders) => {
                    quiet.senders = senders;
                    break;
                }
                Err(error) => {
                    tracing::warn!(account.name = owner.lease.account, %error, "cannot look who sent lately");
                    tokio::time::sleep(RETRY).await;
                }
            }
        }
        quiet
    }

    /// Whether the task has to wait.
    pub(crate) fn concerns(&self, run: &Run) -> bool {
        let is_other = |(sender, task_id): &(String, Option<i64>)| {
            *sender == run.sender && *task_id != Some(run.task_id)
        };
        Instant::now() < self.until && self.senders.iter().any(is_other)
    }
}

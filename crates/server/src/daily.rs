//! Which senders have reached their daily limit, for the tasks that wait for it.

use std::collections::{BTreeMap, HashMap};

use chrono::{DateTime, Utc};
use model::task::TaskState;
use store::{PgConnection, daily::DailyLimit, tasks::Task};

use crate::state::AppState;

/// When senders have room again, by account and sender.
#[derive(Debug, Default)]
pub struct Full(HashMap<(String, String), DateTime<Utc>>);

impl Full {
    /// When the task's sender has room again; none: it has.
    pub fn until(&self, task: &Task) -> Option<DateTime<Utc>> {
        self.0.get(&(task.account.clone(), task.sender.clone())).copied()
    }
}

/// The senders of those of `tasks` that run and have somebody to send to. Nothing is read where none of them has a limit.
pub async fn full(state: &AppState, conn: &mut PgConnection, tasks: &[Task]) -> store::Result<Full> {
    let waiting = tasks
        .iter()
        .filter(|task| task.state() == TaskState::Running && task.counts.queued + task.counts.retrying > 0);
    let mut limits: BTreeMap<&str, Vec<DailyLimit>> = BTreeMap::new();
    for task in waiting {
        let sender = state.account(&task.account).and_then(|account| account.sender(&task.sender));
        let Some(recipients) = sender.and_then(|sender| sender.daily_recipients) else { continue };
        let limit = DailyLimit { sender: task.sender.clone(), recipients };
        let of_account = limits.entry(&task.account).or_default();
        if !of_account.contains(&limit) {
            of_account.push(limit);
        }
    }
    let mut full = Full::default();
    for (account, limits) in limits {
        let of_account = store::daily::full_until(conn, account, &limits, state.clock.now()).await?;
        full.0.extend(of_account.into_iter().map(|(sender, until)| ((account.to_owned(), sender), until)));
    }
    Ok(full)
}

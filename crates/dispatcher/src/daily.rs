//! Senders whose daily limit is reached: nobody is taken from beyond a cursor until there is room again.
//!
//! The transaction of the intent holds the limit (`store::guards`); this only keeps it from being asked in vain.

use std::collections::HashSet;

use chrono::{DateTime, Utc};
use store::{
    PgConnection,
    daily::{self, DailyLimit},
    runs::Run,
};
use vendors::AccountConfig;

/// The sender's limit, where it has one.
pub(crate) fn limit_of(account: &AccountConfig, sender: &str) -> Option<DailyLimit> {
    let recipients = account.sender(sender)?.daily_recipients?;
    Some(DailyLimit { sender: sender.to_owned(), recipients })
}

/// The account's senders that have no room now.
pub(crate) async fn full(
    conn: &mut PgConnection,
    account: &AccountConfig,
    now: DateTime<Utc>,
) -> store::Result<HashSet<String>> {
    let limits: Vec<DailyLimit> =
        account.senders.iter().filter_map(|sender| limit_of(account, &sender.from)).collect();
    Ok(daily::full_until(conn, &account.name, &limits, now).await?.into_keys().collect())
}

/// What may run of a task while its sender has no room: those who are due, because whoever was written to within the day may
/// be written to again.
pub(crate) fn due_alone(run: &Run) -> Run {
    Run { takes_due_alone: true, ..run.clone() }
}

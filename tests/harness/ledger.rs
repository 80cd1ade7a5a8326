//! The vendors' ledger against what the daemon says: who was accepted, how often, and whether everybody is accounted for.

use std::collections::HashMap;

use api::{Counts, MessageState, client::MessageFilter};

use super::World;

/// The places of recipients summed; equals the total when each is in exactly one place.
pub fn places(counts: &Counts) -> i64 {
    counts.queued
        + counts.sending
        + counts.retrying
        + counts.unknown
        + counts.accepted
        + counts.failed
        + counts.suppressed
        + counts.expired
        + counts.cancelled
}

/// Fails when anybody was accepted more than once; how many were accepted.
pub fn assert_nobody_twice(ledger: &HashMap<u64, u32>) -> i64 {
    let twice = ledger.values().filter(|count| **count > 1).count();
    assert_eq!(twice, 0, "{twice} of {} recipients were accepted more than once", ledger.len());
    i64::try_from(ledger.len()).unwrap()
}

impl World {
    /// The phones of the task's recipients in this state, as the vendors' ledger writes them.
    pub async fn phones(&self, task: i64, state: MessageState) -> Vec<u64> {
        let mut filter = MessageFilter { state: Some(state.as_str().to_owned()), ..MessageFilter::default() };
        filter.page.limit = Some(500);
        let mut phones = Vec::new();
        loop {
            let page = self.api().messages(task, &filter).await.unwrap();
            phones.extend(page.items.iter().map(|message| message.to[1..].parse::<u64>().unwrap()));
            filter.page.after = page.next;
            if filter.page.after.is_none() {
                return phones;
            }
        }
    }
}

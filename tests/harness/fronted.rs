//! A world whose one vendor stands behind the proxy and sends no reports, so that what is unknown stays so.

use std::{collections::HashSet, ops::Range};

use api::{MessageState, Task};
use simulator::{CallbackOptions, SimulatorOptions};

use super::{
    Account, World, assert_nobody_twice, campaign, csv_of, daemon::free_port, people::digits, proxy::Proxy,
    within,
};

/// Calls may take so long here.
const CALL_SECONDS: u32 = 2;

/// The world, and the proxy before its vendor.
pub struct Fronted {
    // The daemon ends before its way to the vendor does.
    pub world: World,
    pub proxy: Proxy,
}

impl Fronted {
    /// Starts it with this account.
    pub async fn start(account: Account) -> Self {
        let port = free_port();
        let callbacks = CallbackOptions { enabled: false, ..CallbackOptions::default() };
        let vendors = SimulatorOptions { port, callbacks, ..SimulatorOptions::default() };
        let proxy = Proxy::to_url(&format!("http://127.0.0.1:{port}"));
        let account = account.set("base_url", format!("\"{}\"", proxy.url()));
        let mut world = World::new().simulator(vendors).account(account).prepare().await;
        world.add_node();
        world.daemon().set_call_timeout_seconds(CALL_SECONDS);
        world.start_node(0).await;
        Self { world, proxy }
    }

    /// Launches a campaign to these people.
    pub async fn launch(&self, people: &Range<usize>) -> i64 {
        let audience = self.world.import(csv_of(people.clone())).await;
        assert_eq!(audience.rows.accepted, i64::try_from(people.len()).unwrap(), "{audience:?}");
        self.world.launch(&campaign(self.world.account(0), audience.id)).await
    }

    /// Waits for the end, and fails unless each of these people is either accepted, and by the vendor once, or unknown for
    /// one of these codes, and then by the vendor once if the calls `reached` it, never if not, and at most once if that depends. How many are unknown.
    pub async fn each_is_accepted_or_unknown(
        &self,
        task: i64,
        people: &Range<usize>,
        codes: &[&str],
        reached: impl Into<Option<bool>>,
    ) -> usize {
        let reached = reached.into();
        let task = self.world.wait_for_completion(task, within(30)).await;
        let what = format!("{codes:?}: {:#?} {:#?}", task.counts, task.errors);
        for error in &task.errors {
            assert!(codes.contains(&error.code.as_str()), "{what}");
            assert_eq!(error.disposition, "Unknown", "{what}");
        }
        let unknown: HashSet<u64> =
            self.world.phones(task.id, MessageState::Unknown).await.into_iter().collect();
        let (count, accepted) = (unknown.len(), people.len() - unknown.len());
        assert_eq!(task.counts.unknown, i64::try_from(count).unwrap(), "{what}");
        assert_eq!(task.counts.accepted, i64::try_from(accepted).unwrap(), "{what}");
        let ledger = self.world.simulator.accepted_by_recipient();
        for to in people.clone().map(digits) {
            let times = ledger.get(&to).copied().unwrap_or(0);
            let is_unknown = unknown.contains(&to);
            let wanted = match reached {
                Some(reached) => u32::from(reached || !is_unknown),
                None if is_unknown => times.min(1),
                None => 1,
            };
            assert_eq!(times, wanted, "{to}, unknown: {is_unknown}; {what}");
        }
        count
    }

    /// Waits for the end, and fails unless each of these people was accepted once.
    pub async fn each_is_accepted(&self, task: i64, people: &Range<usize>) -> Task {
        assert_eq!(self.each_is_accepted_or_unknown(task, people, &[], true).await, 0);
        self.world.task(task).await
    }

    /// Everybody in one place, nobody twice.
    pub async fn audit(&self) {
        assert_nobody_twice(&self.world.simulator.accepted_by_recipient());
        self.world.audit().await;
    }
}

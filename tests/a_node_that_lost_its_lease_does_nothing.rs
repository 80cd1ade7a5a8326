//! A node that stood still beyond its lease, was cut off from the database, or whose clock is wrong: at most one node acts for
//! an account, and what the other one still learns is evidence.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use nix::sys::signal::Signal;
use simulator::{CallbackOptions, RangeMs, SimulatorOptions, Vendor};

use crate::harness::{
    Account, People, World, assert_nobody_twice, campaign, places,
    proxy::{Proxy, Way},
    wait_until, within,
};

const LEASE: u32 = 10;
const CALL: u32 = 3;

/// Vendors that answer after a while and report nothing: all that is ever known comes from answers.
fn vendors(latency: RangeMs) -> SimulatorOptions {
    let latency_ms: BTreeMap<Vendor, RangeMs> = Vendor::ALL.map(|vendor| (vendor, latency)).into();
    let callbacks = CallbackOptions { enabled: false, ..CallbackOptions::default() };
    SimulatorOptions { latency_ms, callbacks, ..SimulatorOptions::default() }
}

/// Two nodes with short leases; the first owns the account and reaches the vendor through the proxy.
struct Pair {
    world: World,
    /// In front of the vendor, for the first node.
    calls: Proxy,
    task: i64,
}

impl Pair {
    async fn start(
        account: Account,
        people: People,
        latency: RangeMs,
        database: Option<&dyn Fn(&World) -> String>,
    ) -> Self {
        let mut world = World::new().simulator(vendors(latency)).account(account).prepare().await;
        let calls = Proxy::to_url(&world.simulator.url());
        for node in 0..2 {
            world.add_node();
            world.node(node).set_lease_seconds(LEASE);
            world.node(node).set_call_timeout_seconds(CALL);
        }
        world.node(0).set_variable("CAMPAIGND_ACCOUNTS__0__BASE_URL", &calls.url());
        if let Some(url) = database {
            let url = url(&world);
            world.node(0).set_variable("CAMPAIGND_DATABASE__URL", &url);
        }
        world.start_node(0).await;
        let client = world.client(0);
        wait_until("the first node owns the account", within(10), async || {
            client.accounts(&api::client::Page::default()).await.ok()?.items[0].owned.then_some(())
        })
        .await;
        world.start_node(1).await;
        let audience = world.import_people(people).await;
        let task = world.launch(&campaign(world.account(0), audience)).await;
        assert!(world.simulator.wait_for_accepted(60, within(20)).await, "it does not send");
        Self { world, calls, task }
    }

    /// How many calls the first node has made so far, in bytes.
    fn heard(&self) -> u64 {
        self.calls.heard_bytes()
    }

    /// Waits until the second node owns the account and sends; how long it took.
    async fn taken_over(&self) -> Duration {
        let (began, client) = (Instant::now(), self.world.client(1));
        wait_until("the second node owns the account", within(u64::from(LEASE) + 10), async || {
            client.accounts(&api::client::Page::default()).await.ok()?.items[0].owned.then_some(())
        })
        .await;
        let before = self.world.simulator.requests_total();
        let sends = async || (self.world.simulator.requests_total() > before).then_some(());
        wait_until("the second node sends", within(10), sends).await;
        began.elapsed()
    }

    /// The task as the second node sees it, once it is completed.
    async fn completed(&self) -> api::Task {
        let client = self.world.client(1);
        let done = async || {
            let task = client.task(self.task).await.unwrap();
            (task.state == api::TaskState::Completed).then_some(task)
        };
        wait_until("the task is completed", within(40), done).await
    }

    /// Nobody twice, everybody in one place, and nobody unknown but those who never left.
    async fn assert_nobody_twice_and_nobody_lost(&self) {
        let client = self.world.client(1);
        let reached = assert_nobody_twice(&self.world.simulator.accepted_by_recipient());
        let began = Instant::now();
        let healed = async || {
            let task = client.task(self.task).await.unwrap();
            let is_known = task.counts.accepted == reached;
            assert!(
                is_known || began.elapsed() < within(20),
                "{reached} were accepted, and not all of them are known: {:?}",
                task.counts
            );
            is_known.then_some(task)
        };
        let task = wait_until("what the vendor accepted is known", within(30), healed).await;
        assert_eq!(places(&task.counts), task.counts.total);
        assert_eq!(task.counts.accepted + task.counts.unknown, task.counts.total, "{:?}", task.counts);
        self.world.audit().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn when_it_stood_still() {
    let account = Account::sobot_in().sender("messages_per_second", 40);
    let mut pair = Pair::start(account, People(300), RangeMs { min: 400, max: 800 }, None).await;
    // One call is recorded and about to leave: it must not when the process wakes up.
    pair.world.process(0).stop_at("call.placed", 1);
    let about_to_leave = async || pair.world.process(0).was_at("call.placed").then_some(());
    wait_until("a call is about to leave", within(5), about_to_leave).await;
    pair.world.node(0).signal(Signal::SIGSTOP);
    // The vendor answers it all the same.
    let taken_over = pair.taken_over().await;
    assert!(taken_over < within(u64::from(LEASE) + 5), "it took {taken_over:?}");
    let client = pair.world.client(1);
    let settled = async || (client.task(pair.task).await.unwrap().counts.unknown > 0).then_some(());
    wait_until("what it left open is unknown", within(5), settled).await;

    let heard = pair.heard();
    pair.world.node(0).signal(Signal::SIGCONT);
    let log = async || pair.world.process(0).log().contains("belongs to another node").then_some(());
    wait_until("the first node learns that it has lost the account", within(10), log).await;
    pair.world.process(0).let_go("call.placed");
    pair.completed().await;
    assert_eq!(pair.heard(), heard, "it has called the vendor after its lease had ended");
    // Its answers are evidence: nothing else tells of them.
    pair.assert_nobody_twice_and_nobody_lost().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn when_it_is_cut_off_from_the_database() {
    let account = Account::sobot_in().sender("messages_per_second", 60);
    let proxy = std::cell::OnceCell::new();
    let through = |world: &World| {
        let database = world.database.as_ref().unwrap();
        proxy.get_or_init(|| Proxy::to_database(database)).database_url(database)
    };
    let pair = Pair::start(account, People(500), RangeMs { min: 100, max: 300 }, Some(&through)).await;
    let proxy = proxy.get().unwrap();
    proxy.set(Way::Freeze);
    let cut = Instant::now();
    let quiet = async || {
        let before = pair.heard();
        tokio::time::sleep(Duration::from_millis(700)).await;
        (pair.heard() == before).then(|| cut.elapsed())
    };
    let stopped = wait_until("it starts no more calls", within(u64::from(LEASE)), quiet).await;
    assert!(stopped < within(u64::from(LEASE)), "its lease has ended when it stops: {stopped:?}");
    let heard = pair.heard();
    pair.taken_over().await;
    assert!(cut.elapsed() < within(u64::from(LEASE) + 5), "it took {:?}", cut.elapsed());
    proxy.set(Way::Forward);
    let log = async || pair.world.process(0).log().contains("belongs to another node").then_some(());
    wait_until("the first node learns that it has lost the account", within(20), log).await;
    pair.completed().await;
    assert_eq!(pair.heard(), heard, "it has called the vendor after it was cut off");
    pair.assert_nobody_twice_and_nobody_lost().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn and_no_clock_that_steps_takes_it_away() {
    let account = Account::sobot_in().sender("messages_per_second", 60);
    let pair = Pair::start(account, People(900), RangeMs { min: 20, max: 60 }, None).await;
    const HOUR_MS: i64 = 3_600_000;
    let began = Instant::now();
    // Over more than a lease, each clock forwards and back, never both alike.
    for (first, second) in [(HOUR_MS, -HOUR_MS), (-25 * HOUR_MS, HOUR_MS), (0, 40 * HOUR_MS), (HOUR_MS, 0)] {
        pair.world.process(0).set_clock_offset_ms(first);
        pair.world.process(1).set_clock_offset_ms(second);
        let before = pair.heard();
        let turn = async || (began.elapsed() > within(1) && pair.heard() > before + 2_000).then_some(());
        wait_until("the first node sends on", within(10), turn).await;
    }
    pair.completed().await;
    let reached = assert_nobody_twice(&pair.world.simulator.accepted_by_recipient());
    assert_eq!(reached, 900);
    for node in [pair.world.process(0), pair.world.process(1)] {
        assert!(!node.log().contains("belongs to another node"), "{}", node.log());
    }
    assert!(!pair.world.process(1).log().contains("owning the account"), "the second node took it");
    assert_eq!(pair.world.task(pair.task).await.counts.unknown, 0);
    pair.world.audit().await;
}

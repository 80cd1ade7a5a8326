//! SIGTERM in the middle of slow calls: they end, what came of them is recorded, the leases are given back; whoever starts goes on.

use std::collections::BTreeMap;

use api::TaskState;
use simulator::{RangeMs, SimulatorOptions, Vendor};
use store::tasks;

use crate::harness::{Account, People, World, campaign, wait_until, within};

const PEOPLE: People = People(1_000);

/// Vendors that take up to a second for an answer.
fn slow_vendors() -> SimulatorOptions {
    let latency = RangeMs { min: 300, max: 1_000 };
    let latency_ms: BTreeMap<Vendor, RangeMs> = Vendor::ALL.map(|vendor| (vendor, latency)).into();
    SimulatorOptions { latency_ms, ..SimulatorOptions::default() }
}

async fn stop_in_the_middle(account: Account) {
    let mut world = World::new().simulator(slow_vendors()).account(account).start().await;
    let all = i64::try_from(PEOPLE.0).unwrap();
    let audience = world.import_people(PEOPLE).await;
    let task = world.launch(&campaign(world.account(0), audience)).await;
    let in_the_middle = |task: &api::Task| task.counts.accepted > 0 && task.counts.sending > 0;
    let running = world.wait_for_task(task, "calls are open", within(15), in_the_middle).await;
    assert!(running.counts.queued > 0, "{:?}", running.counts);

    world.stop().await; // within 30 s, with exit code 0

    let mut conn = world.database.as_ref().expect("a database by URL").connect().await;
    let left = tasks::get(&mut conn, task).await.unwrap().unwrap();
    assert_eq!((left.counts.sending, left.counts.unknown), (0, 0), "{:?}", left.counts);
    assert_eq!(left.counts.places(), all);
    let accepted = i64::try_from(world.simulator.accepted_total()).unwrap();
    assert_eq!(left.counts.accepted, accepted, "every answer was waited for and recorded");
    assert!(accepted < all, "it was stopped in the middle");
    world.audit().await;

    // The lease was given back, so that another node goes on at once instead of waiting until it expires.
    let before = world.simulator.requests_total();
    let other = world.add_node();
    world.start_node(other).await;
    let sends = async || (world.simulator.requests_total() > before).then_some(());
    wait_until("another node sends", within(8), sends).await;
    world.restart().await;
    let ended = world.wait_for_completion(task, within(30)).await;
    assert_eq!((ended.state, ended.counts.accepted), (TaskState::Completed, all));
    // Reports that came while nobody listened come again.
    world.wait_for_task(task, "all are delivered", within(15), |task| task.counts.delivered == all).await;
    PEOPLE.assert_each_accepted_once(&world.simulator.accepted_by_recipient());
    world.audit().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nor_batches() {
    stop_in_the_middle(Account::exotel().set("batch_size", 20).sender("messages_per_second", 150)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nor_single_calls() {
    stop_in_the_middle(Account::sobot_in().set("max_in_flight", 64)).await;
}

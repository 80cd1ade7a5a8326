//! SIGKILL at any moment, again and again: nobody is sent to twice, everybody is accounted for, and a start sends on at once.

use std::{
    collections::{BTreeMap, HashSet},
    time::{Duration, Instant},
};

use api::{MessageState, Resolution, ResolveRequest};
use simulator::{RangeMs, SimulatorOptions, Vendor};

use crate::harness::{Account, People, World, assert_nobody_twice, campaign, places, wait_until, within};

const KILLS: usize = 6;
/// From the start of the process to its next call.
const SENDS_AGAIN: Duration = Duration::from_secs(3);

/// Vendors that need a moment, so that some calls are open whenever the process dies. Reports are repeated long enough for a
/// restart.
fn vendors() -> SimulatorOptions {
    let latency = RangeMs { min: 10, max: 60 };
    let latency_ms: BTreeMap<Vendor, RangeMs> = Vendor::ALL.map(|vendor| (vendor, latency)).into();
    let mut options = SimulatorOptions { latency_ms, ..SimulatorOptions::default() };
    options.callbacks.attempts = 40;
    options.callbacks.retry_delay_ms = 500;
    (options.callbacks.early, options.callbacks.duplicates, options.callbacks.reordered) = (0.2, 0.2, 0.2);
    options
}

/// Numbers that look random and are the same in every run.
fn scattered(seed: u64) -> impl Iterator<Item = u64> {
    let step = |state: &u64| {
        Some(state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407))
    };
    std::iter::successors(Some(seed), step).map(|state| state >> 33)
}

/// Sends to everybody and kills the daemon in the middle as often as [`KILLS`] says; returns the task when it is done.
async fn killed_again_and_again(account: Account, people: People, seed: u64) -> (World, i64) {
    let mut world = World::new().simulator(vendors()).account(account).start().await;
    let audience = world.import_people(people).await;
    let task = world.launch(&campaign(world.account(0), audience)).await;
    for wait in scattered(seed).take(KILLS) {
        // Some more messages, and then some milliseconds of work that differ from time to time.
        let wanted = world.simulator.accepted_total() + 1 + wait % 200;
        assert!(world.simulator.wait_for_accepted(wanted, within(10)).await, "it does not send any more");
        let moment = Instant::now() + Duration::from_millis(wait % 23);
        wait_until("the moment has come", within(1), async || (Instant::now() >= moment).then_some(())).await;
        world.kill9();
        let before = world.simulator.requests_total();
        let started = Instant::now();
        world.restart().await;
        let sends = async || (world.simulator.requests_total() > before).then_some(());
        wait_until("it sends again", SENDS_AGAIN.saturating_sub(started.elapsed()), sends).await;
    }
    world.wait_for_completion(task, within(30)).await;
    (world, task)
}

/// The task's unknown recipients, by phone.
async fn unknown(world: &World, task: i64) -> HashSet<u64> {
    world.phones(task, MessageState::Unknown).await.into_iter().collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn and_reports_tell_which_open_batches_had_left() {
    let people = People(2_500);
    let account = Account::exotel().set("batch_size", 20).sender("messages_per_second", 1_000);
    let (world, id) = killed_again_and_again(account, people, 1).await;
    let in_ledger = i64::try_from(world.simulator.accepted_total()).unwrap();
    let healed = |task: &api::Task| task.counts.delivered == in_ledger;
    let task = world.wait_for_task(id, "all that was accepted is known", within(15), healed).await;
    assert_eq!(task.counts.accepted + task.counts.unknown, task.counts.total, "{:?}", task.counts);
    // What is still unknown had not left when the process died, which nobody can know from here but the ledger.
    let (ledger, unknown) = (world.simulator.accepted_by_recipient(), unknown(&world, id).await);
    assert_eq!(assert_nobody_twice(&ledger), task.counts.accepted);
    assert!(unknown.iter().all(|phone| !ledger.contains_key(phone)));

    // An operator who knows it too has them sent to.
    if !unknown.is_empty() {
        let request = ResolveRequest { resolution: Resolution::Resend, to: None };
        let resolved = world.api().resolve(id, &request).await.unwrap();
        assert_eq!(usize::try_from(resolved.resolved).unwrap(), unknown.len());
    }
    let all = task.counts.total;
    world.wait_for_task(id, "all are accepted", within(10), |task| task.counts.accepted == all).await;
    world.wait_for_completion(id, within(5)).await;
    people.assert_each_accepted_once(&world.simulator.accepted_by_recipient());
    world.audit().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn and_what_no_report_can_tell_stays_unknown() {
    let people = People(1_200);
    let (world, id) = killed_again_and_again(Account::sobot_in().set("max_in_flight", 40), people, 2).await;
    let task = world.task(id).await;
    assert_eq!(places(&task.counts), task.counts.total);
    assert_eq!(task.counts.accepted + task.counts.unknown, task.counts.total, "{:?}", task.counts);
    assert!(task.counts.unknown > 0, "no kill met an open call");
    let ledger = world.simulator.accepted_by_recipient();
    let reached = assert_nobody_twice(&ledger);
    assert!((task.counts.accepted..=task.counts.total).contains(&reached));
    // Whoever was not reached is among the unknown ones.
    let unknown = unknown(&world, id).await;
    assert_eq!(i64::try_from(unknown.len()).unwrap(), task.counts.unknown);
    for number in 0..people.0 {
        let phone = crate::harness::people::digits(number);
        assert!(ledger.contains_key(&phone) || unknown.contains(&phone), "recipient {number} is nowhere");
    }
    world.audit().await;
}

//! Nodes on one database share the accounts, hand them over without a gap and without haste, and stand in for one that dies.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::{Duration, Instant},
};

use api::client::Page;
use serde_json::json;
use simulator::{Arrival, RangeMs, SimulatorOptions, Vendor};
use tokio_util::sync::CancellationToken;

use crate::harness::{Account, People, World, assert_nobody_twice, campaign, places, wait_until, within};

/// Of the accounts whose pace is measured: so slow that messages which arrive a little late cannot be taken for a faster pace.
const RATE: u64 = 4;
/// Who gets a message from each of them.
const FEW: People = People(120);
/// Of the account that keeps the nodes busy, and its batches.
const FAST: u64 = 100;
const BATCH: u64 = 20;
const MANY: People = People(3_000);
/// Where nobody dies: an account is handed back after two or three seconds instead of ten.
const LEASE: u32 = 7;
const SECOND_US: u64 = 1_000_000;

fn options(latency: RangeMs) -> SimulatorOptions {
    let latency_ms: BTreeMap<Vendor, RangeMs> = Vendor::ALL.map(|vendor| (vendor, latency)).into();
    let mut options = SimulatorOptions { latency_ms, ..SimulatorOptions::default() };
    (options.callbacks.attempts, options.callbacks.retry_delay_ms) = (100, 300);
    options
}

/// A world whose nodes are not started.
async fn world_of(nodes: usize, accounts: &[Account], latency: RangeMs) -> World {
    let world = World::new().simulator(options(latency)).balancer();
    let mut world =
        accounts.iter().cloned().fold(world, crate::harness::world::Worlds::account).prepare().await;
    for _ in 0..nodes {
        world.add_node();
    }
    world
}

/// One that sends much, and two that send slowly.
fn accounts() -> [Account; 3] {
    let fast = Account::exotel().set("batch_size", BATCH).sender("messages_per_second", FAST);
    let [one, other] =
        [Account::sobot_io(), Account::sobot_in()].map(|account| account.sender("messages_per_second", RATE));
    [fast, one, other]
}

/// The accounts that a node owns.
async fn owned(world: &World, node: usize) -> BTreeSet<String> {
    let Ok(page) = world.client(node).accounts(&Page::default()).await else { return BTreeSet::new() };
    page.items.into_iter().filter(|account| account.owned).map(|account| account.name).collect()
}

/// Waits until the nodes own so many accounts each, in any order, and all of them together each account once.
async fn share(world: &World, nodes: &[usize], wanted: &[usize], deadline: Duration) {
    let what = format!("{} nodes own {wanted:?} accounts", nodes.len());
    wait_until(&what, deadline, async || {
        let mut sets = Vec::new();
        for node in nodes {
            sets.push(owned(world, *node).await);
        }
        let together: BTreeSet<&String> = sets.iter().flatten().collect();
        let mut counts: Vec<usize> = sets.iter().map(BTreeSet::len).collect();
        counts.sort_unstable();
        (counts == wanted && together.len() == wanted.iter().sum::<usize>()).then_some(())
    })
    .await;
}

/// A task of each account, and to how many it sends.
async fn launch_all(world: &World) -> Vec<(i64, People)> {
    let mut tasks = Vec::new();
    for (number, people) in [MANY, FEW, FEW].into_iter().enumerate() {
        let audience = world.import_people(people).await;
        tasks.push((world.launch(&campaign(world.account(number), audience)).await, people));
    }
    tasks
}

/// All of them still have much to send: what was seen was seen under load.
async fn assert_they_run(world: &World, tasks: &[(i64, People)]) {
    for (task, _) in tasks {
        let task = world.task(*task).await;
        assert!(task.counts.queued > 0, "it was over too early: {:?}", task.counts);
    }
}

/// Fails where a vendor had more of this rate in a second than it allows, whoever sent.
fn assert_paced(arrivals: &[Arrival], vendor: Vendor, most: u64) {
    let of_vendor: Vec<&Arrival> = arrivals.iter().filter(|arrival| arrival.vendor == vendor).collect();
    for (first, start) in of_vendor.iter().enumerate() {
        let second = of_vendor[first..].iter().take_while(|arrival| arrival.at_us < start.at_us + SECOND_US);
        let messages: u64 = second.map(|arrival| u64::from(arrival.messages)).sum();
        let around = &of_vendor[first.saturating_sub(10)..of_vendor.len().min(first + 20)];
        let around: Vec<u64> = around.iter().map(|arrival| arrival.at_us / 1_000).collect();
        assert!(messages <= most, "{vendor}: {messages} messages in one second, not {most}: {around:?} ms");
    }
}

/// Everybody was sent to once by every account, at its pace, and nothing is unknown.
async fn assert_all_is_well(world: &World, tasks: &[(i64, People)]) {
    for (number, (task, people)) in tasks.iter().enumerate() {
        world.wait_for_completion(*task, within(40)).await;
        let delivered = |task: &api::Task| task.counts.delivered == task.counts.total;
        let task = world.wait_for_task(*task, "all are delivered", within(30), delivered).await;
        assert_eq!(task.counts.unknown, 0, "what was handed over was drained: {:?}", task.counts);
        let vendor = world.account(number).vendor;
        assert_eq!(world.simulator.accepted_total_of(vendor), people.0 as u64);
    }
    assert_eq!(world.simulator.duplicates(), []);
    for vendor in [Vendor::SobotIo, Vendor::SobotIn] {
        assert_paced(&world.simulator.arrivals(), vendor, RATE + 2);
    }
    world.audit().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn and_give_back_what_is_more_than_their_share() {
    let mut world = world_of(4, &accounts(), RangeMs { min: 20, max: 80 }).await;
    for node in 0..4 {
        world.node(node).set_lease_seconds(LEASE);
        world.node(node).set_call_timeout_seconds(2);
    }
    world.start_node(0).await;
    let tasks = launch_all(&world).await;
    share(&world, &[0], &[3], within(10)).await;
    world.start_node(1).await;
    share(&world, &[0, 1], &[1, 2], within(20)).await;
    world.start_node(2).await;
    share(&world, &[0, 1, 2], &[1, 1, 1], within(20)).await;
    assert_they_run(&world, &tasks).await;
    // A fourth has nothing to do until one of the others ends.
    world.start_node(3).await;
    share(&world, &[0, 1, 2, 3], &[0, 1, 1, 1], within(20)).await;
    let status = tokio::task::block_in_place(|| world.node(1).stop(within(30)));
    assert!(status.success(), "the node stopped with {status}");
    share(&world, &[0, 2, 3], &[1, 1, 1], within(20)).await;
    assert_all_is_well(&world, &tasks).await;
}

/// People write to the business, through the balancer and without a pause, until told to end: who was answered 200.
async fn write_without_pause(url: String, business: String, stop: CancellationToken) -> BTreeSet<String> {
    // A connection each, so that each finds its way anew.
    let client = reqwest::Client::builder().pool_max_idle_per_host(0).build().unwrap();
    let (mut heard, mut longest) = (BTreeSet::new(), Duration::ZERO);
    for number in 0_u64.. {
        let from = format!("9198{}", 70_000_000 + number);
        let message = json!({"callback_type": "incoming_message", "sid": format!("sid-{number}"), "from": from, "to": business,
                             "profile_name": "Somebody", "timestamp": "2023-08-22T12:41:19.000+05:30",
                             "content": {"type": "text", "text": {"body": "Is anybody there?"}}});
        let body = json!({"whatsapp": {"messages": [message]}}).to_string();
        // Whoever is cut off comes again at once, as vendors do later.
        let began = Instant::now();
        loop {
            match client.post(&url).body(body.clone()).send().await {
                Ok(answer) if answer.status() == 200 => break,
                Ok(answer) => panic!("a callback was answered {}", answer.status()),
                Err(error) => assert!(began.elapsed() < within(2), "nobody takes callbacks: {error}"),
            }
        }
        longest = longest.max(began.elapsed());
        heard.insert(format!("+{from}"));
        if stop.is_cancelled() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert!(longest < within(5), "a callback waited {longest:?}");
    heard
}

/// Everybody whose message is kept.
async fn written(world: &World) -> BTreeSet<String> {
    let mut page = Page { limit: Some(500), ..Page::default() };
    let mut found = BTreeSet::new();
    loop {
        let list = world.api().inbound(&page).await.unwrap();
        found.extend(list.items.into_iter().map(|message| message.from));
        page.after = list.next;
        if page.after.is_none() {
            return found;
        }
    }
}

/// SIGTERM, and a start as soon as it has ended; until it owns its share again.
async fn restart(world: &mut World, node: usize, wanted: &[usize]) {
    let status = tokio::task::block_in_place(|| world.node(node).stop(within(30)));
    assert!(status.success(), "the daemon stopped with {status}");
    world.start_node(node).await;
    share(world, &[0, 1], wanted, within(40)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn and_are_restarted_one_by_one_without_a_gap() {
    let mut world = world_of(2, &accounts(), RangeMs { min: 20, max: 80 }).await;
    for node in 0..2 {
        world.node(node).set_lease_seconds(LEASE);
        world.node(node).set_call_timeout_seconds(2);
    }
    world.start_node(0).await;
    world.start_node(1).await;
    share(&world, &[0, 1], &[1, 2], within(30)).await;
    let tasks = launch_all(&world).await;
    let account = world.account(0).clone();
    let url = format!("{}/webhooks/{}/{}", world.balanced_url(), account.name, account.webhook_token());
    let stop = CancellationToken::new();
    let writing = tokio::spawn(write_without_pause(url, account.from, stop.clone()));
    for node in [0, 1] {
        restart(&mut world, node, &[1, 2]).await;
    }
    stop.cancel();
    let heard = writing.await.unwrap();
    assert!(heard.len() > 50, "only {} people wrote", heard.len());
    assert_they_run(&world, &tasks).await;
    assert_all_is_well(&world, &tasks).await;
    let kept = async || (written(&world).await == heard).then_some(());
    wait_until("every message of a person is kept", within(10), kept).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn and_one_that_dies_is_replaced_within_35_seconds() {
    let people = People(2_000);
    let account = Account::exotel().set("batch_size", BATCH).sender("messages_per_second", FAST);
    // Slow enough that calls are open whenever it dies.
    let mut world = world_of(2, &[account], RangeMs { min: 300, max: 900 }).await;
    world.start_node(0).await;
    share(&world, &[0], &[1], within(10)).await;
    world.start_node(1).await;
    let audience = world.import_people(people).await;
    let task = world.launch(&campaign(world.account(0), audience)).await;
    assert!(world.simulator.wait_for_accepted(300, within(20)).await, "it does not send");

    world.kill9();
    let died = Instant::now();
    let before = world.simulator.requests_total();
    // What it had sent still arrives.
    let quiet = async || (died.elapsed() > within(2)).then(|| world.simulator.requests_total());
    let after = wait_until("its last calls have arrived", within(5), quiet).await;
    assert!(after - before < 50, "somebody sends before the lease has ended");
    let sends = async || (world.simulator.requests_total() > after).then(|| died.elapsed());
    let taken_over = wait_until("the other node sends", within(40), sends).await;
    assert!(taken_over < within(35), "it took {taken_over:?}");
    assert_eq!(owned(&world, 1).await.len(), 1);

    let client = world.client(1);
    let end = async || {
        let task = client.task(task).await.unwrap();
        let reached = i64::try_from(world.simulator.accepted_total()).unwrap();
        let is_over = task.state == api::TaskState::Completed && task.counts.delivered == reached;
        is_over.then_some(task)
    };
    let task = wait_until("all that left is known", within(60), end).await;
    // What is still unknown never left: it was taken by the node that died, and nobody sends to it again by itself.
    assert_eq!(places(&task.counts), task.counts.total);
    assert_eq!(task.counts.accepted, assert_nobody_twice(&world.simulator.accepted_by_recipient()));
    assert_eq!(task.counts.accepted + task.counts.unknown, task.counts.total, "{:?}", task.counts);
    world.audit().await;
}

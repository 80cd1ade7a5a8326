//! Behind a pooler in transaction mode, which hands each transaction to another connection, everything holds that holds
//! without: campaigns of every vendor, a SIGKILL in the middle, reports, and the audit. Migrations go past it.

use std::{collections::BTreeMap, process::Output};

use api::{Resolution, ResolveRequest};
use simulator::{RangeMs, SimulatorOptions, Vendor};
use store::testing;

use crate::harness::{Account, People, Pooler, World, assert_nobody_twice, campaign, places, within};

const PEOPLE: People = People(1_500);

fn vendors() -> SimulatorOptions {
    let latency = RangeMs { min: 10, max: 60 };
    let latency_ms: BTreeMap<Vendor, RangeMs> = Vendor::ALL.map(|vendor| (vendor, latency)).into();
    let mut options = SimulatorOptions { latency_ms, ..SimulatorOptions::default() };
    (options.callbacks.attempts, options.callbacks.retry_delay_ms) = (60, 500);
    (options.callbacks.early, options.callbacks.duplicates, options.callbacks.reordered) = (0.2, 0.2, 0.2);
    options
}

/// A campaign with a SIGKILL in the middle; whoever is unknown at the end is decided by hand.
async fn killed_in_the_middle(account: Account) {
    let mut world = World::new().simulator(vendors()).account(account).pooler().start().await;
    let audience = world.import_people(PEOPLE).await;
    let id = world.launch(&campaign(world.account(0), audience)).await;
    assert!(world.simulator.wait_for_accepted(300, within(30)).await, "it does not send");
    world.api().pause_task(id).await.unwrap();
    world.api().resume_task(id, false).await.unwrap();
    assert!(world.simulator.wait_for_accepted(600, within(30)).await, "it does not send on");
    world.kill9();
    world.restart().await;
    world.wait_for_completion(id, within(40)).await;
    let task = world.all_reports_are_applied(id).await;
    assert_eq!(places(&task.counts), task.counts.total, "{:?}", task.counts);
    assert_eq!(task.counts.accepted + task.counts.unknown, task.counts.total, "{:?}", task.counts);
    let reached = assert_nobody_twice(&world.simulator.accepted_by_recipient());
    assert!((task.counts.accepted..=task.counts.total).contains(&reached), "{reached} {:?}", task.counts);
    if task.counts.unknown > 0 {
        let request = ResolveRequest { resolution: Resolution::Sent, to: None };
        let resolved = world.api().resolve(id, &request).await.unwrap();
        assert_eq!(resolved.resolved, task.counts.unknown);
    }
    world.audit().await;
    assert_nothing_is_kept_prepared(&world);
}

/// What a connection leaves behind, or finds missing, is said by the server and shows in both logs.
fn assert_nothing_is_kept_prepared(world: &World) {
    let pooler = world.pooler.as_ref().unwrap().log();
    for complaint in ["prepared statement", "unsupported startup parameter"] {
        assert!(!pooler.contains(complaint), "the pooler says:\n{pooler}");
    }
    let log = world.process(0).log();
    for complaint in ["prepared statement", "ERROR"] {
        assert!(!log.contains(complaint), "the daemon says:\n{log}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn by_batches() {
    killed_in_the_middle(Account::exotel().set("batch_size", 20).sender("messages_per_second", 300)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn by_single_calls() {
    killed_in_the_middle(Account::sobot_io().sender("messages_per_second", 300)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn by_single_calls_without_records() {
    killed_in_the_middle(Account::sobot_in().sender("messages_per_second", 300)).await;
}

fn text_of(output: &Output) -> String {
    [&output.stdout, &output.stderr].map(|bytes| String::from_utf8_lossy(bytes).into_owned()).concat()
}

#[tokio::test(flavor = "multi_thread")]
async fn and_migrations_go_past_it() {
    let mut world = World::new().account(Account::exotel()).prepare().await;
    world.add_node();
    let database = testing::empty_database().await;
    let folder = testing::data_dir("pooler");
    let pooler = Pooler::start(&database, folder.path()).await;
    let migrate = |more: &[(&str, &str)]| {
        let mut command = world.process(0).command(&["migrate"]);
        command.env("CAMPAIGND_DATABASE__URL", pooler.url()).env("CAMPAIGND_DATABASE__POOLER", "true");
        command.envs(more.iter().copied()).output().unwrap()
    };
    let refused = migrate(&[]);
    assert!(!refused.status.success());
    assert!(text_of(&refused).contains("database.migrations_url"), "{}", text_of(&refused));
    let done = migrate(&[("CAMPAIGND_DATABASE__MIGRATIONS_URL", &database.url())]);
    assert!(done.status.success(), "{}", text_of(&done));
    let known = migrate(&[]);
    assert!(known.status.success(), "a current schema needs no migration: {}", text_of(&known));
}

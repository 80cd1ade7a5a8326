//! Answers that came while the database was away are not lost with the process: a start reads them back, and nobody becomes
//! unknown whose answer was known, not even where no callback could tell.

use std::{
    collections::BTreeMap,
    fs,
    os::unix::fs::PermissionsExt as _,
    path::PathBuf,
    time::{Duration, Instant},
};

use api::TaskState;
use simulator::{RangeMs, SimulatorOptions, Vendor};
use store::testing;

use crate::harness::{
    Account, People, World, campaign,
    proxy::{Proxy, Way},
    wait_until, within,
};

const PEOPLE: People = People(1_500);
/// Nothing was added to the journal for so long: all calls have ended, and all they brought is kept.
const KEPT: Duration = Duration::from_secs(3);

/// Vendors whose calls last long enough that many are open when the database goes.
fn slow_vendors() -> SimulatorOptions {
    let latency = RangeMs { min: 100, max: 700 };
    let latency_ms: BTreeMap<Vendor, RangeMs> = Vendor::ALL.map(|vendor| (vendor, latency)).into();
    let mut options = SimulatorOptions { latency_ms, ..SimulatorOptions::default() };
    options.callbacks.attempts = 120;
    options.callbacks.retry_delay_ms = 500;
    options
}

/// What the journal holds.
fn journal(world: &World) -> Vec<(PathBuf, u64)> {
    let folder = world.process(0).config_file().with_file_name("data").join("journal");
    let Ok(entries) = fs::read_dir(folder) else { return Vec::new() };
    entries.map(|entry| entry.unwrap()).map(|entry| (entry.path(), entry.metadata().unwrap().len())).collect()
}

/// Takes the database away in the middle, waits until all that came back is kept, has `end` end the process, starts it on a
/// database that is back, and looks whether anybody's answer was lost.
async fn outlive(account: Account, way: Way, end: impl AsyncFnOnce(&mut World)) {
    let database = testing::database().await;
    let proxy = Proxy::to_database(&database);
    let url = proxy.database_url(&database);
    let mut world = World::new().simulator(slow_vendors()).account(account).database_url(url).start().await;
    let all = i64::try_from(PEOPLE.0).unwrap();
    let audience = world.import_people(PEOPLE).await;
    let task = world.launch(&campaign(world.account(0), audience)).await;
    let in_the_middle = |task: &api::Task| task.counts.accepted > 100 && task.counts.sending > 0;
    world.wait_for_task(task, "calls are open", within(20), in_the_middle).await;

    proxy.set(way);
    world.is_not_ready(within(10)).await;
    world.nothing_leaves().await;
    let mut last = (journal(&world), Instant::now());
    wait_until("all answers are kept", within(30), async || {
        let now = journal(&world);
        if now != last.0 {
            last = (now, Instant::now());
        }
        (!last.0.is_empty() && last.1.elapsed() >= KEPT).then_some(())
    })
    .await;
    end(&mut world).await;
    proxy.set(Way::Forward);
    world.restart().await;

    let done = world.wait_for_completion(task, within(60)).await;
    assert_eq!((done.state, done.counts.total), (TaskState::Completed, all));
    let healed = |task: &api::Task| task.counts.accepted == all;
    let task = world.wait_for_task(task, "every answer is known", within(15), healed).await;
    assert_eq!(task.counts.unknown, 0, "{:?}", task.counts);
    PEOPLE.assert_each_accepted_once(&world.simulator.accepted_by_recipient());
    assert_eq!(journal(&world), Vec::new(), "what was read back is removed");
    world.audit().await;
}

async fn killed(world: &mut World) {
    world.kill9();
}

async fn told_to_end(world: &mut World) {
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn and_a_kill_where_no_callback_could_tell() {
    outlive(Account::sobot_in().set("max_in_flight", 60), Way::Refuse, killed).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn and_a_kill_while_the_connections_hang() {
    outlive(Account::sobot_in().set("max_in_flight", 60), Way::Freeze, killed).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn and_a_sigterm() {
    outlive(Account::sobot_in().set("max_in_flight", 60), Way::Refuse, told_to_end).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn and_a_sigterm_amid_batches() {
    let account = Account::exotel().set("batch_size", 20).sender("messages_per_second", 300);
    outlive(account, Way::Refuse, told_to_end).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn and_the_journal_goes_when_the_database_comes_back_first() {
    let database = testing::database().await;
    let proxy = Proxy::to_database(&database);
    let url = proxy.database_url(&database);
    let account = Account::sobot_in().set("max_in_flight", 60);
    let mut world = World::new().simulator(slow_vendors()).account(account).database_url(url).start().await;
    let audience = world.import_people(PEOPLE).await;
    let task = world.launch(&campaign(world.account(0), audience)).await;
    world.wait_for_task(task, "calls are open", within(20), |task| task.counts.accepted > 100).await;
    proxy.set(Way::Refuse);
    let is_kept = async || (!journal(&world).is_empty()).then_some(());
    wait_until("answers are kept", within(15), is_kept).await;
    for (file, _) in journal(&world) {
        let text = fs::read(&file).unwrap();
        for secret in ["inbox-access-key", "inbox-secret-key", "order_update"] {
            let found = text.windows(secret.len()).any(|window| window == secret.as_bytes());
            assert!(!found, "{secret} stands in {}", file.display());
        }
        assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    }
    proxy.set(Way::Forward);
    world.comes_back("outcomes in hand").await;
    let is_gone = async || journal(&world).is_empty().then_some(());
    wait_until("the journal is not needed any more", within(10), is_gone).await;
    // Ended and begun once more: what was recorded is not told a second time.
    world.stop().await;
    world.restart().await;
    world.wait_for_completion(task, within(60)).await;
    let done = world.task(task).await;
    assert_eq!((done.counts.accepted, done.counts.unknown), (i64::try_from(PEOPLE.0).unwrap(), 0));
    PEOPLE.assert_each_accepted_once(&world.simulator.accepted_by_recipient());
    world.audit().await;
}

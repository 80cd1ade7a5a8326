//! Several people may pause, resume, cancel and retry one task at the same moment, as often as they like: nobody is sent to
//! twice and nobody is lost by it.

use std::collections::BTreeMap;

use api::{
    NewCampaign, Task, TaskState,
    client::{ClientError, RetryFailed},
};
use futures::future::join_all;
use simulator::{FaultAction, FaultRule, RangeMs, SimulatorOptions, Vendor};

use crate::harness::{
    Account, People, World, assert_nobody_twice, campaign, places, text, wait_until, within,
};

const PEOPLE: People = People(3_000);
/// Commands of one person.
const COMMANDS: usize = 40;
/// Messages that the vendor refuses once, for a reason that may pass.
const REFUSED: u64 = 200;

/// Vendors that need a moment, and refuse some messages: people outside the 24-hour window.
fn vendors() -> SimulatorOptions {
    let latency_ms: BTreeMap<Vendor, RangeMs> = Vendor::ALL.map(|v| (v, RangeMs { min: 20, max: 60 })).into();
    let refused = FaultRule::new(FaultAction::MessageCode { code: 30018, message: None });
    let faults = vec![refused.every_nth(5).limit(REFUSED)];
    SimulatorOptions { latency_ms, faults, ..SimulatorOptions::default() }
}

async fn world() -> World {
    let account = Account::exotel().set("batch_size", 20).sender("messages_per_second", 400);
    World::new().simulator(vendors()).account(account).start().await
}

fn wanted(account: &Account, audience: i64) -> NewCampaign {
    NewCampaign { message: text("Hello {{name}}"), ..campaign(account, audience) }
}

/// A command was obeyed, or came too late.
fn is_sensible<T>(answer: Result<T, ClientError>) -> bool {
    match answer {
        Ok(_) => true,
        Err(error) => {
            assert_eq!(error.status(), Some(409), "{error}");
            false
        }
    }
}

/// Gives one command after another, without looking at what the others do; how many were obeyed.
async fn hurries(world: &World, task: i64, person: usize) -> usize {
    let api = world.api();
    let mut obeyed = 0;
    for turn in 0..COMMANDS {
        let is_obeyed = match (turn + person) % 3 {
            0 => is_sensible(api.pause_task(task).await),
            1 => is_sensible(api.resume_task(task, false).await),
            _ => is_sensible(api.retry_failed(task, &RetryFailed::default()).await),
        };
        obeyed += usize::from(is_obeyed);
    }
    obeyed
}

#[tokio::test(flavor = "multi_thread")]
async fn pausing_resuming_and_retrying() {
    let world = world().await;
    let audience = world.import_people(PEOPLE).await;
    let task = world.launch(&wanted(world.account(0), audience)).await;
    let obeyed = join_all((0..4).map(|person| hurries(&world, task, person))).await;
    assert!(obeyed.iter().sum::<usize>() > COMMANDS, "hardly any command came in time: {obeyed:?}");

    // Whoever came last: one person lets it run on, and retries until nobody is left who failed.
    is_sensible(world.api().resume_task(task, false).await);
    wait_until("everybody is accepted", within(60), async || {
        let seen = world.task(task).await;
        assert_eq!(places(&seen.counts), seen.counts.total, "{:?}", seen.counts);
        if seen.counts.failed > 0 {
            world.api().retry_failed(task, &RetryFailed::default()).await.unwrap();
        }
        (seen.counts.accepted == seen.counts.total).then_some(())
    })
    .await;
    let fired: u64 = world.simulator.faults().iter().map(|(_, fired)| fired).sum();
    assert_eq!(fired, REFUSED, "each refusal was met");
    PEOPLE.assert_each_accepted_once(&world.simulator.accepted_by_recipient());
    world.audit().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn while_one_of_them_cancels() {
    let world = world().await;
    let audience = world.import_people(PEOPLE).await;
    let task = world.launch(&wanted(world.account(0), audience)).await;
    let is_under_way = |task: &Task| task.counts.accepted >= 200 && task.counts.failed >= 20;
    world.wait_for_task(task, "some are accepted and some failed", within(30), is_under_way).await;
    let others = join_all((0..3).map(|person| hurries(&world, task, person)));
    let ((), _) = tokio::join!(
        async { assert_eq!(world.api().cancel_task(task).await.unwrap().state, TaskState::Cancelled) },
        others
    );
    let ended = world.wait_for_task(task, "open calls end", within(20), |t| t.counts.sending == 0).await;
    assert_eq!(ended.state, TaskState::Cancelled, "nobody brings a cancelled task back");
    assert_eq!(places(&ended.counts), ended.counts.total);
    assert!(ended.counts.cancelled > 0 && ended.counts.accepted >= 200, "{:?}", ended.counts);
    let accepted = assert_nobody_twice(&world.simulator.accepted_by_recipient());
    assert_eq!(accepted, ended.counts.accepted, "{:?}", ended.counts);
    world.audit().await;
}

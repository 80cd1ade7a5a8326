//! A sender writes to no more persons in any 24 hours than its limit allows, across tasks and crashes; whoever was written to
//! lately takes no room, and the others stay queued until there is some.

use std::collections::HashSet;

use api::{Task, TaskState, TestRequest, WaitingFor};
use chrono::{DateTime, Utc};
use simulator::{CallbackOptions, SimulatorOptions};

use crate::harness::{
    Account, People, World, assert_nobody_twice, campaign, csv_of, phone, wait_until, within,
};

const LIMIT: usize = 50;

async fn world() -> World {
    let callbacks = CallbackOptions { enabled: false, ..CallbackOptions::default() };
    let options = SimulatorOptions { callbacks, ..SimulatorOptions::default() };
    let account = Account::sobot_in().sender("daily_recipients", LIMIT);
    World::new().simulator(options).account(account).start().await
}

fn at(text: &str) -> DateTime<Utc> {
    text.parse().unwrap()
}

/// Waits until a task of which nobody is being sent to waits for its sender's limit, with so many queued.
async fn full(world: &World, task: i64, queued: i64) -> Task {
    let is_so = |task: &Task| {
        let counts = &task.counts;
        task.waiting_for == Some(WaitingFor::DailyLimit) && counts.sending == 0 && counts.queued == queued
    };
    let full = world.wait_for_task(task, "it waits for its sender's daily limit", within(20), is_so).await;
    assert_eq!(full.state, TaskState::Running, "{full:?}");
    full
}

/// The persons whom the vendor has accepted since it had so many messages.
fn persons_since(world: &World, first: usize) -> HashSet<u64> {
    world.simulator.messages()[first..].iter().map(|message| message.to).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn of_all_its_tasks_together_and_by_the_hour() {
    let mut world = world().await;
    world.set_clock("2026-12-01T10:20:00Z");
    let forty = world.import_people(People(40)).await;
    let first = world.launch(&campaign(world.account(0), forty)).await;
    world.wait_for_completion(first, within(20)).await;

    // Of the second, twenty were written to today; of the others ten find room.
    world.set_clock("2026-12-01T12:20:00Z");
    let others = world.import(csv_of(20..80)).await.id;
    let second = world.launch(&campaign(world.account(0), others)).await;
    let waiting = full(&world, second, 30).await;
    assert_eq!(waiting.counts.accepted, 30);
    assert_eq!(waiting.waiting_until, Some(at("2026-12-02T11:00:00Z")));
    assert_eq!(persons_since(&world, 0).len(), LIMIT);

    // A trial counts as well, and waits with the rest.
    let draft = api::NewCampaign { launch: false, ..campaign(world.account(0), others) };
    let draft = world.api().create_campaign(&draft, None).await.unwrap().id;
    let trial = TestRequest { to: vec![phone(5), phone(500)], row: None };
    let trial = world.api().test_campaign(draft, &trial, None).await.unwrap().task_id;
    assert_eq!(full(&world, trial, 2).await.counts.accepted, 0);

    // Nobody before the first hour is a day old; then as many as it counted and were not written to since.
    world.set_clock("2026-12-02T10:59:00Z");
    full(&world, second, 30).await;
    assert_eq!(persons_since(&world, 0).len(), LIMIT);
    world.set_clock("2026-12-02T11:00:00Z");
    wait_until("there is no room again", within(20), async || {
        let (second, trial) = (world.task(second).await, world.task(trial).await);
        let counts = [second.counts, trial.counts];
        let queued: i64 = counts.iter().map(|counts| counts.queued).sum();
        let is_still = counts.iter().all(|counts| counts.sending == 0);
        (queued == 12 && is_still && second.waiting_for == Some(WaitingFor::DailyLimit)).then_some(())
    })
    .await;
    assert_eq!(world.task(second).await.waiting_until, Some(at("2026-12-02T13:00:00Z")));
    // From 12:20 until now: the second task's thirty, and the twenty for whom there was room.
    assert_eq!(persons_since(&world, 40).len(), LIMIT);

    world.set_clock("2026-12-02T13:00:00Z");
    let done = world.wait_for_completion(second, within(20)).await;
    assert_eq!((done.counts.accepted, done.counts.queued, done.waiting_for), (60, 0, None), "{done:?}");
    world.wait_for_completion(trial, within(20)).await;
    world.audit().await;
}

/// Persons that the database names as counted, and how many it counts by the hour.
async fn counted(world: &World) -> (i64, i64) {
    let mut conn = world.database.as_ref().unwrap().connect().await;
    sqlx::query_as(
        "SELECT (SELECT count(*) FROM sender_days), (SELECT coalesce(sum(recipients), 0) FROM sender_hours)",
    )
    .fetch_one(&mut conn)
    .await
    .unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn when_the_process_is_killed_in_the_middle() {
    let mut world = world().await;
    world.set_clock("2026-12-01T10:20:00Z");
    let people = People(120);
    let audience = world.import_people(people).await;
    let wanted = campaign(world.account(0), audience);
    for (nth, point) in
        ["intent.after_commit", "call.answered", "intent.before_commit"].into_iter().enumerate()
    {
        world.kill_at(point, 2);
        if nth == 0 {
            let _ = world.api().create_campaign(&wanted, Some("once")).await;
        } else {
            world.daemon().start();
        }
        world.died_at(point, within(20)).await;
        assert!(persons_since(&world, 0).len() < LIMIT, "{point}: the limit was reached before");
    }
    world.restart().await;
    let task = world.api().create_campaign(&wanted, Some("once")).await.unwrap().task_id.unwrap();
    let queued = i64::try_from(people.0 - LIMIT).unwrap();
    let waiting = full(&world, task, queued).await;
    // Whoever was taken is counted once, whether or not anybody knows what became of the call.
    assert_eq!(waiting.counts.accepted + waiting.counts.unknown, i64::try_from(LIMIT).unwrap());
    assert!(waiting.counts.unknown > 0, "no kill met an open call");
    let ledger = world.simulator.accepted_by_recipient();
    assert!(assert_nobody_twice(&ledger) <= i64::try_from(LIMIT).unwrap());
    assert_eq!(counted(&world).await, (50, 50));

    // A day later the rest of them; there is not a person more in the first day's ledger meanwhile.
    world.set_clock("2026-12-02T10:59:30Z");
    full(&world, task, queued).await;
    assert_eq!(world.simulator.accepted_by_recipient(), ledger);
    world.set_clock("2026-12-02T11:00:00Z");
    full(&world, task, queued - i64::try_from(LIMIT).unwrap()).await;
    assert_eq!(persons_since(&world, ledger.len()).len(), LIMIT);

    // Whoever is erased is named no more, and still takes the place that was taken.
    let (persons, by_hour) = counted(&world).await;
    let someone = format!("+{}", world.simulator.messages()[0].to);
    world.api().erase_person(&someone).await.unwrap();
    assert_eq!(counted(&world).await, (persons - 1, by_hour));
    world.audit().await;
}

//! Whoever asks for a task while it runs sees each recipient in exactly one place, however often he asks.

use std::{sync::Arc, time::Instant};

use api::{Counts, Task, TaskState};
use simulator::{CallbackOptions, FailedCodes, FaultAction, FaultRule, SimulatorOptions, Vendor};
use tokio_util::sync::CancellationToken;

use crate::harness::{Account, People, World, campaign, within};

const PEOPLE: People = People(3_000);

fn assert_adds_up(counts: &Counts) {
    let places = counts.queued
        + counts.sending
        + counts.retrying
        + counts.unknown
        + counts.accepted
        + counts.failed
        + counts.suppressed
        + counts.expired
        + counts.cancelled;
    assert_eq!(places, counts.total, "{counts:?}");
    assert!(counts.accepted >= counts.sent, "{counts:?}");
    assert!(counts.sent >= counts.delivered, "{counts:?}");
    assert!(counts.delivered >= counts.read, "{counts:?}");
    assert!(counts.read >= 0 && counts.sending >= 0 && counts.queued >= 0, "{counts:?}");
}

/// Refusals, retries, lost answers, and reports of every kind, in every order.
fn trouble() -> SimulatorOptions {
    let callbacks = CallbackOptions {
        read: 0.7,
        failed: 0.05,
        failed_codes: FailedCodes { exotel: vec![30_011, 30_013, 30_028], ..FailedCodes::default() },
        duplicates: 0.2,
        reordered: 0.2,
        early: 0.1,
        ..CallbackOptions::default()
    };
    let exotel = |action| FaultRule::new(action).vendor(Vendor::Exotel);
    let faults = vec![
        exotel(FaultAction::MessageCode { code: 30_005, message: None }).every_nth(37),
        exotel(FaultAction::MessageCode { code: 30_011, message: None }).every_nth(41),
        exotel(FaultAction::HttpStatus { status: 429, retry_after_seconds: Some(1), body: None })
            .after(20)
            .limit(1),
        exotel(FaultAction::StatusAfterAccept { status: 502 }).after(10).limit(1),
    ];
    SimulatorOptions { callbacks, faults, ..SimulatorOptions::default() }
}

/// Asks as fast as answers come until it is told to stop; returns what it saw, each different answer once.
async fn poll(api: api::client::Client, task: i64, stop: CancellationToken) -> (usize, Vec<Task>) {
    let (mut polls, mut seen) = (0, Vec::<Task>::new());
    while !stop.is_cancelled() {
        let task = api.task(task).await.unwrap();
        assert_adds_up(&task.counts);
        polls += 1;
        if seen.last().is_none_or(|last| last.counts != task.counts) {
            seen.push(task);
        }
    }
    (polls, seen)
}

#[tokio::test(flavor = "multi_thread")]
async fn in_the_middle_of_failures_retries_and_callbacks() {
    let account = Account::exotel().set("batch_size", 50).sender("messages_per_second", 1_000);
    let world = Arc::new(World::new().simulator(trouble()).account(account.clone()).start().await);
    let audience = world.import_people(PEOPLE).await;
    let task = world.launch(&campaign(&account, audience)).await;
    let stop = CancellationToken::new();
    let pollers: Vec<_> = (0..2).map(|_| tokio::spawn(poll(world.api(), task, stop.clone()))).collect();
    let start = Instant::now();
    let nobody_is_left = |task: &Task| task.counts.queued + task.counts.sending == 0;
    world.wait_for_task(task, "everybody was taken", within(30), nobody_is_left).await;
    assert!(world.simulator.wait_until_idle(within(20)).await, "reports are left over");
    let took = start.elapsed();
    let quiet = |task: &Task| task.counts.read > 0 && task.counts.sending == 0;
    world.wait_for_task(task, "reports are applied", within(10), quiet).await;
    stop.cancel();
    let (mut polls, mut different) = (0, 0);
    for poller in pollers {
        let (count, seen) = poller.await.unwrap();
        (polls, different) = (polls + count, different + seen.len());
        assert!(seen.iter().all(|task| task.counts.total == 3_000));
    }
    assert!(different > 10, "{polls} polls saw {different} different counts in {took:?}");

    let task = world.task(task).await;
    assert_adds_up(&task.counts);
    assert_eq!(task.state, TaskState::Running, "retries are due later");
    let [failed, retrying] = [task.counts.failed, task.counts.retrying];
    assert!(failed > 0 && retrying > 0, "{task:#?}");
    let by_code: i64 = task.errors.iter().map(|error| error.count).sum();
    assert_eq!(by_code, failed + retrying + task.counts.unknown, "{task:#?}");
    world.audit().await;
    let accepted = world.simulator.accepted_by_recipient();
    assert!(accepted.values().all(|count| *count == 1), "somebody was sent to twice");
}

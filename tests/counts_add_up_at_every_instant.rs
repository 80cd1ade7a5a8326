//! Whoever asks for a task while it runs sees each recipient in exactly one place, however often he asks.

use std::{pin::pin, sync::Arc, time::Instant};

use api::{Counts, MessageState, Task, TaskState};
use futures::StreamExt as _;
use simulator::{CallbackOptions, FailedCodes, FaultAction, FaultRule, SimulatorOptions, Vendor};
use tokio_util::sync::CancellationToken;

use crate::harness::{Account, People, World, assert_nobody_twice, campaign, places, within};

const PEOPLE: People = People(3_000);

fn assert_adds_up(counts: &Counts) {
    assert_eq!(places(counts), counts.total, "{counts:?}");
    assert!(counts.accepted >= counts.sent, "{counts:?}");
    assert!(counts.sent >= counts.delivered, "{counts:?}");
    assert!(counts.delivered >= counts.read, "{counts:?}");
    let negative =
        [counts.queued, counts.sending, counts.retrying, counts.unknown, counts.read, counts.failed];
    assert!(negative.iter().all(|count| *count >= 0), "{counts:?}");
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

/// The same by events, as they come; returns how many came.
async fn follow(api: api::client::Client, task: i64, stop: CancellationToken) -> usize {
    let mut events = pin!(api.task_events(task).await.unwrap());
    let mut count = 0;
    while let Some(Some(task)) = stop.run_until_cancelled(events.next()).await {
        assert_adds_up(&task.unwrap().counts);
        count += 1;
    }
    count
}

/// The messages, one by one, say what the counts say, and the vendors' ledger knows of each what it must.
async fn compare_with_messages(world: &World, task: &Task) {
    let ledger = world.simulator.accepted_by_recipient();
    assert_nobody_twice(&ledger);
    let mut counted = 0;
    for state in MessageState::ALL {
        let phones = world.phones(task.id, state).await;
        counted += phones.len();
        let known = phones.iter().filter(|phone| ledger.contains_key(phone)).count();
        match state {
            MessageState::Accepted | MessageState::Sent | MessageState::Delivered | MessageState::Read => {
                assert_eq!(known, phones.len(), "{state:?}, but the vendor never had them");
            }
            MessageState::Queued | MessageState::Sending => {
                assert_eq!(phones, Vec::<u64>::new(), "{state:?}");
            }
            // The reports resolve whose answer was lost; who was refused in that answer has none and stays unknown.
            MessageState::Unknown => assert_eq!(known, 0, "the vendor reported them"),
            _ => {}
        }
    }
    assert_eq!(counted, PEOPLE.0);
}

#[tokio::test(flavor = "multi_thread")]
async fn in_the_middle_of_failures_retries_and_callbacks() {
    let account = Account::exotel().set("batch_size", 50).sender("messages_per_second", 1_000);
    let world = Arc::new(World::new().simulator(trouble()).account(account.clone()).start().await);
    let audience = world.import_people(PEOPLE).await;
    let task = world.launch(&campaign(&account, audience)).await;
    let stop = CancellationToken::new();
    let pollers: Vec<_> = (0..2).map(|_| tokio::spawn(poll(world.api(), task, stop.clone()))).collect();
    let follower = tokio::spawn(follow(world.api(), task, stop.clone()));
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

    let events = follower.await.unwrap();
    assert!(events > 2, "{events} events in {took:?}");

    let task = world.all_reports_are_applied(task).await;
    assert_adds_up(&task.counts);
    assert_eq!(task.state, TaskState::Running, "retries are due later");
    let [failed, retrying] = [task.counts.failed, task.counts.retrying];
    assert!(failed > 0 && retrying > 0, "{task:#?}");
    let by_code: i64 = task.errors.iter().map(|error| error.count).sum();
    assert_eq!(by_code, failed + retrying + task.counts.unknown, "{task:#?}");
    compare_with_messages(&world, &task).await;
    world.audit().await;
}

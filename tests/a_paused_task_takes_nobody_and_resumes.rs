//! After the 202 of pause or cancel nobody more is taken and what is open ends normally; commands may come as quickly as they like.

use std::collections::BTreeMap;

use api::{NewCampaign, Task, TaskState, client::ClientError};
use simulator::{FaultAction, FaultRule, RangeMs, SimulatorOptions, Vendor};

use crate::harness::{
    Account, People, World, assert_nobody_twice, campaign, csv_of, places, text, wait_until, within,
};

const PEOPLE: People = People(2_000);
/// Not all are sent to before the last of twenty turns, on a busy machine either.
const MANY: People = People(4_000);
/// Beyond [`PEOPLE`].
const OTHERS: std::ops::Range<usize> = 5_000..5_100;
const OTHER_COUNT: i64 = 100;

/// Vendors that need a moment for an answer, so that requests are open at any instant.
fn busy_vendors(faults: Vec<FaultRule>) -> SimulatorOptions {
    let latency = RangeMs { min: 20, max: 60 };
    let latency_ms: BTreeMap<Vendor, RangeMs> = Vendor::ALL.map(|vendor| (vendor, latency)).into();
    SimulatorOptions { latency_ms, faults, ..SimulatorOptions::default() }
}

/// Sends everybody in about four seconds.
fn account() -> Account {
    Account::exotel().sender("messages_per_second", 500)
}

/// Another message, so that the ledger tells the two campaigns apart.
fn other_campaign(account: &Account, audience: i64) -> NewCampaign {
    NewCampaign { message: text("Hello {{name}}"), ..campaign(account, audience) }
}

async fn running_with_some_accepted(world: &World, task: i64, accepted: i64) -> Task {
    let what = "some are accepted";
    world.wait_for_task(task, what, within(15), |task| task.counts.accepted >= accepted).await
}

fn refused(answer: Result<Task, ClientError>) -> u16 {
    answer.expect_err("the command is refused").status().expect("by a problem document")
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_is_taken_after_the_answer_and_all_after_the_resume() {
    let world = World::new()
        .simulator(busy_vendors(Vec::new()))
        .account(account().set("batch_size", 20))
        .start()
        .await;
    let audience = world.import_people(PEOPLE).await;
    let others = world.import(csv_of(OTHERS)).await.id;
    let task = world.launch(&campaign(world.account(0), audience)).await;
    running_with_some_accepted(&world, task, 200).await;

    let paused = world.api().pause_task(task).await.unwrap();
    assert_eq!(paused.state, TaskState::Paused);
    assert!(paused.counts.queued > 0, "nobody was left to be paused: {:?}", paused.counts);
    let ended = world.wait_for_task(task, "open calls end", within(10), |t| t.counts.sending == 0).await;
    // Who was being sent to when the answer was given has been sent to, or its call had not begun: it is queued again.
    let back = ended.counts.queued - paused.counts.queued;
    assert!((0..=paused.counts.sending).contains(&back), "{:?}, then {:?}", paused.counts, ended.counts);
    assert_eq!(ended.counts.accepted, paused.counts.accepted + paused.counts.sending - back);

    // While another task of the account runs from its beginning to its end, the paused one stands still.
    let other = world.launch(&other_campaign(world.account(0), others)).await;
    world.wait_for_completion(other, within(10)).await;
    let standing = world.task(task).await;
    assert_eq!((standing.state, standing.counts.queued), (TaskState::Paused, ended.counts.queued));
    let accepted = i64::try_from(world.simulator.accepted_total()).unwrap();
    assert_eq!(accepted, ended.counts.accepted + OTHER_COUNT);

    assert_eq!(world.api().resume_task(task, false).await.unwrap().state, TaskState::Running);
    world.wait_for_completion(task, within(15)).await;
    let mut ledger = world.simulator.accepted_by_recipient();
    let others = OTHERS.filter(|number| ledger.remove(&crate::harness::people::digits(*number)) == Some(1));
    assert_eq!(others.count(), OTHERS.len());
    PEOPLE.assert_each_accepted_once(&ledger);
    world.audit().await;
}

/// A task of which the third call is about to begin, and those behind it are taken.
async fn about_to_begin() -> (World, i64) {
    let mut world = World::new().account(Account::sobot_in().set("max_in_flight", 1)).start().await;
    let audience = world.import_people(People(60)).await;
    world.daemon().stop_at("call.placed", 3);
    let task = world.launch(&campaign(world.account(0), audience)).await;
    wait_until("the third call is about to begin", within(10), async || {
        world.daemon().was_at("call.placed").then_some(())
    })
    .await;
    (world, task)
}

#[tokio::test(flavor = "multi_thread")]
async fn no_call_begins_after_the_answer_though_its_recipient_was_taken_before() {
    let (mut world, task) = about_to_begin().await;
    let paused = world.api().pause_task(task).await.unwrap();
    assert!(paused.counts.sending > 0, "{:?}", paused.counts);
    world.daemon().let_go("call.placed");
    let ended = world.wait_for_task(task, "nobody is sent to", within(10), |t| t.counts.sending == 0).await;
    assert_eq!((ended.counts.accepted, ended.counts.queued), (2, 58), "{:?}", ended.counts);
    assert_eq!(world.simulator.requests_total(), 2);

    world.api().resume_task(task, false).await.unwrap();
    world.wait_for_completion(task, within(20)).await;
    People(60).assert_each_accepted_once(&world.simulator.accepted_by_recipient());
    assert_eq!(world.simulator.requests_total(), 60);
    world.audit().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn no_call_begins_after_a_cancellation_though_its_recipient_was_taken_before() {
    let (mut world, task) = about_to_begin().await;
    world.api().cancel_task(task).await.unwrap();
    world.daemon().let_go("call.placed");
    let ended = world.wait_for_task(task, "nobody is sent to", within(10), |t| t.counts.sending == 0).await;
    assert_eq!((ended.counts.accepted, ended.counts.cancelled), (2, 58), "{:?}", ended.counts);
    assert_eq!(world.simulator.requests_total(), 2);
    world.audit().await;
}

/// The same, asked of a node that does not own the account: it answers when the owner has stopped.
#[tokio::test(flavor = "multi_thread")]
async fn no_call_begins_after_the_answer_of_another_node() {
    for is_cancelled in [false, true] {
        let (mut world, task) = about_to_begin().await;
        let other = world.add_node();
        world.start_node(other).await;
        let other = world.client(other);
        let answer = if is_cancelled { other.cancel_task(task).await } else { other.pause_task(task).await };
        assert!(answer.unwrap().counts.sending > 0);
        world.daemon().let_go("call.placed");
        let ended =
            world.wait_for_task(task, "nobody is sent to", within(10), |t| t.counts.sending == 0).await;
        let left = if is_cancelled { ended.counts.cancelled } else { ended.counts.queued };
        assert_eq!((ended.counts.accepted, left), (2, 58), "{:?}", ended.counts);
        assert_eq!(world.simulator.requests_total(), 2);
        world.audit().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cancelled_task_ends_what_is_open_and_sends_no_retry() {
    // An error of the moment for one number in ten: tried again after half a minute.
    let fault =
        FaultRule::new(FaultAction::MessageCode { code: 30_011, message: None }).recipient_suffix("7");
    let world = World::new()
        .simulator(busy_vendors(vec![fault]))
        .account(account().set("batch_size", 20))
        .start()
        .await;
    let audience = world.import_people(PEOPLE).await;
    let task = world.launch(&campaign(world.account(0), audience)).await;
    let is_mixed = |task: &Task| task.counts.accepted >= 200 && task.counts.retrying >= 20;
    world.wait_for_task(task, "some are accepted and some wait", within(15), is_mixed).await;

    let cancelled = world.api().cancel_task(task).await.unwrap();
    assert_eq!(cancelled.state, TaskState::Cancelled);
    assert_eq!((cancelled.counts.queued, cancelled.counts.retrying), (0, 0));
    assert!(cancelled.ended_at.is_some());
    assert_eq!(places(&cancelled.counts), cancelled.counts.total);
    let ended = world.wait_for_task(task, "open calls end", within(10), |t| t.counts.sending == 0).await;
    assert_eq!(ended.state, TaskState::Cancelled);
    assert_eq!(places(&ended.counts), ended.counts.total);
    // Who was open was accepted, or counts as cancelled with those who waited.
    let (accepted, was_open) = (ended.counts.accepted, cancelled.counts.sending);
    assert!((cancelled.counts.accepted..=cancelled.counts.accepted + was_open).contains(&accepted));
    assert_eq!(ended.counts.cancelled, ended.counts.total - accepted);
    assert_eq!(assert_nobody_twice(&world.simulator.accepted_by_recipient()), accepted);

    assert_eq!(refused(world.api().pause_task(task).await), 409);
    assert_eq!(refused(world.api().resume_task(task, false).await), 409);
    assert_eq!(world.api().cancel_task(task).await.unwrap().state, TaskState::Cancelled, "it is so already");
    world.audit().await;
}

/// Pauses and resumes twenty times without waiting for anything, and lets the task run to its end.
async fn hurried(account: Account, people: People, faults: Vec<FaultRule>) {
    let is_refused = !faults.is_empty();
    let world = World::new().simulator(busy_vendors(faults)).account(account).start().await;
    let audience = world.import_people(people).await;
    let task = world.launch(&campaign(world.account(0), audience)).await;
    let api = world.api();
    for turn in 1..=20 {
        // Each turn finds the task at another place of its work.
        running_with_some_accepted(&world, task, turn * 30).await;
        assert_eq!(api.pause_task(task).await.unwrap().state, TaskState::Paused);
        assert_eq!(api.resume_task(task, false).await.unwrap().state, TaskState::Running);
    }
    let task = world.wait_for_completion(task, within(30)).await;
    let ledger = world.simulator.accepted_by_recipient();
    assert_eq!(assert_nobody_twice(&ledger), task.counts.accepted);
    // A small batch that is refused again and again ends as a call of one, which is refused for good.
    let refused_alone: i64 =
        task.errors.iter().filter(|error| error.code == "http_400").map(|error| error.count).sum();
    assert!(is_refused || refused_alone == 0, "{:?}", task.errors);
    assert_eq!(task.counts.failed, refused_alone, "{:?}", task.errors);
    assert_eq!(task.counts.accepted + refused_alone, task.counts.total);
    world.audit().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn twenty_quick_pauses_neither_repeat_nor_lose_a_batch() {
    // Refused whole, some batches come again at once in halves: fresh ones and retries are both under way.
    let fault =
        FaultRule::new(FaultAction::HttpStatus { status: 400, retry_after_seconds: None, body: None });
    hurried(account().set("batch_size", 50), MANY, vec![fault.every_nth(3).limit(6)]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn twenty_quick_pauses_neither_repeat_nor_lose_a_single_call() {
    hurried(Account::sobot_in(), People(2_000), Vec::new()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_command_that_is_so_already_is_answered_and_one_that_comes_too_late_is_refused() {
    let world = World::new()
        .simulator(busy_vendors(Vec::new()))
        .account(account().set("batch_size", 20))
        .start()
        .await;
    let people = People(500);
    let audience = world.import_people(people).await;
    let task = world.launch(&campaign(world.account(0), audience)).await;
    let api = world.api();
    for _ in 0..2 {
        assert_eq!(api.pause_task(task).await.unwrap().state, TaskState::Paused);
    }
    for _ in 0..2 {
        assert_eq!(api.resume_task(task, false).await.unwrap().state, TaskState::Running);
    }
    world.wait_for_completion(task, within(15)).await;
    assert_eq!(refused(api.pause_task(task).await), 409);
    assert_eq!(refused(api.resume_task(task, false).await), 409);
    assert_eq!(refused(api.cancel_task(task).await), 409);
    assert_eq!(refused(api.pause_task(task + 1).await), 404);
    people.assert_each_accepted_once(&world.simulator.accepted_by_recipient());
    world.audit().await;
}

//! A vendor's code decides what becomes of its recipients: failed, tried again later, slowed down, or cut out of a batch.

use api::{Message, MessageState, Task, TaskError, TaskState, client::MessageFilter};
use simulator::{CallbackOptions, FaultAction, FaultRule, SimulatorOptions, TokenFailure, Vendor};

use crate::harness::{Account, People, World, campaign, people, phone, within};

const PEOPLE: People = People(500);

/// A world in which nothing is reported after the answer.
async fn world(account: &Account, faults: Vec<FaultRule>) -> World {
    let callbacks = CallbackOptions { enabled: false, ..CallbackOptions::default() };
    let options = SimulatorOptions { callbacks, faults, ..SimulatorOptions::default() };
    World::new().simulator(options).account(account.clone()).start().await
}

/// A world in which everything is.
async fn reporting_world(account: &Account, faults: Vec<FaultRule>) -> World {
    let options = SimulatorOptions { faults, ..SimulatorOptions::default() };
    World::new().simulator(options).account(account.clone()).start().await
}

async fn launch(world: &World, account: &Account) -> i64 {
    let audience = world.import_people(PEOPLE).await;
    world.launch(&campaign(account, audience)).await
}

async fn message(world: &World, task: i64, number: usize) -> Message {
    let filter = MessageFilter { to: Some(phone(number)), ..MessageFilter::default() };
    let mut page = world.api().messages(task, &filter).await.unwrap();
    assert_eq!(page.items.len(), 1, "{page:?}");
    page.items.remove(0)
}

fn only_error(task: &Task) -> &TaskError {
    let [error] = task.errors.as_slice() else { panic!("one code was to be seen: {task:#?}") };
    error
}

/// The message of these recipients gets a code in the answer of its send.
fn code(vendor: Vendor, code: u32, numbers: &[usize]) -> FaultRule {
    let recipients = numbers.iter().map(|number| people::digits(*number).to_string());
    FaultRule::new(FaultAction::MessageCode { code, message: None }).vendor(vendor).recipients(recipients)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_fails_with_its_code_and_meaning() {
    let account = Account::exotel();
    let refused = [3, 100, 101, 499];
    let world = world(&account, vec![code(Vendor::Exotel, 30_005, &refused)]).await;
    let task = launch(&world, &account).await;
    let task = world.wait_for_completion(task, within(20)).await;
    assert_eq!((task.counts.failed, task.counts.accepted), (4, 496));
    let error = only_error(&task);
    assert_eq!((error.name.as_str(), error.count), ("EX_NUMBER_ERROR", 4));
    assert_eq!(error.disposition, "FailRecipient");
    assert!(!error.meaning.is_empty());
    let failed = message(&world, task.id, 100).await;
    assert_eq!((failed.state, failed.attempts), (MessageState::Failed, 1));
    assert_eq!(failed.code.as_deref(), Some(error.code.as_str()));
    assert_eq!(failed.code_name.as_deref(), Some("EX_NUMBER_ERROR"));
    assert!(failed.failed_at.is_some() && failed.reason.is_some(), "{failed:?}");
    PEOPLE.assert_each_accepted_once_but(&world.simulator.accepted_by_recipient(), |n| refused.contains(&n));
    world.audit().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_passing_trouble_is_tried_again_later() {
    let account = Account::sobot_io();
    let world = world(&account, vec![code(Vendor::SobotIo, 131_016, &[7, 300])]).await;
    let task = launch(&world, &account).await;
    let settled = |task: &Task| task.counts.accepted == 498 && task.counts.retrying == 2;
    let task = world.wait_for_task(task, "two wait for their retry", within(20), settled).await;
    assert_eq!(task.state, TaskState::Running, "{task:#?}");
    let error = only_error(&task);
    assert_eq!((error.code.as_str(), error.disposition.as_str(), error.count), ("131016", "RetrySoon", 2));
    let waiting = message(&world, task.id, 7).await;
    assert_eq!((waiting.state, waiting.attempts), (MessageState::Retrying, 1));
    assert_eq!(waiting.code.as_deref(), Some("131016"));
    let retry_at = waiting.retry_at.expect("a retry has its time");
    let wait = (retry_at - task.started_at.unwrap()).num_seconds();
    assert!((20..=60).contains(&wait), "the first retry comes about 30 s later, not {wait} s");
    PEOPLE.assert_each_accepted_once_but(&world.simulator.accepted_by_recipient(), |n| [7, 300].contains(&n));
    world.audit().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_retry_that_is_due_is_sent_and_ends_the_task() {
    let account = Account::sobot_io();
    // Pair limits are tried again after 6 s.
    let world = world(&account, vec![code(Vendor::SobotIo, 131_056, &[7, 300]).limit(2)]).await;
    let task = launch(&world, &account).await;
    let task = world.wait_for_completion(task, within(40)).await;
    assert_eq!((task.counts.accepted, task.errors.len()), (500, 0), "{task:#?}");
    let again = message(&world, task.id, 7).await;
    assert_eq!((again.state, again.attempts, again.code), (MessageState::Accepted, 2, None));
    PEOPLE.assert_each_accepted_once(&world.simulator.accepted_by_recipient());
    world.audit().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn too_many_requests_slow_down_and_end_with_everybody_accepted() {
    for account in [
        Account::exotel().set("batch_size", 20).sender("messages_per_second", 400),
        Account::sobot_in().sender("messages_per_second", 200),
    ] {
        let busy = FaultAction::HttpStatus { status: 429, retry_after_seconds: Some(1), body: None };
        let world = world(&account, vec![FaultRule::new(busy).after(10).limit(3)]).await;
        let task = launch(&world, &account).await;
        let task = world.wait_for_completion(task, within(40)).await;
        assert_eq!((task.counts.accepted, task.errors.len()), (500, 0), "{task:#?}");
        PEOPLE.assert_each_accepted_once(&world.simulator.accepted_by_recipient());
        let arrivals = world.simulator.arrivals();
        let busy = arrivals.iter().filter(|arrival| arrival.status == 429).count();
        assert_eq!(busy, 3, "the vendor was asked while it was busy, and not more than that");
        world.audit().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_batch_is_split_until_the_bad_message_is_found() {
    let account = Account::exotel().set("batch_size", 100);
    let bad = [42, 333];
    let refuse = FaultAction::HttpStatus { status: 400, retry_after_seconds: None, body: None };
    let recipients = bad.map(|number| people::digits(number).to_string());
    let world = world(&account, vec![FaultRule::new(refuse).recipients(recipients)]).await;
    let task = launch(&world, &account).await;
    let task = world.wait_for_completion(task, within(30)).await;
    assert_eq!((task.counts.accepted, task.counts.failed), (498, 2), "{task:#?}");
    let error = only_error(&task);
    assert_eq!((error.disposition.as_str(), error.count), ("FailMessage", 2), "{task:#?}");
    for number in bad {
        let failed = message(&world, task.id, number).await;
        assert_eq!((failed.state, failed.attempts), (MessageState::Failed, 1), "{failed:?}");
    }
    PEOPLE.assert_each_accepted_once_but(&world.simulator.accepted_by_recipient(), |n| bad.contains(&n));
    let requests = world.simulator.requests_total();
    assert!(requests <= 40, "{requests} requests for 500 recipients and two bad ones");
    world.audit().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_code_that_comes_after_acceptance_takes_its_recipient_out_of_accepted() {
    let account = Account::sobot_io();
    let late = |code: u32, number: usize| {
        let recipients = [people::digits(number).to_string()];
        FaultRule::new(FaultAction::CallbackCode { code }).recipients(recipients)
    };
    // An experiment, a passing trouble, an opt-out from marketing.
    let world = reporting_world(&account, vec![late(130_472, 1), late(131_016, 2), late(131_050, 3)]).await;
    let task = launch(&world, &account).await;
    let is_reported = |task: &Task| task.counts.delivered == 497 && task.counts.retrying == 1;
    let task = world.wait_for_task(task, "all is reported", within(20), is_reported).await;
    assert_eq!((task.counts.accepted, task.counts.failed), (497, 2), "{task:#?}");
    assert_eq!(task.state, TaskState::Running, "a report that brings a retry makes it run again");
    assert_eq!(task.ended_at, None);
    let codes: Vec<_> = task.errors.iter().map(|error| (error.code.as_str(), error.count)).collect();
    assert_eq!(codes.len(), 3, "{codes:?}");
    for (number, state, code) in [
        (1, MessageState::Failed, "130472"),
        (2, MessageState::Retrying, "131016"),
        (3, MessageState::Failed, "131050"),
    ] {
        let message = message(&world, task.id, number).await;
        assert_eq!((message.state, message.code.as_deref()), (state, Some(code)), "{message:?}");
        assert!(codes.contains(&(code, 1)), "{codes:?}");
        assert!(message.accepted_at.is_some(), "it was accepted once: {message:?}");
    }
    let listed = world.api().suppressions(&api::client::Page::default()).await.unwrap().items;
    let listed: Vec<_> = listed.iter().map(|one| one.phone.clone()).collect();
    assert_eq!(listed, [phone(3)], "who opts out is listed");
    PEOPLE.assert_each_accepted_once(&world.simulator.accepted_by_recipient());
    world.audit().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn attempts_run_out() {
    let account = Account::sobot_io();
    let world = world(&account, vec![code(Vendor::SobotIo, 131_056, &[7])]).await;
    let audience = world.import_people(PEOPLE).await;
    let mut campaign = campaign(&account, audience);
    campaign.max_attempts = Some(2);
    let task = world.launch(&campaign).await;
    let task = world.wait_for_completion(task, within(40)).await;
    assert_eq!((task.counts.accepted, task.counts.failed), (499, 1), "{task:#?}");
    assert_eq!(only_error(&task).code, "131056");
    let failed = message(&world, task.id, 7).await;
    assert_eq!((failed.state, failed.attempts, failed.retry_at), (MessageState::Failed, 2, None));
    PEOPLE.assert_each_accepted_once_but(&world.simulator.accepted_by_recipient(), |number| number == 7);
    world.audit().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_that_is_refused_for_speed_inside_a_batch_uses_up_no_attempt() {
    let account = Account::exotel().set("batch_size", 50);
    let world = world(&account, vec![code(Vendor::Exotel, 429, &[4, 5, 250]).limit(3)]).await;
    let task = launch(&world, &account).await;
    let task = world.wait_for_completion(task, within(30)).await;
    assert_eq!((task.counts.accepted, task.errors.len()), (500, 0), "{task:#?}");
    let again = message(&world, task.id, 4).await;
    assert_eq!((again.state, again.attempts), (MessageState::Accepted, 1), "{again:?}");
    PEOPLE.assert_each_accepted_once(&world.simulator.accepted_by_recipient());
    world.audit().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_that_is_refused_is_renewed_and_nobody_is_lost() {
    for failure in [TokenFailure::Http401, TokenFailure::RetCode] {
        let account = Account::sobot_io();
        let faults = vec![FaultRule::new(FaultAction::InvalidateTokens).after(50).every_nth(100)];
        let callbacks = CallbackOptions { enabled: false, ..CallbackOptions::default() };
        let options =
            SimulatorOptions { callbacks, faults, token_failure: failure, ..SimulatorOptions::default() };
        let world = World::new().simulator(options).account(account.clone()).start().await;
        let task = launch(&world, &account).await;
        let task = world.wait_for_completion(task, within(30)).await;
        assert_eq!((task.counts.accepted, task.errors.len()), (500, 0), "{failure:?}: {task:#?}");
        PEOPLE.assert_each_accepted_once(&world.simulator.accepted_by_recipient());
        world.audit().await;
    }
}

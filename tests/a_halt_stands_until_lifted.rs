//! A halt names its code, meaning and remedy, stops what it concerns and nothing else, and lets it run on when it is lifted.

use std::ops::Range;

use api::{
    Halt, HaltScope, NewCampaign, Task, TaskState,
    client::{ClientError, Page},
};
use simulator::{CallbackOptions, FaultAction, FaultRule, RangeMs, SimulatorOptions, Vendor};

use crate::harness::{
    Account, People, World, campaign, csv_of, people::digits, phone, template, wait_until, within,
};

const FIRST: Range<usize> = 0..600;
const SECOND: Range<usize> = 600..1_200;
const THIRD: Range<usize> = 1_200..1_800;

fn vendors(faults: Vec<FaultRule>) -> SimulatorOptions {
    SimulatorOptions { faults, ..SimulatorOptions::default() }
}

/// Slow enough that a callback comes before a task of 600 is done.
fn account() -> Account {
    Account::exotel().set("batch_size", 20).sender("messages_per_second", 300)
}

fn callback_code(code: u32, number: usize) -> FaultRule {
    FaultRule::new(FaultAction::CallbackCode { code }).recipients([phone(number)]).limit(1)
}

async fn launch(world: &World, numbers: Range<usize>, change: impl FnOnce(&mut NewCampaign)) -> i64 {
    let audience = world.import(csv_of(numbers)).await.id;
    let mut campaign = campaign(world.account(0), audience);
    change(&mut campaign);
    world.launch(&campaign).await
}

async fn wait_until_halted(world: &World, task: i64) -> Task {
    let is_halted = |task: &Task| task.state == TaskState::Halted && task.counts.sending == 0;
    world.wait_for_task(task, "the task is halted and its calls have ended", within(15), is_halted).await
}

async fn halts(world: &World) -> Vec<Halt> {
    world.api().halts(&Page::default()).await.unwrap().items
}

/// The one halt that there is; it must say what it is about.
async fn only_halt(world: &World, scope: HaltScope, value: &str, code: &str) -> Halt {
    let mut halts = halts(world).await;
    assert_eq!(halts.len(), 1, "{halts:?}");
    let halt = halts.remove(0);
    assert_eq!((halt.scope, halt.value.as_str(), halt.code.as_str()), (scope, value, code), "{halt:?}");
    assert_eq!(halt.account, world.account(0).name);
    assert!(!halt.meaning.is_empty() && !halt.remedy.is_empty(), "{halt:?}");
    halt
}

fn assert_names(task: &Task, halt: &Halt) {
    let reason = task.halt_reason.as_deref().unwrap_or_default();
    assert!(
        reason.contains(&halt.code) && reason.contains(&halt.remedy),
        "{reason:?} does not name {halt:?}"
    );
    assert_eq!(task.waiting_for, Some(api::WaitingFor::Halt));
}

/// A resume that does not lift is refused, and names the halt.
async fn assert_resume_is_refused(world: &World, task: i64, halt: &Halt) {
    let Err(ClientError::Refused(problem)) = world.api().resume_task(task, false).await else {
        panic!("a halted task was resumed without lifting its halt")
    };
    assert_eq!(problem.status, 409);
    let named = problem.errors.iter().find(|error| error.field == format!("halts/{}", halt.id));
    let named = named.unwrap_or_else(|| panic!("the halt is not named: {problem:?}"));
    assert!(named.message.contains(&halt.code), "{named:?}");
}

/// Everybody once; the one whom a callback reported as failed a second time.
fn assert_each_once_but(world: &World, numbers: Range<usize>, twice: Option<usize>) {
    let mut ledger = world.simulator.accepted_by_recipient();
    if let Some(number) = twice {
        let count = ledger.get_mut(&digits(number)).expect("the one who failed is in the ledger");
        assert_eq!(*count, 2, "once before the report that it failed, once after");
        *count = 1;
    }
    assert_eq!(numbers.start, 0);
    People(numbers.end).assert_each_accepted_once(&ledger);
}

/// Two tasks of an account whose credentials stop working in the middle.
async fn credentials_stop_working(fault: FaultAction, code: &str) {
    let fault = FaultRule::new(fault);
    // Slow enough that the faults begin in the middle on any machine.
    let account = Account::exotel().set("batch_size", 20).sender("messages_per_second", 150);
    let world = World::new().simulator(vendors(Vec::new())).account(account).start().await;
    let tasks = [launch(&world, FIRST, |_| ()).await, launch(&world, SECOND, |_| ()).await];
    assert!(world.simulator.wait_for_accepted(100, within(10)).await);
    world.simulator.set_faults(vec![fault]);

    let halted = [wait_until_halted(&world, tasks[0]).await, wait_until_halted(&world, tasks[1]).await];
    let halt = only_halt(&world, HaltScope::Account, "exotel", code).await;
    for task in &halted {
        assert_names(task, &halt);
        assert_eq!((task.counts.failed, task.counts.unknown), (0, 0), "{:?}", task.errors);
    }
    assert!(halted.iter().any(|task| task.counts.retrying > 0), "the refused ones wait: {halted:?}");
    assert_resume_is_refused(&world, tasks[0], &halt).await;

    world.simulator.set_faults(Vec::new());
    world.api().lift_halt(halt.id).await.unwrap();
    for task in tasks {
        world.wait_for_completion(task, within(15)).await;
    }
    assert!(halts(&world).await.is_empty());
    assert_each_once_but(&world, FIRST.start..SECOND.end, None);
    world.audit().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn credentials_that_every_call_is_refused_for_halt_the_account() {
    let fault = FaultAction::HttpStatus { status: 401, retry_after_seconds: None, body: None };
    credentials_stop_working(fault, "http_401").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn credentials_that_every_message_is_refused_for_halt_the_account() {
    credentials_stop_working(FaultAction::MessageCode { code: 401, message: None }, "401").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_template_that_is_not_found_halts_its_tasks_alone() {
    let fault = callback_code(30_024, 5);
    let world = World::new().simulator(vendors(vec![fault])).account(account()).start().await;
    let first = launch(&world, FIRST, |_| ()).await;
    let second = launch(&world, SECOND, |_| ()).await;
    let third = launch(&world, THIRD, |campaign| {
        campaign.message = template("seasonal_offer", "en", &["{{name}}"]);
    })
    .await;
    wait_until_halted(&world, first).await;
    wait_until_halted(&world, second).await;
    let halt = only_halt(&world, HaltScope::Template, "order_update/en", "30024").await;
    assert_names(&world.task(first).await, &halt);
    assert_resume_is_refused(&world, second, &halt).await;
    let other = world.wait_for_completion(third, within(15)).await;
    assert_eq!(other.counts.accepted, 600);
    let waiting = world.task(first).await.counts;
    assert_eq!((waiting.failed, waiting.retrying), (0, 1), "the one who brought the halt waits: {waiting:?}");

    // Resuming one task with lift lifts the halt for all whom it holds.
    assert_eq!(world.api().resume_task(first, true).await.unwrap().state, TaskState::Running);
    for task in [first, second] {
        world.wait_for_completion(task, within(15)).await;
    }
    assert_each_once_but(&world, 0..1_800, Some(5));
    world.audit().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_template_that_the_answer_says_is_missing_halts_before_anybody_is_accepted() {
    let fault = FaultRule::new(FaultAction::MessageCode { code: 132_001, message: None }).limit(1);
    let account = Account::sobot_io().sender("messages_per_second", 200);
    let world = World::new().simulator(vendors(vec![fault])).account(account).start().await;
    let task = launch(&world, FIRST, |_| ()).await;
    wait_until_halted(&world, task).await;
    let halt = only_halt(&world, HaltScope::Template, "order_update/en", "132001").await;
    assert_resume_is_refused(&world, task, &halt).await;
    world.api().lift_halt(halt.id).await.unwrap();
    world.wait_for_completion(task, within(15)).await;
    assert_each_once_but(&world, FIRST, None);
    world.audit().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_halted_sender_leaves_the_others_going() {
    let other_sender = "+919999000002";
    let world = World::new()
        .simulator(vendors(vec![callback_code(30_006, 5)]))
        .account(account().also_from(other_sender))
        .start()
        .await;
    let first = launch(&world, FIRST, |_| ()).await;
    let second = launch(&world, SECOND, |campaign| campaign.from = other_sender.to_owned()).await;
    wait_until_halted(&world, first).await;
    let halt = only_halt(&world, HaltScope::Sender, "+919999000001", "30006").await;
    assert_names(&world.task(first).await, &halt);
    assert_eq!(world.wait_for_completion(second, within(15)).await.counts.accepted, 600);
    assert_eq!(world.task(first).await.state, TaskState::Halted);

    world.api().lift_halt(halt.id).await.unwrap();
    world.wait_for_completion(first, within(15)).await;
    assert_each_once_but(&world, 0..1_200, Some(5));
    world.audit().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_late_report_halts_a_task_that_had_completed() {
    // Reports come when everybody has long been accepted.
    let callbacks = CallbackOptions { delay_ms: RangeMs::fixed(4_000), ..CallbackOptions::default() };
    let options = SimulatorOptions { callbacks, ..vendors(vec![callback_code(30_018, 5)]) };
    let world = World::new().simulator(options).account(Account::exotel()).start().await;
    let task = launch(&world, FIRST, |_| ()).await;
    let completed = world.wait_for_completion(task, within(10)).await;
    assert_eq!(completed.counts.accepted, 600);

    let halted = wait_until_halted(&world, task).await;
    let halt = only_halt(&world, HaltScope::Task, &task.to_string(), "30018").await;
    assert_names(&halted, &halt);
    assert_eq!((halted.counts.failed, halted.counts.accepted, halted.ended_at), (1, 599, None));
    assert_resume_is_refused(&world, task, &halt).await;
    world.api().lift_halt(halt.id).await.unwrap();
    let ended = world.wait_for_completion(task, within(10)).await;
    assert_eq!((ended.counts.failed, ended.counts.accepted), (1, 599));
    assert!(world.simulator.wait_until_idle(within(10)).await);
    wait_until("all reports are applied", within(10), async || {
        (world.task(task).await.counts.delivered == 599).then_some(())
    })
    .await;
    assert_eq!(world.simulator.accepted_total_of(Vendor::Exotel), 600);
    assert_each_once_but(&world, FIRST, None);
    world.audit().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_that_halts_the_task_is_met_once_however_many_were_taken() {
    let body = serde_json::json!({"message": "the template has too few params"});
    let refusal =
        FaultAction::HttpStatus { status: 400, retry_after_seconds: None, body: Some(body.to_string()) };
    let faults = vec![FaultRule::new(refusal).after(20)];
    let world = World::new()
        .simulator(vendors(faults))
        .account(Account::sobot_in().set("max_in_flight", 1))
        .start()
        .await;
    let task = launch(&world, FIRST, |_| {}).await;
    let halted = wait_until_halted(&world, task).await;
    assert_eq!((halted.counts.accepted, halted.counts.failed), (20, 1), "{:?}", halted.counts);
    assert_eq!(halted.counts.queued, halted.counts.total - 21, "{:?}", halted.counts);
    assert_eq!(world.simulator.requests_total(), 21);
    world.audit().await;
}

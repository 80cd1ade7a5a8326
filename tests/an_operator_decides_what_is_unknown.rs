//! `task resolve`: what nobody can tell is decided by a person, once; news that comes later is still believed.

use std::process::Output;

use api::{MessageState, Resolution, ResolveRequest, Resolved, Task, client::ClientError};
use simulator::{CallbackOptions, FaultAction, FaultRule, RangeMs, SimulatorOptions};

use crate::harness::{Account, People, World, campaign, people, places, wait_until, within};

fn options(fault: FaultRule, callbacks: CallbackOptions) -> SimulatorOptions {
    SimulatorOptions { faults: vec![fault], callbacks, ..SimulatorOptions::default() }
}

/// A task whose recipients are all unknown: none of them has come to the vendor, and it says nothing.
async fn all_unknown(people: People) -> (World, i64) {
    let silent = CallbackOptions { enabled: false, ..CallbackOptions::default() };
    let fault = FaultRule::new(FaultAction::CloseBeforeAccept).limit(people.0 as u64);
    let world = World::new().simulator(options(fault, silent)).account(Account::sobot_in()).start().await;
    let audience = world.import_people(people).await;
    let task = world.launch(&campaign(world.account(0), audience)).await;
    let unknown = i64::try_from(people.0).unwrap();
    world.wait_for_task(task, "all are unknown", within(30), |task| task.counts.unknown == unknown).await;
    world.wait_for_completion(task, within(10)).await;
    (world, task)
}

async fn resolve(
    world: &World,
    task: i64,
    resolution: Resolution,
    to: &[usize],
) -> Result<Resolved, ClientError> {
    let to = (!to.is_empty()).then(|| to.iter().map(|number| people::phone(*number)).collect());
    world.api().resolve(task, &ResolveRequest { resolution, to }).await
}

async fn decided(world: &World, task: i64, resolution: Resolution, to: &[usize]) -> i64 {
    resolve(world, task, resolution, to).await.unwrap().resolved
}

fn refused(answer: Result<Resolved, ClientError>) -> (u16, String) {
    match answer {
        Err(ClientError::Refused(problem)) => (problem.status, format!("{problem:?}")),
        other => panic!("it is not refused: {other:?}"),
    }
}

fn said(output: &Output) -> String {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

async fn command(world: &mut World, arguments: &[&str]) -> String {
    said(&tokio::task::block_in_place(|| world.daemon().run(arguments)))
}

#[tokio::test(flavor = "multi_thread")]
async fn each_as_sent_failed_or_to_be_sent_again() {
    let people = People(6);
    let (mut world, task) = all_unknown(people).await;
    let id = task.to_string();
    // Somebody who looks is told how many, for how long, why, and what to do.
    let shown = command(&mut world, &["--output", "table", "task", "show", &id]).await;
    assert!(shown.contains("6 unknown, the oldest for "), "{shown}");
    assert!(shown.contains(&format!("task resolve {id} --as sent|failed|resend")), "{shown}");
    let report = ["--output", "json", "task", "report", &id, "--state", "unknown"];
    let listed = command(&mut world, &report).await;
    let listed: Vec<api::Message> = serde_json::from_str(&listed).unwrap();
    assert_eq!(listed.len(), 6);
    assert!(listed.iter().all(|message| message.unknown_since.is_some() && message.reason.is_some()));

    assert_eq!(decided(&world, task, Resolution::Sent, &[0]).await, 1);
    assert_eq!(decided(&world, task, Resolution::Failed, &[1, 2]).await, 2);
    let to = people::phone(3);
    let done = command(&mut world, &["task", "resolve", &id, "--as", "resend", "--to", &to]).await;
    assert!(done.contains('1'), "{done}");
    let sent_again =
        |task: &Task| (task.counts.accepted, task.counts.failed, task.counts.unknown) == (2, 2, 2);
    world.wait_for_task(task, "one was sent again", within(20), sent_again).await;
    world.wait_for_completion(task, within(10)).await;
    // What was decided stands: a second decision concerns nobody.
    for resolution in [Resolution::Failed, Resolution::Sent, Resolution::Resend] {
        assert_eq!(decided(&world, task, resolution, &[0, 1, 2, 3]).await, 0);
    }
    assert_eq!(world.simulator.accepted_by_recipient().into_keys().collect::<Vec<_>>(), [people::digits(3)]);

    // Of what is cancelled nobody is sent to any more, and the rest can still be decided.
    assert_eq!(world.task(task).await.counts.unknown, 2);
    assert_eq!(decided(&world, task, Resolution::Failed, &[]).await, 2);
    assert_eq!(decided(&world, task, Resolution::Failed, &[]).await, 0);
    let counts = world.task(task).await.counts;
    assert_eq!((counts.unknown, counts.failed, counts.accepted), (0, 4, 2));
    assert_eq!(places(&counts), counts.total);
    world.audit().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn also_of_a_cancelled_task_but_nobody_is_sent_to() {
    let silent = CallbackOptions { enabled: false, ..CallbackOptions::default() };
    let fault = FaultRule::new(FaultAction::CloseBeforeAccept).limit(2);
    let account = Account::sobot_in().sender("messages_per_second", 1);
    let world = World::new().simulator(options(fault, silent)).account(account).start().await;
    let audience = world.import_people(People(50)).await;
    let task = world.launch(&campaign(world.account(0), audience)).await;
    world.wait_for_task(task, "two are unknown", within(20), |task| task.counts.unknown == 2).await;
    world.api().cancel_task(task).await.unwrap();
    world.wait_for_task(task, "it has ended", within(20), |task| task.counts.sending == 0).await;
    let calls = world.simulator.requests_total();
    let (status, problem) = refused(resolve(&world, task, Resolution::Resend, &[0]).await);
    assert!(status == 409 && problem.contains("cancelled"), "{problem}");
    let (status, problem) = refused(
        world
            .api()
            .resolve(task, &ResolveRequest { resolution: Resolution::Sent, to: Some(vec!["12x".to_owned()]) })
            .await,
    );
    assert!((400..=422).contains(&status) && problem.contains("to[0]"), "{problem}");
    assert_eq!(world.task(task).await.counts.unknown, 2);
    assert_eq!(decided(&world, task, Resolution::Sent, &[0]).await, 1);
    assert_eq!(decided(&world, task, Resolution::Failed, &[]).await, 1);
    assert_eq!(world.simulator.requests_total(), calls);
    world.audit().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn while_reports_of_the_same_messages_arrive() {
    let people = People(600);
    let all = i64::try_from(people.0).unwrap();
    let callbacks = CallbackOptions {
        delay_ms: RangeMs { min: 0, max: 700 },
        duplicates: 0.3,
        reordered: 0.3,
        exotel_batch: 3,
        ..CallbackOptions::default()
    };
    let fault = FaultRule::new(FaultAction::HalfBody).every_nth(2);
    let account = Account::exotel().set("batch_size", 20).sender("messages_per_second", 400);
    let world = World::new().simulator(options(fault, callbacks)).account(account).start().await;
    let audience = world.import_people(people).await;
    let task = world.launch(&campaign(world.account(0), audience)).await;
    // Two operators who disagree, and reports: whoever comes first moves a message out of unknown, and only once.
    let (mut sent, mut failed) = (0, 0);
    let decide = async || {
        for (resolution, sum) in [(Resolution::Sent, &mut sent), (Resolution::Failed, &mut failed)] {
            match resolve(&world, task, resolution, &[]).await {
                Ok(resolved) => *sum += resolved.resolved,
                Err(ClientError::Refused(problem)) => assert_eq!(problem.status, 409, "{problem:?}"),
                Err(error) => panic!("{error}"),
            }
        }
        let counts = world.task(task).await.counts;
        assert_eq!(places(&counts), all);
        (counts.unknown + counts.sending + counts.queued == 0).then_some(())
    };
    wait_until("nobody is unknown", within(40), decide).await;
    assert!(sent > 0 && failed > 0, "operators came too late: {sent}, {failed}");
    assert!(world.simulator.wait_until_idle(within(20)).await, "reports are left over");
    // What was delivered was delivered, whatever had been decided.
    let healed = |task: &Task| task.counts.delivered == all && task.counts.failed == 0;
    world.wait_for_task(task, "all are delivered", within(20), healed).await;
    world.wait_for_completion(task, within(10)).await;
    people.assert_each_accepted_once(&world.simulator.accepted_by_recipient());
    assert!(world.phones(task, MessageState::Unknown).await.is_empty());
    world.audit().await;
}

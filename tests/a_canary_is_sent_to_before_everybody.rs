//! A canary is sent to first: nobody else until its time is over, and then everybody, or the task halts and says why. It outlives
//! kills, and an operator's commands work meanwhile.

use std::collections::HashSet;

use api::{
    Canary, CanaryState, HaltScope, NewCampaign, Schedule, SendingWindow, Task, TaskCanary, TaskState,
    WaitingFor,
    client::{Page, RetryFailed},
};
use simulator::{CallbackOptions, FaultAction, FaultRule, SimulatorOptions};

use crate::harness::{Account, People, World, assert_nobody_twice, campaign, people, places, within};

const PEOPLE: People = People(600);
const SAMPLE: i32 = 40;

fn canaried(world: &World, audience_id: i64) -> NewCampaign {
    let canary = Canary { recipients: SAMPLE, wait_seconds: 300, max_failure_rate: 0.2 };
    NewCampaign { canary: Some(canary), ..campaign(world.account(0), audience_id) }
}

/// What is reported is the answers alone, unless faults say otherwise.
async fn world(account: Account, faults: Vec<FaultRule>) -> World {
    let callbacks = CallbackOptions { enabled: false, ..CallbackOptions::default() };
    let options = SimulatorOptions { callbacks, faults, ..SimulatorOptions::default() };
    World::new().simulator(options).account(account).start().await
}

fn canary(task: &Task) -> TaskCanary {
    task.canary.unwrap_or_else(|| panic!("it has no canary: {task:#?}"))
}

/// Waits until the canary is as wanted; everybody is in one place whenever it is looked at.
async fn wait_for_canary(world: &World, task: i64, state: CanaryState) -> Task {
    let is_so = |task: &Task| {
        assert_eq!(places(&task.counts), task.counts.total, "{task:#?}");
        canary(task).state == state
    };
    world.wait_for_task(task, &format!("its canary is {state:?}"), within(20), is_so).await
}

/// Waits until so many are accepted and the canary waits for news of them.
async fn wait_for_sample(world: &World, task: i64) -> Task {
    let waits = wait_for_canary(world, task, CanaryState::Waiting).await;
    assert_eq!(canary(&waits).recipients, i64::from(SAMPLE));
    assert!(canary(&waits).until.is_some() && waits.state == TaskState::Running, "{waits:#?}");
    let sent = waits.counts.accepted + waits.counts.failed + waits.counts.unknown;
    assert_eq!((sent, waits.counts.sending), (i64::from(SAMPLE), 0), "{waits:#?}");
    waits
}

async fn wait_for_everybody(world: &World, task: i64, state: CanaryState) -> Task {
    let done = wait_for_canary(world, task, state).await;
    assert_eq!(canary(&done).until, None);
    let done = world.wait_for_completion(done.id, within(30)).await;
    assert_eq!(done.counts.queued, 0, "{done:#?}");
    done
}

#[tokio::test(flavor = "multi_thread")]
async fn and_the_task_goes_on_when_it_is_well() {
    let mut world = world(Account::exotel().set("batch_size", 25), Vec::new()).await;
    let audience = world.import_people(PEOPLE).await;
    world.set_clock("2026-12-01T10:00:00Z");
    let task = world.launch(&canaried(&world, audience)).await;
    let waits = wait_for_sample(&world, task).await;
    assert_eq!((waits.counts.queued, waits.waiting_for), (560, None));
    // They come from all over the audience.
    let first = world.simulator.accepted_by_recipient();
    let of_quarter = |n: u64| first.keys().filter(|to| (*to - people::digits(0)) / 150 == n).count();
    assert!((0..4).all(|n| (9..=11).contains(&of_quarter(n))), "{first:?}");
    world.audit().await;

    world.set_clock("2026-12-01T10:04:50Z");
    let still = wait_for_sample(&world, task).await;
    assert_eq!((still.counts.queued, world.simulator.accepted_total()), (560, 40));
    world.set_clock("2026-12-01T10:05:10Z");
    let done = wait_for_everybody(&world, task, CanaryState::Passed).await;
    assert_eq!((done.counts.accepted, canary(&done).failed), (600, 0));
    PEOPLE.assert_each_accepted_once(&world.simulator.accepted_by_recipient());
    world.audit().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn and_the_task_halts_when_it_is_not_and_goes_on_when_that_is_lifted() {
    // Every other number is refused.
    let refused = FaultAction::MessageCode { code: 30_005, message: None };
    let rule =
        ["1", "3", "5", "7", "9"].into_iter().fold(FaultRule::new(refused), FaultRule::recipient_suffix);
    let mut world = world(Account::exotel().set("batch_size", 25), vec![rule]).await;
    let audience = world.import_people(PEOPLE).await;
    let task = world.launch(&canaried(&world, audience)).await;
    let halted = wait_for_canary(&world, task, CanaryState::Failed).await;
    assert_eq!(halted.state, TaskState::Halted, "{halted:#?}");
    let failed = canary(&halted).failed;
    assert!(failed > 8 && failed == halted.counts.failed, "{halted:#?}");

    let halts = world.api().halts(&Page::default()).await.unwrap().items;
    let [halt] = halts.as_slice() else { panic!("one halt was to be seen: {halts:?}") };
    assert_eq!(
        (halt.scope, halt.value.as_str(), halt.code.as_str()),
        (HaltScope::Task, &*task.to_string(), "canary")
    );
    for part in [&format!("of {SAMPLE} recipients"), &format!("{failed} failed"), "20 %", "recipient"] {
        assert!(halt.meaning.contains(part), "{halt:?} does not say {part}");
    }
    assert!(
        !halt.remedy.is_empty() && halted.halt_reason.is_some_and(|reason| reason.contains(&halt.remedy))
    );

    // A kill changes nothing.
    world.kill9();
    world.restart().await;
    let still = world.task(task).await;
    assert_eq!((still.state, still.counts.queued), (TaskState::Halted, 560), "{still:#?}");
    assert!(world.simulator.accepted_total() <= 40);
    world.audit().await;

    world.api().lift_halt(halt.id).await.unwrap();
    let done = wait_for_everybody(&world, task, CanaryState::Failed).await;
    assert_eq!((done.counts.accepted, done.counts.failed), (300, 300), "{done:#?}");
    PEOPLE.assert_each_accepted_once_but(&world.simulator.accepted_by_recipient(), |n| n % 2 == 1);
    world.audit().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn by_a_daemon_that_is_killed_meanwhile() {
    let mut world = world(Account::sobot_in().sender("messages_per_second", 60), Vec::new()).await;
    let audience = world.import_people(PEOPLE).await;
    world.set_clock("2026-12-01T10:00:00Z");
    let mut new = canaried(&world, audience);
    // Whoever is being called when the process dies is unknown, and counts as not well.
    new.canary = new.canary.map(|canary| Canary { max_failure_rate: 0.9, ..canary });
    world.kill_at("intent.before_commit", 2);
    let task = world.launch(&new).await;
    world.died_at("intent.before_commit", within(10)).await;
    world.restart().await;
    assert!(world.simulator.wait_for_accepted(15, within(10)).await, "nobody is sent to");
    world.kill9();
    world.restart().await;
    let waits = wait_for_sample(&world, task).await;
    assert_eq!(waits.counts.queued, 560, "{waits:#?}");
    world.kill9();
    world.audit().await;
    // Its time ends while nothing runs.
    world.set_clock("2026-12-01T10:20:00Z");
    world.kill_at("intent.after_commit", 2);
    world.restart().await;
    world.died_at("intent.after_commit", within(20)).await;
    world.restart().await;
    let done = wait_for_everybody(&world, task, CanaryState::Passed).await;
    assert_eq!(done.counts.accepted + done.counts.unknown, 600, "{done:#?}");
    assert!(assert_nobody_twice(&world.simulator.accepted_by_recipient()) >= done.counts.accepted);
    world.audit().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn while_an_operator_retries_pauses_resumes_and_cancels() {
    let passing = FaultAction::MessageCode { code: 131_016, message: None };
    let mut world = world(Account::sobot_in(), vec![FaultRule::new(passing).limit(2)]).await;
    let audience = world.import_people(PEOPLE).await;
    world.set_clock("2026-12-01T10:00:00Z");
    let new = NewCampaign { max_attempts: Some(1), ..canaried(&world, audience) };
    let task = world.launch(&new).await;
    let waits = wait_for_sample(&world, task).await;
    assert_eq!((canary(&waits).failed, waits.counts.failed), (2, 2));
    let retried = world.api().retry_failed(task, &RetryFailed::default()).await.unwrap();
    assert_eq!(retried.retried, 2);
    let all_well = |task: &Task| task.counts.accepted == 40 && canary(task).failed == 0;
    world.wait_for_task(task, "the two are accepted", within(20), all_well).await;

    // Paused, nothing is decided; resumed, news is waited for anew.
    world.api().pause_task(task).await.unwrap();
    world.set_clock("2026-12-01T10:10:00Z");
    let forgotten = |task: &Task| canary(task).until.is_none();
    let paused = world.wait_for_task(task, "it waits for no news", within(20), forgotten).await;
    assert_eq!((paused.state, paused.counts.queued), (TaskState::Paused, 560));
    world.api().resume_task(task, false).await.unwrap();
    let waits = wait_for_sample(&world, task).await;
    assert_eq!(waits.counts.queued, 560);
    world.set_clock("2026-12-01T10:16:00Z");
    let done = wait_for_everybody(&world, task, CanaryState::Passed).await;
    assert_eq!(done.counts.accepted, 600, "{done:#?}");
    PEOPLE.assert_each_accepted_once(&world.simulator.accepted_by_recipient());

    let another = world.launch(&canaried(&world, audience)).await;
    wait_for_sample(&world, another).await;
    world.api().cancel_task(another).await.unwrap();
    world.set_clock("2026-12-01T11:00:00Z");
    let cancelled = world.task(another).await;
    assert_eq!((cancelled.state, cancelled.counts.accepted), (TaskState::Cancelled, 40));
    assert_eq!((cancelled.counts.cancelled, cancelled.counts.queued), (560, 0));
    world.audit().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn at_each_firing_of_a_recurring_campaign() {
    let mut world = world(Account::sobot_in(), Vec::new()).await;
    let audience = world.import_people(PEOPLE).await;
    world.set_clock("2026-12-01T08:00:00Z");
    let schedule = Schedule {
        cron: Some("0 9 * * *".to_owned()),
        time_zone: Some("UTC".to_owned()),
        ..Schedule::default()
    };
    let task = world.launch(&NewCampaign { schedule: Some(schedule), ..canaried(&world, audience) }).await;
    let scheduled = world.task(task).await;
    assert_eq!((scheduled.canary, scheduled.counts.queued), (None, 600), "it has not begun");
    let campaign = scheduled.campaign_id;
    let mut samples: Vec<HashSet<u64>> = Vec::new();
    for day in 1..=2 {
        let firing = world.api().campaign(campaign).await.unwrap().task_id.unwrap();
        world.set_clock(&format!("2026-12-0{day}T09:00:00Z"));
        let begun = |task: &Task| task.canary.is_some();
        world.wait_for_task(firing, "it begins", within(20), begun).await;
        wait_for_sample(&world, firing).await;
        let day = u32::try_from(samples.len() + 1).unwrap();
        let ledger = world.simulator.accepted_by_recipient();
        samples.push(ledger.iter().filter(|(_, n)| **n == day).map(|(to, _)| *to).collect());
        world.set_clock(&format!("2026-12-0{day}T09:06:00Z"));
        wait_for_everybody(&world, firing, CanaryState::Passed).await;
        assert!(world.simulator.accepted_by_recipient().values().all(|n| *n == day));
    }
    assert!(samples.iter().all(|sample| sample.len() == 40) && samples[0] != samples[1]);
    world.audit().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn also_where_each_has_a_window_of_its_own() {
    let mut world = world(Account::exotel().set("batch_size", 25), Vec::new()).await;
    let mut csv = String::from("phone,name,city,time_zone\n");
    for n in 0..400 {
        let zone = if n % 2 == 0 { "Asia/Kolkata" } else { "America/New_York" };
        csv.push_str(&format!("{},Name,City,{zone}\n", crate::harness::phone(n)));
    }
    let audience = world.import(csv).await.id;
    world.set_clock("2026-12-01T04:00:00Z");
    let window = SendingWindow {
        from: "09:00".to_owned(),
        to: "21:00".to_owned(),
        days: None,
        time_zone: "recipient".to_owned(),
    };
    let new = NewCampaign { sending_window: Some(window), ..canaried(&world, audience) };
    let task = world.launch(&new).await;
    // India is awake; those of the sample who live in New York are waited for, and so is everybody else.
    let waits = |task: &Task| task.waiting_for == Some(WaitingFor::Window) && task.counts.sending == 0;
    let some = world.wait_for_task(task, "the rest of the sample waits", within(20), waits).await;
    assert_eq!(
        (canary(&some).state, some.waiting_until),
        (CanaryState::Sending, "2026-12-01T14:00:00Z".parse().ok())
    );
    assert!((1..40).contains(&some.counts.accepted), "{some:#?}");
    assert_eq!(some.counts.queued, 400 - some.counts.accepted);
    world.audit().await;

    world.set_clock("2026-12-01T14:00:00Z");
    wait_for_sample(&world, task).await;
    world.set_clock("2026-12-01T14:05:30Z");
    let done = wait_for_everybody(&world, task, CanaryState::Passed).await;
    assert_eq!(done.counts.accepted, 400);
    People(400).assert_each_accepted_once(&world.simulator.accepted_by_recipient());
    world.audit().await;
}

//! A webhook is told every state of every message and of the task: signed, in order, numbered without a gap, and again under
//! the same id when the daemon died in between.

use std::{collections::BTreeMap, time::Duration};

use api::client::{ClientError, MessageFilter, Page};
use simulator::{FaultAction, FaultRule, SimulatorOptions};

use crate::harness::{Account, People, Receiver, World, campaign, people::digits, phone, wait_until, within};

/// Where the interface says that each recipient is, by number.
async fn states(world: &World, task: i64) -> BTreeMap<i64, String> {
    let mut filter = MessageFilter::default();
    filter.page.limit = Some(500);
    let mut states = BTreeMap::new();
    loop {
        let page = world.api().messages(task, &filter).await.unwrap();
        states.extend(page.items.iter().map(|one| (i64::from(one.no), one.state.as_str().to_owned())));
        filter.page.after = page.next;
        if filter.page.after.is_none() {
            return states;
        }
    }
}

/// Waits until the webhook knows what the interface knows: of each recipient, and of the task.
async fn told_all(world: &World, receiver: &Receiver, task: i64, deadline: Duration) {
    let states = states(world, task).await;
    let state = world.task(task).await.state.as_str().to_owned();
    wait_until("the webhook knows it all", deadline, async || {
        let last = receiver.task_states(task).pop();
        (receiver.last_states(task) == states && last.as_ref() == Some(&state)).then_some(())
    })
    .await;
}

/// Statuses of each recipient only climb, each is accepted once, and each has its own number.
fn assert_each_climbs(receiver: &Receiver, task: i64, people: usize) {
    let order = ["accepted", "sent", "delivered", "read"];
    let mut come: BTreeMap<i64, Vec<usize>> = BTreeMap::new();
    for told in receiver.told(task) {
        let Some(no) = told.no else { continue };
        assert_eq!(told.to, Some(phone(usize::try_from(no).unwrap() - 1)));
        let step = order.iter().position(|state| *state == told.state);
        come.entry(no).or_default().push(step.unwrap_or_else(|| panic!("{told:?}")));
    }
    assert_eq!(come.len(), people);
    for (no, steps) in come {
        assert_eq!(steps.iter().filter(|step| **step == 0).count(), 1, "{no}: accepted once: {steps:?}");
        assert!(steps.windows(2).all(|pair| pair[0] < pair[1]), "{no}: {steps:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn all_of_a_campaign() {
    let people = People(300);
    let receiver = Receiver::start().await;
    let account = Account::exotel().set("batch_size", 20).sender("messages_per_second", 300);
    let webhook = receiver.toml("max_batch_events = 40");
    let world = World::new().account(account).config(&webhook).start().await;
    let audience = world.import_people(people).await;
    let task = world.launch(&campaign(world.account(0), audience)).await;
    world.wait_for_completion(task, within(20)).await;
    world.all_reports_are_applied(task).await;
    told_all(&world, &receiver, task, within(20)).await;

    assert_eq!(receiver.task_states(task), ["running", "completed"]);
    assert_each_climbs(&receiver, task, people.0);
    people.assert_each_accepted_once(&world.simulator.accepted_by_recipient());
    let sizes =
        receiver.got().into_iter().filter_map(|got| Some(got.body["data"]["items"].as_array()?.len()));
    let sizes: Vec<usize> = sizes.collect();
    assert!(sizes.iter().all(|size| *size <= 40), "{sizes:?}");
    let webhook = world.api().event_webhooks().await.unwrap().items.remove(0);
    assert_eq!((webhook.failed, webhook.dead_letters, webhook.backlog), (0, 0, 0), "{webhook:?}");
    assert_eq!(usize::try_from(webhook.delivered).unwrap(), receiver.count());
    assert!(webhook.last_success_at.is_some() && webhook.last_error.is_none(), "{webhook:?}");
    let metrics = world.call(reqwest::Method::GET, "/metrics").send().await.unwrap().text().await.unwrap();
    assert!(metrics.contains("campaignd_event_backlog{webhook=\"crm\"} 0"), "{metrics}");
    world.audit().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_becomes_of_a_task() {
    let receiver = Receiver::start().await;
    let account = Account::exotel().set("batch_size", 10).sender("messages_per_second", 100);
    let world = World::new()
        .simulator(SimulatorOptions::default())
        .account(account)
        .config(&receiver.toml("events = [\"task.*\"]"))
        .start()
        .await;
    let audience = world.import_people(People(900)).await;
    let task = world.launch(&campaign(world.account(0), audience)).await;
    let told = async |wanted: &[&str]| {
        wait_until(&format!("the webhook knows of {wanted:?}"), within(15), async || {
            (receiver.task_states(task) == wanted).then_some(())
        })
        .await;
    };
    told(&["running"]).await;
    world.api().pause_task(task).await.unwrap();
    told(&["running", "paused"]).await;
    world.api().resume_task(task, false).await.unwrap();
    told(&["running", "paused", "running"]).await;
    // Credentials stop working: the account is halted, and with it the task.
    let refused = FaultAction::HttpStatus { status: 401, retry_after_seconds: None, body: None };
    world.simulator.set_faults(vec![FaultRule::new(refused)]);
    told(&["running", "paused", "running", "halted"]).await;
    world.simulator.set_faults(Vec::new());
    let halt = world.api().halts(&Page::default()).await.unwrap().items.remove(0);
    world.api().lift_halt(halt.id).await.unwrap();
    told(&["running", "paused", "running", "halted", "running"]).await;
    world.api().cancel_task(task).await.unwrap();
    told(&["running", "paused", "running", "halted", "running", "cancelled"]).await;
    assert!(receiver.last_states(task).is_empty(), "messages were not asked for");
    world.audit().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn again_under_the_same_id_after_kills() {
    let people = People(300);
    let receiver = Receiver::start().await;
    let account = Account::sobot_in().set("max_in_flight", 8).sender("messages_per_second", 150);
    let webhook = receiver.toml("max_batch_events = 20");
    let mut world = World::new().account(account).config(&webhook).start().await;
    let audience = world.import_people(people).await;
    // Posted and not recorded; numbered and not committed; committed and not posted.
    world.kill_at("events.posted", 3);
    let mut wanted = campaign(world.account(0), audience);
    wanted.on_unknown = Some(api::OnUnknown::Hold);
    let task = match world.api().create_campaign(&wanted, Some("once")).await {
        Ok(created) => created.task_id.unwrap(),
        Err(ClientError::Refused(problem)) => panic!("the campaign is refused: {problem:?}"),
        Err(error) => panic!("the daemon died too early: {error}"),
    };
    for (point, next) in [
        ("events.posted", "events.before_fix"),
        ("events.before_fix", "events.after_fix"),
        ("events.after_fix", ""),
    ] {
        world.died_at(point, within(20)).await;
        if !next.is_empty() {
            world.kill_at(next, 2);
        }
        world.restart().await;
    }
    let nobody_is_left = |task: &api::Task| task.counts.queued + task.counts.sending == 0;
    world.wait_for_task(task, "everybody was taken", within(20), nobody_is_left).await;
    world.all_reports_are_applied(task).await;
    told_all(&world, &receiver, task, within(20)).await;
    let got = receiver.got();
    let ids: std::collections::HashSet<&str> = got.iter().map(|got| got.id.as_str()).collect();
    assert!(ids.len() < got.len(), "what was posted and not recorded is posted again");
    // `told` has looked whether a repetition says the same, and whether numbers have a gap.
    let ledger = world.simulator.accepted_by_recipient();
    for told in receiver.told(task).into_iter().filter(|told| told.state == "accepted") {
        let no = usize::try_from(told.no.unwrap()).unwrap();
        assert_eq!(ledger.get(&digits(no - 1)), Some(&1), "{told:?}");
    }
    world.audit().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn also_when_another_node_takes_over() {
    let people = People(300);
    let receiver = Receiver::start().await;
    let account = Account::exotel().set("batch_size", 10).sender("messages_per_second", 60);
    let webhook = receiver.toml("max_batch_events = 20");
    let mut world = World::new().account(account).config(&webhook).balancer().prepare().await;
    for node in [world.add_node(), world.add_node()] {
        world.node(node).set_lease_seconds(7);
        world.node(node).set_call_timeout_seconds(2);
        world.start_node(node).await;
    }
    let audience = world.import_people(people).await;
    let task = world.launch(&campaign(world.account(0), audience)).await;
    let count = || receiver.told(task).len();
    wait_until("some are told of", within(20), async || (count() > 60).then_some(())).await;
    // Whichever of them owns the account and tells of it: both are killed, one after the other.
    for killed in [0, 1] {
        world.node(killed).kill9();
        let told = count();
        wait_until("the other tells on", within(40), async || (count() > told + 20).then_some(())).await;
        world.start_node(killed).await;
    }
    let nobody_is_left = |task: &api::Task| task.counts.queued + task.counts.sending == 0;
    world.wait_for_task(task, "everybody was taken", within(60), nobody_is_left).await;
    world.all_reports_are_applied(task).await;
    told_all(&world, &receiver, task, within(30)).await;
    assert_eq!(receiver.task_states(task).first().map(String::as_str), Some("running"));
    world.audit().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn and_of_a_timed_task_when_its_time_comes() {
    let people = People(5);
    let receiver = Receiver::start().await;
    let webhook = receiver.toml("events = [\"task.*\"]");
    let mut world = World::new().account(Account::sobot_in()).config(&webhook).start().await;
    let imported = world.import(people.csv()).await;
    let hours = chrono::TimeDelta::hours(3);
    let at = (imported.created_at + hours).format("%Y-%m-%dT%H:%M:%S").to_string();
    let schedule =
        api::Schedule { at: Some(at), time_zone: Some("UTC".to_owned()), ..api::Schedule::default() };
    let wanted = api::NewCampaign { schedule: Some(schedule), ..campaign(world.account(0), imported.id) };
    let task = world.launch(&wanted).await;
    let told = async |wanted: &[&str]| {
        wait_until(&format!("the webhook knows of {wanted:?}"), within(20), async || {
            (receiver.task_states(task) == wanted).then_some(())
        })
        .await;
    };
    told(&["scheduled"]).await;
    world.daemon().set_clock_offset_ms(hours.num_milliseconds());
    told(&["scheduled", "running", "completed"]).await;
    world.audit().await;
}

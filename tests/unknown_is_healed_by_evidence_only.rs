//! What may have reached a vendor is unknown until the vendor says so: by reports, or by its records when it is asked.
//! Silence, a record of another message and a record of another time say nothing.

use std::collections::{BTreeMap, HashMap};

use api::{Message, MessageState, Task, client::MessageFilter};
use serde_json::json;
use simulator::{CallbackOptions, Endpoint, FaultAction, FaultRule, RangeMs, SimulatorOptions, Vendor};

use crate::harness::{Account, People, World, assert_nobody_twice, campaign, csv_of, people, places, within};

/// After the first look at the records, the second comes 5 s after the call's end: that is soon, with this.
const CALL_TIMEOUT_SECONDS: u32 = 2;

/// A world with one daemon whose calls end soon.
async fn world(account: Account, simulator: SimulatorOptions) -> World {
    let mut world = World::new().simulator(simulator).account(account).prepare().await;
    world.add_node();
    world.node(0).set_call_timeout_seconds(CALL_TIMEOUT_SECONDS);
    world.start_node(0).await;
    world
}

/// Vendors that post no reports.
fn silent() -> SimulatorOptions {
    let callbacks = CallbackOptions { enabled: false, ..CallbackOptions::default() };
    SimulatorOptions { callbacks, ..SimulatorOptions::default() }
}

/// The answers of these recipients' calls are lost in this way.
fn lost(action: FaultAction, numbers: impl IntoIterator<Item = usize>) -> FaultRule {
    FaultRule::new(action).recipients(numbers.into_iter().map(people::phone))
}

/// Counts the calls for records, and does nothing else.
fn counter() -> FaultRule {
    FaultRule::new(FaultAction::Latency { latency_ms: RangeMs::fixed(0) }).endpoint(Endpoint::Records)
}

fn times_fired(world: &World, is_meant: impl Fn(&FaultRule) -> bool) -> u64 {
    world.simulator.faults().into_iter().filter(|(rule, _)| is_meant(rule)).map(|(_, fired)| fired).sum()
}

fn asked(world: &World) -> u64 {
    times_fired(world, |rule| rule.endpoint == Endpoint::Records)
}

/// The task's messages by their phones' digits.
async fn messages(world: &World, task: i64) -> BTreeMap<u64, Message> {
    let mut filter = MessageFilter::default();
    filter.page.limit = Some(500);
    let mut found = BTreeMap::new();
    loop {
        let page = world.api().messages(task, &filter).await.unwrap();
        found.extend(page.items.into_iter().map(|message| (message.to[1..].parse().unwrap(), message)));
        filter.page.after = page.next;
        if filter.page.after.is_none() {
            return found;
        }
    }
}

/// Everybody who is accepted bears the id that the vendor gave, nobody was accepted twice, and whoever is unknown shows since
/// when and why.
async fn assert_true_to_the_ledger(world: &World, task: i64) {
    let ids: HashMap<u64, String> =
        world.simulator.messages().into_iter().map(|message| (message.to, message.vendor_id)).collect();
    assert_nobody_twice(&world.simulator.accepted_by_recipient());
    for (to, message) in messages(world, task).await {
        assert_eq!(message.attempts, 1, "{message:?}");
        if message.state == MessageState::Unknown {
            assert!(message.unknown_since.is_some() && message.code.is_some(), "{message:?}");
            assert!(message.reason.as_ref().is_some_and(|reason| !reason.is_empty()), "{message:?}");
        } else {
            assert_eq!(message.unknown_since, None);
        }
        if message.accepted_at.is_some() {
            assert_eq!(message.vendor_id.as_ref(), ids.get(&to), "{message:?}");
        }
    }
    let task = world.task(task).await;
    assert_eq!(places(&task.counts), task.counts.total);
    assert_eq!(task.oldest_unknown_since.is_some(), task.counts.unknown > 0);
    world.audit().await;
}

fn is_healed(unknown: i64) -> impl Fn(&Task) -> bool {
    move |task| task.counts.unknown == unknown && task.counts.sending + task.counts.queued == 0
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_answer_to_a_batch_is_rebuilt_from_reports() {
    let people = People(120);
    let account = Account::exotel().set("batch_size", 10);
    let mut options = SimulatorOptions::default();
    (options.callbacks.duplicates, options.callbacks.reordered) = (0.3, 0.3);
    options.callbacks.read = 0.5;
    options.callbacks.delay_ms = RangeMs { min: 10, max: 400 };
    // Somebody whose message failed afterwards is as well known.
    let failing = (0..people.0).filter(|number| number % 10 == 7);
    options.faults = vec![
        FaultRule::new(FaultAction::CallbackCode { code: 30_010 }).recipients(failing.map(people::phone)),
        FaultRule::new(FaultAction::CloseAfterAccept).every_nth(3),
        FaultRule::new(FaultAction::HangAfterAccept { for_ms: None }).every_nth(5),
        FaultRule::new(FaultAction::StatusAfterAccept { status: 502 }).every_nth(2),
    ];
    let world = world(account, options).await;
    let audience = world.import_people(people).await;
    let task = world.launch(&campaign(world.account(0), audience)).await;
    let task = world.wait_for_task(task, "reports tell of all", within(30), is_healed(0)).await;
    let done = world.all_reports_are_applied(task.id).await;
    assert_eq!((done.counts.accepted, done.counts.failed, done.counts.delivered), (108, 12, 108));
    assert!(times_fired(&world, |rule| rule.endpoint == Endpoint::Send) > 12 + 3, "no answer was lost");
    people.assert_each_accepted_once(&world.simulator.accepted_by_recipient());
    assert_true_to_the_ledger(&world, task.id).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_report_finds_its_message_by_what_was_sent_along_or_by_the_id_once_known() {
    let people = People(6);
    let options = SimulatorOptions { faults: vec![FaultRule::new(FaultAction::HalfBody)], ..silent() };
    let world = world(Account::exotel().set("batch_size", 10), options).await;
    let audience = world.import_people(people).await;
    let task = world.launch(&campaign(world.account(0), audience)).await;
    world.wait_for_task(task, "all are unknown", within(20), is_healed(6)).await;
    let sent = world.simulator.messages();
    let account = world.account(0);
    let url = world.url(&format!("/webhooks/{}/{}", account.name, account.webhook_token()));
    let post = async |number: usize, status: &str, names_call: bool| {
        let message = sent.iter().find(|message| message.to == people::digits(number)).unwrap();
        let mut report = json!({"callback_type": "dlr", "sid": message.vendor_id, "to": people::phone(number),
                                "exo_status": status, "timestamp": "2026-11-22T09:00:00+05:30"});
        if names_call {
            report["custom_data"] = json!(message.custom_data);
        }
        let body = json!({"whatsapp": {"messages": [report]}});
        let answer = reqwest::Client::new().post(&url).json(&body).send().await.unwrap();
        assert_eq!(answer.status(), 200);
    };
    // An id that nobody knows says nothing, and waits for who does.
    post(0, "EX_MESSAGE_DELIVERED", false).await;
    post(1, "EX_MESSAGE_SENT", true).await;
    post(2, "EX_MESSAGE_DELIVERED", true).await;
    post(3, "EX_MESSAGE_SEEN", true).await;
    post(4, "EX_INVALID_REQUEST", true).await;
    let told = |task: &Task| task.counts.unknown == 2 && task.counts.failed == 1;
    world.wait_for_task(task, "four are known", within(10), told).await;
    let state = async |number| messages(&world, task).await[&people::digits(number)].state;
    assert_eq!(state(0).await, MessageState::Unknown);
    assert_eq!(state(1).await, MessageState::Sent);
    post(0, "EX_MESSAGE_SENT", true).await;
    post(1, "EX_MESSAGE_DELIVERED", false).await;
    let told = |task: &Task| task.counts.delivered == 4 && task.counts.read == 1;
    world.wait_for_task(task, "ids are known by now", within(10), told).await;
    let states = [3, 3, 3, 4, 5, 7].map(state_of);
    for (number, expected) in states.into_iter().enumerate() {
        assert_eq!(state(number).await, expected, "recipient {number}");
    }
    assert_true_to_the_ledger(&world, task).await;
}

/// The state that the database keeps as this number.
fn state_of(number: u8) -> MessageState {
    match number {
        3 => MessageState::Delivered,
        4 => MessageState::Read,
        5 => MessageState::Failed,
        _ => MessageState::Unknown,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn records_tell_of_whom_the_vendor_took_and_of_nobody_else() {
    let people = People(60);
    let of = |rest: usize| (0..people.0).filter(move |number| number % 10 == rest);
    let options = SimulatorOptions {
        faults: vec![
            counter(),
            lost(FaultAction::CloseAfterAccept, of(1)),
            lost(FaultAction::HangAfterAccept { for_ms: None }, of(3)),
            lost(FaultAction::StatusAfterAccept { status: 500 }, of(5)),
            // These never reach the vendor's mind, and look the same from here.
            lost(FaultAction::CloseBeforeAccept, of(7)),
            lost(FaultAction::HangBeforeAccept { for_ms: None }, of(9)),
        ],
        ..silent()
    };
    let world = world(Account::sobot_io(), options).await;
    let audience = world.import_people(people).await;
    let task = world.launch(&campaign(world.account(0), audience)).await;
    world.wait_for_task(task, "the vendor's records tell of 18", within(40), is_healed(12)).await;
    // They are asked about again after the calls' ends, and tell as little.
    let before = asked(&world);
    let again = async || (asked(&world) > before + 12).then_some(());
    crate::harness::wait_until("they are asked about again", within(30), again).await;
    let unknown: Vec<u64> = world.phones(task, MessageState::Unknown).await;
    let expected: Vec<u64> = (0..people.0).filter(|n| matches!(n % 10, 7 | 9)).map(people::digits).collect();
    assert_eq!(unknown, expected);
    people
        .assert_each_accepted_once_but(&world.simulator.accepted_by_recipient(), |n| matches!(n % 10, 7 | 9));
    assert_true_to_the_ledger(&world, task).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_to_be_asked_survives_a_kill_and_a_vendor_that_cannot_be_asked() {
    let people = People(8);
    let broken = FaultAction::HttpStatus { status: 503, retry_after_seconds: None, body: None };
    let options = SimulatorOptions {
        faults: vec![
            lost(FaultAction::CloseAfterAccept, 0..4),
            FaultRule::new(broken).endpoint(Endpoint::Records).after(4).limit(2),
            counter(),
        ],
        // The first look comes before the records.
        record_delay_ms: 5_000,
        ..silent()
    };
    let mut world = world(Account::sobot_io(), options).await;
    let audience = world.import_people(people).await;
    let task = world.launch(&campaign(world.account(0), audience)).await;
    world.wait_for_task(task, "four are unknown", within(20), is_healed(4)).await;
    let looked = async || (asked(&world) >= 4).then_some(());
    crate::harness::wait_until("they are asked about in vain", within(20), looked).await;
    let since = world.task(task).await.oldest_unknown_since.unwrap();
    world.kill9();
    world.restart().await;
    assert_eq!(world.task(task).await.oldest_unknown_since, Some(since));
    world.wait_for_task(task, "the records tell of all", within(40), is_healed(0)).await;
    assert_eq!(times_fired(&world, |rule| matches!(rule.action, FaultAction::HttpStatus { .. })), 2);
    people.assert_each_accepted_once(&world.simulator.accepted_by_recipient());
    assert_true_to_the_ledger(&world, task).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn many_are_looked_up_by_time() {
    let people = People(700);
    let options = SimulatorOptions {
        faults: vec![counter(), FaultRule::new(FaultAction::CloseAfterAccept).every_nth(2)],
        ..silent()
    };
    let world = world(Account::sobot_io(), options).await;
    let audience = world.import_people(people).await;
    let task = world.launch(&campaign(world.account(0), audience)).await;
    world.wait_for_task(task, "the records tell of all", within(60), is_healed(0)).await;
    let asked = asked(&world);
    assert!((7..350).contains(&asked), "{asked} calls for about 350 messages");
    people.assert_each_accepted_once(&world.simulator.accepted_by_recipient());
    assert_true_to_the_ledger(&world, task).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_in_the_records_counts_as_one() {
    let people = People(4);
    let options = SimulatorOptions {
        faults: vec![
            FaultRule::new(FaultAction::CloseAfterAccept),
            FaultRule::new(FaultAction::MessageCode { code: 131_008, message: None })
                .recipients([people::phone(2)]),
        ],
        ..silent()
    };
    let world = world(Account::sobot_io(), options).await;
    let audience = world.import_people(people).await;
    let task = world.launch(&campaign(world.account(0), audience)).await;
    let task = world.wait_for_task(task, "the records tell of all", within(30), is_healed(0)).await;
    assert_eq!((task.counts.accepted, task.counts.failed), (3, 1));
    let refused = messages(&world, task.id).await.remove(&people::digits(2)).unwrap();
    assert_eq!((refused.state, refused.code.as_deref()), (MessageState::Failed, Some("131008")));
    people.assert_each_accepted_once_but(&world.simulator.accepted_by_recipient(), |number| number == 2);
    assert_true_to_the_ledger(&world, task.id).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_record_of_another_task_says_nothing() {
    let options = SimulatorOptions {
        // The first call never comes to be; all others do, the third without an answer.
        faults: vec![
            counter(),
            FaultRule::new(FaultAction::CloseBeforeAccept).limit(1),
            FaultRule::new(FaultAction::CloseAfterAccept).after(1).limit(1),
        ],
        ..silent()
    };
    let world = world(Account::sobot_io(), options).await;
    let audience = world.import(csv_of([1])).await.id;
    let launch = async || world.launch(&campaign(world.account(0), audience)).await;
    let absent = launch().await;
    world.wait_for_task(absent, "the first is unknown", within(20), is_healed(1)).await;
    let answered = launch().await;
    world
        .wait_for_task(answered, "the second is accepted", within(20), |task| task.counts.accepted == 1)
        .await;
    let lost = launch().await;
    world.wait_for_task(lost, "the third is unknown", within(20), is_healed(1)).await;
    // One record of two is the second task's; whose the other one is, nobody can tell.
    let before = asked(&world);
    let again = async || (asked(&world) >= before + 4).then_some(());
    crate::harness::wait_until("both are asked about twice more", within(40), again).await;
    for task in [absent, lost] {
        assert_eq!(world.task(task).await.counts.unknown, 1, "task {task}");
    }
    assert_eq!(world.simulator.accepted_by_recipient()[&people::digits(1)], 2);
    assert_eq!(world.simulator.accepted_total_of(Vendor::SobotIo), 2);
    world.audit().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_record_of_another_time_says_nothing() {
    let options = SimulatorOptions {
        faults: vec![counter(), FaultRule::new(FaultAction::CloseAfterAccept)],
        // The vendor's clock is two minutes ahead: what it says is no evidence.
        wall_offset_ms: 120_000,
        ..silent()
    };
    let world = world(Account::sobot_io(), options).await;
    let audience = world.import_people(People(2)).await;
    let task = world.launch(&campaign(world.account(0), audience)).await;
    world.wait_for_task(task, "both are unknown", within(20), is_healed(2)).await;
    let again = async || (asked(&world) >= 4).then_some(());
    crate::harness::wait_until("they are asked about twice", within(40), again).await;
    assert_eq!(world.task(task).await.counts.unknown, 2);
    assert_nobody_twice(&world.simulator.accepted_by_recipient());
    assert_true_to_the_ledger(&world, task).await;
}

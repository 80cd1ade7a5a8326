//! Whatever a vendor or the way to it does: who may have been sent to is unknown and not sent to again, who was not is sent
//! to once the fault ends, and everybody else is accepted once.

use std::{fs, ops::Range, time::Duration};

use api::{Breaker, MessageState, Task, TaskState, WaitingFor, client::Page};
use simulator::{FaultAction, FaultRule, Vendor};

use crate::harness::{
    Account,
    fronted::Fronted,
    proxy::{Proxy, Way},
    wait_until, within,
};

/// People in each campaign.
const EACH: usize = 40;

fn people(campaign: usize) -> Range<usize> {
    campaign * EACH..(campaign + 1) * EACH
}

fn slow_single() -> Account {
    Account::sobot_in().set("max_in_flight", 4).sender("messages_per_second", 20)
}

fn slow_batches() -> Account {
    let batches = Account::exotel().set("max_in_flight", 4).set("batch_size", 4);
    batches.sender("messages_per_second", 40)
}

/// The way goes wrong while a campaign runs, until somebody is hit by it.
async fn ways_go_wrong(account: Account, ways: &[(Way, &[&str], bool)]) {
    let fronted = Fronted::start(account).await;
    for (number, (way, codes, reached)) in ways.iter().enumerate() {
        let people = people(number);
        fronted.proxy.set(*way);
        let task = fronted.launch(&people).await;
        let is_hit = |task: &Task| task.counts.unknown > 0 || task.counts.retrying > 0;
        let hit = fronted.world.wait_for_task(task, &format!("{way:?} hits"), within(20), is_hit).await;
        fronted.proxy.set(Way::Forward);
        let unknown = fronted.each_is_accepted_or_unknown(task, &people, codes, *reached).await;
        assert!(unknown > 0 || hit.counts.retrying > 0, "{way:?} hit nobody");
        assert!(unknown < EACH, "{way:?}: nobody was left for the time after it");
    }
    fronted.audit().await;
}

const LOST: &[&str] = &["connection_lost"];
/// What hangs when the fault ends is cut by the proxy.
const SILENT: &[&str] = &["no_answer", "connection_lost"];

const BREAKS: &[(Way, &[&str], bool)] = &[
    // A reset that comes before the connection is known to stand means not sent, and all are accepted in the end.
    (Way::ResetBeforeReading, LOST, false),
    (Way::ResetAfterReading, LOST, false),
    (Way::ResetInsteadOfAnswer, LOST, true),
    (Way::HalfAnswer, LOST, true),
];
const SILENCES: &[(Way, &[&str], bool)] = &[
    (Way::BlackHole, SILENT, false),
    (Way::HangInsteadOfAnswer, SILENT, true),
    (Way::Drip(Duration::from_millis(100)), SILENT, true),
];

#[tokio::test(flavor = "multi_thread")]
async fn connections_break_at_any_moment_of_a_call() {
    ways_go_wrong(slow_single(), BREAKS).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_break_at_any_moment_of_a_batch() {
    ways_go_wrong(slow_batches(), BREAKS).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn calls_are_swallowed_or_answered_too_slowly() {
    ways_go_wrong(slow_single(), SILENCES).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn batches_are_swallowed_or_answered_too_slowly() {
    ways_go_wrong(slow_batches(), SILENCES).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn calls_reach_the_vendor_long_after_they_were_given_up() {
    let fronted = Fronted::start(slow_single()).await;
    fronted.proxy.set(Way::Freeze);
    let task = fronted.launch(&people(0)).await;
    let is_hit = |task: &Task| task.counts.unknown > 0;
    let hit = fronted.world.wait_for_task(task, "calls are given up", within(20), is_hit).await;
    assert_eq!((hit.counts.accepted, fronted.world.simulator.accepted_total()), (0, 0), "{hit:#?}");
    fronted.proxy.set(Way::Forward);
    let task = fronted.world.wait_for_completion(task, within(20)).await;
    let accepted = u64::try_from(task.counts.accepted).unwrap();
    let late = async || (fronted.world.simulator.accepted_total() > accepted).then_some(());
    wait_until("what was written into the frozen connections arrives", within(20), late).await;
    let unknown = fronted.each_is_accepted_or_unknown(task.id, &people(0), SILENT, None).await;
    assert!(unknown > 0, "{:#?}", task.counts);
    fronted.audit().await;
}

/// So many calls go wrong in each of these ways.
const FAULTY_CALLS: u64 = 2;

async fn answers_go_wrong(account: Account, batch: u64, cases: &[(FaultAction, &str, bool)]) {
    let vendor = account.vendor;
    let fronted = Fronted::start(account).await;
    for (number, (action, code, reached)) in cases.iter().enumerate() {
        let people = people(number);
        let rule = FaultRule::new(action.clone()).vendor(vendor).limit(FAULTY_CALLS);
        fronted.world.simulator.set_faults(vec![rule]);
        let task = fronted.launch(&people).await;
        let unknown = fronted.each_is_accepted_or_unknown(task, &people, &[code], *reached).await;
        assert_eq!(unknown as u64, FAULTY_CALLS * batch, "{action:?}");
    }
    fronted.audit().await;
}

fn answers_of_any_vendor() -> Vec<(FaultAction, &'static str, bool)> {
    let instead = |status| FaultAction::HttpStatus { status, retry_after_seconds: None, body: None };
    vec![
        (instead(500), "http_500", false),
        (instead(504), "http_504", false),
        (FaultAction::StatusAfterAccept { status: 503 }, "http_503", true),
        (FaultAction::HtmlBody { status: None }, "unreadable_answer", true),
        (FaultAction::HtmlBody { status: Some(502) }, "http_502", true),
        (FaultAction::GarbageBody, "unreadable_answer", true),
        (FaultAction::HalfBody, "connection_lost", true),
        (FaultAction::CloseBeforeAccept, "connection_lost", false),
        (FaultAction::CloseAfterAccept, "connection_lost", true),
        (FaultAction::ResetAfterAccept, "connection_lost", true),
        (FaultAction::HangBeforeAccept { for_ms: None }, "no_answer", false),
        (FaultAction::HangAfterAccept { for_ms: None }, "no_answer", true),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_to_single_calls_are_none() {
    answers_go_wrong(Account::sobot_in(), 1, &answers_of_any_vendor()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_to_batches_are_none() {
    let mut cases = answers_of_any_vendor();
    cases.extend([
        (FaultAction::MissingItems { count: 1 }, "missing_in_answer", true),
        (FaultAction::ExtraItems { count: 1 }, "missing_in_answer", true),
        (FaultAction::RepeatIds, "duplicate_in_answer", true),
    ]);
    answers_go_wrong(Account::exotel().set("batch_size", 10), 10, &cases).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_id_that_an_earlier_message_has_is_nobodys() {
    let fronted = Fronted::start(Account::sobot_in()).await;
    fronted.world.simulator.set_faults(vec![FaultRule::new(FaultAction::RepeatIds).limit(4)]);
    let task = fronted.launch(&people(0)).await;
    let unknown = fronted.each_is_accepted_or_unknown(task, &people(0), &["duplicate_in_answer"], true).await;
    assert_eq!(unknown, 3, "the first who had the id keeps it");
    fronted.audit().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn items_of_an_answer_in_another_order_lose_nobody() {
    let fronted = Fronted::start(Account::exotel().set("batch_size", 10)).await;
    fronted.world.simulator.set_faults(vec![FaultRule::new(FaultAction::ReorderItems)]);
    let task = fronted.launch(&people(0)).await;
    fronted.each_is_accepted(task, &people(0)).await;
    fronted.audit().await;
}

/// The most memory that the process has had, in MiB.
fn peak_mib(pid: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmHWM")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() / 1024
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_of_fifty_megabytes_is_not_read() {
    let mut fronted = Fronted::start(Account::exotel().set("batch_size", 10)).await;
    let pid = fronted.world.daemon().pid().unwrap();
    let (small, large) = (people(0), people(1));
    let task = fronted.launch(&small).await;
    fronted.each_is_accepted(task, &small).await;
    let before = peak_mib(pid);
    let action = FaultAction::LargeBody { bytes: 50 * 1024 * 1024 };
    fronted.world.simulator.set_faults(vec![FaultRule::new(action).limit(FAULTY_CALLS)]);
    let task = fronted.launch(&large).await;
    let unknown = fronted.each_is_accepted_or_unknown(task, &large, &["answer_too_large"], true).await;
    assert_eq!(unknown as u64, 10 * FAULTY_CALLS);
    let more = peak_mib(pid) - before;
    assert!(more < 40, "two answers of 50 MiB cost {more} MiB");
    fronted.audit().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_that_somebody_else_made_invalid_is_renewed_and_the_call_repeated() {
    let fronted = Fronted::start(Account::sobot_io().sender("messages_per_second", 100)).await;
    let invalid = FaultRule::new(FaultAction::InvalidateTokens).vendor(Vendor::SobotIo).after(5);
    fronted.world.simulator.set_faults(vec![invalid.every_nth(10).limit(3)]);
    let task = fronted.launch(&people(0)).await;
    let task = fronted.each_is_accepted(task, &people(0)).await;
    let fired: u64 = fronted.world.simulator.faults().iter().map(|(_, fired)| fired).sum();
    assert_eq!(fired, 3, "the token became invalid in the middle");
    assert!(task.errors.is_empty(), "nobody saw it: {:?}", task.errors);
    assert!(fronted.world.api().halts(&Page::default()).await.unwrap().items.is_empty());
    fronted.audit().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_asks_for_time_in_an_odd_way_is_given_some() {
    for (number, retry_after) in ["soon", "-5", "Tue, 01 Dec 2020 08:00:00 GMT", "0"].iter().enumerate() {
        let fronted = Fronted::start(Account::sobot_in().sender("messages_per_second", 100)).await;
        let action = FaultAction::Throttle { retry_after: (*retry_after).to_owned() };
        fronted.world.simulator.set_faults(vec![FaultRule::new(action).after(5).limit(3)]);
        let task = fronted.launch(&people(number)).await;
        fronted.each_is_accepted(task, &people(number)).await;
        fronted.audit().await;
    }
}

/// Nobody can be reached: everybody waits, nobody is unknown, and the task says what it waits for.
async fn nobody_is_reached(fronted: &Fronted, task: i64, code: &str) {
    // The breaker knows of a call before its outcome is recorded.
    let waits = |task: &Task| task.waiting_for == Some(WaitingFor::Breaker) && !task.errors.is_empty();
    let task = fronted.world.wait_for_task(task, "calls are held back", within(40), waits).await;
    let counts = task.counts;
    assert_eq!((counts.accepted, counts.unknown, counts.failed), (0, 0, 0), "{counts:#?}");
    assert_eq!(task.state, TaskState::Running, "{task:#?}");
    let [error] = task.errors.as_slice() else { panic!("one code: {:#?}", task.errors) };
    assert_eq!((error.code.as_str(), error.disposition.as_str()), (code, "SlowDown(account)"));
    assert!(error.count > 0 && error.count == counts.retrying, "{counts:#?}");
    let retrying = fronted.world.phones(task.id, MessageState::Retrying).await;
    assert!(!retrying.is_empty() && fronted.world.simulator.accepted_total() == 0);
    let accounts = fronted.world.api().accounts(&Page::default()).await.unwrap().items;
    assert_ne!(accounts[0].breaker, Breaker::Closed, "{accounts:?}");
}

async fn unreachable(way: Way) {
    let fronted = Fronted::start(Account::sobot_in().sender("messages_per_second", 200)).await;
    fronted.proxy.set(way);
    let task = fronted.launch(&people(0)).await;
    nobody_is_reached(&fronted, task, "connect_failed").await;
    fronted.proxy.set(Way::Forward);
    fronted.each_is_accepted(task, &people(0)).await;
    fronted.audit().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_are_refused() {
    unreachable(Way::Refuse).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_are_left_unheard() {
    unreachable(Way::FullBacklog).await;
}

/// An address that cannot work; the operator mends the configuration.
async fn misconfigured(address: impl Fn(&Proxy) -> String, code: &str) {
    let mut fronted = Fronted::start(Account::sobot_in().sender("messages_per_second", 200)).await;
    let (good, bad) = (fronted.proxy.url(), address(&fronted.proxy));
    let change = async |fronted: &mut Fronted, from: &str, to: &str| {
        fronted.world.stop().await;
        let file = fronted.world.daemon().config_file();
        let config = fs::read_to_string(&file).unwrap();
        assert!(config.contains(from), "{config}");
        fs::write(file, config.replace(from, to)).unwrap();
        fronted.world.restart().await;
    };
    change(&mut fronted, &good, &bad).await;
    let task = fronted.launch(&people(0)).await;
    nobody_is_reached(&fronted, task, code).await;
    change(&mut fronted, &bad, &good).await;
    fronted.each_is_accepted(task, &people(0)).await;
    fronted.audit().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_vendors_name_is_not_found() {
    misconfigured(|_| "http://no-such-host.invalid".to_owned(), "connect_failed").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_vendor_speaks_no_tls() {
    misconfigured(|proxy| format!("https://{}", proxy.address()), "tls_failed").await;
}

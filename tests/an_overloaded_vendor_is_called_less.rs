//! A vendor that cannot cope is called less, one that gives no usable answer is left alone for a while, and both are called
//! as before when they are well again.

use std::ops::Range;

use api::{NewSuppression, Task, TaskState, WaitingFor, client::Page};
use simulator::{FaultAction, FaultRule};

use crate::harness::{Account, fronted::Fronted, people::digits, phone, wait_until, within};

fn unavailable() -> FaultRule {
    FaultRule::new(FaultAction::HttpStatus { status: 503, retry_after_seconds: None, body: None })
}

fn is_held_back(task: &Task) -> bool {
    task.waiting_for == Some(WaitingFor::Breaker)
}

#[tokio::test(flavor = "multi_thread")]
async fn ten_calls_without_a_usable_answer_are_enough() {
    let people = 0..100;
    let fronted = Fronted::start(Account::sobot_in().set("max_in_flight", 4)).await;
    let simulator = &fronted.world.simulator;
    simulator.set_faults(vec![unavailable()]);
    let task = fronted.launch(&people).await;
    let held = fronted.world.wait_for_task(task, "calls are held back", within(15), is_held_back).await;
    assert_eq!(held.state, TaskState::Running, "it is no halt: {held:#?}");
    assert!(held.waiting_until.is_some(), "{held:#?}");
    let settled = |task: &Task| task.counts.sending == 0;
    let held = fronted.world.wait_for_task(task, "the last calls end", within(5), settled).await;
    let calls = simulator.requests_total();
    assert!((10..=13).contains(&calls), "ten, and what was under way with the tenth: {calls}");
    assert_eq!(u64::try_from(held.counts.unknown).unwrap(), calls, "{:#?}", held.counts);

    // One call at a time is tried, and the next one only later.
    let tried = async || (simulator.requests_total() > calls).then_some(());
    wait_until("a probe", within(15), tried).await;
    let held = fronted.world.wait_for_task(task, "calls are held back again", within(5), is_held_back).await;
    assert_eq!(simulator.requests_total(), calls + 1, "{:#?}", held.counts);
    assert!(fronted.world.api().halts(&Page::default()).await.unwrap().items.is_empty());

    simulator.set_faults(Vec::new());
    let unknown = fronted.each_is_accepted_or_unknown(task, &people, &["http_503"], false).await;
    assert_eq!(unknown as u64, calls + 1);
    fronted.audit().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_probe_that_is_never_made_makes_way_for_the_next() {
    // Whoever comes after the first ten is suppressed, but for the last.
    let (people, listed): (Range<usize>, _) = (0..60, 15..59);
    let fronted = Fronted::start(Account::sobot_in().set("max_in_flight", 1)).await;
    let suppressed = i64::try_from(listed.len()).unwrap();
    for number in listed {
        let new = NewSuppression { phone: phone(number), reason: None, source: None, expires_at: None };
        fronted.world.api().add_suppression(&new, None).await.unwrap();
    }
    let simulator = &fronted.world.simulator;
    simulator.set_faults(vec![unavailable().limit(11)]);
    let task = fronted.launch(&people).await;
    // The eleventh is the first probe: ten seconds more are waited.
    let task = fronted.world.wait_for_completion(task, within(30)).await;
    let counts = task.counts;
    assert_eq!((counts.suppressed, counts.unknown, counts.accepted), (suppressed, 11, 5), "{counts:#?}");
    assert_eq!(simulator.accepted_by_recipient().get(&digits(59)), Some(&1), "the last one was reached");
    fronted.audit().await;
}

/// A gauge of the account.
async fn gauge(fronted: &Fronted, name: &str) -> u64 {
    let text =
        fronted.world.call(reqwest::Method::GET, "/metrics").send().await.unwrap().text().await.unwrap();
    let line = text.lines().find(|line| line.starts_with(&format!("{name}{{")));
    let line = line.unwrap_or_else(|| panic!("no {name} in {text}"));
    line.rsplit(' ').next().unwrap().parse::<f64>().unwrap() as u64
}

#[tokio::test(flavor = "multi_thread")]
async fn calls_at_once_and_batches_fall_and_climb_again() {
    let people = 0..3_600;
    let account = Account::exotel().set("max_in_flight", 32).set("batch_size", 40);
    let fronted = Fronted::start(account.sender("messages_per_second", 200)).await;
    let now = async || {
        let calls = gauge(&fronted, "campaignd_account_requests_at_once").await;
        (calls, gauge(&fronted, "campaignd_account_messages_per_request").await)
    };
    let simulator = &fronted.world.simulator;
    // Every third batch is lost: too few in a row for the breaker.
    let lost = FaultRule::new(FaultAction::StatusAfterAccept { status: 500 });
    let full = async || (now().await == (32, 40)).then_some(());
    wait_until("all is allowed at first", within(10), full).await;
    simulator.set_faults(vec![lost.every_nth(3)]);
    let task = fronted.launch(&people).await;
    let fallen = async || {
        let (calls, batch) = now().await;
        (calls <= 18 && batch <= 23).then_some(())
    };
    wait_until("both fall", within(15), fallen).await;
    let is_small = async || {
        let last = simulator.arrivals().last().map(|arrival| arrival.messages);
        last.filter(|messages| *messages <= 23)
    };
    wait_until("smaller batches arrive", within(5), is_small).await;
    simulator.set_faults(Vec::new());
    wait_until("both climb again", within(30), full).await;
    fronted.each_is_accepted_or_unknown(task, &people, &["http_500"], true).await;
    fronted.audit().await;
}

/// Batches of 100 with these bad messages, each of which has the whole batch refused. How many calls it took.
async fn split(bad: &[usize]) -> u64 {
    let fronted = Fronted::start(Account::exotel()).await;
    let item =
        r#"{"code":400,"status":"failure","error_data":{"code":30010,"message":"EX_INVALID_REQUEST"}}"#;
    let body = Some(format!(r#"{{"response":{{"whatsapp":{{"messages":[{item}]}}}}}}"#));
    let refuse = FaultAction::HttpStatus { status: 400, retry_after_seconds: None, body };
    let recipients = bad.iter().map(|number| digits(*number).to_string());
    fronted.world.simulator.set_faults(vec![FaultRule::new(refuse).recipients(recipients)]);
    let task = fronted.launch(&(0..100)).await;
    let task = fronted.world.wait_for_completion(task, within(30)).await;
    let failed = i64::try_from(bad.len()).unwrap();
    assert_eq!((task.counts.accepted, task.counts.failed), (100 - failed, failed), "{task:#?}");
    let [code] = task.errors.as_slice() else { panic!("one code: {:#?}", task.errors) };
    assert_eq!((code.code.as_str(), code.count), ("30010", failed), "the vendor's own code");
    let people = crate::harness::People(100);
    let ledger = fronted.world.simulator.accepted_by_recipient();
    people.assert_each_accepted_once_but(&ledger, |number| bad.contains(&number));
    fronted.audit().await;
    fronted.world.simulator.requests_total()
}

#[tokio::test(flavor = "multi_thread")]
async fn one_bad_message_of_a_hundred_is_found_in_a_few_calls() {
    for bad in [0, 57] {
        let calls = split(&[bad]).await;
        // Seven halvings lead from 100 to 1, with two calls each.
        assert!(calls <= 15, "{calls} calls to find number {bad}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn several_bad_messages_of_a_hundred_are_found() {
    let calls = split(&[3, 4, 31, 50, 77, 99]).await;
    assert!(calls <= 65, "{calls} calls to find six");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_panics_leaves_its_message_unknown_and_all_others_well() {
    let mut fronted = Fronted::start(Account::sobot_in()).await;
    fronted.world.daemon().panic_at("call.written", 3);
    let task = fronted.launch(&(0..50)).await;
    // The bytes had left: the vendor took it.
    let unknown = fronted.each_is_accepted_or_unknown(task, &(0..50), &["missing_in_answer"], true).await;
    assert_eq!(unknown, 1);
    assert!(fronted.world.daemon().was_at("call.written"), "it panicked");
    fronted.audit().await;
}

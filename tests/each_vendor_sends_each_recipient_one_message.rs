//! Each vendor gets each recipient's message once, in its own documented form, and its reports bring everybody to `read`.

use std::collections::{BTreeSet, HashMap};

use api::Counts;
use serde_json::{Value, json};
use simulator::{CallbackOptions, SeenRequest, SimulatorOptions, Vendor};

use crate::harness::{Account, People, World, campaign, people, phone, within};

const PEOPLE: People = People(1_000);
const ALL: i64 = 1_000;
const BATCH: usize = 60;

/// Sends a template to everybody, who all read it; returns the vendor's requests.
async fn send_to_all(account: Account) -> (World, Vec<SeenRequest>) {
    let callbacks = CallbackOptions { read: 1.0, ..CallbackOptions::default() };
    let options = SimulatorOptions { callbacks, kept_requests: 5_000, ..SimulatorOptions::default() };
    let world = World::new().simulator(options).account(account.clone()).start().await;
    let audience = world.import_people(PEOPLE).await;
    let task = world.launch(&campaign(&account, audience)).await;
    world.wait_for_completion(task, within(30)).await;
    let task =
        world.wait_for_task(task, "everybody has read", within(20), |task| task.counts.read == ALL).await;
    let everybody =
        Counts { total: ALL, accepted: ALL, sent: ALL, delivered: ALL, read: ALL, ..Counts::default() };
    assert_eq!(task.counts, everybody);
    assert_eq!(task.errors, []);
    assert!(task.ended_at.is_some());
    PEOPLE.assert_each_accepted_once(&world.simulator.accepted_by_recipient());
    let requests = world.simulator.requests();
    assert!(requests.iter().all(|seen| seen.vendor == account.vendor));
    (world, requests)
}

/// The template's body, filled from the columns of this recipient.
fn body_of(number: usize) -> Value {
    json!([{"type": "body", "parameters": [
        {"type": "text", "text": format!("Name {number}")},
        {"type": "text", "text": format!("City, {number}")},
    ]}])
}

/// Each recipient's message by the digits of the number.
fn by_recipient(messages: Vec<Value>, number_of: impl Fn(&Value) -> &str) -> HashMap<u64, Value> {
    let count = messages.len();
    let found: HashMap<u64, Value> = messages
        .into_iter()
        .map(|message| (number_of(&message).trim_start_matches('+').parse().unwrap(), message))
        .collect();
    assert_eq!((count, found.len()), (PEOPLE.0, PEOPLE.0));
    found
}

#[tokio::test(flavor = "multi_thread")]
async fn exotel_in_batches_whose_messages_are_told_apart_by_custom_data() {
    let (world, requests) = send_to_all(Account::exotel().set("batch_size", BATCH)).await;
    let callback = world.url(&format!("/webhooks/exotel/{}", world.account(0).webhook_token()));
    let mut messages = Vec::new();
    for seen in &requests {
        assert_eq!(seen.path, "/v2/accounts/acme/messages");
        let mut body = seen.json();
        assert_eq!(body["status_callback"], callback.as_str());
        let batch = body["whatsapp"]["messages"].as_array_mut().unwrap();
        assert!((1..=BATCH).contains(&batch.len()), "a batch of {}", batch.len());
        messages.append(batch);
    }
    assert!(requests.len() <= PEOPLE.0 / BATCH + 3, "{} requests: batches are not filled", requests.len());
    let custom: BTreeSet<&str> = messages.iter().map(|one| one["custom_data"].as_str().unwrap()).collect();
    assert_eq!(custom.len(), PEOPLE.0, "each message has its own custom_data");
    let found = by_recipient(messages, |message| message["to"].as_str().unwrap());
    for number in [0, 1, 500, 999] {
        let mut message = found[&people::digits(number)].clone();
        message.as_object_mut().unwrap().remove("custom_data");
        let content = json!({"recipient_type": "individual", "type": "template", "template": {
            "name": "order_update",
            "language": {"policy": "deterministic", "code": "en"},
            "components": body_of(number),
        }});
        let from = &world.account(0).from;
        assert_eq!(message, json!({"from": from, "to": phone(number), "content": content}));
    }
    world.audit().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn sobot_io_one_by_one_with_its_token() {
    let (world, requests) = send_to_all(Account::sobot_io()).await;
    assert_eq!(requests.len(), PEOPLE.0);
    let tokens: BTreeSet<&str> =
        requests.iter().map(|seen| seen.headers["token"].to_str().unwrap()).collect();
    assert_eq!(tokens.len(), 1, "one token serves all calls");
    let found = by_recipient(requests.iter().map(SeenRequest::json).collect(), |message| {
        message["to"].as_str().unwrap()
    });
    for number in [0, 1, 500, 999] {
        let template =
            json!({"name": "order_update", "language": {"code": "en"}, "components": body_of(number)});
        let expected = json!({
            "from": world.account(0).from,
            "to": people::digits(number).to_string(),
            "type": "template",
            "content": {"template": template},
        });
        assert_eq!(found[&people::digits(number)], expected);
    }
    assert_eq!(world.simulator.accepted_total_of(Vendor::SobotIo), 1_000);
    world.audit().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn sobot_in_one_by_one_with_the_customers_name() {
    let (world, requests) = send_to_all(Account::sobot_in()).await;
    assert_eq!(requests.len(), PEOPLE.0);
    assert!(requests.iter().all(|seen| seen.headers["x-api-key"] == "inbox-access-key"));
    assert!(requests.iter().all(|seen| seen.headers["x-api-secret"] == "inbox-secret-key"));
    let found = by_recipient(requests.iter().map(SeenRequest::json).collect(), |message| {
        message["customer_number"].as_str().unwrap()
    });
    for number in [0, 1, 500, 999] {
        let expected = json!({
            "template_name": "order_update",
            "template_lang": "en",
            "params": body_of(number),
            "customer_number": people::digits(number).to_string(),
            "customer_name": format!("Name {number}"),
        });
        assert_eq!(found[&people::digits(number)], expected);
    }
    world.audit().await;
}

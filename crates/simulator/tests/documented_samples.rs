//! Every JSON sample of the documents: requests are accepted, and answers, reports and inbound messages have
//! the sample's shape, which is the same keys with values of the same types.

#![allow(clippy::unwrap_used, reason = "a test may end at once")]

mod common;

use std::path::PathBuf;
use std::time::Duration;

use common::*;
use serde_json::{Value, json};
use simulator::{CallbackOptions, Inbound, RangeMs, Simulator, SimulatorOptions, Vendor};

fn folder(name: &str) -> Vec<(String, Value)> {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("samples").join(name);
    let mut samples: Vec<(String, Value)> = std::fs::read_dir(&path)
        .unwrap()
        .map(|entry| {
            let path = entry.unwrap().path();
            let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
            (name, serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap())
        })
        .collect();
    samples.sort_by(|left, right| left.0.cmp(&right.0));
    assert!(!samples.is_empty(), "{name} has samples");
    samples
}

fn sample(name: &str) -> Value {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("samples").join(format!("{name}.json"));
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
}

/// Where and how `actual` differs in shape; null stands for any type, in samples and answers alike.
fn difference(sample: &Value, actual: &Value, path: &str) -> Option<String> {
    match (sample, actual) {
        (Value::Null, _) | (_, Value::Null) => None,
        (Value::Object(left), Value::Object(right)) => {
            let keys = |object: &serde_json::Map<String, Value>| object.keys().cloned().collect::<Vec<_>>();
            if keys(left) != keys(right) {
                return Some(format!("{path}: keys {:?} instead of {:?}", keys(right), keys(left)));
            }
            left.iter().find_map(|(key, value)| difference(value, &right[key], &format!("{path}.{key}")))
        }
        (Value::Array(left), Value::Array(right)) => {
            let first = left.first()?;
            right.iter().find_map(|item| difference(first, item, &format!("{path}[]")))
        }
        _ if std::mem::discriminant(sample) == std::mem::discriminant(actual) => None,
        _ => Some(format!("{path}: {actual} instead of a value like {sample}")),
    }
}

fn assert_shape(name: &str, actual: &Value) {
    if let Some(difference) = difference(&sample(name), actual, name) {
        panic!("{difference}\n{actual:#}");
    }
}

async fn start() -> Simulator {
    let callbacks = CallbackOptions {
        delay_ms: RangeMs { min: 1, max: 2 },
        read: 1.0,
        attempts: 1,
        ..CallbackOptions::default()
    };
    Simulator::start(SimulatorOptions { callbacks, ..SimulatorOptions::default() }).await.unwrap()
}

#[tokio::test]
async fn exotel_sends() {
    let simulator = start().await;
    let receiver = Receiver::start().await;
    for (name, mut request) in folder("exotel/requests") {
        redirect(&mut request, &receiver.url);
        let (status, answer) = exotel(&simulator, request).await;
        assert_eq!((status, &answer["metadata"]["failed"]), (202, &json!(0)), "{name}: {answer}");
        assert_shape("exotel/answers/send", &answer);
    }
    assert_eq!(simulator.accepted_total(), 5);
    assert!(simulator.wait_until_idle(Duration::from_secs(20)).await);
    let mut bodies = receiver.bodies();
    for report in bodies.iter_mut().flat_map(|body| body["whatsapp"]["messages"].as_array_mut().unwrap()) {
        // The table's name for the sample's field; both are used.
        if let Some(status) = report.as_object_mut().unwrap().remove("exo_status") {
            report["exo_detailed_status"] = status;
        }
    }
    assert!(!bodies.is_empty());
    for body in &bodies {
        assert_shape("exotel/callbacks/delivered", body);
    }
}

/// Sends reports to the test's receiver instead of the sample's address.
fn redirect(value: &mut Value, url: &str) {
    match value {
        Value::Object(object) => {
            for (key, value) in object.iter_mut() {
                if key == "status_callback" {
                    *value = json!(url);
                }
                redirect(value, url);
            }
        }
        Value::Array(items) => items.iter_mut().for_each(|item| redirect(item, url)),
        _ => {}
    }
}

#[tokio::test]
async fn sobot_io_sends_and_records() {
    let simulator = start().await;
    let receiver = Receiver::start().await;
    simulator.set_callback_urls([("sobot_io", &receiver.url)]);
    let token = token(&simulator).await;
    let requests = folder("sobot_io/requests");
    for (name, request) in &requests {
        let (status, answer) = sobot_io(&simulator, &token, "forword", request.clone()).await;
        assert_eq!((status, &answer["ret_code"]), (200, &json!("000000")), "{name}: {answer}");
        let shape = if name == "interactive_flow" { "send_flow" } else { "send" };
        assert_shape(&format!("sobot_io/answers/{shape}"), &answer);
    }
    assert_eq!(simulator.accepted_total(), requests.len() as u64);
    assert!(simulator.wait_until_idle(Duration::from_secs(20)).await);
    assert_eq!(receiver.bodies().len(), 3 * requests.len());
    for body in receiver.bodies() {
        assert_shape("sobot_io/callbacks/sent", &body);
    }

    let mut asked = sample("sobot_io/other_requests/records");
    let (_, none) = sobot_io(&simulator, &token, "send_record_list", asked.clone()).await;
    assert_eq!((&none["ret_code"], &none["total_count"]), (&json!("000000"), &json!(0)));
    for filter in ["send_start_time", "send_end_time", "sender", "messageid", "template_language"] {
        asked.as_object_mut().unwrap().remove(filter);
    }
    asked["template_name"] = json!("template_name");
    asked["recipient_tel"] = json!("8618888888888");
    let (_, found) = sobot_io(&simulator, &token, "send_record_list", asked).await;
    assert_eq!(found["total_count"], 1, "{found}");
    assert_eq!(found["items"][0]["message_status"], "2");
    let mut expected = sample("sobot_io/answers/records");
    // The table has page_count, the sample has not; the first record of the sample has no messageid.
    expected["page_count"] = json!(1);
    expected["items"].as_array_mut().unwrap().remove(0);
    assert_eq!(difference(&expected, &found, "records"), None);
}

#[tokio::test]
async fn sobot_io_other_calls() {
    let simulator = start().await;
    let token = token(&simulator).await;
    let token = token.as_str();
    let get = async |path: &str| sobot_io(&simulator, token, path, Value::Null).await.1;
    let list = get("templateList?wabaid=12345").await;
    let (expected, mut actual) = (sample("sobot_io/answers/templates"), list.clone());
    actual["item"]["data"].as_array_mut().unwrap().iter_mut().for_each(|one| one["components"] = Value::Null);
    assert_eq!(difference(&expected, &actual, "templates"), None);
    for (name, request) in folder("sobot_io/template_requests") {
        let (_, answer) = sobot_io(&simulator, token, "createTemplateInfo", request).await;
        assert_eq!(answer["ret_code"], "000000", "{name}: {answer}");
        assert_shape("sobot_io/answers/template_created", &answer);
    }
    let deleted = get("deleteTemplate?wabaid=12345&template_name=video_demo001").await;
    assert_shape("sobot_io/answers/template_deleted", &deleted);
    assert_shape("sobot_io/answers/bill", &get("billDetailList?month=2022-10&query_type=user").await);
    let tasks = sample("sobot_io/other_requests/tasks");
    assert_shape(
        "sobot_io/answers/tasks",
        &sobot_io(&simulator, token, "api_query_task_list", tasks).await.1,
    );
    let post = async |path: &str| sobot_io(&simulator, token, path, json!({})).await.1;
    assert_shape(
        "sobot_io/answers/handle_id",
        &post("get_handle_id?importUrl=https://example.com/a.jpg").await,
    );
    let upload = post("media_upload?phone_numberid=1102434620&url=https://example.com/a.mp4").await;
    assert_shape("sobot_io/answers/media_upload", &upload);
}

#[tokio::test]
async fn sobot_in_sends() {
    let simulator = start().await;
    let receiver = Receiver::start().await;
    simulator.set_callback_urls([("sobot_in", &receiver.url)]);
    let requests = folder("sobot_in/requests");
    for (name, request) in &requests {
        let (status, answer) = sobot_in(&simulator, "POST", "/message/", request.clone()).await;
        assert_eq!(status, 200, "{name}: {answer}");
        assert_shape("sobot_in/answers/send", &answer);
        assert_shape("sobot_in/answers/send_template", &answer);
    }
    assert!(simulator.wait_until_idle(Duration::from_secs(20)).await);
    for (name, _) in folder("sobot_in/callbacks") {
        let bodies = receiver.bodies();
        let own: Vec<&Value> = bodies.iter().filter(|body| body["status"] == name.as_str()).collect();
        assert_eq!(own.len(), requests.len());
        own.iter().for_each(|body| assert_shape(&format!("sobot_in/callbacks/{name}"), body));
    }
}

#[tokio::test]
async fn sobot_in_customers_and_templates() {
    let simulator = start().await;
    let add = sample("sobot_in/customer_requests/add");
    let path = "/api/customer";
    let exact = |name: &str| sample(&format!("sobot_in/answers/{name}"));
    assert_eq!(sobot_in(&simulator, "POST", path, add.clone()).await, (201, exact("customer_added")));
    assert_eq!(sobot_in(&simulator, "POST", path, add.clone()).await, (400, exact("customer_exists")));
    let mut wrong = add;
    wrong["mobile"] = json!("+919561");
    assert_eq!(sobot_in(&simulator, "POST", path, wrong).await, (400, exact("invalid_number")));
    let update = sample("sobot_in/customer_requests/update");
    let updated = sobot_in(&simulator, "PUT", "/api/customer/919561000000", update).await;
    assert_eq!(updated, (201, exact("customer_updated")));
    assert_shape("sobot_in/answers/customers", &sobot_in(&simulator, "GET", path, Value::Null).await.1);

    for (name, mut request) in folder("sobot_in/template_requests") {
        // All samples have one name, and "Duplicate entity_name is not allowed".
        request["entity_name"] = json!(name);
        let answer = sobot_in(&simulator, "POST", "/api/template/", request).await;
        assert_eq!(answer, (201, exact("template_created")), "{name}");
    }
    for (query, name) in
        [("", ""), ("?status=0", "_pending"), ("?status=1", "_approved"), ("?status=2", "_rejected")]
    {
        let (_, list) = sobot_in(&simulator, "GET", &format!("/api/template/{query}"), Value::Null).await;
        assert!(!list["data"].as_array().unwrap().is_empty());
        assert_shape(&format!("sobot_in/answers/templates{name}"), &list);
    }
}

#[tokio::test]
async fn the_token() {
    let simulator = start().await;
    let url = format!(
        "{}/api/get_token?appid=sobot-app&create_time=1569397773&sign=wrong",
        simulator.sobot_io_url()
    );
    let (_, refused) = call("GET", url, &[], Value::Null).await;
    assert_ne!(refused["ret_code"], "000000");
    assert_eq!(
        token(&simulator).await.len(),
        sample("sobot_io/answers/token")["item"]["token"].as_str().unwrap().len()
    );
}

#[tokio::test]
async fn inbound_messages_and_events() {
    let simulator = start().await;
    let receiver = Receiver::start().await;
    simulator.set_callback_urls(Vendor::ALL.map(|vendor| (vendor.name(), receiver.url.as_str())));
    for vendor in Vendor::ALL {
        for (kind, _) in folder(&format!("{vendor}/inbound")) {
            let inbound = Inbound::text(vendor, "919999000002", "919999000001", "Hi").kind(&kind);
            assert_eq!(simulator.send_inbound(&inbound).await, Ok(200));
            assert_shape(&format!("{vendor}/inbound/{kind}"), receiver.bodies().last().unwrap());
        }
    }
}

#[tokio::test]
async fn sobot_io_callback_exceptions() {
    let simulator = start().await;
    let receiver = Receiver::start().await;
    simulator.set_callback_urls([("sobot_io", &receiver.url)]);
    receiver.status.store(302, std::sync::atomic::Ordering::SeqCst);
    let token = token(&simulator).await;
    sobot_io(&simulator, &token, "forword", sobot_io_text("919999000002")).await;
    assert!(simulator.wait_until_idle(Duration::from_secs(20)).await);
    let mut asked = sample("sobot_io/other_requests/exceptions");
    asked["sender"] = json!("110243462020762");
    let post = async |path: &str| {
        let url = format!("{}/chat-set/api/webhook/{path}", simulator.sobot_io_url());
        call("POST", url, &[("token", &token)], asked.clone()).await.1
    };
    let listed = post("response_list").await;
    assert_eq!(listed["total_count"], 3, "sent, delivered and read");
    assert_shape("sobot_io/answers/exceptions", &listed);
    receiver.status.store(200, std::sync::atomic::Ordering::SeqCst);
    let pushed = post("again_push_response").await;
    assert_eq!((&pushed["success_count"], &pushed["error_count"]), (&json!(3), &json!(0)));
    assert_shape("sobot_io/answers/exceptions_pushed", &pushed);
    assert_eq!(post("response_list").await["total_count"], 0);
    assert_eq!(receiver.bodies().len(), 6);
}

//! What the documents forbid is refused as they say: credentials, fields, lengths, numbers.

#![allow(clippy::unwrap_used, reason = "a test may end at once")]

mod common;

use common::*;
use serde_json::{Value, json};
use simulator::{Simulator, SimulatorOptions};

async fn start() -> Simulator {
    Simulator::start(SimulatorOptions::default()).await.unwrap()
}

#[tokio::test]
async fn credentials() {
    let simulator = start().await;
    let wrong = "Basic ZXhvdGVsLWtleTp3cm9uZw==";
    let send = async |sid: &str, authorization: &str| {
        let url = format!("{}/v2/accounts/{sid}/messages", simulator.exotel_url());
        call("POST", url, &[("authorization", authorization)], exotel_text(&["+919999000002"])).await.0
    };
    assert_eq!(send("acme", wrong).await, 401);
    assert_eq!(send("nobody", &basic()).await, 404);
    assert_eq!(send("acme", &basic()).await, 202);
    assert_eq!(sobot_io(&simulator, "wrong", "forword", sobot_io_text("919999000002")).await.0, 401);
    let url = format!("{}/message/", simulator.sobot_in_url());
    let keys = [("x-api-key", "inbox-access-key"), ("x-api-secret", "wrong")];
    assert_eq!(call("POST", url, &keys, sobot_in_text("919999000002")).await.0, 401);
    assert_eq!(simulator.accepted_total(), 1);
}

#[tokio::test]
async fn exotel_requests_and_messages() {
    let simulator = start().await;
    let numbers: Vec<String> = (0..101).map(|number| format!("+9199990{number:05}")).collect();
    let all: Vec<&str> = numbers.iter().map(String::as_str).collect();
    assert_eq!(exotel(&simulator, exotel_text(&all)).await.0, 400);
    for wrong in [json!({}), json!([]), json!({"whatsapp": {"messages": []}}), json!({"custom_data": 1})] {
        assert_eq!(exotel(&simulator, wrong).await.0, 400);
    }
    let contents = [
        json!({"type": "text", "text": {"body": ""}}),
        json!({"type": "text", "text": {"body": "x".repeat(4097)}}),
        json!({"type": "image", "image": {"link": "ftp://example.com/a.jpg"}}),
        json!({"type": "poll"}),
        json!({"type": "location", "location": {"latitude": "north", "longitude": "1"}}),
        json!({"type": "template", "template": {"name": "a", "language": {"code": "en"}}}),
        json!({"type": "template", "template": {"name": "a", "language": {"policy": "deterministic", "code": "en"},
            "components": [{"type": "button", "parameters": [{"type": "text", "text": "x"}]}]}}),
        json!({"type": "interactive", "interactive": {"type": "button", "body": {"text": "x"}, "action": {"buttons": []}}}),
    ];
    for content in contents {
        let mut request = exotel_text(&["+919999000002", "+919999000003"]);
        request["whatsapp"]["messages"][1]["content"] = content.clone();
        let (status, answer) = exotel(&simulator, request).await;
        let items = &answer["response"]["whatsapp"]["messages"];
        assert_eq!(
            (status, &items[0]["code"], &items[1]["code"]),
            (202, &json!(202), &json!(400)),
            "{content}"
        );
        assert_eq!(items[1]["status"], "failure");
    }
    for phone in ["++919999000002", "12", "abc", "+91 99990 00002"] {
        let (_, answer) = exotel(&simulator, exotel_text(&[phone])).await;
        assert_eq!(answer["metadata"]["failed"], 1, "{phone}");
    }
    assert_eq!(simulator.accepted_total(), 8);
}

#[tokio::test]
async fn exotel_can_refuse_a_whole_batch() {
    let options = SimulatorOptions { refuse_whole_batch: true, ..SimulatorOptions::default() };
    let simulator = Simulator::start(options).await.unwrap();
    assert_eq!(exotel(&simulator, exotel_text(&["+919999000002", "x"])).await.0, 400);
    assert_eq!((simulator.accepted_total(), simulator.arrivals()[0].messages), (0, 2));
}

#[tokio::test]
async fn sobot_io_refuses_with_a_code() {
    let simulator = start().await;
    let token = token(&simulator).await;
    let template = |components: Value| {
        json!({"from": "1102", "to": "919999000002", "type": "template",
            "content": {"template": {"name": "a", "language": {"code": "en"}, "components": components}}})
    };
    let body = |text: &str| json!([{"type": "body", "parameters": [{"type": "text", "text": text}]}]);
    let button = |text: &str| json!([{"type": "button", "sub_type": "url", "index": "0", "parameters": [{"type": "payload", "payload": text}]}]);
    let mut without_content = sobot_io_text("919999000002");
    without_content["content"] = Value::Null;
    let cases = [
        (without_content, "131008"),
        (sobot_io_text("no number"), "999996"),
        (sobot_io_text(""), "999999"),
        (json!({"from": "1", "to": "919999000002", "type": "poll", "content": {}}), "131051"),
        (template(body("")), "132000"),
        (template(Value::Null), "131008"),
        (template(button("中文")), "132000"),
        (template(button("%E4%B8%AD")), "000000"),
        (template(body("x")), "000000"),
        (template(json!([])), "000000"),
    ];
    for (request, code) in cases {
        let (status, answer) = sobot_io(&simulator, &token, "forword", request.clone()).await;
        assert_eq!((status, &answer["ret_code"]), (200, &json!(code)), "{request}");
    }
    for page in [
        json!({"page_no": 1}),
        json!({"page_no": 1, "page_size": 101}),
        json!({"page_no": 0, "page_size": 1}),
    ] {
        assert_ne!(sobot_io(&simulator, &token, "send_record_list", page).await.1["ret_code"], "000000");
    }
}

#[tokio::test]
async fn sobot_in_refuses_with_a_text() {
    let simulator = start().await;
    let with = |field: &str, value: Value| {
        let mut request = sobot_in_text("919999000002");
        request[field] = value;
        request
    };
    let wrong = [
        with("customer_number", json!("+919999000002")),
        with("customer_number", json!("91-9999000002")),
        with("customer_name", Value::Null),
        with("message", json!("x".repeat(4097))),
        with("type", json!("audio")),
        with("template_name", json!("without_language")),
        json!({"type": "image", "url": "https://example.com/a", "customer_number": "919999000002", "customer_name": "J"}),
    ];
    for request in wrong {
        let (status, answer) = sobot_in(&simulator, "POST", "/message/", request.clone()).await;
        assert_eq!((status, &answer["code"]), (400, &json!(400)), "{request}");
    }
    let (_, answer) = sobot_in(&simulator, "POST", "/message/", sobot_in_text("123")).await;
    assert_eq!(answer["message"], "Invalid mobile number");
    assert_eq!(simulator.accepted_total(), 0);
}

#[tokio::test]
async fn templates_are_checked_when_asked() {
    let options = SimulatorOptions { strict_templates: true, ..SimulatorOptions::default() };
    let simulator = Simulator::start(options).await.unwrap();
    let token = token(&simulator).await;
    let cases = [
        ("order_update", 2, "000000"),
        ("order_update", 1, "132000"),
        ("unknown", 2, "132001"),
        ("spring_sale", 1, "132001"),
    ];
    for (name, count, code) in cases {
        let parameters: Vec<Value> = (0..count).map(|_| json!({"type": "text", "text": "x"})).collect();
        let request = json!({"from": "1102", "to": "919999000002", "type": "template", "content": {"template":
            {"name": name, "language": {"code": "en"}, "components": [{"type": "body", "parameters": parameters}]}}});
        let (_, answer) = sobot_io(&simulator, &token, "forword", request).await;
        assert_eq!(answer["ret_code"], code, "{name}");
    }
}

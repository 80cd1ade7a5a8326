//! Over HTTP: the ledger while sends go on, faults, callback addresses, replay, inbound messages.

#![allow(clippy::unwrap_used, reason = "a test may end at once")]

mod common;

use std::sync::Arc;
use std::time::Duration;

use common::*;
use serde_json::{Value, json};
use simulator::{CallbackOptions, RangeMs, Simulator, SimulatorOptions};

async fn admin(simulator: &Simulator, path: &str, body: Value) -> (u16, Value) {
    let method = if body.is_null() { "GET" } else { "POST" };
    call(method, format!("{}/_simulator/{path}", simulator.url()), &[], body).await
}

async fn text(simulator: &Simulator, path: &str) -> String {
    let (_, _, body) =
        raw("GET", format!("{}/_simulator/{path}", simulator.url()), &[], Vec::new()).await.unwrap();
    String::from_utf8(body).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_ledger_is_right_while_it_is_busy() {
    let simulator = Arc::new(Simulator::start(SimulatorOptions::default()).await.unwrap());
    let senders: Vec<_> = (0..4_u64)
        .map(|sender| {
            let simulator = simulator.clone();
            tokio::spawn(async move {
                for number in 0..25_u64 {
                    let to: Vec<String> = (0..100)
                        .map(|n| format!("+91{:010}", 9_000_000_000 + sender * 10_000 + number * 100 + n))
                        .collect();
                    let to: Vec<&str> = to.iter().map(String::as_str).collect();
                    assert_eq!(exotel(&simulator, exotel_text(&to)).await.0, 202);
                }
            })
        })
        .collect();
    let mut last = 0;
    while last < 10_000 {
        let (status, ledger) = admin(&simulator, "ledger.json", Value::Null).await;
        assert_eq!(status, 200);
        let total = ledger["accepted_total"].as_u64().unwrap();
        assert!(total >= last && ledger["duplicates_total"] == 0);
        last = total;
    }
    for sender in senders {
        sender.await.unwrap();
    }
    assert_eq!(text(&simulator, "messages.csv").await.lines().count(), 10_001);
    let (_, totals) = admin(&simulator, "totals.json", Value::Null).await;
    assert_eq!((&totals["vendors"]["exotel"], &totals["requests_total"]), (&json!(10_000), &json!(100)));
    let arrivals = text(&simulator, "arrivals.csv").await;
    assert_eq!(arrivals.lines().count(), 101);
    assert!(arrivals.lines().nth(1).unwrap().ends_with(",exotel,acme,+919999000001,100,100,202"));
}

#[tokio::test]
async fn faults_addresses_replay_and_inbound() {
    let callbacks = CallbackOptions { delay_ms: RangeMs::fixed(1), ..CallbackOptions::default() };
    let simulator =
        Simulator::start(SimulatorOptions { callbacks, ..SimulatorOptions::default() }).await.unwrap();
    let receiver = Receiver::start().await;
    let urls = json!({"sobot_in": receiver.url});
    assert_eq!(admin(&simulator, "callback_urls", urls).await.0, 200);
    for _ in 0..2 {
        sobot_in(&simulator, "POST", "/message/", sobot_in_text("919999000002")).await;
    }
    assert!(simulator.wait_until_idle(Duration::from_secs(20)).await);
    let (_, ledger) = admin(&simulator, "ledger.json", Value::Null).await;
    assert_eq!((&ledger["duplicates_total"], &ledger["duplicate_messages"]), (&json!(1), &json!(1)));
    assert_eq!(ledger["duplicates"][0]["to"], 919_999_000_002_u64);
    assert_eq!(ledger["vendors"]["sobot_in"], json!({"accepted_total": 2, "duplicates": 1}));

    assert_eq!(admin(&simulator, "callbacks/replay", json!({"vendor": "sobot_in"})).await.1["reports"], 4);
    assert!(simulator.wait_until_idle(Duration::from_secs(20)).await);
    assert_eq!(admin(&simulator, "callbacks", Value::Null).await.1["acknowledged"], 8);

    let inbound = json!({"vendor": "sobot_in", "from": "919999000002", "to": "918788000000", "text": "STOP"});
    assert_eq!(admin(&simulator, "inbound", inbound).await, (200, json!({"status": 200})));
    assert_eq!(receiver.bodies().last().unwrap()[0]["value"]["messages"][0]["text"]["body"], "STOP");

    let faults = json!([{"vendor": "sobot_in", "action": {"kind": "http_status", "status": 503}}]);
    assert_eq!(admin(&simulator, "faults", faults).await.0, 200);
    assert_eq!(sobot_in(&simulator, "POST", "/message/", sobot_in_text("919999000002")).await.0, 503);
    assert_eq!(admin(&simulator, "faults", Value::Null).await.1[0]["fired"], 1);
    let (status, error) = admin(&simulator, "faults", json!([{"action": {"kind": "unheard_of"}}])).await;
    assert_eq!((status, error["error"].as_str().unwrap().contains("unheard_of")), (400, true));

    assert_eq!(admin(&simulator, "callbacks", json!({"enabled": false})).await.0, 200);
    assert_eq!(admin(&simulator, "faults", json!([])).await.0, 200);
    assert_eq!(sobot_in(&simulator, "POST", "/message/", sobot_in_text("919999000002")).await.0, 200);
    assert_eq!(simulator.callbacks().planned, 8);
    let (_, requests) = admin(&simulator, "requests.json", Value::Null).await;
    assert_eq!(requests[0]["body"], sobot_in_text("919999000002"));
    assert_eq!(
        simulator.last_body(simulator::Vendor::SobotIn).unwrap(),
        serde_json::to_vec(&sobot_in_text("919999000002")).unwrap()
    );
}

#[tokio::test]
async fn a_port_is_free_again_after_shutdown() {
    let simulator = Simulator::start(SimulatorOptions::default()).await.unwrap();
    let port = simulator.address().port();
    assert_eq!(exotel(&simulator, exotel_text(&["+919999000002"])).await.0, 202);
    let taken = Simulator::start(SimulatorOptions { port, ..SimulatorOptions::default() }).await;
    assert!(taken.err().unwrap().to_string().contains("choose another port"));
    simulator.shutdown().await;
    let again = Simulator::start(SimulatorOptions { port, ..SimulatorOptions::default() }).await.unwrap();
    assert_eq!(again.accepted_total(), 0);
}

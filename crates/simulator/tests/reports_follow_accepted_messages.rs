//! Every vendor's accepted messages are in the ledger, and their reports arrive in the documented forms.

#![allow(clippy::unwrap_used, reason = "a test may end at once")]

mod common;

use std::sync::atomic::Ordering;
use std::time::Duration;

use common::*;
use serde_json::{Value, json};
use simulator::{CallbackOptions, Inbound, RangeMs, Simulator, SimulatorOptions, Vendor};

const SOON: Duration = Duration::from_secs(20);

fn options(callbacks: CallbackOptions) -> SimulatorOptions {
    let callbacks = CallbackOptions { retry_delay_ms: 20, ..callbacks };
    SimulatorOptions { callbacks, ..SimulatorOptions::default() }
}

fn quick() -> CallbackOptions {
    CallbackOptions { delay_ms: RangeMs { min: 1, max: 3 }, ..CallbackOptions::default() }
}

#[tokio::test]
async fn exotel_reports_go_to_the_most_specific_address_with_their_custom_data() {
    let simulator = Simulator::start(options(quick())).await.unwrap();
    let (general, own) = (Receiver::start().await, Receiver::start().await);
    let mut body = exotel_text(&["+919999000002", "+919999000003"]);
    body["status_callback"] = json!("http://127.0.0.1:1/never");
    body["custom_data"] = json!("request");
    body["whatsapp"]["status_callback"] = json!(general.url);
    body["whatsapp"]["messages"][1]["status_callback"] = json!(own.url);
    body["whatsapp"]["messages"][1]["custom_data"] = json!("message");
    let (status, answer) = exotel(&simulator, body).await;
    assert_eq!((status, &answer["metadata"]), (202, &json!({"failed": 0, "total": 2, "success": 2})));
    assert!(simulator.wait_until_idle(SOON).await, "{:?}", simulator.callbacks());

    let reports = |receiver: &Receiver| -> Vec<Value> {
        let bodies = receiver.bodies();
        bodies.iter().flat_map(|body| body["whatsapp"]["messages"].as_array().unwrap().clone()).collect()
    };
    let answered = &answer["response"]["whatsapp"]["messages"];
    for (number, receiver, custom) in [(0, &general, "request"), (1, &own, "message")] {
        let reports = reports(receiver);
        assert_eq!(reports.len(), 2, "{reports:?}");
        assert_eq!(reports[0]["exo_status_code"], 30_001);
        assert_eq!(reports[1]["exo_status_code"], 30_002);
        for report in reports {
            assert_eq!(report["sid"], answered[number]["data"]["sid"]);
            assert_eq!(report["custom_data"], custom);
            assert_eq!(report["callback_type"], "dlr");
        }
    }
    let messages = simulator.messages();
    assert_eq!(messages[1].custom_data, "message");
    assert_eq!(messages[1].vendor_id, answered[1]["data"]["sid"].as_str().unwrap());
    assert_eq!((messages[0].to, messages[0].from.as_str()), (919_999_000_002, "+919999000001"));
}

#[tokio::test]
async fn both_sobots_report_to_their_registered_addresses() {
    let failing = CallbackOptions { failed: 1.0, sent: 0.0, ..quick() };
    let simulator = Simulator::start(options(failing)).await.unwrap();
    let (io, inbox) = (Receiver::start().await, Receiver::start().await);
    simulator.set_callback_urls([("sobot_io", &io.url), ("sobot_in/inbox-access-key", &inbox.url)]);
    let token = token(&simulator).await;
    let (_, sent) = sobot_io(&simulator, &token, "forword", sobot_io_text("919999000002")).await;
    let (status, put) = sobot_in(&simulator, "POST", "/message/", sobot_in_text("919999000003")).await;
    assert_eq!((status, put["code"].as_u64()), (200, Some(200)));
    assert!(simulator.wait_until_idle(SOON).await);

    let report = &io.bodies()[0];
    assert_eq!(report["messageId"], sent["item"]["messages"][0]["id"]);
    assert_eq!((report["status"].as_str(), report["errorCode"].as_str()), (Some("failed"), Some("131026")));
    assert_eq!((report["type"].as_str(), report["to"].as_str()), (Some("status"), Some("919999000002")));
    let report = &inbox.bodies()[0];
    assert_eq!(report["id"], put["data"]["id"]);
    assert_eq!(report["errors"][0]["code"], 131_026);
    assert_eq!(simulator.accepted_total(), 2);
}

#[tokio::test]
async fn a_report_is_posted_again_until_it_is_acknowledged_or_given_up() {
    let few = CallbackOptions { attempts: 3, delivered: 0.0, ..quick() };
    let simulator = Simulator::start(options(few)).await.unwrap();
    let receiver = Receiver::start().await;
    simulator.set_callback_urls([("sobot_in", &receiver.url)]);
    receiver.status.store(503, Ordering::SeqCst);
    sobot_in(&simulator, "POST", "/message/", sobot_in_text("919999000003")).await;
    assert!(simulator.wait_until_idle(SOON).await);
    let counts = simulator.callbacks();
    assert_eq!((counts.planned, counts.sent, counts.acknowledged, counts.abandoned), (1, 3, 0, 1));

    receiver.status.store(200, Ordering::SeqCst);
    assert_eq!(simulator.replay_callbacks(None), 1);
    assert!(simulator.wait_until_idle(SOON).await);
    assert_eq!((simulator.callbacks().acknowledged, receiver.bodies().len()), (1, 4));
}

#[tokio::test]
async fn early_duplicate_and_reversed_reports() {
    let odd = CallbackOptions { early: 1.0, duplicates: 1.0, reordered: 1.0, ..quick() };
    let simulator = Simulator::start(options(odd)).await.unwrap();
    let receiver = Receiver::start().await;
    simulator.set_callback_urls([("sobot_in", &receiver.url)]);
    let answered = sobot_in(&simulator, "POST", "/message/", sobot_in_text("919999000003")).await;
    assert_eq!(receiver.bodies()[0]["id"], answered.1["data"]["id"], "reported before the answer");
    assert!(simulator.wait_until_idle(SOON).await);
    let bodies = receiver.bodies();
    let count = |status: &str| bodies.iter().filter(|body| body["status"] == status).count();
    assert_eq!(bodies[0]["status"], "delivered");
    assert_eq!((count("sent"), count("delivered")), (2, 2));
}

#[tokio::test]
async fn exotel_callbacks_carry_up_to_a_hundred_reports() {
    let together = CallbackOptions { delay_ms: RangeMs::fixed(100), ..quick() };
    let simulator = Simulator::start(options(together)).await.unwrap();
    let receiver = Receiver::start().await;
    let numbers: Vec<String> = (0..100).map(|number| format!("+9199990{number:05}")).collect();
    let mut body = exotel_text(&numbers.iter().map(String::as_str).collect::<Vec<_>>());
    body["status_callback"] = json!(receiver.url);
    exotel(&simulator, body).await;
    assert!(simulator.wait_until_idle(SOON).await);
    let sizes: Vec<usize> =
        receiver.bodies().iter().map(|body| body["whatsapp"]["messages"].as_array().unwrap().len()).collect();
    assert_eq!(sizes.iter().sum::<usize>(), 200);
    assert!(sizes.contains(&100), "{sizes:?}");
}

#[tokio::test]
async fn inbound_messages_of_every_documented_kind() {
    let simulator = Simulator::start(SimulatorOptions::default()).await.unwrap();
    let receiver = Receiver::start().await;
    simulator.set_callback_urls(Vendor::ALL.map(|vendor| (vendor.name(), receiver.url.as_str())));
    let kinds = [
        (Vendor::Exotel, "text image audio video document"),
        (
            Vendor::SobotIo,
            "text image document video audio sticker location contacts button order interactive referral flow \
             request_welcome template_status template_quality phone_quality account_update",
        ),
        (Vendor::SobotIn, "text image video"),
    ];
    let mut fired = 0;
    for (vendor, kinds) in kinds {
        for kind in kinds.split_whitespace() {
            let inbound = Inbound::text(vendor, "919999000002", "919999000001", "STOP").kind(kind);
            assert_eq!(simulator.send_inbound(&inbound).await, Ok(200), "{vendor} {kind}");
            fired += 1;
        }
    }
    assert_eq!(receiver.bodies().len(), fired);
    let stop = &receiver.bodies()[0]["whatsapp"]["messages"][0];
    assert_eq!(
        (stop["from"].as_str(), stop["content"]["text"]["body"].as_str()),
        (Some("919999000002"), Some("STOP"))
    );
    let unknown = Inbound::text(Vendor::SobotIn, "1", "2", "").kind("order");
    assert!(simulator.send_inbound(&unknown).await.unwrap_err().contains("order"));
}

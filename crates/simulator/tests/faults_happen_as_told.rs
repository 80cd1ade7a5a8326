//! Each fault does to the answer what its name says, and the ledger tells whether messages were accepted.

#![allow(clippy::unwrap_used, reason = "a test may end at once")]

mod common;

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use common::*;
use serde_json::{Value, json};
use simulator::{
    CallbackOptions, Endpoint, FaultAction, FaultRule, RangeMs, Simulator, SimulatorOptions, TokenFailure,
    Vendor,
};
use tokio::{io::AsyncWriteExt as _, net::TcpStream};

async fn with(action: FaultAction) -> Simulator {
    let faults = vec![FaultRule::new(action)];
    Simulator::start(SimulatorOptions { faults, ..SimulatorOptions::default() }).await.unwrap()
}

async fn raw_exotel(simulator: &Simulator, to: &[&str]) -> Answer {
    let url = format!("{}/v2/accounts/acme/messages", simulator.exotel_url());
    raw("POST", url, &[("authorization", &basic())], serde_json::to_vec(&exotel_text(to)).unwrap()).await
}

#[tokio::test]
async fn statuses_refuse_with_the_vendors_error() {
    let action = FaultAction::HttpStatus { status: 429, retry_after_seconds: Some(7), body: None };
    let simulator = with(action).await;
    let (status, headers, body) = raw_exotel(&simulator, &["+919999000002"]).await.unwrap();
    assert_eq!((status, headers["retry-after"].to_str().unwrap()), (429, "7"));
    let body: Value = serde_json::from_slice(&body).unwrap();
    assert_eq!((&body["http_code"], &body["response"]["error_data"]["code"]), (&json!(429), &json!(429)));
    let (status, body) = sobot_in(&simulator, "POST", "/message/", sobot_in_text("919999000002")).await;
    assert_eq!((status, &body["code"]), (429, &json!(429)));
    assert_eq!((simulator.accepted_total(), simulator.requests_total()), (0, 2));
    assert!(simulator.arrivals().iter().all(|one| (one.messages, one.accepted, one.status) == (1, 0, 429)));
}

#[tokio::test]
async fn answers_that_never_come_or_are_no_answers() {
    let short = Some(30);
    let spoiled: [(FaultAction, u64, &str); 6] = [
        (FaultAction::CloseBeforeAccept, 0, "IncompleteMessage"),
        (FaultAction::CloseAfterAccept, 1, "IncompleteMessage"),
        (FaultAction::ResetAfterAccept, 1, "ConnectionReset"),
        (FaultAction::HangBeforeAccept { for_ms: short }, 0, "IncompleteMessage"),
        (FaultAction::HangAfterAccept { for_ms: short }, 1, "IncompleteMessage"),
        (FaultAction::HalfBody, 1, "IncompleteBody"),
    ];
    for (action, accepted, error) in spoiled {
        let simulator = with(action.clone()).await;
        let failed = raw_exotel(&simulator, &["+919999000002"]).await.unwrap_err();
        let is_expected =
            failed.contains(error) || error == "IncompleteBody" && failed.contains("end of file");
        assert!(is_expected, "{action:?}: {failed}");
        assert_eq!(simulator.accepted_total(), accepted, "{action:?}");
    }
    for (action, status, start) in [
        (FaultAction::GarbageBody, 202, "\u{1f}"),
        (FaultAction::HtmlBody { status: None }, 200, "<html>"),
        (FaultAction::HtmlBody { status: Some(502) }, 502, "<html>"),
        (FaultAction::StatusAfterAccept { status: 500 }, 500, "{"),
    ] {
        let simulator = with(action.clone()).await;
        let (found, _, body) = raw_exotel(&simulator, &["+919999000002"]).await.unwrap();
        assert_eq!(found, status, "{action:?}");
        assert!(body.starts_with(start.as_bytes()), "{action:?}");
        assert_eq!(simulator.accepted_total(), 1, "{action:?}");
    }
}

#[tokio::test]
async fn exotels_items_can_be_missing_extra_or_in_another_order() {
    let numbers = ["+919999000002", "+919999000003", "+919999000004"];
    for action in [
        FaultAction::MissingItems { count: 1 },
        FaultAction::ExtraItems { count: 2 },
        FaultAction::ReorderItems,
    ] {
        let simulator = with(action.clone()).await;
        let (_, answer) = exotel(&simulator, exotel_text(&numbers)).await;
        let items = answer["response"]["whatsapp"]["messages"].as_array().unwrap();
        let sids: Vec<&str> = items.iter().map(|item| item["data"]["sid"].as_str().unwrap()).collect();
        let ids: Vec<String> = simulator.messages().into_iter().map(|message| message.vendor_id).collect();
        let reversed: Vec<&String> = ids.iter().rev().collect();
        match action {
            FaultAction::MissingItems { .. } => assert_eq!(sids, ids[..2]),
            FaultAction::ExtraItems { .. } => assert_eq!((sids.len(), sids[..3] == ids[..]), (5, true)),
            _ => assert_eq!(sids, reversed),
        }
    }
}

#[tokio::test]
async fn answers_can_be_large_throttled_oddly_and_give_one_id_to_all() {
    let simulator = with(FaultAction::LargeBody { bytes: 1_000_000 }).await;
    let (status, _, body) = raw_exotel(&simulator, &["+919999000002"]).await.unwrap();
    assert!(status == 202 && body.len() >= 1_000_000, "{status}, {} bytes", body.len());
    let simulator = with(FaultAction::Throttle { retry_after: "soon".into() }).await;
    let (status, headers, _) = raw_exotel(&simulator, &["+919999000002"]).await.unwrap();
    assert_eq!((status, headers["retry-after"].to_str().unwrap()), (429, "soon"));
    assert_eq!(simulator.accepted_total(), 0);
    let simulator = with(FaultAction::RepeatIds).await;
    let (_, answer) = exotel(&simulator, exotel_text(&["+919999000002", "+919999000003"])).await;
    let items = answer["response"]["whatsapp"]["messages"].as_array().unwrap();
    assert!(items.iter().all(|item| item["data"]["sid"] == "the-same-id"), "{answer}");
    assert_eq!((items.len(), simulator.accepted_total()), (2, 2));
}

#[tokio::test]
async fn codes_for_chosen_recipients() {
    let code = |code| FaultAction::MessageCode { code, message: None };
    let simulator = Simulator::start(SimulatorOptions {
        faults: vec![
            FaultRule::new(code(429)).vendor(Vendor::Exotel).recipient_suffix("7"),
            FaultRule::new(code(30_012)).vendor(Vendor::Exotel).recipients(["+919999000008"]),
            FaultRule::new(code(131_026)).vendor(Vendor::SobotIo).recipient_suffix("7"),
            FaultRule::new(code(131_026)).vendor(Vendor::SobotIn).recipient_suffix("7"),
        ],
        ..SimulatorOptions::default()
    })
    .await
    .unwrap();
    let (status, answer) =
        exotel(&simulator, exotel_text(&["+919999000006", "+919999000007", "+919999000008"])).await;
    let items = &answer["response"]["whatsapp"]["messages"];
    assert_eq!((status, &answer["metadata"]), (202, &json!({"total": 3, "success": 1, "failed": 2})));
    assert_eq!(
        (&items[0]["code"], &items[1]["code"], &items[2]["code"]),
        (&json!(202), &json!(429), &json!(400))
    );
    assert_eq!(items[2]["error_data"]["code"], 30_012);
    assert_eq!(items[2]["error_data"]["message"], "EX_INVALID_RECIPIENT");

    let token = token(&simulator).await;
    let (status, refused) = sobot_io(&simulator, &token, "forword", sobot_io_text("919999000007")).await;
    assert_eq!((status, &refused["ret_code"], &refused["item"]), (200, &json!("131026"), &Value::Null));
    let asked = json!({"page_no": 1, "page_size": 100, "message_status": "9"});
    let (_, records) = sobot_io(&simulator, &token, "send_record_list", asked).await;
    assert_eq!((&records["total_count"], records["items"][0].get("messageid")), (&json!(1), None));
    let (status, refused) = sobot_in(&simulator, "POST", "/message/", sobot_in_text("919999000007")).await;
    assert_eq!((status, &refused["code"]), (400, &json!(131_026)));
    assert_eq!(simulator.accepted_total(), 1);
    assert_eq!(simulator.faults().iter().map(|(_, fired)| *fired).sum::<u64>(), 4);
}

#[tokio::test]
async fn a_chosen_recipient_fails_by_callback() {
    let faults = vec![FaultRule::new(FaultAction::CallbackCode { code: 131_049 }).recipient_suffix("7")];
    let callbacks = CallbackOptions { delay_ms: RangeMs::fixed(1), ..CallbackOptions::default() };
    let options = SimulatorOptions { faults, callbacks, ..SimulatorOptions::default() };
    let simulator = Simulator::start(options).await.unwrap();
    let receiver = Receiver::start().await;
    simulator.set_callback_urls([("sobot_io", &receiver.url)]);
    let token = token(&simulator).await;
    for to in ["919999000006", "919999000007"] {
        let (_, answer) = sobot_io(&simulator, &token, "forword", sobot_io_text(to)).await;
        assert_eq!(answer["ret_code"], "000000");
    }
    assert!(simulator.wait_until_idle(Duration::from_secs(20)).await);
    let bodies = receiver.bodies();
    let failed: Vec<&Value> = bodies.iter().filter(|body| body["status"] == "failed").collect();
    assert_eq!(failed.len(), 1);
    assert_eq!((&failed[0]["to"], &failed[0]["errorCode"]), (&json!("919999000007"), &json!("131049")));
}

#[tokio::test]
async fn tokens_become_invalid() {
    for token_failure in [TokenFailure::Http401, TokenFailure::RetCode] {
        let faults = vec![FaultRule::new(FaultAction::InvalidateTokens).every_nth(2)];
        let options = SimulatorOptions { faults, token_failure, ..SimulatorOptions::default() };
        let simulator = Simulator::start(options).await.unwrap();
        let first = token(&simulator).await;
        let send =
            async |token: &str| sobot_io(&simulator, token, "forword", sobot_io_text("919999000007")).await;
        assert_eq!(send(&first).await.1["ret_code"], "000000");
        for _ in 0..2 {
            let (status, refused) = send(&first).await;
            assert_eq!(status, if token_failure == TokenFailure::Http401 { 401 } else { 200 });
            assert_ne!(refused["ret_code"], "000000");
            assert!(refused["ret_msg"].as_str().unwrap().contains("token"));
        }
        assert_eq!(send(&token(&simulator).await).await.1["ret_code"], "000000");
        assert_eq!(simulator.accepted_total(), 2);
    }
}

#[tokio::test]
async fn single_tokens_and_faults_of_other_calls() {
    let unavailable = FaultAction::HttpStatus { status: 503, retry_after_seconds: None, body: None };
    let faults = [Endpoint::Token, Endpoint::Records, Endpoint::Templates]
        .map(|endpoint| FaultRule::new(unavailable.clone()).endpoint(endpoint).after(2).limit(1));
    let options =
        SimulatorOptions { single_token: true, faults: faults.to_vec(), ..SimulatorOptions::default() };
    let simulator = Simulator::start(options).await.unwrap();
    let (old, new) = (token(&simulator).await, token(&simulator).await);
    let (status, _) = sobot_io(&simulator, &old, "forword", sobot_io_text("919999000007")).await;
    assert_eq!(status, 401);
    let (status, _) = sobot_io(&simulator, &new, "forword", sobot_io_text("919999000007")).await;
    assert_eq!(status, 200);
    let url = format!("{}/api/get_token?appid=x", simulator.sobot_io_url());
    assert_eq!(call("GET", url, &[], Value::Null).await.0, 503);
    let statuses = async |path: &str, body: Value| {
        let mut statuses = Vec::new();
        for _ in 0..4 {
            statuses.push(sobot_io(&simulator, &new, path, body.clone()).await.0);
        }
        statuses
    };
    assert_eq!(statuses("templateList?wabaid=1", Value::Null).await, [200, 200, 503, 200]);
    let page = json!({"page_no": 1, "page_size": 1});
    assert_eq!(statuses("send_record_list", page).await, [200, 200, 503, 200]);
}

#[tokio::test]
async fn latency_and_limits() {
    let options = SimulatorOptions {
        latency_ms: BTreeMap::from([(Vendor::SobotIn, RangeMs::fixed(40))]),
        requests_per_second: BTreeMap::from([(Vendor::Exotel, 3)]),
        ..SimulatorOptions::default()
    };
    let simulator = Simulator::start(options).await.unwrap();
    let started = Instant::now();
    sobot_in(&simulator, "POST", "/message/", sobot_in_text("919999000007")).await;
    assert!(started.elapsed() >= Duration::from_millis(40));
    let mut refused = 0;
    for _ in 0..20 {
        refused += u32::from(exotel(&simulator, exotel_text(&["+919999000002"])).await.0 == 429);
    }
    assert!(refused > 0, "three requests a second were allowed, twenty arrived");
    assert_eq!(simulator.accepted_total_of(Vendor::Exotel) + u64::from(refused), 20);
}

#[tokio::test]
async fn a_request_that_came_whole_is_worked_on_though_its_caller_has_gone() {
    let simulator = Simulator::start(SimulatorOptions::default()).await.unwrap();
    for number in 0..40 {
        let body = sobot_in_text(&format!("9199990000{number:02}")).to_string();
        let head = format!(
            "POST /message/ HTTP/1.1\r\nhost: vendor\r\nx-api-key: inbox-access-key\r\nx-api-secret: \
             inbox-secret-key\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n",
            body.len()
        );
        let mut caller = TcpStream::connect(simulator.address()).await.unwrap();
        caller.write_all((head + &body).as_bytes()).await.unwrap();
        caller.shutdown().await.unwrap();
        drop(caller);
    }
    assert!(simulator.wait_for_accepted(40, Duration::from_secs(20)).await, "{}", simulator.accepted_total());
}

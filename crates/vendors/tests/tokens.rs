//! sobot_io's one token: fetched once, shared, renewed in advance, and once when it is refused.

#[cfg(test)]
#[path = "support/mod.rs"]
mod support;

use std::{
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
    time::Duration,
};

use chrono::TimeDelta;
use model::{Clock, verdict::Verdict};
use support::{FACTS, Reply, Server, account, account_with, answer, messages, now};
use vendors::{Account, Vendor};

const SENT: &str = r#"{"item":{"messages":[{"id":"m"}]},"ret_code":"000000"}"#;

fn token(text: &str, expires_in: &str) -> Reply {
    answer(
        200,
        "",
        &format!(r#"{{"item":{{"token":"{text}","expires_in":{expires_in}}},"ret_code":"000000"}}"#),
    )
}

fn sent() -> Reply {
    answer(200, "", SENT)
}

async fn send(account: &Account) -> Verdict {
    account.send(&FACTS, &messages(Vendor::SobotIo, 1)).await.remove(0)
}

/// What was called, in order: `get` for a token, else the token that the call carried.
fn calls(server: &Server) -> Vec<String> {
    let call = |head: &str| {
        let token = head.lines().find_map(|line| line.strip_prefix("token: "));
        token.unwrap_or("get").to_owned()
    };
    server.seen().iter().map(|seen| call(&seen.head)).collect()
}

fn code(verdict: &Verdict) -> (&'static str, &str, &'static str) {
    match verdict {
        Verdict::Accepted { vendor_id } => ("accepted", vendor_id, ""),
        Verdict::Refused(failure) => ("refused", &failure.code, failure.rule.disposition.as_str()),
        Verdict::Unknown(failure) => ("unknown", &failure.code, ""),
        Verdict::Split(failure) => ("split", &failure.code, ""),
    }
}

#[tokio::test]
async fn one_token_serves_all_calls() {
    let server = Server::start(vec![token("t1", "\"86400\""), sent()]).await;
    let account = Arc::new(account(Vendor::SobotIo, &server.url));
    let sends: Vec<_> = (0..8)
        .map(|_| {
            let account = account.clone();
            tokio::spawn(async move { send(&account).await })
        })
        .collect();
    for send in sends {
        assert_eq!(code(&send.await.unwrap()).0, "accepted");
    }
    let calls = calls(&server);
    assert_eq!(calls.iter().filter(|call| *call == "get").count(), 1, "{calls:?}");
    assert_eq!(calls.iter().filter(|call| *call == "t1").count(), 8, "{calls:?}");
}

#[tokio::test]
async fn it_is_renewed_before_it_ends_and_a_failed_renewal_keeps_the_old_one() {
    let passed = Arc::new(AtomicI64::new(0));
    let clock = {
        let passed = passed.clone();
        Clock::new(move || now() + TimeDelta::seconds(passed.load(Ordering::Relaxed)))
    };
    let replies = vec![
        token("t1", "1000"),
        sent(),
        sent(),
        answer(500, "", ""),
        sent(),
        sent(),
        token("t2", "1000"),
        sent(),
        token("t3", "1000"),
        sent(),
    ];
    let server = Server::start(replies).await;
    let account = account_with(Vendor::SobotIo, &server.url, clock, Duration::from_secs(5));
    for (at, expected) in [
        (0, vec!["get", "t1"]),
        (749, vec!["t1"]),
        // Its renewal fails: the old one serves, and for 30 s nobody asks again.
        (751, vec!["get", "t1"]),
        (760, vec!["t1"]),
        (790, vec!["get", "t2"]),
        // Long after its end.
        (5000, vec!["get", "t3"]),
    ] {
        let before = calls(&server).len();
        passed.store(at, Ordering::Relaxed);
        assert_eq!(code(&send(&account).await).0, "accepted", "at {at}");
        assert_eq!(calls(&server)[before..], expected, "at {at}");
    }
}

#[tokio::test]
async fn a_refused_token_is_renewed_once_and_the_call_repeated_once() {
    let refusals = [
        answer(401, "", ""),
        answer(403, "", "<html>"),
        answer(200, "", r#"{"ret_code":"900002","ret_msg":"Token is invalid"}"#),
        answer(200, "", r#"{"ret_code":190,"ret_msg":"expired"}"#),
        answer(200, "", r#"{"ret_code":"0","ret_msg":"auth"}"#),
        answer(200, "", r#"{"ret_code":"299","ret_msg":"permission"}"#),
    ];
    for refusal in refusals {
        let server = Server::start(vec![token("t1", "86400"), refusal, token("t2", "86400"), sent()]).await;
        let account = account(Vendor::SobotIo, &server.url);
        assert_eq!(code(&send(&account).await), ("accepted", "m", ""));
        assert_eq!(calls(&server), ["get", "t1", "get", "t2"]);
    }
}

#[tokio::test]
async fn an_answer_that_may_hide_a_sent_message_is_not_repeated() {
    let id = r#""item":{"messages":[{"id":"m"}]}"#;
    let cases = [
        // The code is known, so that its text decides nothing.
        (
            200,
            r#"{"ret_code":"999998","ret_msg":"Unexpected token \u2039"}"#.to_owned(),
            ("unknown", "999998", ""),
        ),
        (400, r#"{"ret_code":999998,"ret_msg":"token"}"#.to_owned(), ("unknown", "999998", "")),
        (200, r#"{"ret_code":"131026","ret_msg":"token"}"#.to_owned(), ("refused", "131026", "Suppress")),
        // Something bears an id.
        (
            200,
            format!(r#"{{{id},"ret_code":"900002","ret_msg":"Token is invalid"}}"#),
            ("unknown", "900002", ""),
        ),
        (200, format!(r#"{{{id},"ret_code":"190"}}"#), ("unknown", "190", "")),
        (401, format!(r#"{{{id},"ret_code":"190"}}"#), ("unknown", "http_401", "")),
        (403, format!(r#"{{{id},"ret_code":"000000"}}"#), ("unknown", "http_403", "")),
        (401, r#"{"ret_code":"000000"}"#.to_owned(), ("unknown", "http_401", "")),
        (403, r#"{"ret_code":"999998"}"#.to_owned(), ("unknown", "http_403", "")),
    ];
    for (status, body, expected) in cases {
        let server = Server::start(vec![token("t1", "86400"), answer(status, "", &body), sent()]).await;
        let account = account(Vendor::SobotIo, &server.url);
        assert_eq!(code(&send(&account).await), expected, "{status} {body}");
        assert_eq!(calls(&server), ["get", "t1"], "{status} {body}");
    }
}

#[tokio::test]
async fn a_second_refusal_halts_the_account() {
    let cases = [
        (answer(401, "", ""), "http_401"),
        (answer(200, "", r#"{"ret_code":"900002","ret_msg":"Token is invalid"}"#), "900002"),
        (answer(200, "", r#"{"ret_code":"190","ret_msg":"expired"}"#), "190"),
    ];
    for (refusal, expected) in cases {
        let replies = vec![token("t1", "86400"), refusal.clone(), token("t2", "86400"), refusal];
        let server = Server::start(replies).await;
        let account = account(Vendor::SobotIo, &server.url);
        assert_eq!(code(&send(&account).await), ("refused", expected, "HaltAccount"));
        assert_eq!(calls(&server), ["get", "t1", "get", "t2"]);
    }
}

#[tokio::test]
async fn without_a_token_nothing_is_sent() {
    let cases = [
        (
            answer(200, "", r#"{"ret_code":"900001","ret_msg":"sign is wrong"}"#),
            "token_refused",
            "HaltAccount",
        ),
        (answer(401, "", ""), "http_401", "HaltAccount"),
        (answer(429, "", ""), "http_429", "SlowDown(account)"),
        (answer(500, "", ""), "token_failed", "SlowDown(account)"),
        (answer(200, "", "<html>"), "token_failed", "SlowDown(account)"),
        (answer(200, "", r#"{"ret_code":"000000","item":{}}"#), "token_failed", "SlowDown(account)"),
        (
            answer(200, "", r#"{"ret_code":"2","ret_msg":"service exception"}"#),
            "token_failed",
            "SlowDown(account)",
        ),
        (answer(200, "", r#"{"ret_code":"4","ret_msg":"too many"}"#), "4", "SlowDown(account)"),
        (Reply::CloseAfterReading, "token_failed", "SlowDown(account)"),
        (token("bad\\ntoken", "86400"), "connect_failed", "SlowDown(account)"),
    ];
    for (reply, expected, disposition) in cases {
        let server = Server::start(vec![reply]).await;
        let account = account(Vendor::SobotIo, &server.url);
        assert_eq!(code(&send(&account).await), ("refused", expected, disposition));
        assert_eq!(calls(&server), ["get"]);
    }
}

#[tokio::test]
async fn refresh_and_repeat_share_one_calls_time() {
    let server =
        Server::start(vec![token("t1", "86400"), answer(401, "", ""), token("t2", "86400"), Reply::Hang])
            .await;
    let account = account_with(Vendor::SobotIo, &server.url, support::clock(), Duration::from_millis(400));
    let started = std::time::Instant::now();
    assert_eq!(code(&send(&account).await), ("unknown", "no_answer", ""));
    assert!(started.elapsed() < Duration::from_secs(3), "{:?}", started.elapsed());
}

#[tokio::test]
async fn a_token_that_comes_too_late_leaves_everybody_unsent() {
    let server = Server::start(vec![Reply::Hang]).await;
    let account =
        Arc::new(account_with(Vendor::SobotIo, &server.url, support::clock(), Duration::from_millis(300)));
    let sends: Vec<_> = (0..4)
        .map(|_| {
            let account = account.clone();
            tokio::spawn(async move { send(&account).await })
        })
        .collect();
    for send in sends {
        let verdict = send.await.unwrap();
        assert_eq!(code(&verdict), ("refused", "token_failed", "SlowDown(account)"));
    }
    assert!(calls(&server).iter().all(|call| call == "get"));
}

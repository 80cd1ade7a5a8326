//! What each fault of a call means for the messages in it. A message is accepted, refused or unknown, and nothing else.

#[cfg(test)]
#[path = "support/mod.rs"]
mod support;

use std::time::Duration;

use model::{disposition::MessageFacts, verdict::Verdict};
use support::{
    FACTS, Reply, Server, TOKEN, account, account_with, answer, clock, full_backlog, messages, sample,
};
use vendors::Vendor;

/// A verdict in one line: `refused http_429 SlowDown(account) 7 s`.
fn line(verdict: &Verdict) -> String {
    let (word, failure) = match verdict {
        Verdict::Accepted { vendor_id } => return format!("accepted {vendor_id}"),
        Verdict::Refused(failure) => ("refused", failure),
        Verdict::Unknown(failure) => ("unknown", failure),
        Verdict::Split(failure) => ("split", failure),
    };
    let asked = failure.retry_after.map(|after| format!(" {} s", after.as_secs())).unwrap_or_default();
    match word {
        "refused" => format!("refused {} {}{asked}", failure.code, failure.rule.disposition.as_str()),
        word => format!("{word} {}{asked}", failure.code),
    }
}

async fn lines_with(vendor: Vendor, url: &str, count: usize, facts: &MessageFacts) -> Vec<String> {
    let verdicts = account(vendor, url).send(facts, &messages(vendor, count)).await;
    assert_eq!(verdicts.len(), count, "one verdict per message");
    verdicts.iter().map(line).collect()
}

/// The verdicts on `count` messages of which each call is answered with `reply`.
async fn lines(vendor: Vendor, reply: Reply, count: usize) -> Vec<String> {
    let replies = if vendor == Vendor::SobotIo { vec![answer(200, "", TOKEN), reply] } else { vec![reply] };
    let server = Server::start(replies).await;
    lines_with(vendor, &server.url, count, &FACTS).await
}

async fn one(vendor: Vendor, reply: Reply) -> String {
    lines(vendor, reply, 1).await.remove(0)
}

#[tokio::test]
async fn no_connection_means_not_sent() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let plain = Server::start(vec![Reply::Unasked(b"this is no TLS\r\n\r\n".to_vec())]).await;
    for vendor in Vendor::ALL {
        let refused = lines_with(vendor, &format!("http://{address}"), 1, &FACTS).await;
        assert_eq!(refused, ["refused connect_failed SlowDown(account)"], "{vendor}");
        let nameless = lines_with(vendor, "http://no-such-host.invalid", 1, &FACTS).await;
        assert_eq!(nameless, ["refused connect_failed SlowDown(account)"], "{vendor}");
    }
    let tls = lines_with(Vendor::Exotel, &plain.url.replace("http:", "https:"), 2, &FACTS).await;
    assert_eq!(tls, ["refused tls_failed SlowDown(account)"; 2]);
}

#[tokio::test]
async fn time_that_runs_out_before_the_connection_stands_means_not_sent() {
    let (url, _listener, _queue) = full_backlog().await;
    for vendor in Vendor::ALL {
        // The time for connecting, and the time for the whole call.
        for (total, is_short) in [(Duration::from_secs(5), false), (Duration::from_millis(300), true)] {
            let account = account_with(vendor, &url, clock(), total);
            let verdicts = account.send(&FACTS, &messages(vendor, 1)).await;
            let lines: Vec<String> = verdicts.iter().map(line).collect();
            // A token is fetched first, by the general client.
            let code = if is_short && vendor == Vendor::SobotIo { "token_failed" } else { "connect_failed" };
            assert_eq!(lines, [format!("refused {code} SlowDown(account)")], "{vendor} {total:?}");
        }
    }
}

#[tokio::test]
async fn whatever_happens_after_the_connection_stood_is_unknown() {
    let half_headers = b"HTTP/1.1 202 Accepted\r\nContent-Le".to_vec();
    let half_body = b"HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n{\"request_id\":".to_vec();
    let half_chunk = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n50\r\n{\"data\":".to_vec();
    let cases = [
        ("closed before it was read", Reply::CloseBeforeReading, "unknown connection_lost"),
        ("reset before it was read", Reply::ResetBeforeReading, "unknown connection_lost"),
        ("closed after it was read", Reply::CloseAfterReading, "unknown connection_lost"),
        ("reset after it was read", Reply::ResetAfterReading, "unknown connection_lost"),
        ("half of the headers", Reply::Raw(half_headers), "unknown connection_lost"),
        ("half of the body", Reply::Raw(half_body), "unknown connection_lost"),
        ("half of a chunk", Reply::Raw(half_chunk), "unknown connection_lost"),
        ("no HTTP", Reply::Raw(b"\x00\x01garbage\r\n\r\n".to_vec()), "unknown connection_lost"),
        (
            "HTML",
            answer(200, "Content-Type: text/html\r\n", "<html>Welcome</html>"),
            "unknown unreadable_answer",
        ),
        ("nothing", answer(200, "", ""), "unknown unreadable_answer"),
        ("half of a JSON", answer(200, "", r#"{"data":{"id":"#), "unknown unreadable_answer"),
        ("500", answer(500, "", "{}"), "unknown http_500"),
        ("502 HTML", answer(502, "", "<html>Bad Gateway</html>"), "unknown http_502"),
        ("503 asking for time", answer(503, "Retry-After: 30\r\n", ""), "unknown http_503 30 s"),
        ("504", answer(504, "", ""), "unknown http_504"),
        ("408 of a proxy", answer(408, "", ""), "unknown http_408"),
        ("302", answer(302, "Location: http://127.0.0.1:1/\r\n", ""), "unknown http_302"),
    ];
    for vendor in Vendor::ALL {
        for (name, reply, expected) in &cases {
            assert_eq!(one(vendor, reply.clone()).await, *expected, "{vendor}: {name}");
        }
        let large = answer(200, "", &"x".repeat(1024 * 1024 + 1));
        assert_eq!(one(vendor, large).await, "unknown answer_too_large", "{vendor}");
        let endless =
            Reply::Raw([b"HTTP/1.1 200 OK\r\n\r\n".as_slice(), &vec![b' '; 3 * 1024 * 1024]].concat());
        assert_eq!(one(vendor, endless).await, "unknown answer_too_large", "{vendor}");
    }
    let fifty_megabytes = answer(200, "", &"x".repeat(50 * 1024 * 1024));
    assert_eq!(one(Vendor::SobotIn, fifty_megabytes.clone()).await, "unknown answer_too_large");
    assert_eq!(lines(Vendor::Exotel, fifty_megabytes, 2).await, ["unknown answer_too_large"; 2]);
    let batch = answer(202, "", &"x".repeat(4 * 1024 * 1024 + 1));
    assert_eq!(lines(Vendor::Exotel, batch, 2).await, ["unknown answer_too_large"; 2]);
}

#[tokio::test]
async fn no_answer_in_time_is_unknown() {
    let drip = Reply::Drip(b"HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n{".to_vec());
    for slow in [Reply::Hang, drip] {
        for vendor in Vendor::ALL {
            let first = if vendor == Vendor::SobotIo { answer(200, "", TOKEN) } else { slow.clone() };
            let server = Server::start(vec![first, slow.clone()]).await;
            let account = account_with(vendor, &server.url, clock(), Duration::from_millis(300));
            let began = tokio::time::Instant::now();
            let verdicts = account.send(&FACTS, &messages(vendor, 1)).await;
            assert_eq!(verdicts.iter().map(line).collect::<Vec<_>>(), ["unknown no_answer"], "{vendor}");
            assert!(began.elapsed() < Duration::from_secs(3), "a byte now and then is no reason to wait");
        }
    }
}

#[tokio::test]
async fn throttling_names_the_time_that_was_asked_for_within_bounds() {
    let cases = [
        ("", ""),
        ("Retry-After: 7\r\n", " 7 s"),
        ("Retry-After: 0\r\n", " 1 s"),
        ("Retry-After: 1.5\r\n", " 2 s"),
        ("Retry-After: 86400\r\n", " 3600 s"),
        ("Retry-After: 99999999999999999999999\r\n", " 3600 s"),
        ("Retry-After: 1e400\r\n", ""),
        ("Retry-After: NaN\r\n", ""),
        ("Retry-After: Fri, 31 Dec 9999 23:59:59 GMT\r\n", " 3600 s"),
        ("Retry-After: Tue, 31 Feb 2026 09:02:00 GMT\r\n", ""),
        ("Retry-After: 7, 8\r\n", ""),
        ("Retry-After:\r\n", ""),
        // The clock of the tests stands at 09:00:00.
        ("Retry-After: Tue, 01 Dec 2026 09:02:00 GMT\r\n", " 120 s"),
        ("Retry-After: Tue, 01 Dec 2026 08:00:00 GMT\r\n", " 1 s"),
        ("Retry-After: soon\r\n", ""),
        ("Retry-After: -5\r\n", ""),
    ];
    for vendor in Vendor::ALL {
        for (header, asked) in cases {
            let expected = format!("refused http_429 SlowDown(account){asked}");
            assert_eq!(one(vendor, answer(429, header, "")).await, expected, "{vendor} {header}");
        }
    }
}

#[tokio::test]
async fn documented_and_plain_refusals_are_refusals() {
    let cases = [
        (Vendor::Exotel, 400, "refused http_400 FailMessage"),
        (Vendor::Exotel, 401, "refused http_401 HaltAccount"),
        (Vendor::Exotel, 402, "refused http_402 HaltAccount"),
        (Vendor::Exotel, 403, "refused http_403 HaltAccount"),
        (Vendor::Exotel, 404, "refused http_404 HaltAccount"),
        (Vendor::Exotel, 405, "refused http_405 HaltAccount"),
        (Vendor::Exotel, 301, "refused http_301 HaltAccount"),
        (Vendor::Exotel, 415, "refused http_415 FailMessage"),
        (Vendor::SobotIn, 400, "refused http_400 FailMessage"),
        (Vendor::SobotIn, 401, "refused http_401 HaltAccount"),
        (Vendor::SobotIn, 403, "refused http_403 HaltAccount"),
        (Vendor::SobotIn, 404, "refused http_404 HaltAccount"),
        (Vendor::SobotIo, 400, "refused http_400 FailMessage"),
        (Vendor::SobotIo, 404, "refused http_404 HaltAccount"),
    ];
    for (vendor, status, expected) in cases {
        assert_eq!(one(vendor, answer(status, "", "<html></html>")).await, expected, "{vendor} {status}");
    }
}

#[tokio::test]
async fn exotels_answer_is_read_item_by_item() {
    let printed = sample(Vendor::Exotel, "answer_202_as_printed.json");
    assert_eq!(
        lines(Vendor::Exotel, answer(202, "", &printed), 2).await,
        ["accepted 2FdiiEQUosckPhpZfuVwfjxiSlc16a4", "accepted 2FdiiDU5hAK8tW0Atq340Ayngpx16a4"]
    );
    let mixed = sample(Vendor::Exotel, "answer_202_mixed.json");
    assert_eq!(
        lines(Vendor::Exotel, answer(202, "Retry-After: 9\r\n", &mixed), 10).await,
        [
            "accepted sid-1",
            "accepted sid-2",
            "unknown missing_in_answer",
            "refused 400 FailMessage 9 s",
            "refused 401 HaltAccount 9 s",
            "refused 402 HaltAccount 9 s",
            "refused 429 SlowDown(account) 9 s",
            "refused 503 RetrySoon 9 s",
            "refused 30024 HaltTemplate 9 s",
            "refused 30012 Suppress 9 s",
        ]
    );
}

#[tokio::test]
async fn exotels_items_are_never_shifted_onto_other_messages() {
    let items =
        |items: &str| answer(202, "", &format!(r#"{{"response":{{"whatsapp":{{"messages":[{items}]}}}}}}"#));
    let ok = |sid: &str| format!(r#"{{"code":202,"status":"success","data":{{"sid":"{sid}"}}}}"#);
    let missing = ["unknown missing_in_answer"; 3];
    assert_eq!(lines(Vendor::Exotel, items(&[ok("a"), ok("b")].join(",")), 3).await, missing);
    assert_eq!(
        lines(Vendor::Exotel, items(&[ok("a"), ok("b"), ok("c"), ok("d")].join(",")), 3).await,
        missing
    );
    assert_eq!(lines(Vendor::Exotel, items(""), 3).await, missing);
    let twice = [ok("a"), ok("b"), ok("a")].join(",");
    assert_eq!(
        lines(Vendor::Exotel, items(&twice), 3).await,
        ["unknown duplicate_in_answer", "accepted b", "unknown duplicate_in_answer"]
    );
    let strange = [
        r#"{"status":"success","data":{"sid":17}}"#,
        "null",
        r#"{"code":400,"error_data":{"code":30002,"message":"EX_MESSAGE_DELIVERED"}}"#,
    ];
    assert_eq!(
        lines(Vendor::Exotel, items(&strange.join(",")), 3).await,
        ["accepted 17", "unknown missing_in_answer", "unknown missing_in_answer"]
    );
    let unreadable = answer(202, "", r#"{"response":{"whatsapp":null}}"#);
    assert_eq!(lines(Vendor::Exotel, unreadable, 3).await, ["unknown unreadable_answer"; 3]);
}

#[tokio::test]
async fn a_refused_batch_is_split_until_the_bad_message_stands_alone() {
    let said = r#"{"http_code":400,"response":{"error_data":{"message":"to is invalid: +919876543210"}}}"#;
    assert_eq!(lines(Vendor::Exotel, answer(400, "", said), 3).await, ["split http_400"; 3]);
    assert_eq!(one(Vendor::Exotel, answer(400, "", said)).await, "refused http_400 FailMessage");
    let named = r#"{"response":{"whatsapp":{"messages":[{"code":400,"error_data":{"code":30012,"message":"EX_INVALID_RECIPIENT"}}]}}}"#;
    assert_eq!(one(Vendor::Exotel, answer(400, "", named)).await, "refused 30012 Suppress");
    assert_eq!(
        lines(Vendor::Exotel, answer(429, "", ""), 3).await,
        ["refused http_429 SlowDown(account)"; 3]
    );
    assert_eq!(lines(Vendor::Exotel, answer(500, "", ""), 3).await, ["unknown http_500"; 3]);
}

#[tokio::test]
async fn sobot_ios_answer_is_judged_by_its_code() {
    let template = sample(Vendor::SobotIo, "answer_200_template.json");
    let id = "accepted wamid.HBgNODYxODIxMDMzNTIzNBUCABEYEkQ4RTJGRUI0QTA3MDFEMDY4RAA=";
    let said = |code: &str| format!(r#"{{"item":null,"ret_code":{code},"ret_msg":"no"}}"#);
    let id_item = r#""item":{"messages":[{"id":"m"}]}"#;
    let cases = [
        (template, id),
        (sample(Vendor::SobotIo, "answer_200_flow.json"), "accepted gHTRETHRTHTRTH-av4Y"),
        (sample(Vendor::SobotIo, "answer_200_refused.json"), "refused 131026 Suppress"),
        (said("\"131026\""), "refused 131026 Suppress"),
        (said("\"4\""), "refused 4 SlowDown(account)"),
        (said("131056"), "refused 131056 RetryPair"),
        (said("131047"), "refused 131047 HaltTask"),
        (said("\"999998\""), "unknown 999998"),
        (said("\"999997\""), "refused 999997 HaltAccount"),
        (said("\"777777\""), "refused 777777 FailRecipient"),
        (said("\"000000\""), "unknown missing_in_answer"),
        (format!(r#"{{{id_item},"ret_code":0}}"#), "accepted m"),
        (format!(r#"{{{id_item},"ret_code":"131026","ret_msg":"no"}}"#), "unknown 131026"),
        (r#"{"ret_msg":"success"}"#.to_owned(), "unknown unreadable_answer"),
        ("[]".to_owned(), "unknown unreadable_answer"),
    ];
    for (body, expected) in cases {
        assert_eq!(one(Vendor::SobotIo, answer(200, "", &body)).await, expected, "{body}");
    }
    assert_eq!(one(Vendor::SobotIo, answer(400, "", &said("132001"))).await, "refused 132001 HaltTemplate");
    assert_eq!(one(Vendor::SobotIo, answer(500, "", &said("132001"))).await, "unknown http_500");
}

#[tokio::test]
async fn sobot_ins_answer_is_judged_by_its_code_and_its_status() {
    let sent = sample(Vendor::SobotIn, "answer_200_sent.json");
    let id = "accepted wamid.HBgMOTE5OTcwNTg1NTU2FQIAERgSQjhGRDQ2REFBQjAxMjJBM0Q1AA==";
    let wrong = sample(Vendor::SobotIn, "answer_400_invalid_number.json");
    let cases = [
        (200, sent.as_str(), id),
        (201, sent.as_str(), id),
        (400, wrong.as_str(), "refused http_400 FailRecipient"),
        (200, wrong.as_str(), "refused http_400 FailRecipient"),
        (400, r#"{"message":"Template not found","code":400}"#, "refused http_400 HaltTask"),
        (400, r#"{"message":"Parameters count mismatch","code":400}"#, "refused http_400 HaltTask"),
        (400, r#"{"message":"Something else","code":"400"}"#, "refused http_400 FailMessage"),
        (200, r#"{"message":"Unauthorized","code":401}"#, "refused http_401 HaltAccount"),
        (200, r#"{"message":"slow","code":429}"#, "refused http_429 SlowDown(account)"),
        (200, r#"{"message":"oops","code":500}"#, "unknown http_500"),
        (400, r#"{"error":{"code":131047,"message":"Re-engagement"}}"#, "refused 131047 HaltTask"),
        (200, r#"{"message":"ok","code":200}"#, "unknown missing_in_answer"),
        (400, r#"{"data":{"id":"x"},"code":400}"#, "unknown http_400"),
        (500, r#"{"error":{"code":131047}}"#, "unknown http_500"),
    ];
    for (status, body, expected) in cases {
        assert_eq!(one(Vendor::SobotIn, answer(status, "", body)).await, expected, "{status} {body}");
    }
}

#[tokio::test]
async fn the_calls_are_those_of_the_documents() {
    let server = Server::start(vec![answer(500, "", "")]).await;
    lines_with(Vendor::Exotel, &server.url, 2, &FACTS).await;
    let seen = server.seen().remove(0);
    assert!(seen.head.starts_with("POST /v2/accounts/acme/messages HTTP/1.1"), "{}", seen.head);
    // base64 of key:token
    assert!(seen.head.contains("authorization: Basic a2V5OnRva2Vu"), "{}", seen.head);
    let body: serde_json::Value = serde_json::from_str(&seen.body).unwrap();
    assert_eq!(body["status_callback"], "http://127.0.0.1:8080/webhooks/main/hook");
    let second = &body["whatsapp"]["messages"][1];
    assert_eq!((&second["to"], &second["custom_data"]), (&"+919876543211".into(), &"c1.7.12.1".into()));

    let server = Server::start(vec![answer(500, "", "")]).await;
    lines_with(Vendor::SobotIn, &server.url, 1, &FACTS).await;
    let seen = server.seen().remove(0);
    assert!(seen.head.starts_with("POST /message/ HTTP/1.1"), "{}", seen.head);
    assert!(
        seen.head.contains("x-api-key: access") && seen.head.contains("x-api-secret: secret"),
        "{}",
        seen.head
    );
    assert!(seen.head.contains("content-type: application/json"), "{}", seen.head);
    assert_eq!(seen.body, r#"{"customer_number":"919876543210"}"#);

    let server = Server::start(vec![answer(200, "", TOKEN), answer(500, "", "")]).await;
    lines_with(Vendor::SobotIo, &server.url, 1, &FACTS).await;
    let seen = server.seen();
    // md5("1" + "1796115600" + "2")
    let query = "appid=1&create_time=1796115600&sign=";
    assert!(seen[0].head.starts_with(&format!("GET /api/get_token?{query}")), "{}", seen[0].head);
    assert!(
        seen[1].head.starts_with("POST /chat-whatsapp/api/whatsapp/forword HTTP/1.1"),
        "{}",
        seen[1].head
    );
    assert!(seen[1].head.contains("token: 4ac37cb2e9c740dba4b75a34d5358802"), "{}", seen[1].head);
}

#[tokio::test]
async fn no_reason_holds_a_number_or_a_secret() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    drop(listener);
    let refusing =
        Server::start(vec![answer(400, "", r#"{"message":"bad number 919876543210","code":400}"#)]).await;
    for vendor in Vendor::ALL {
        for url in [&url, &refusing.url] {
            for verdict in account(vendor, url).send(&FACTS, &messages(vendor, 1)).await {
                let (Verdict::Refused(failure) | Verdict::Unknown(failure)) = verdict else {
                    panic!("{vendor}: {verdict:?}")
                };
                let shown = format!("{failure:?}");
                assert!(
                    !shown.contains("9876543") && !shown.contains("sign=") && !shown.contains("token="),
                    "{shown}"
                );
                assert!(!failure.reason.is_empty(), "{failure:?}");
            }
        }
    }
}

#[tokio::test]
async fn a_check_sends_nothing_and_says_what_it_tried() {
    let good = [
        (Vendor::Exotel, answer(400, "", "{}")),
        (Vendor::SobotIo, answer(200, "", TOKEN)),
        (Vendor::SobotIn, answer(200, "", r#"{"count":0,"code":200,"data":[]}"#)),
    ];
    for (vendor, reply) in good {
        let server = Server::start(vec![reply]).await;
        let said = account(vendor, &server.url).check().await.unwrap();
        assert!(said.contains("good"), "{said}");
        let seen = server.seen();
        assert_eq!(seen.len(), 1);
        assert!(!seen[0].body.contains("from"), "{}", seen[0].body);
    }
    let token_refused = r#"{"ret_code":"900001","ret_msg":"appid is wrong"}"#;
    let bad = [
        (Vendor::Exotel, answer(401, "", "")),
        (Vendor::Exotel, answer(404, "", "")),
        (Vendor::SobotIo, answer(200, "", token_refused)),
        (Vendor::SobotIn, answer(403, "", "")),
        (Vendor::SobotIn, answer(200, "", r#"{"message":"no","code":401}"#)),
    ];
    for (vendor, reply) in bad {
        let server = Server::start(vec![reply]).await;
        let error = account(vendor, &server.url).check().await.unwrap_err();
        assert!(error.contains("Check ") && !error.contains("wait"), "{error}");
    }
}

#[tokio::test]
async fn no_verdict_holds_what_a_database_cannot_keep() {
    let long = format!("\\u0000a\\u0000{}", "b".repeat(2000));
    let answers = [
        (
            Vendor::Exotel,
            format!(
                r#"{{"response":{{"whatsapp":{{"messages":[{{"code":202,"data":{{"sid":"{long}"}}}}]}}}}}}"#
            ),
        ),
        (
            Vendor::Exotel,
            format!(
                r#"{{"response":{{"whatsapp":{{"messages":[{{"code":"{long}","error_data":{{"message":"{long}"}}}}]}}}}}}"#
            ),
        ),
        (Vendor::SobotIo, format!(r#"{{"ret_code":"000000","item":{{"messages":[{{"id":"{long}"}}]}}}}"#)),
        (Vendor::SobotIo, format!(r#"{{"ret_code":"{long}","ret_msg":"{long}"}}"#)),
        (Vendor::SobotIn, format!(r#"{{"code":200,"data":{{"id":"{long}"}}}}"#)),
        (Vendor::SobotIn, format!(r#"{{"error":{{"code":"{long}","message":"{long}"}}}}"#)),
    ];
    for (vendor, body) in answers {
        let first = if vendor == Vendor::SobotIo { vec![answer(200, "", TOKEN)] } else { Vec::new() };
        let replies = first.into_iter().chain([answer(200, "", &body)]).collect();
        let server = Server::start(replies).await;
        let texts = match account(vendor, &server.url).send(&FACTS, &messages(vendor, 1)).await.remove(0) {
            Verdict::Accepted { vendor_id } => vec![(vendor_id, 512)],
            Verdict::Refused(failure) | Verdict::Unknown(failure) | Verdict::Split(failure) => {
                assert!(failure.reason.chars().count() <= 500, "{}", failure.reason);
                assert!(!failure.reason.contains('\0'), "{}", failure.reason);
                vec![(failure.code, 64)]
            }
        };
        for (text, length) in texts {
            assert_eq!(text, format!("a{}", "b".repeat(length - 1)), "{vendor}");
        }
    }
}

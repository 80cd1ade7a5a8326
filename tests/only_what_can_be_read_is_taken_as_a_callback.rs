//! A callback is refused when its address is wrong (404), when it cannot be read (400, naming why) and when it is too large
//! (413); what is well-formed is kept, however late it comes and whomever it speaks of, and moves nobody but the one it means.

use std::{collections::HashMap, sync::LazyLock};

use api::Counts;
use reqwest::{Body, Client, StatusCode};
use simulator::Vendor;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

use crate::harness::{
    Account, People, World,
    callbacks::{Come, Silent, callback, everybody, exotel_report},
    wait_until, within,
};

/// The most that a callback may have.
const LIMIT_BYTES: usize = 3 * 1024 * 1024;
const HOUR_MS: i64 = 3_600_000;

/// The status and the detail of an answer.
async fn post(url: &str, body: impl Into<Body>) -> (StatusCode, String) {
    // Made once: a client takes its time.
    static CLIENT: LazyLock<Client> =
        LazyLock::new(|| Client::builder().pool_max_idle_per_host(0).build().unwrap());
    let answer = CLIENT.post(url).body(body).send().await.unwrap();
    let status = answer.status();
    let text = answer.text().await.unwrap();
    let detail = serde_json::from_str::<serde_json::Value>(&text).ok();
    (status, detail.and_then(|problem| Some(problem["detail"].as_str()?.to_owned())).unwrap_or(text))
}

/// Writes all of a request before it reads a byte, as plain clients do; the first line of the answer.
async fn write_whole(world: &World, path: &str, body: &[u8]) -> String {
    let address = world.url("").trim_start_matches("http://").to_owned();
    let mut stream = TcpStream::connect(address).await.unwrap();
    let head = format!("POST {path} HTTP/1.1\r\nhost: test\r\ncontent-length: {}\r\n\r\n", body.len());
    stream.write_all(head.as_bytes()).await.unwrap();
    stream.write_all(body).await.expect("the connection lasts until the body is written");
    let mut answer = vec![0; 1_000];
    let read = stream.read(&mut answer).await.unwrap();
    String::from_utf8_lossy(&answer[..read]).lines().next().unwrap_or_default().to_owned()
}

async fn metric(world: &World, line_begins: &str) -> Option<f64> {
    let text = reqwest::get(world.url("/metrics")).await.unwrap().text().await.unwrap();
    text.lines().find_map(|line| line.strip_prefix(line_begins)?.trim().parse().ok())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_address_is_not_found() {
    let world = World::new().start().await;
    let good = r#"{"id":"1","status":"read","timestamp":"1795000000"}"#;
    let [first, second] = [world.account(0).clone(), world.account(1).clone()];
    let (token, others) = (first.webhook_token(), second.webhook_token());
    let flipped = token.replace("token", "tokem");
    let wrong = [
        format!("/webhooks/{}/{flipped}", first.name),
        format!("/webhooks/{}/{others}", first.name),
        format!("/webhooks/{}/{token}x", first.name),
        format!("/webhooks/{}/{}", first.name, &token[..token.len() - 1]),
        format!("/webhooks/{}/{}", first.name, token.to_uppercase()),
        format!("/webhooks/{}/", first.name),
        format!("/webhooks/{}", first.name),
        format!("/webhooks/nobody/{token}"),
        format!("/webhooks//{token}"),
        format!("/webhooks/{}/{token}/more", first.name),
        format!("/webhooks/{}/%00{token}", first.name),
        format!("/webhooks/{}/%FF%FE", first.name),
        format!("/webhooks/{}/{}", first.name, "x".repeat(10_000)),
    ];
    for path in &wrong {
        let (status, detail) = post(&world.url(path), good).await;
        assert_eq!(status, StatusCode::NOT_FOUND, "{path}: {detail}");
        let is_told = |token: &String| detail.contains(token) && !path.contains(token);
        assert!(!is_told(&token) && !is_told(&others), "a token is told: {detail}");
        if path.matches('/').count() != 3 {
            continue;
        }
        // Nobody can tell by the answer which accounts there are.
        let large = vec![b' '; LIMIT_BYTES + 1];
        assert_eq!(post(&world.url(path), large).await.0, StatusCode::NOT_FOUND, "{path}");
    }
    for number in 0..3 {
        assert_eq!(world.stored_callbacks(number).await, HashMap::new());
    }
}

/// What no vendor's callback can be, and a word of the reason that is told.
fn malformed() -> Vec<(Vec<u8>, &'static str)> {
    let text = |text: &str| text.as_bytes().to_vec();
    let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
    vec![
        (text(""), "empty"),
        (text(" \r\n\t "), "empty"),
        (text("not json"), "no JSON"),
        (text("<html><body>502 Bad Gateway</body></html>"), "no JSON"),
        (text("{"), "no JSON"),
        (text(r#"{"id":"1","status":"re"#), "no JSON"),
        (text(r#"{"id":"1"} {"id":"2"}"#), "no JSON"),
        (text(r#"{"id":"1","status":"read"}garbage"#), "no JSON"),
        (text(r#"{'id':'1','status':'read'}"#), "no JSON"),
        (text(r#"{id:1}"#), "no JSON"),
        (text("id=1&status=read"), "no JSON"),
        (text(r#"{"id":"\ud800"}"#), "no JSON"),
        (text(r#"{"id":1e}"#), "no JSON"),
        (text(r#"{"id":NaN}"#), "no JSON"),
        (text(&deep), "no JSON"),
        (text("7"), "object or array"),
        (text(r#""read""#), "object or array"),
        (text("null"), "object or array"),
        (text("true"), "object or array"),
        (vec![b'{', b'"', 0xFF, b'"', b':', b'1', b'}'], "UTF-8"),
        (vec![0xFE, 0xFF, 0, b'{', 0, b'}'], "UTF-8"),
        (vec![0x1F, 0x8B, 8, 0, 0], "UTF-8"),
        (text("{\"id\":\"a\0b\"}"), "NUL"),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_read_is_refused_and_told_why() {
    let world = World::new().start().await;
    for number in 0..3 {
        let account = world.account(number).clone();
        let url = world.callback_url(number);
        let mut bad = malformed();
        if account.vendor == Vendor::Exotel {
            for body in [r#"{"whatsapp":{}}"#, r#"{"whatsapp":{"messages":7}}"#, r#"{"whatsapp":[]}"#] {
                bad.push((body.as_bytes().to_vec(), "whatsapp.messages"));
            }
            bad.push((b"[]".to_vec(), "whatsapp.messages"));
        }
        let all = bad.len();
        for (body, why) in bad {
            let shown = String::from_utf8_lossy(&body[..body.len().min(60)]).into_owned();
            let (status, detail) = post(&url, body).await;
            assert_eq!(status, StatusCode::BAD_REQUEST, "{}: {shown}: {detail}", account.name);
            assert!(detail.contains(why), "{}: {shown}: {detail}", account.name);
        }
        let name = format!("campaignd_webhooks_total{{account=\"{}\",result=\"malformed\"}}", account.name);
        assert_eq!(metric(&world, &name).await, Some(all as f64));
        assert_eq!(world.stored_callbacks(number).await, HashMap::new());
    }
}

/// Blanks up to this size, which change nothing of what it says.
fn padded(mut body: String, size: usize) -> String {
    let end = body.pop();
    body.extend(std::iter::repeat_n(' ', size - body.len() - 1));
    body.extend(end);
    assert_eq!(body.len(), size);
    body
}

#[tokio::test(flavor = "multi_thread")]
async fn three_mebibytes_are_taken_and_not_a_byte_more() {
    let people = People(500);
    let account = Account::exotel().set("batch_size", 100).sender("messages_per_second", 5_000);
    let silent = Silent::start(account, people).await;
    let (world, url) = (&silent.world, silent.world.callback_url(0));
    // Each message again and again until it is full: what a vendor has saved up during an outage.
    let mut body = String::from(r#"{"whatsapp":{"messages":["#);
    for (number, message) in silent.messages.iter().cycle().enumerate() {
        let come = if number < people.0 { Come::Sent } else { Come::Delivered };
        let report = exotel_report(message, come, silent.began).to_string();
        if body.len() + report.len() + 4 > LIMIT_BYTES {
            break;
        }
        body.push_str(&report);
        body.push(',');
    }
    body.pop();
    body.push_str("]}}");
    assert!(body.len() > LIMIT_BYTES - 1_000);

    let largest = padded(body, LIMIT_BYTES);
    for size in [LIMIT_BYTES + 1, LIMIT_BYTES + 70_000, 4 * LIMIT_BYTES] {
        for _ in 0..2 {
            let too_large = padded(largest.clone(), size);
            let (status, detail) = post(&url, too_large.clone()).await;
            assert_eq!(status, StatusCode::PAYLOAD_TOO_LARGE, "{size} bytes: {detail}");
            assert!(detail.contains(&LIMIT_BYTES.to_string()), "{detail}");
            let pieces: Vec<_> =
                too_large.as_bytes().chunks(60_000).map(|c| Ok::<_, std::io::Error>(c.to_vec())).collect();
            let unannounced = Body::wrap_stream(futures::stream::iter(pieces));
            let (status, detail) = post(&url, unannounced).await;
            assert_eq!(status, StatusCode::PAYLOAD_TOO_LARGE, "{size} bytes in chunks: {detail}");
        }
    }
    let whole = padded(largest.clone(), 4 * LIMIT_BYTES);
    let right = url.strip_prefix(&world.url("")).unwrap();
    for (path, expected) in [(right, "413"), (&format!("{right}x"), "404")] {
        let answer = write_whole(world, path, whole.as_bytes()).await;
        assert!(answer.starts_with(&format!("HTTP/1.1 {expected}")), "{path}: {answer}");
    }
    assert_eq!(world.stored_callbacks(0).await, HashMap::new());
    assert_eq!(world.task(silent.task).await.counts.sent, 0);

    assert_eq!(post(&url, largest.clone()).await.0, StatusCode::OK);
    assert_eq!(world.stored_callbacks(0).await, HashMap::from([(largest, 1)]));
    silent.comes_to(&everybody(people, Come::Delivered)).await;
    world.audit().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_that_does_not_come_whole_is_not_taken() {
    let world = World::new().account(Account::sobot_in()).start().await;
    let (address, url) = (world.url("").replace("http://", ""), world.callback_url(0));
    let path = url.strip_prefix(&world.url("")).unwrap();
    // What has come of it would be a callback by itself.
    let body = r#"{"id":"1","status":"read","timestamp":"1795000000"}"#;
    let announced = body.len() + 1;
    let half = async || {
        let mut stream = TcpStream::connect(&address).await.unwrap();
        let head = format!("POST {path} HTTP/1.1\r\nhost: test\r\ncontent-length: {announced}\r\n\r\n");
        stream.write_all(format!("{head}{body}").as_bytes()).await.unwrap();
        stream
    };
    // It breaks off.
    drop(half().await);
    // It does not go on.
    let mut answer = String::new();
    let mut stream = half().await;
    let read = tokio::time::timeout(within(30), stream.read_to_string(&mut answer)).await;
    assert!(read.is_ok(), "it is waited for without an end");
    assert!(answer.starts_with("HTTP/1.1 408"), "{answer}");
    assert_eq!(world.stored_callbacks(0).await, HashMap::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn reports_of_a_day_ago_count_and_those_of_nobody_are_forgotten() {
    let people = People(200);
    let account = Account::exotel().set("batch_size", 100).sender("messages_per_second", 5_000);
    let mut silent = Silent::start(account, people).await;
    let late = silent.callbacks(Come::Delivered);
    let (at_once, later) = late.split_at(50);
    assert!(silent.world.post_callbacks(0, at_once, 10).await.not_kept.is_empty());
    assert!(silent.world.post_callbacks(0, &of_nobody(&silent), 10).await.not_kept.is_empty());
    // All but the one of a call before the one that is known.
    wait_for_early(&silent.world, OF_NOBODY - 1).await;
    let fifty = Counts { sent: 50, delivered: 50, ..everybody(people, Come::Sent) };
    silent.comes_to(&fifty).await;

    // A day later, on a day of the inbox that has no partition yet.
    silent.world.daemon().set_clock_offset_ms(26 * HOUR_MS);
    assert!(silent.world.post_callbacks(0, later, 10).await.not_kept.is_empty());
    let task = silent.comes_to(&everybody(people, Come::Delivered)).await;
    let page = api::client::MessageFilter::default();
    for message in silent.world.api().messages(task.id, &page).await.unwrap().items {
        let delivered = message.delivered_at.expect("it was delivered").timestamp();
        assert_eq!(delivered, silent.began, "the time is the vendor's, not that of its coming");
    }
    assert!(silent.world.post_callbacks(0, &late, 10).await.not_kept.is_empty());

    // Three days later nobody will claim them any more; the round at the start looks.
    silent.world.stop().await;
    silent.world.daemon().set_clock_offset_ms(100 * HOUR_MS);
    silent.world.restart().await;
    wait_for_early(&silent.world, 0).await;
    let task = silent.world.all_reports_are_applied(silent.task).await;
    assert_eq!(task.counts, everybody(people, Come::Delivered));
    people.assert_each_accepted_once(&silent.world.simulator.accepted_by_recipient());
    silent.world.audit().await;
}

const OF_NOBODY: usize = 6;

/// Reports of messages that do not exist: of ids, recipients, tasks and requests that nobody has given.
fn of_nobody(silent: &Silent) -> [String; OF_NOBODY] {
    let made = |id: &str, correlation: String| {
        let mut message = silent.messages[0].clone();
        message.vendor_id = id.to_owned();
        message.custom_data = correlation;
        callback(&message, Come::Read, silent.began)
    };
    let task = silent.task;
    [
        made("nobody's", String::new()),
        made("nobody's own", "something of a caller's".to_owned()),
        made("a", format!("c1.1.{task}.100000")),
        made("b", format!("c1.1.{}.1", task + 1_000)),
        made("c", format!("c1.{}.{task}.1", i64::MAX)),
        made("d", format!("c1.{}.{task}.1", i64::MIN)),
    ]
}

/// Waits until so many reports wait for their message.
async fn wait_for_early(world: &World, wanted: usize) {
    let database = world.database.as_ref().expect("a database by URL");
    let mut conn = database.connect().await;
    wait_until(&format!("{wanted} reports wait"), within(20), async || {
        let waiting: i64 =
            sqlx::query_scalar("SELECT count(*) FROM early_reports").fetch_one(&mut conn).await.unwrap();
        (waiting == i64::try_from(wanted).unwrap()).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_account_cannot_speak_of_anothers_messages() {
    let people = People(50);
    let mut other = Account::exotel();
    other.name = "another".to_owned();
    other.from = "+919999000002".to_owned();
    let silent = Silent::of(vec![Account::exotel(), other], people).await;
    let bodies = silent.callbacks(Come::Read);
    assert!(silent.world.post_callbacks(1, &bodies, 10).await.not_kept.is_empty());
    wait_for_early(&silent.world, people.0).await;
    let nothing = Counts { sent: 0, ..everybody(people, Come::Sent) };
    assert_eq!(silent.world.all_reports_are_applied(silent.task).await.counts, nothing);

    assert!(silent.world.post_callbacks(0, &bodies, 10).await.not_kept.is_empty());
    silent.comes_to(&everybody(people, Come::Read)).await;
    silent.world.audit().await;
}

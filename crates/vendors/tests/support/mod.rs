//! A tiny server that misbehaves as told, and accounts that call it.

#![allow(dead_code, reason = "each test binary uses its own part of this")]

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex},
    time::Duration,
};

use chrono::{DateTime, Utc};
use model::{Clock, Phone, disposition::MessageFacts, report::Correlation};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpSocket, TcpStream},
};
use vendors::{Account, AccountConfig, AccountSettings, Outgoing, Timeouts, Vendor};

/// What the server does with one connection.
#[derive(Clone, Debug)]
pub enum Reply {
    /// Reads the request and writes these bytes.
    Raw(Vec<u8>),
    /// Writes these bytes without having read any.
    Unasked(Vec<u8>),
    /// Closes at once.
    CloseBeforeReading,
    /// Resets the connection as soon as it stands.
    ResetBeforeReading,
    /// Reads the request, then writes these bytes, one each 20 ms, again and again.
    Drip(Vec<u8>),
    /// Reads the request, then closes without a word.
    CloseAfterReading,
    /// Reads the request, then resets the connection.
    ResetAfterReading,
    /// Reads the request and never answers.
    Hang,
}

/// An answer with a length.
pub fn answer(status: u16, headers: &str, body: &str) -> Reply {
    Reply::Raw(
        format!(
            "HTTP/1.1 {status} X\r\n{headers}Content-Length: {}\r\nConnection: close\r\n\r\n{body}",
            body.len()
        )
        .into_bytes(),
    )
}

/// A request as it arrived.
#[derive(Clone, Debug)]
pub struct Seen {
    pub head: String,
    pub body: String,
}

/// The server; it ends with the test's runtime.
#[derive(Clone)]
pub struct Server {
    pub url: String,
    seen: Arc<Mutex<Vec<Seen>>>,
}

impl Server {
    /// Answers the first connection with the first reply and so on; the last one serves for all that follow.
    pub async fn start(replies: Vec<Reply>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let seen = Arc::new(Mutex::new(Vec::new()));
        let server = Self { url, seen: seen.clone() };
        tokio::spawn(async move {
            let mut replies = VecDeque::from(replies);
            while let Ok((stream, _)) = listener.accept().await {
                let reply = if replies.len() > 1 {
                    replies.pop_front().unwrap()
                } else {
                    replies.front().unwrap().clone()
                };
                tokio::spawn(serve(stream, reply, seen.clone()));
            }
        });
        server
    }

    pub fn seen(&self) -> Vec<Seen> {
        self.seen.lock().unwrap().clone()
    }
}

/// A listener whose queue is full, so that nobody else's connection is ever made; and those who fill it.
pub async fn full_backlog() -> (String, TcpListener, Vec<TcpStream>) {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let listener = socket.listen(0).unwrap();
    let address = listener.local_addr().unwrap();
    let mut queue = Vec::new();
    let wait = Duration::from_millis(200);
    while let Ok(joined) = tokio::time::timeout(wait, TcpStream::connect(address)).await {
        queue.push(joined.unwrap());
    }
    (format!("http://{address}"), listener, queue)
}

async fn serve(mut stream: TcpStream, reply: Reply, seen: Arc<Mutex<Vec<Seen>>>) {
    if matches!(reply, Reply::CloseBeforeReading) {
        return;
    }
    if matches!(reply, Reply::ResetBeforeReading) {
        // Once there is something to be read: a reset before that may find the connection not standing yet.
        let _ = stream.readable().await;
        let _ = stream.set_zero_linger();
        return;
    }
    if let Reply::Unasked(bytes) = reply {
        let _ = stream.write_all(&bytes).await;
        let _ = stream.shutdown().await;
        // Until the client has closed: a close with unread bytes would be a reset.
        let _ = tokio::io::copy(&mut stream, &mut tokio::io::sink()).await;
        return;
    }
    let Some(request) = read_request(&mut stream).await else { return };
    seen.lock().unwrap().push(request);
    match reply {
        Reply::Raw(bytes) => {
            let _ = stream.write_all(&bytes).await;
            let _ = stream.shutdown().await;
        }
        Reply::ResetAfterReading => {
            let _ = stream.set_zero_linger();
        }
        Reply::Drip(bytes) => {
            for byte in bytes.iter().cycle() {
                if stream.write_all(&[*byte]).await.is_err() {
                    return;
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        }
        Reply::Hang => std::future::pending().await,
        Reply::CloseAfterReading
        | Reply::CloseBeforeReading
        | Reply::ResetBeforeReading
        | Reply::Unasked(_) => {}
    }
}

async fn read_request(stream: &mut TcpStream) -> Option<Seen> {
    let mut bytes = Vec::new();
    let mut chunk = [0; 65536];
    loop {
        if let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") {
            let head = String::from_utf8_lossy(&bytes[..end]).into_owned();
            let length = head.lines().find_map(|line| {
                let (name, value) = line.split_once(':')?;
                name.eq_ignore_ascii_case("content-length").then(|| value.trim().parse::<usize>().ok())?
            });
            if bytes.len() >= end + 4 + length.unwrap_or(0) {
                let body = String::from_utf8_lossy(&bytes[end + 4..]).into_owned();
                return Some(Seen { head, body });
            }
        }
        match stream.read(&mut chunk).await {
            Ok(n) if n > 0 => bytes.extend_from_slice(&chunk[..n]),
            _ => return None,
        }
    }
}

/// 2026-12-01T09:00:00Z, always.
pub fn clock() -> Clock {
    Clock::new(now)
}

pub fn now() -> DateTime<Utc> {
    DateTime::from_timestamp(1_796_115_600, 0).unwrap()
}

pub fn settings(vendor: Vendor, base_url: &str) -> AccountSettings {
    let keys = match vendor {
        Vendor::Exotel => {
            serde_json::json!({"account_sid": "acme", "api_key": "key", "api_token": "token", "batch_size": 100})
        }
        Vendor::SobotIo => serde_json::json!({"app_id": "1", "app_key": "2", "waba_id": "12345"}),
        Vendor::SobotIn => serde_json::json!({"access_key": "access", "secret_key": "secret"}),
    };
    let mut settings = serde_json::json!({
        "name": "main",
        "vendor": vendor.as_str(),
        "base_url": base_url,
        "webhook_token": "hook",
        "senders": [{"from": "+919999000001", "messages_per_second": 80.0}],
    });
    for (key, value) in keys.as_object().unwrap() {
        settings[key] = value.clone();
    }
    serde_json::from_value(settings).unwrap()
}

pub fn account_with(vendor: Vendor, base_url: &str, clock: Clock, total: Duration) -> Account {
    let mut config = AccountConfig::try_from(settings(vendor, base_url)).unwrap();
    config.timeouts = Timeouts { connect: Duration::from_secs(1), total };
    let callback_url = config.callback_url("http://127.0.0.1:8080");
    Account::connect(&config, callback_url.as_deref(), clock).unwrap()
}

/// Calls end after 5 s at the latest, so that a hanging test fails instead.
pub fn account(vendor: Vendor, base_url: &str) -> Account {
    account_with(vendor, base_url, clock(), Duration::from_secs(5))
}

pub const FACTS: MessageFacts =
    MessageFacts { is_template: true, is_marketing: true, media_per_row: false, parameters_per_row: false };

/// `count` messages, rendered as each vendor's translation would.
pub fn messages(vendor: Vendor, count: usize) -> Vec<Outgoing> {
    let message = |i: usize| {
        let to = Phone::from_digits(919_876_543_210 + i as u64).unwrap();
        let rendered = match vendor {
            Vendor::Exotel => format!(r#"{{"from":"+919999000001","to":"{to}","content":{{}}"#),
            Vendor::SobotIo => {
                format!(r#"{{"from":"1","to":"{}","type":"text","content":{{}}}}"#, to.digits())
            }
            Vendor::SobotIn => format!(r#"{{"customer_number":"{}"}}"#, to.digits()),
        };
        let correlation = Correlation { request_id: 7, task_id: 12, no: i32::try_from(i).unwrap() };
        Outgoing { to, correlation, rendered: rendered.into() }
    };
    (0..count).map(message).collect()
}

pub const TOKEN: &str = r#"{"item":{"token":"4ac37cb2e9c740dba4b75a34d5358802","expires_in":"86400"},"ret_code":"000000","ret_msg":"success"}"#;

/// The text of a sample.
pub fn sample(vendor: Vendor, file: &str) -> String {
    let path = format!("{}/samples/{}/{file}", env!("CARGO_MANIFEST_DIR"), vendor.as_str());
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path}: {error}"))
}

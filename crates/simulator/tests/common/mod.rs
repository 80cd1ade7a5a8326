//! A small HTTP client and a receiver of callbacks, for the tests of the simulator.
#![allow(dead_code, reason = "each test file uses a part of it")]
#![allow(clippy::unwrap_used, reason = "a helper of tests may end the test")]

use std::sync::atomic::{AtomicU16, Ordering};
use std::sync::{Arc, Mutex};

use axum::body::Body;
use axum::http::{HeaderMap, Request, StatusCode};
use axum::routing::post;
use base64::Engine as _;
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use md5::{Digest as _, Md5};
use serde_json::{Value, json};
use simulator::Simulator;

pub type Answer = Result<(u16, HeaderMap, Vec<u8>), String>;

/// One request on a connection of its own.
pub async fn raw(method: &str, url: String, headers: &[(&str, &str)], body: Vec<u8>) -> Answer {
    let client = Client::builder(TokioExecutor::new()).build_http::<Body>();
    let mut request = Request::builder().method(method).uri(url);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let response =
        client.request(request.body(Body::from(body)).unwrap()).await.map_err(|e| format!("{e:?}"))?;
    let (status, headers) = (response.status().as_u16(), response.headers().clone());
    let body =
        axum::body::to_bytes(Body::new(response.into_body()), 1 << 26).await.map_err(|e| format!("{e:?}"))?;
    Ok((status, headers, body.to_vec()))
}

pub async fn call(method: &str, url: String, headers: &[(&str, &str)], body: Value) -> (u16, Value) {
    let body = if body.is_null() { Vec::new() } else { serde_json::to_vec(&body).unwrap() };
    let (status, _, body) = raw(method, url, headers, body).await.unwrap();
    (status, serde_json::from_slice(&body).unwrap_or_default())
}

pub fn basic() -> String {
    format!("Basic {}", base64::engine::general_purpose::STANDARD.encode("exotel-key:exotel-token"))
}

pub async fn exotel(simulator: &Simulator, body: Value) -> (u16, Value) {
    let url = format!("{}/v2/accounts/acme/messages", simulator.exotel_url());
    call("POST", url, &[("authorization", &basic()), ("content-type", "application/json")], body).await
}

pub async fn token(simulator: &Simulator) -> String {
    let sign = hex::encode(Md5::digest("sobot-app1569397773sobot-app-key"));
    let query = format!("appid=sobot-app&create_time=1569397773&sign={sign}");
    let url = format!("{}/api/get_token?{query}", simulator.sobot_io_url());
    let (status, body) = call("GET", url, &[], Value::Null).await;
    assert_eq!((status, body["ret_code"].as_str()), (200, Some("000000")), "{body}");
    body["item"]["token"].as_str().unwrap().to_owned()
}

pub async fn sobot_io(simulator: &Simulator, token: &str, path: &str, body: Value) -> (u16, Value) {
    let url = format!("{}/chat-whatsapp/api/whatsapp/{path}", simulator.sobot_io_url());
    let method = if body.is_null() { "GET" } else { "POST" };
    call(method, url, &[("token", token), ("content-type", "application/json")], body).await
}

pub async fn sobot_in(simulator: &Simulator, method: &str, path: &str, body: Value) -> (u16, Value) {
    let url = format!("{}{path}", simulator.sobot_in_url());
    let keys = [("x-api-key", "inbox-access-key"), ("x-api-secret", "inbox-secret-key")];
    call(method, url, &keys, body).await
}

pub fn exotel_text(to: &[&str]) -> Value {
    let messages: Vec<Value> = to
        .iter()
        .map(|to| json!({"from": "+919999000001", "to": to, "content": {"type": "text", "text": {"body": "Hi"}}}))
        .collect();
    json!({"whatsapp": {"messages": messages}})
}

pub fn sobot_io_text(to: &str) -> Value {
    json!({"from": "110243462020762", "to": to, "type": "text", "content": {"text": "Hi"}})
}

pub fn sobot_in_text(to: &str) -> Value {
    json!({"type": "text", "message": "Hi", "customer_number": to, "customer_name": "John Doe"})
}

/// Collects what is posted to it, and answers with a status that tests choose.
pub struct Receiver {
    pub url: String,
    pub status: Arc<AtomicU16>,
    bodies: Arc<Mutex<Vec<Value>>>,
}

impl Receiver {
    pub async fn start() -> Receiver {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/hook", listener.local_addr().unwrap());
        let bodies = Arc::new(Mutex::new(Vec::new()));
        let status = Arc::new(AtomicU16::new(200));
        let (kept, answer) = (bodies.clone(), status.clone());
        let handler = async move |body: axum::Json<Value>| {
            kept.lock().unwrap().push(body.0);
            StatusCode::from_u16(answer.load(Ordering::SeqCst)).unwrap()
        };
        let router = axum::Router::new().route("/hook", post(handler));
        tokio::spawn(async move { axum::serve(listener, router).await });
        Receiver { url, status, bodies }
    }

    pub fn bodies(&self) -> Vec<Value> {
        self.bodies.lock().unwrap().clone()
    }
}

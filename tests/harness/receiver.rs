//! A developer's own system that is told what happens: it keeps every request, checks its signature by itself, and answers as
//! it is told to.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, Mutex},
};

use axum::{
    Router,
    body::Bytes,
    extract::State,
    http::{HeaderMap, StatusCode},
    routing::post,
};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use hmac::{Hmac, KeyInit as _, Mac as _};
use serde_json::Value;
use sha2::Sha256;
use tokio::task::JoinHandle;

/// The key that the receiver shares with the daemon.
const KEY: &[u8] = b"a key that only tests know, 32 b";

/// How the receiver answers.
#[derive(Clone, Debug, Default)]
pub enum Answer {
    /// It takes everything.
    #[default]
    Take,
    /// It answers everything with this status.
    Status(u16),
    /// It answers the first request that it ever got, and each repetition of it, with this status.
    FirstAlways(u16),
}

/// A request as it came.
#[derive(Clone, Debug, PartialEq)]
pub struct Got {
    /// `webhook-id`
    pub id: String,
    /// What it says.
    pub body: Value,
    /// Its bytes.
    pub bytes: Bytes,
    /// It was taken.
    pub is_taken: bool,
}

/// An event of a task, as it was told.
#[derive(Clone, Debug, PartialEq)]
pub struct Told {
    /// Its number within its task.
    pub sequence: i64,
    /// The recipient's number; none: the task itself.
    pub no: Option<i64>,
    /// The recipient.
    pub to: Option<String>,
    /// The state.
    pub state: String,
}

#[derive(Default)]
struct Inner {
    got: Vec<Got>,
    answer: Answer,
    /// What was wrong with requests.
    wrong: Vec<String>,
}

/// A receiver; ends with this value.
pub struct Receiver {
    /// Its port.
    pub port: u16,
    inner: Arc<Mutex<Inner>>,
    work: JoinHandle<()>,
}

impl Receiver {
    /// Starts one that takes everything.
    pub async fn start() -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let inner: Arc<Mutex<Inner>> = Arc::default();
        let router = Router::new().route("/hook", post(receive)).with_state(Arc::clone(&inner));
        let work = tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        Self { port, inner, work }
    }

    /// The `[[event_webhooks]]` that leads here; `more` are lines of it.
    pub fn toml(&self, more: &str) -> String {
        let (port, secret) = (self.port, secret());
        format!(
            "[[event_webhooks]]\nname = \"crm\"\nurl = \"http://127.0.0.1:{port}/hook\"\nsecret = \"{secret}\"\n\
             allow_private_urls = true\n{more}\n"
        )
    }

    /// From now on it answers so.
    pub fn answer(&self, answer: Answer) {
        self.inner.lock().unwrap().answer = answer;
    }

    /// Every request so far; fails when one was not signed as it must be.
    pub fn got(&self) -> Vec<Got> {
        let inner = self.inner.lock().unwrap();
        assert_eq!(inner.wrong, [""; 0], "requests were wrong");
        inner.got.clone()
    }

    /// How many requests there were so far.
    pub fn count(&self) -> usize {
        self.got().len()
    }

    /// What was told of a task and taken, in the order of its coming, each repetition left out. Fails when a repetition says
    /// anything else, or numbers have a gap or do not rise.
    pub fn told(&self, task: i64) -> Vec<Told> {
        let mut seen: HashMap<String, Bytes> = HashMap::new();
        let mut told = Vec::new();
        for got in self.got().into_iter().filter(|got| got.is_taken && got.body["data"]["task_id"] == task) {
            match seen.get(&got.id) {
                Some(bytes) => assert_eq!(*bytes, got.bytes, "a repetition says something else"),
                None => {
                    told.extend(events(&got.body));
                    seen.insert(got.id, got.bytes);
                }
            }
        }
        let sequences: Vec<i64> = told.iter().map(|told| told.sequence).collect();
        let wanted: Vec<i64> = (1..=i64::try_from(told.len()).unwrap()).collect();
        assert_eq!(sequences, wanted, "the numbers have a gap, or do not rise");
        told
    }

    /// The states that a task was said to have, in order.
    pub fn task_states(&self, task: i64) -> Vec<String> {
        self.told(task).into_iter().filter(|told| told.no.is_none()).map(|told| told.state).collect()
    }

    /// The last state of each recipient of a task, by number.
    pub fn last_states(&self, task: i64) -> BTreeMap<i64, String> {
        self.told(task).into_iter().filter_map(|told| Some((told.no?, told.state))).collect()
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        self.work.abort();
    }
}

/// The shared key as the configuration writes it.
pub fn secret() -> String {
    format!("whsec_{}", STANDARD.encode(KEY))
}

fn events(body: &Value) -> Vec<Told> {
    let text = |value: &Value| value.as_str().map(str::to_owned);
    let told = |data: &Value| Told {
        sequence: data["sequence"].as_i64().unwrap(),
        no: data["no"].as_i64(),
        to: text(&data["to"]),
        state: text(&data["state"]).unwrap(),
    };
    let data = &body["data"];
    match body["type"].as_str() {
        Some("task.state") => vec![told(data)],
        Some("message.statuses") => {
            let items: Vec<Told> = data["items"].as_array().unwrap().iter().map(told).collect();
            assert_eq!(data["first_sequence"].as_i64(), Some(items[0].sequence), "{body}");
            items
        }
        other => panic!("an event of type {other:?}"),
    }
}

async fn receive(State(inner): State<Arc<Mutex<Inner>>>, headers: HeaderMap, bytes: Bytes) -> StatusCode {
    let header =
        |name: &str| headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or("").to_owned();
    let (id, timestamp) = (header("webhook-id"), header("webhook-timestamp"));
    let mut mac = Hmac::<Sha256>::new_from_slice(KEY).unwrap();
    mac.update(format!("{id}.{timestamp}.").as_bytes());
    mac.update(&bytes);
    let wanted = format!("v1,{}", STANDARD.encode(mac.finalize().into_bytes()));
    let mut inner = inner.lock().unwrap();
    if header("webhook-signature") != wanted || id.is_empty() || timestamp.parse::<i64>().is_err() {
        inner.wrong.push(format!("{headers:?}"));
    }
    let first = inner.got.first().map_or_else(|| id.clone(), |first| first.id.clone());
    let status = match inner.answer {
        Answer::FirstAlways(status) if first == id => status,
        Answer::Status(status) => status,
        Answer::Take | Answer::FirstAlways(_) => 204,
    };
    let status = StatusCode::from_u16(status).unwrap();
    let body = serde_json::from_slice(&bytes).unwrap_or_default();
    inner.got.push(Got { id, body, bytes, is_taken: status.is_success() });
    status
}

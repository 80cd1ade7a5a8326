//! A server on a port of its own, over a database of its own, as tests need it.

use std::sync::{Arc, Mutex};

use api::Task;
use chrono::{DateTime, TimeDelta, Utc};
use model::Clock;
use reqwest::{Method, RequestBuilder, StatusCode};
use scheduler::import::{Importer, Limits};
use serde_json::{Value, json};
use server::{AdminToken, AppState, Live, NotStored, Parts};
use store::testing::TestDatabase;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;
use vendors::{AccountConfig, AccountSettings};

pub const TOKEN: &str = "letmein";

/// A running server.
pub struct TestServer {
    pub url: String,
    pub database: TestDatabase,
    pub http: reqwest::Client,
    /// Callbacks that were stored: account and body.
    pub stored: Arc<Mutex<Vec<(String, String)>>>,
    /// Storing fails with this.
    pub inbox_fails: Arc<Mutex<Option<String>>>,
    /// Accounts whose dispatcher was woken.
    pub woken: Arc<Mutex<Vec<String>>>,
    /// The time is this long after noon on 2026-11-21 (UTC).
    pub elapsed: Arc<Mutex<TimeDelta>>,
    pub shutdown: CancellationToken,
}

pub fn noon() -> DateTime<Utc> {
    "2026-11-21T12:00:00Z".parse().unwrap()
}

impl Drop for TestServer {
    fn drop(&mut self) {
        self.shutdown.cancel();
    }
}

pub async fn start() -> TestServer {
    start_with(AdminToken::new(TOKEN), Limits::default()).await
}

pub async fn start_with(admin_token: Option<AdminToken>, limits: Limits) -> TestServer {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let database = store::testing::database().await;
    let elapsed = Arc::new(Mutex::new(TimeDelta::zero()));
    let of_clock = elapsed.clone();
    let clock = Clock::new(move || noon() + *of_clock.lock().unwrap());
    let stored: Arc<Mutex<Vec<(String, String)>>> = Arc::default();
    let inbox_fails: Arc<Mutex<Option<String>>> = Arc::default();
    let woken: Arc<Mutex<Vec<String>>> = Arc::default();
    let (into, fails, wakes) = (stored.clone(), inbox_fails.clone(), woken.clone());
    let shutdown = CancellationToken::new();
    let pools = database.open();
    let state = AppState::new(Parts {
        importer: Importer::new(&pools, clock.clone(), Uuid::from_u128(7), limits),
        database: pools,
        clock,
        accounts: accounts(),
        clients: std::collections::HashMap::new(),
        public_url: Some("https://campaigns.example.com/".to_owned()),
        admin_token,
        inbox: Arc::new(move |account, body| {
            let failure = fails.lock().unwrap().clone();
            if failure.is_none() {
                into.lock().unwrap().push((account, body));
            }
            Box::pin(async move { failure.map_or(Ok(()), |reason| Err(NotStored(reason))) })
        }),
        events: Vec::new(),
        live: Live {
            wake: Arc::new(move |account| wakes.lock().unwrap().push(account.to_owned())),
            ..Live::default()
        },
        shutdown: shutdown.clone(),
    });
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(server::serve(listener, state, shutdown.clone()));
    let http = reqwest::Client::builder().no_proxy().build().unwrap();
    TestServer { url, database, http, stored, inbox_fails, woken, elapsed, shutdown }
}

fn accounts() -> Vec<AccountConfig> {
    [
        json!({
            "name": "main", "vendor": "exotel", "account_sid": "acme", "api_key": "hunter2key",
            "api_token": "hunter2token", "webhook_token": "hook", "requests_per_second": 2.0,
            "senders": [{"from": "+919999000001", "messages_per_second": 80.0, "daily_recipients": null}],
        }),
        json!({
            "name": "sobot", "vendor": "sobot_io", "app_id": "a", "app_key": "hunter2app", "waba_id": "w",
            "senders": [{"from": "1000", "messages_per_second": null, "daily_recipients": null}],
        }),
    ]
    .into_iter()
    .map(|settings| {
        let settings: AccountSettings = serde_json::from_value(settings).unwrap();
        AccountConfig::try_from(settings).unwrap()
    })
    .collect()
}

impl TestServer {
    /// A call below `/api/v1` with the token.
    pub fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.http.request(method, format!("{}/api/v1{path}", self.url)).bearer_auth(TOKEN)
    }

    pub async fn get(&self, path: &str) -> (StatusCode, Value) {
        answer(self.request(Method::GET, path)).await
    }

    pub async fn post(&self, path: &str, body: &Value) -> (StatusCode, Value) {
        answer(self.request(Method::POST, path).json(body)).await
    }

    pub async fn delete(&self, path: &str) -> (StatusCode, Value) {
        answer(self.request(Method::DELETE, path)).await
    }

    /// Imports a file; the audience's id.
    pub async fn audience(&self, csv: &str) -> i64 {
        let request = self.request(Method::POST, "/audiences?name=people&wait=true&default_region=IN");
        let request = request.header("content-type", "text/csv").body(csv.to_owned());
        let (status, body) = answer(request).await;
        assert_eq!((status, &body["status"]), (StatusCode::CREATED, &json!("ready")), "{body}");
        body["id"].as_i64().unwrap()
    }

    /// Launches a campaign to three people; the task's id.
    pub async fn launched(&self) -> i64 {
        let mut wanted = campaign(self.audience(THREE).await);
        wanted["launch"] = json!(true);
        let (status, body) = self.post("/campaigns", &wanted).await;
        assert_eq!(status, StatusCode::CREATED, "{body}");
        body["task_id"].as_i64().unwrap()
    }

    pub async fn task(&self, id: i64) -> Task {
        let (status, body) = self.get(&format!("/tasks/{id}")).await;
        assert_eq!(status, StatusCode::OK, "{body}");
        serde_json::from_value(body).unwrap()
    }

    /// Puts a halt over the account or another scope of it.
    pub async fn halt(&self, scope: model::disposition::Scope, value: &str) {
        let halt = store::effects::NewHalt {
            scope,
            account: "main".to_owned(),
            value: value.to_owned(),
            code: "30030".to_owned(),
            reason: "callbacks do not arrive".to_owned(),
            remedy: "mend the callback URL".to_owned(),
            lifts_at: None,
        };
        let effects = store::effects::Effects { halts: vec![halt], suppressions: Vec::new() };
        let mut conn = self.database.connect().await;
        assert_eq!(store::effects::apply(&mut conn, &effects, noon()).await.unwrap(), 1);
    }
}

pub const THREE: &str =
    "name,phone,city\nAsha,+919876543210,Pune\nRavi,98765 43211,Delhi\nMeera,9876543212,\nbad,12,x\n";

pub fn campaign(audience_id: i64) -> Value {
    json!({
        "name": "Diwali",
        "account": "main",
        "from": "+919999000001",
        "audience_id": audience_id,
        "message": {"type": "template", "template": {
            "name": "offer", "language": {"code": "en"},
            "components": [{"type": "body", "parameters": [{"type": "text", "text": "Hello {{name}}"}]}]
        }},
    })
}

pub async fn answer(request: RequestBuilder) -> (StatusCode, Value) {
    let response = request.send().await.unwrap();
    let status = response.status();
    let is_problem = response
        .headers()
        .get("content-type")
        .is_some_and(|value| value.as_bytes().starts_with(b"application/problem+json"));
    let text = response.text().await.unwrap();
    if status.is_client_error() || status.is_server_error() {
        assert!(is_problem, "{status} {text}");
    }
    let value =
        if text.is_empty() { Value::Null } else { serde_json::from_str(&text).unwrap_or(json!(text)) };
    (status, value)
}

/// The fields that a problem names.
pub fn fields(problem: &Value) -> Vec<&str> {
    problem["errors"].as_array().unwrap().iter().map(|error| error["field"].as_str().unwrap()).collect()
}

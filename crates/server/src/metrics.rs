//! Numbers for Prometheus, in its text format: counters of this process, and what the database tells cheaply.

use std::{
    collections::HashMap,
    fmt::Write as _,
    sync::atomic::{AtomicU64, Ordering},
};

use ::api::TaskState;

use crate::{convert, state::AppState};

/// What came of callbacks, per account.
#[derive(Debug, Default)]
pub struct WebhookCounters {
    /// Stored durably.
    pub stored: AtomicU64,
    /// Refused: they cannot be read.
    pub malformed: AtomicU64,
    /// Refused: over the limit.
    pub too_large: AtomicU64,
    /// Not stored: the vendor repeats them.
    pub not_stored: AtomicU64,
}

/// Counters of this process.
#[derive(Debug)]
pub struct Counters {
    webhooks: HashMap<String, WebhookCounters>,
    /// Callbacks to no account, or with a wrong token.
    pub foreign_webhooks: AtomicU64,
}

impl Counters {
    /// All at nought.
    pub fn new(accounts: impl Iterator<Item = String>) -> Self {
        Self {
            webhooks: accounts.map(|name| (name, WebhookCounters::default())).collect(),
            foreign_webhooks: AtomicU64::new(0),
        }
    }

    /// Counts one more of what `which` picks.
    pub fn webhook(&self, account: &str, which: impl FnOnce(&WebhookCounters) -> &AtomicU64) {
        if let Some(counters) = self.webhooks.get(account) {
            which(counters).fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// A text within a label's quotation marks.
#[must_use]
pub fn escape_label(text: &str) -> String {
    text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

/// Everything, in Prometheus' text format.
pub async fn render(state: &AppState) -> String {
    let mut text = String::with_capacity(4096);
    head(&mut text, "campaignd_info", "gauge", "The program's version.");
    line(&mut text, "campaignd_info", &[("version", env!("CARGO_PKG_VERSION"))], 1.0);
    accounts(state, &mut text);
    webhooks(state, &mut text);
    database(state, &mut text).await;
    event_webhooks(state, &mut text).await;
    (state.live.metrics)(&mut text);
    text
}

fn accounts(state: &AppState, text: &mut String) {
    let live: Vec<_> =
        state.accounts.iter().map(|account| (&account.name, (state.live.account)(&account.name))).collect();
    let mut gauge = |name: &str, help: &str, value: &dyn Fn(&crate::AccountLive) -> f64| {
        head(text, name, "gauge", help);
        for (account, live) in &live {
            line(text, name, &[("account", account)], value(live));
        }
    };
    gauge("campaignd_account_owned", "Whether this node owns the account.", &|live| {
        f64::from(u8::from(live.owned))
    });
    gauge("campaignd_account_messages_per_second", "Messages that leave now, each second.", &|live| {
        live.rate_per_second
    });
    gauge("campaignd_account_requests_in_flight", "Requests to the vendor that are open now.", &|live| {
        count(live.in_flight)
    });
    let name = "campaignd_account_requests_at_once";
    gauge(name, "Requests that may be open at once now: fewer for an overloaded vendor.", &|live| {
        count(live.calls_at_once)
    });
    let name = "campaignd_account_messages_per_request";
    gauge(
        name,
        "Messages that one request may hold now: fewer for a vendor that leaves batches unanswered.",
        &|live| count(live.messages_per_call),
    );
    gauge("campaignd_account_breaker_open", "Whether calls to the vendor are held back.", &|live| {
        f64::from(u8::from(live.breaker == ::api::Breaker::Open))
    });
}

fn webhooks(state: &AppState, text: &mut String) {
    let name = "campaignd_webhooks_total";
    head(text, name, "counter", "Callbacks that came to this process, by what became of them.");
    for account in &state.accounts {
        let Some(counters) = state.counters.webhooks.get(&account.name) else { continue };
        for (result, counter) in [
            ("stored", &counters.stored),
            ("malformed", &counters.malformed),
            ("too_large", &counters.too_large),
            ("not_stored", &counters.not_stored),
        ] {
            line(text, name, &[("account", &account.name), ("result", result)], load(counter));
        }
    }
    let name = "campaignd_webhooks_foreign_total";
    head(text, name, "counter", "Callbacks to no account of ours, or with a wrong token.");
    line(text, name, &[], load(&state.counters.foreign_webhooks));
}

async fn database(state: &AppState, text: &mut String) {
    let counted = async {
        let mut conn = state.connection().await?;
        let states = store::tasks::count_by_state(&mut conn).await?;
        Ok::<_, crate::problem::Problem>((states, store::audits::last(&mut conn).await?))
    }
    .await;
    head(text, "campaignd_database_up", "gauge", "Whether the database answered just now.");
    line(text, "campaignd_database_up", &[], f64::from(u8::from(counted.is_ok())));
    let Ok((counted, audited)) = counted else { return };
    audit(&audited, text);
    head(text, "campaignd_tasks", "gauge", "Tasks, by their state.");
    for shown in [
        TaskState::Scheduled,
        TaskState::Running,
        TaskState::Paused,
        TaskState::Halted,
        TaskState::Completed,
        TaskState::Cancelled,
    ] {
        let of_state = counted.iter().filter(|(state, _)| convert::task_state(*state) == shown);
        line(text, "campaignd_tasks", &[("state", shown.as_str())], count(of_state.map(|(_, n)| n).sum()));
    }
}

/// The same on every node: one of them does each night's audit.
fn audit(last: &store::audits::Last, text: &mut String) {
    let name = "campaignd_audit_mismatches";
    head(text, name, "gauge", "Tasks whose rows and counts did not agree when they were last audited.");
    line(text, name, &[], count(last.wrong));
    let (Some(finished_at), Some(tasks)) = (last.finished_at, last.tasks) else { return };
    let name = "campaignd_audit_finished_timestamp_seconds";
    head(text, name, "gauge", "When the last nightly audit came to its end.");
    line(text, name, &[], count(finished_at.timestamp()));
    let name = "campaignd_audit_tasks";
    head(text, name, "gauge", "Tasks that the last nightly audit looked at.");
    line(text, name, &[], count(tasks.into()));
}

/// The same on every node: the database knows how webhooks fare.
async fn event_webhooks(state: &AppState, text: &mut String) {
    if state.events.is_empty() {
        return;
    }
    let names: Vec<&str> = state.events.iter().map(|endpoint| endpoint.webhook.name.as_str()).collect();
    let health = async {
        let mut conn = state.connection().await?;
        store::event_webhooks::health(&mut conn, &names).await
    };
    let Ok(health) = health.await else { return };
    type Value = fn(&store::event_webhooks::Health) -> i64;
    let metrics: [(&str, &str, &str, Value); 4] = [
        ("campaignd_event_backlog", "gauge", "Events that wait for a webhook.", |health| health.backlog),
        (
            "campaignd_event_dead_letters",
            "gauge",
            "Batches of events that a webhook was given up on.",
            |health| health.dead_letters,
        ),
        ("campaignd_event_requests_delivered_total", "counter", "Requests that a webhook took.", |health| {
            health.delivered
        }),
        (
            "campaignd_event_requests_failed_total",
            "counter",
            "Requests that a webhook did not take.",
            |health| health.failed,
        ),
    ];
    for (name, kind, help, value) in metrics {
        head(text, name, kind, help);
        for of_webhook in &health {
            line(text, name, &[("webhook", &of_webhook.webhook)], count(value(of_webhook)));
        }
    }
}

fn head(text: &mut String, name: &str, kind: &str, help: &str) {
    let _ = write!(text, "# HELP {name} {help}\n# TYPE {name} {kind}\n");
}

fn line(text: &mut String, name: &str, labels: &[(&str, &str)], value: f64) {
    let labels: Vec<String> =
        labels.iter().map(|(key, value)| format!("{key}=\"{}\"", escape_label(value))).collect();
    let labels = if labels.is_empty() { String::new() } else { format!("{{{}}}", labels.join(",")) };
    let _ = writeln!(text, "{name}{labels} {value}");
}

#[expect(clippy::cast_precision_loss, reason = "Prometheus knows floats only")]
fn count(n: i64) -> f64 {
    n as f64
}

#[expect(clippy::cast_precision_loss, reason = "Prometheus knows floats only")]
fn load(counter: &AtomicU64) -> f64 {
    counter.load(Ordering::Relaxed) as f64
}

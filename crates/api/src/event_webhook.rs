//! Webhooks of the configuration: how they fare, and the batches of events that were given up.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// A webhook that is told what happens.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct EventWebhook {
    /// Its name.
    pub name: String,
    /// Where events are posted, without the query.
    pub url: String,
    /// Patterns of the events that it wants.
    pub events: Vec<String>,
    /// Addresses within our own networks may be called.
    pub allow_private_urls: bool,
    /// Requests that it took.
    pub delivered: i64,
    /// Requests that it did not take.
    pub failed: i64,
    /// Requests that it did not take, since the last that it took.
    pub consecutive_failures: i64,
    /// When it last took a request.
    pub last_success_at: Option<DateTime<Utc>>,
    /// When it last did not.
    pub last_failure_at: Option<DateTime<Utc>>,
    /// What went wrong then.
    pub last_error: Option<String>,
    /// Events that wait for it.
    pub backlog: i64,
    /// Since when the oldest of them waits.
    pub oldest_at: Option<DateTime<Utc>>,
    /// Batches that were given up.
    pub dead_letters: i64,
}

/// A batch of events that was given up.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct EventDeadLetter {
    /// Its `webhook-id`.
    pub id: String,
    /// What its events are about: `message.statuses` or `task.state`.
    #[serde(rename = "type")]
    pub kind: String,
    /// The task.
    pub task_id: i64,
    /// The number of its first event.
    pub first_sequence: i64,
    /// The number of its last event.
    pub last_sequence: i64,
    /// How often it was tried.
    pub tries: i16,
    /// When it was first to be posted.
    pub created_at: DateTime<Utc>,
    /// When it was given up.
    pub failed_at: DateTime<Utc>,
    /// What went wrong at the last try.
    pub error: String,
}

/// Which batches are to be posted again.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RedriveRequest {
    /// Their `webhook-id`s; none: the oldest 10,000.
    #[serde(default)]
    pub ids: Option<Vec<String>>,
}

/// What came of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Redriven {
    /// Batches that are posted again.
    pub redriven: i64,
}

/// What came of a trial.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct EventTest {
    /// The `webhook-id` of the request.
    pub id: String,
    /// The webhook took it.
    pub delivered: bool,
    /// The HTTP status, where there was one.
    pub status: Option<u16>,
    /// What went wrong.
    pub error: Option<String>,
}

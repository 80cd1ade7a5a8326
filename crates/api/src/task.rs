//! Tasks: runs of campaigns, and their progress.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// One run of a campaign.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Task {
    /// The task's id.
    pub id: i64,
    /// The campaign that it runs.
    pub campaign_id: i64,
    /// The campaign's name.
    pub name: String,
    /// The account that sends.
    pub account: String,
    /// The sender.
    pub from: String,
    /// `halted` while any halt holds it, else `paused`, else what it is.
    pub state: TaskState,
    /// What holds it, and the remedy.
    pub halt_reason: Option<String>,
    /// Why it is paused, when no operator paused it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pause_reason: Option<String>,
    /// When it is due.
    pub starts_at: Option<DateTime<Utc>>,
    /// When it began.
    pub started_at: Option<DateTime<Utc>>,
    /// When nothing was left to send.
    pub ended_at: Option<DateTime<Utc>>,
    /// When retention removed the messages one by one; the counts stay.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub details_removed_at: Option<DateTime<Utc>>,
    /// Who is sent to before the others, once it has begun.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub canary: Option<TaskCanary>,
    /// Where its recipients are.
    pub counts: Counts,
    /// Since when the oldest of the unknown ones is unknown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub oldest_unknown_since: Option<DateTime<Utc>>,
    /// What a running task waits for.
    pub waiting_for: Option<WaitingFor>,
    /// Until when, where that is known.
    pub waiting_until: Option<DateTime<Utc>>,
    /// How fast it sends now.
    pub messages_per_second: f64,
    /// When it will be done at that rate.
    pub eta_seconds: Option<i64>,
    /// Recipients that are failed, retrying or unknown, by their last code.
    pub errors: Vec<TaskError>,
}

/// What a task is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum TaskState {
    /// Waits for its time.
    Scheduled,
    /// Sends.
    Running,
    /// Stopped for a while: by an operator, or for the reason that is told.
    Paused,
    /// A halt holds it.
    Halted,
    /// Nothing is left to send.
    Completed,
    /// Stopped for good.
    Cancelled,
}

impl TaskState {
    /// The word of the interface.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Scheduled => "scheduled",
            Self::Running => "running",
            Self::Paused => "paused",
            Self::Halted => "halted",
            Self::Completed => "completed",
            Self::Cancelled => "cancelled",
        }
    }
}

/// The canary of a task that has begun: nobody else is sent to while it is `sending` or `waiting`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct TaskCanary {
    /// How far it is.
    pub state: CanaryState,
    /// While it is `waiting`: until when.
    pub until: Option<DateTime<Utc>>,
    /// How many are sent to first.
    pub recipients: i64,
    /// How many of them have failed.
    pub failed: i64,
}

/// How far a canary is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum CanaryState {
    /// Not all of them have been called yet.
    Sending,
    /// All were called; news of them is waited for.
    Waiting,
    /// The task goes on with everybody.
    Passed,
    /// Too many failed: the task was halted. Once that is lifted it goes on with everybody.
    Failed,
}

impl CanaryState {
    /// The word of the interface.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Sending => "sending",
            Self::Waiting => "waiting",
            Self::Passed => "passed",
            Self::Failed => "failed",
        }
    }
}

/// What a running task waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum WaitingFor {
    /// The campaign's sending window.
    Window,
    /// The sender's limit of recipients a day.
    DailyLimit,
    /// A halt to be lifted.
    Halt,
    /// The vendor to answer again.
    Breaker,
    /// A node to own the account.
    Lease,
    /// The database to be writable.
    Database,
}

impl WaitingFor {
    /// The word of the interface.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Window => "window",
            Self::DailyLimit => "daily_limit",
            Self::Halt => "halt",
            Self::Breaker => "breaker",
            Self::Lease => "lease",
            Self::Database => "database",
        }
    }
}

/// Where a task's recipients are. The places `queued`, `sending`, `retrying`, `unknown`, `accepted`, `failed`,
/// `suppressed`, `expired` and `cancelled` add up to `total` at every instant; `sent`, `delivered` and `read` lie
/// within `accepted`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Counts {
    /// All recipients.
    pub total: i64,
    /// Not sent to yet.
    pub queued: i64,
    /// In an open request.
    pub sending: i64,
    /// To be tried again.
    pub retrying: i64,
    /// May or may not have reached the vendor.
    pub unknown: i64,
    /// Taken by the vendor, and all that follows.
    pub accepted: i64,
    /// Of these, taken by WhatsApp.
    pub sent: i64,
    /// Of these, on the phone.
    pub delivered: i64,
    /// Of these, opened.
    pub read: i64,
    /// Will not come.
    pub failed: i64,
    /// Never sent: listed.
    pub suppressed: i64,
    /// Never sent: the campaign expired.
    pub expired: i64,
    /// Never sent: the task was cancelled.
    pub cancelled: i64,
    /// Persons who replied.
    pub replied: i64,
    /// Persons who clicked.
    pub clicked: i64,
}

/// How many recipients are failed, retrying or unknown with one code.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct TaskError {
    /// The vendor's code, or one of ours in words.
    pub code: String,
    /// The code's name, where it has one.
    pub name: String,
    /// What it means.
    pub meaning: String,
    /// What is done about it.
    pub disposition: String,
    /// How many recipients.
    pub count: i64,
}

/// What came of "retry failed".
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct RetriedFailed {
    /// The task.
    pub task: Task,
    /// How many recipients are taken again (or would be, in a dry run).
    pub retried: i64,
}

/// An operator's decision on unknown messages.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ResolveRequest {
    /// What they are from now on.
    #[serde(rename = "as")]
    pub resolution: Resolution,
    /// Only these phones; none: all that are unknown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to: Option<Vec<String>>,
}

/// What an unknown message is decided to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Resolution {
    /// It reached the vendor.
    Sent,
    /// It did not, and shall not be sent again.
    Failed,
    /// It is sent again, at the risk of a second message.
    Resend,
}

/// What came of an operator's decision.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Resolved {
    /// The task.
    pub task: Task,
    /// How many messages were decided.
    pub resolved: i64,
}

//! Campaigns: what to send to whom and when.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// What to send to whom and when.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Campaign {
    /// The campaign's id.
    pub id: i64,
    /// Its name.
    pub name: String,
    /// Whether it has been launched.
    pub state: CampaignState,
    /// The account that sends.
    pub account: String,
    /// The sender: a business number of the account, as the configuration writes it.
    pub from: String,
    /// Whom to send to.
    pub audience_id: i64,
    /// What to send: a message object of the WhatsApp Cloud API; its strings may hold `{{column}}`.
    #[schema(value_type = Object)]
    pub message: serde_json::Value,
    /// `name/language` of a template message.
    pub template: Option<String>,
    /// When to send; null: when launched.
    pub schedule: Option<Schedule>,
    /// At which hours to send; null: at all.
    pub sending_window: Option<SendingWindow>,
    /// The most messages a second, below the sender's own limit.
    pub messages_per_second: Option<f64>,
    /// A trial with some of the recipients.
    pub canary: Option<Canary>,
    /// How often a message is tried at the most.
    pub max_attempts: i32,
    /// From when on nobody is sent to any more.
    pub expires_at: Option<DateTime<Utc>>,
    /// What is done with messages that may or may not have reached the vendor.
    pub on_unknown: OnUnknown,
    /// What kind of message it is.
    pub category: Category,
    /// Which of an account's tasks go first.
    pub priority: Priority,
    /// When it was created.
    pub created_at: DateTime<Utc>,
    /// Its latest task: of a recurring campaign, the one of its next firing.
    pub task_id: Option<i64>,
    /// When it starts next: its scheduled task's time. Null: nothing is scheduled (any more).
    pub next_run_at: Option<DateTime<Utc>>,
    /// The next firings, five at the most; of a draft, those it would have if it were launched now.
    pub upcoming: Vec<DateTime<Utc>>,
}

/// Whether a campaign has been launched.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum CampaignState {
    /// May be changed and deleted.
    Draft,
    /// Has a task.
    Launched,
}

impl CampaignState {
    /// The word of the interface.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Draft => "draft",
            Self::Launched => "launched",
        }
    }
}

/// A campaign to create.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewCampaign {
    /// A name for people.
    pub name: String,
    /// The account that sends, by its name in the configuration.
    pub account: String,
    /// The sender: a business number of the account, exactly as the configuration writes it.
    pub from: String,
    /// Whom to send to; it must be ready.
    pub audience_id: i64,
    /// What to send: a message object of the WhatsApp Cloud API; any string in it may hold `{{column}}` or
    /// `{{column|default}}`.
    #[schema(value_type = Object)]
    pub message: serde_json::Value,
    /// When to send; none: when launched.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub schedule: Option<Schedule>,
    /// At which hours to send; none: at all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sending_window: Option<SendingWindow>,
    /// The most messages a second, below the sender's own limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub messages_per_second: Option<f64>,
    /// A trial with some of the recipients.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub canary: Option<Canary>,
    /// How often a message is tried at the most; 5 unless told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_attempts: Option<i32>,
    /// From when on nobody is sent to any more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<DateTime<Utc>>,
    /// What is done with messages that may or may not have reached the vendor; `hold` unless told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub on_unknown: Option<OnUnknown>,
    /// What kind of message it is; `marketing` unless told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub category: Option<Category>,
    /// Which of an account's tasks go first; `normal` unless told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub priority: Option<Priority>,
    /// Launch it at once.
    #[serde(default)]
    pub launch: bool,
}

/// A change of a draft: what is named is replaced; null removes what may be absent. Of a launched campaign whose task is still
/// scheduled, `schedule`, `sending_window`, `expires_at`, `messages_per_second` and `priority` may be changed as well.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CampaignChange {
    /// A name for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// The account that sends.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub account: Option<String>,
    /// The sender.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<String>,
    /// Whom to send to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub audience_id: Option<i64>,
    /// What to send.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    pub message: Option<serde_json::Value>,
    /// When to send.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "present")]
    #[schema(value_type = Option<Schedule>)]
    pub schedule: Option<Option<Schedule>>,
    /// At which hours to send.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "present")]
    #[schema(value_type = Option<SendingWindow>)]
    pub sending_window: Option<Option<SendingWindow>>,
    /// The most messages a second.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "present")]
    #[schema(value_type = Option<f64>)]
    pub messages_per_second: Option<Option<f64>>,
    /// A trial with some of the recipients.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "present")]
    #[schema(value_type = Option<Canary>)]
    pub canary: Option<Option<Canary>>,
    /// How often a message is tried at the most.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_attempts: Option<i32>,
    /// From when on nobody is sent to any more.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "present")]
    #[schema(value_type = Option<DateTime<Utc>>)]
    pub expires_at: Option<Option<DateTime<Utc>>>,
    /// What is done with messages that may or may not have reached the vendor.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub on_unknown: Option<OnUnknown>,
    /// What kind of message it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub category: Option<Category>,
    /// Which of an account's tasks go first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub priority: Option<Priority>,
}

/// Tells `null` apart from a field that is not there.
fn present<'de, T, D>(deserializer: D) -> Result<Option<Option<T>>, D::Error>
where
    T: Deserialize<'de>,
    D: serde::Deserializer<'de>,
{
    Option::deserialize(deserializer).map(Some)
}

/// When to send: once `at` a time, or again and again by `cron`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Schedule {
    /// Once, at this local time of `time_zone`: `2026-12-01T09:00:00`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at: Option<String>,
    /// Again and again: `0 9 * * MON`, by the clock of `time_zone`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cron: Option<String>,
    /// An IANA name: `Asia/Kolkata`. May be left out where `at` bears its own offset.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub time_zone: Option<String>,
    /// With `cron`: no firing after this local time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<String>,
}

/// At which hours to send.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SendingWindow {
    /// The first minute: `09:00`.
    pub from: String,
    /// The minute after the last one: `21:00`. Not after `from`: over midnight.
    pub to: String,
    /// `mon` … `sun`; none: all. A window over midnight belongs to the day on which it opens.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub days: Option<Vec<String>>,
    /// An IANA name, or `recipient`: the clocks of each recipient, in the zone that the audience's column `time_zone` names,
    /// else in that of the number. A number that tells no more than its country is sent to when the window is open in all
    /// zones of that country.
    pub time_zone: String,
}

/// A trial with some of the recipients, before the rest is sent to.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Canary {
    /// How many, at most 10,000: drawn from all over the audience.
    pub recipients: i32,
    /// How long their outcomes are waited for.
    pub wait_seconds: i32,
    /// The share of failures, 0 to 1, above which the task halts.
    pub max_failure_rate: f64,
}

/// What is done with messages that may or may not have reached the vendor.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum OnUnknown {
    /// They stay unknown until evidence or an operator decides.
    #[default]
    Hold,
    /// They are sent again, once, after ten minutes.
    Resend,
}

/// What kind of message it is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[expect(missing_docs, reason = "the words are WhatsApp's")]
pub enum Category {
    #[default]
    Marketing,
    Utility,
    Authentication,
}

/// Which of an account's tasks go first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Priority {
    /// Before the others.
    High,
    /// As usual.
    #[default]
    Normal,
    /// After the others.
    Low,
}

/// Whom to send a trial message.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct TestRequest {
    /// Phones in international form, at most 20.
    pub to: Vec<String>,
    /// The recipient's number in the audience whose values fill the placeholders; 1 unless told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub row: Option<i32>,
}

/// The task that was made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct TaskStarted {
    /// Its id.
    pub task_id: i64,
}

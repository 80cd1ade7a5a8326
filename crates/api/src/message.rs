//! Messages: one recipient's within a task.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// One recipient's message within a task.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Message {
    /// The recipient's number in the audience.
    pub no: i32,
    /// The recipient's phone.
    pub to: String,
    /// Where the message is.
    pub state: MessageState,
    /// How often it has been tried.
    pub attempts: i32,
    /// The vendor's id of it.
    pub vendor_id: Option<String>,
    /// The last code.
    pub code: Option<String>,
    /// The last code's name.
    pub code_name: Option<String>,
    /// The vendor's text, or our reason.
    pub reason: Option<String>,
    /// When it is tried again.
    pub retry_at: Option<DateTime<Utc>>,
    /// When the vendor took it.
    pub accepted_at: Option<DateTime<Utc>>,
    /// When WhatsApp took it.
    pub sent_at: Option<DateTime<Utc>>,
    /// When it came to the phone.
    pub delivered_at: Option<DateTime<Utc>>,
    /// When it was opened.
    pub read_at: Option<DateTime<Utc>>,
    /// When it failed.
    pub failed_at: Option<DateTime<Utc>>,
    /// Since when it may or may not have reached the vendor; `code` and `reason` say why.
    #[serde(default)]
    pub unknown_since: Option<DateTime<Utc>>,
}

/// Where a message is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum MessageState {
    /// Not sent yet.
    Queued,
    /// In an open request.
    Sending,
    /// To be tried again.
    Retrying,
    /// May or may not have reached the vendor.
    Unknown,
    /// Taken by the vendor.
    Accepted,
    /// Taken by WhatsApp.
    Sent,
    /// On the phone.
    Delivered,
    /// Opened.
    Read,
    /// Will not come.
    Failed,
    /// Never sent: listed.
    Suppressed,
    /// Never sent: the campaign expired.
    Expired,
    /// Never sent: the task was cancelled.
    Cancelled,
}

impl MessageState {
    /// Every state.
    pub const ALL: [Self; 12] = [
        Self::Queued,
        Self::Sending,
        Self::Retrying,
        Self::Unknown,
        Self::Accepted,
        Self::Sent,
        Self::Delivered,
        Self::Read,
        Self::Failed,
        Self::Suppressed,
        Self::Expired,
        Self::Cancelled,
    ];

    /// The word of the interface.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Sending => "sending",
            Self::Retrying => "retrying",
            Self::Unknown => "unknown",
            Self::Accepted => "accepted",
            Self::Sent => "sent",
            Self::Delivered => "delivered",
            Self::Read => "read",
            Self::Failed => "failed",
            Self::Suppressed => "suppressed",
            Self::Expired => "expired",
            Self::Cancelled => "cancelled",
        }
    }
}

//! What vendors told of templates, numbers and accounts.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// Something that a vendor told by callback, beside statuses and replies.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct VendorEvent {
    /// Its id.
    pub id: i64,
    /// The account.
    pub account: String,
    /// What it is about.
    pub kind: VendorEventKind,
    /// Which one: `name/language` of a template, the business number, the vendor's name of what changed.
    pub subject: String,
    /// The vendor's word.
    pub event: String,
    /// What else it says.
    pub detail: Option<String>,
    /// When it happened, by the vendor's clock.
    pub told_at: Option<DateTime<Utc>>,
    /// When it came.
    pub received_at: DateTime<Utc>,
    /// What was done about it; null: nothing was to do.
    pub outcome: Option<String>,
}

/// What an event is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum VendorEventKind {
    /// A template was approved, rejected, paused or disabled.
    Template,
    /// People like a template more or less.
    TemplateQuality,
    /// The quality or the limit of a business number.
    Number,
    /// The account.
    Account,
    /// Something that is not understood; it is kept as it came.
    Other,
}

impl VendorEventKind {
    /// The word of the interface.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Template => "template",
            Self::TemplateQuality => "template_quality",
            Self::Number => "number",
            Self::Account => "account",
            Self::Other => "other",
        }
    }
}

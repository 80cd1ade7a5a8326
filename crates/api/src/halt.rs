//! Halts: what stands still, and why.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// Something that stands still until it is lifted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Halt {
    /// The halt's id.
    pub id: i64,
    /// What kind of thing stands still.
    pub scope: HaltScope,
    /// Which: the task's id, the template's `name/language`, the sender, or the account.
    pub value: String,
    /// The account that it belongs to.
    pub account: String,
    /// The code that halted it.
    pub code: String,
    /// What the code means.
    pub meaning: String,
    /// What to do before it is lifted.
    pub remedy: String,
    /// Since when.
    pub since: DateTime<Utc>,
    /// When it lifts by itself; null: an operator lifts it.
    pub lifts_at: Option<DateTime<Utc>>,
}

/// What kind of thing stands still.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum HaltScope {
    /// One run of a campaign.
    Task,
    /// Every task of the account on one template and language.
    Template,
    /// One business number.
    Sender,
    /// The whole account.
    Account,
}

impl HaltScope {
    /// The word of the interface.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Task => "task",
            Self::Template => "template",
            Self::Sender => "sender",
            Self::Account => "account",
        }
    }
}

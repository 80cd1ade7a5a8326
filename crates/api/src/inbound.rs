//! Inbound: what people write and press.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// Something that a person sent to a business number.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Inbound {
    /// Its id.
    pub id: i64,
    /// The account.
    pub account: String,
    /// The person's phone.
    pub from: String,
    /// The business number, as the vendor names it.
    pub to: String,
    /// `text`, `image`, `button` …, as the vendor names it.
    pub kind: String,
    /// The text, the button's text, or the caption.
    pub text: Option<String>,
    /// The press of a button.
    pub is_click: bool,
    /// The vendor's id of it.
    pub vendor_id: Option<String>,
    /// The vendor's id of the message that it answers.
    pub in_reply_to: Option<String>,
    /// When.
    pub received_at: DateTime<Utc>,
    /// The task of the message that it answers, where one was found.
    pub task_id: Option<i64>,
    /// The person's number in that task.
    pub no: Option<i32>,
}

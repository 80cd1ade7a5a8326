//! What a vendor says it has sent: evidence for calls whose outcome is unknown.
//!
//! A record proves that a message was sent. The absence of one proves nothing.

use chrono::{DateTime, Utc};
use model::{Phone, report::ReportedOutcome};

/// Records in a page at the most (sobot-io.txt, "Query sending records").
pub const PAGE_RECORDS: u32 = 100;

/// Which records to ask for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RecordQuery {
    /// Sent at this time or later.
    pub from: Option<DateTime<Utc>>,
    /// Sent at this time or earlier.
    pub until: Option<DateTime<Utc>>,
    /// Sent to this person.
    pub recipient: Option<Phone>,
    /// Sent from this business number, as the account's configuration names it.
    pub sender: Option<String>,
    /// Sent with this template.
    pub template_name: Option<String>,
    /// In this language.
    pub template_language: Option<String>,
    /// 1 is the first; 0 is taken for 1.
    pub page: u32,
}

/// One message that the vendor says it has handled.
#[derive(Clone, Debug, PartialEq)]
pub struct SendRecord {
    /// The vendor's id of the message. One that failed may have none.
    pub vendor_id: Option<String>,
    /// Whom it was sent to.
    pub to: Option<Phone>,
    /// The business number as the vendor writes it; compare by digits, and not at all where it is another kind of id.
    pub sender: Option<String>,
    /// The template's name.
    pub template_name: Option<String>,
    /// The template's language, where told.
    pub template_language: Option<String>,
    /// How far it came.
    pub outcome: ReportedOutcome,
    /// When it was sent.
    pub sent_at: Option<DateTime<Utc>>,
    /// When that outcome was reached.
    pub updated_at: Option<DateTime<Utc>>,
}

/// A page of records.
#[derive(Clone, Debug, PartialEq)]
pub struct RecordPage {
    /// The records that can be read.
    pub records: Vec<SendRecord>,
    /// Whether a next page may hold more.
    pub has_more: bool,
}

/// Why there are no records to look at.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RecordsError {
    /// The vendor has no such call.
    #[error("this vendor keeps no records that could be asked for")]
    KeepsNone,
    /// Asked, and not answered usefully. Ask again later.
    #[error("the vendor's records cannot be read: {code} ({reason})")]
    Failed {
        /// A code of the tables.
        code: String,
        /// The vendor's text or ours.
        reason: String,
    },
}

//! What vendors tell us by callback, in our words.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::Phone;

/// One piece of news from a callback.
#[derive(Clone, Debug, PartialEq)]
pub enum News {
    /// How a message of ours fares.
    Status(StatusReport),
    /// A person wrote, or pressed a button.
    Inbound(Inbound),
    /// A person told WhatsApp whether marketing is wanted, by the platform's own switch.
    Preference(Preference),
    /// A template, a business number or an account changed at the vendor.
    Event(Event),
}

/// How far a message has come, or that it failed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct StatusReport {
    /// The vendor's id of the message.
    pub vendor_id: String,
    /// What we gave along with the call, where the vendor returns it.
    pub correlation: Option<Correlation>,
    /// Whom it was sent to, where told.
    pub to: Option<Phone>,
    /// What is reported.
    pub outcome: ReportedOutcome,
    /// When it happened, by the vendor's clock; none when unreadable.
    pub at: Option<DateTime<Utc>>,
}

/// What a status report says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ReportedOutcome {
    /// The vendor took it: told by our own evidence, not by callbacks.
    Accepted,
    /// WhatsApp took it.
    Sent,
    /// It is on the person's phone.
    Delivered,
    /// It was opened.
    Read,
    /// It was not delivered.
    Failed {
        /// The vendor's code.
        code: String,
        /// The vendor's text.
        reason: String,
    },
}

/// Names a recipient of a call of ours: `c1.REQUEST.TASK.NO`, sent along where the vendor echoes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Correlation {
    /// The intent that the call belongs to.
    pub request_id: i64,
    /// The task.
    pub task_id: i64,
    /// The recipient's number in the task's audience.
    pub no: i32,
}

impl Correlation {
    /// The form that is sent.
    #[must_use]
    pub fn encode(&self) -> String {
        format!("c1.{}.{}.{}", self.request_id, self.task_id, self.no)
    }

    /// Reads the form that is sent; none for anything else.
    #[must_use]
    pub fn decode(text: &str) -> Option<Self> {
        let mut parts = text.strip_prefix("c1.")?.split('.');
        let request_id = parts.next()?.parse().ok()?;
        let task_id = parts.next()?.parse().ok()?;
        let no = parts.next()?.parse().ok()?;
        parts.next().is_none().then_some(Self { request_id, task_id, no })
    }
}

/// Something a person sent to a business number.
#[derive(Clone, Debug, PartialEq)]
pub struct Inbound {
    /// Who wrote.
    pub from: Phone,
    /// The business number as the vendor names it; compared by digits.
    pub to: String,
    /// The vendor's id of the inbound message, where given.
    pub vendor_id: Option<String>,
    /// The id of our message that it answers, where given.
    pub in_reply_to: Option<String>,
    /// `text`, `image`, `button`, `interactive`, … as the vendor names it.
    pub kind: String,
    /// A reply, or the press of a button.
    pub is_click: bool,
    /// The text, the button's text, or the caption.
    pub text: Option<String>,
    /// When, by the vendor's clock.
    pub at: Option<DateTime<Utc>>,
}

/// Whether a person wants marketing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Preference {
    /// Who.
    pub from: Phone,
    /// Stop, or resume.
    pub stops: bool,
    /// When, by the vendor's clock.
    pub at: Option<DateTime<Utc>>,
}

/// A change at the vendor that concerns more than one message.
#[derive(Clone, Debug, PartialEq)]
pub struct Event {
    /// When, by the vendor's clock.
    pub at: Option<DateTime<Utc>>,
    /// What changed.
    pub what: AccountEvent,
}

/// What changed at the vendor.
#[derive(Clone, Debug, PartialEq)]
pub enum AccountEvent {
    /// A template was approved, rejected, paused or disabled.
    Template {
        /// The template's name.
        name: String,
        /// Its language; empty: not told.
        language: String,
        /// The vendor's word, upper case: `APPROVED`, `REJECTED`, `PAUSED` …
        event: String,
        /// The vendor's reason.
        reason: Option<String>,
    },
    /// People like a template more or less than before.
    TemplateQuality {
        /// The template's name.
        name: String,
        /// Its language; empty: not told.
        language: String,
        /// The vendor's word: `GREEN`, `YELLOW`, `RED` …
        quality: String,
        /// What it was before.
        previous: Option<String>,
    },
    /// The quality or the limit of a business number changed.
    Number {
        /// The number as people see it.
        number: String,
        /// The vendor's word: `FLAGGED`, `UPGRADE` …
        event: String,
        /// To how many people it may write in a day, in the vendor's word: `TIER_10K`.
        tier: Option<String>,
    },
    /// The account changed.
    Account {
        /// The business number that is named, or nothing.
        number: String,
        /// The vendor's word.
        event: String,
        /// What else it says.
        detail: Option<String>,
        /// Whether messages may be sent after it.
        standing: Standing,
    },
    /// Something else, kept as it came.
    Other {
        /// The vendor's name of the changed field.
        field: String,
        /// The vendor's word for what happened.
        event: String,
    },
}

/// What a change makes of an account.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// It may not send any more.
    Restricted {
        /// When that ends by itself, where told.
        until: Option<DateTime<Utc>>,
    },
    /// It may send again.
    Restored,
    /// As before.
    Unchanged,
}

/// How many people a number may write to within 24 hours, by the vendor's word for its tier: `TIER_250`, `TIER_10K`. None:
/// without limit, or a word that names no number.
#[must_use]
pub fn daily_recipients_of_tier(tier: &str) -> Option<u32> {
    let word = tier.trim().to_ascii_uppercase();
    let amount = word.strip_prefix("TIER_").unwrap_or(&word);
    let (digits, factor) = match amount.as_bytes().last()? {
        b'K' => (&amount[..amount.len() - 1], 1_000),
        b'M' => (&amount[..amount.len() - 1], 1_000_000),
        _ => (amount, 1),
    };
    digits.parse::<u32>().ok()?.checked_mul(factor)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_correlation_reads_back_and_nothing_else_does() {
        let correlation = Correlation { request_id: 7, task_id: 12, no: 3 };
        assert_eq!(Correlation::decode(&correlation.encode()), Some(correlation));
        for text in ["", "Order12", "c1.1.2", "c1.1.2.3.4", "c1.a.2.3", "c2.1.2.3"] {
            assert_eq!(Correlation::decode(text), None, "{text}");
        }
    }

    #[test]
    fn a_tier_names_a_number_or_none() {
        for (tier, expected) in [
            ("TIER_50", Some(50)),
            ("TIER_1K", Some(1_000)),
            ("tier_100k", Some(100_000)),
            ("TIER_1M", Some(1_000_000)),
            ("250", Some(250)),
            ("TIER_UNLIMITED", None),
            ("TIER_NOT_SET", None),
            ("TIER_", None),
            ("", None),
            ("TIER_99999999K", None),
            ("TIER_é", None),
        ] {
            assert_eq!(daily_recipients_of_tier(tier), expected, "{tier}");
        }
    }
}

//! Reports: what came of a task, in numbers.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::{Counts, TaskState};

/// What came of a task, and why the rest did not arrive.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct TaskReport {
    /// The task in numbers.
    pub summary: TaskSummary,
    /// Recipients that are failed, retrying or unknown, by their last code; the most frequent first.
    pub errors: Vec<ReportedError>,
}

/// A task in numbers: one line of a comparison.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct TaskSummary {
    /// The task's id.
    pub task_id: i64,
    /// The campaign that it runs.
    pub campaign_id: i64,
    /// The campaign's name.
    pub name: String,
    /// The account that sends.
    pub account: String,
    /// The sender.
    pub from: String,
    /// What it is doing.
    pub state: TaskState,
    /// When it is or was due.
    pub starts_at: Option<DateTime<Utc>>,
    /// When it began.
    pub started_at: Option<DateTime<Utc>>,
    /// When nothing was left to send.
    pub ended_at: Option<DateTime<Utc>>,
    /// From its beginning to its end, or to now: pauses, halts and closed windows are within.
    pub duration_seconds: Option<i64>,
    /// Accepted and failed messages by that duration; null before a second has gone by.
    pub mean_messages_per_second: Option<f64>,
    /// Where its recipients are.
    pub counts: Counts,
    /// The counts in per cent.
    pub rates: Rates,
}

/// Counts in per cent of what they can be at the most, with two decimals; null where that is nought.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Rates {
    /// Accepted of total.
    pub accepted: Option<f64>,
    /// Failed of accepted and failed.
    pub failed: Option<f64>,
    /// Delivered of accepted.
    pub delivered: Option<f64>,
    /// Read of delivered. People may switch read receipts off: it is the least that is true.
    pub read: Option<f64>,
    /// Persons who replied, of delivered.
    pub replied: Option<f64>,
    /// Persons who clicked, of delivered.
    pub clicked: Option<f64>,
}

impl Rates {
    /// The rates of these counts.
    #[must_use]
    pub fn of(counts: &Counts) -> Self {
        Self {
            accepted: per_cent(counts.accepted, counts.total),
            failed: per_cent(counts.failed, counts.accepted + counts.failed),
            delivered: per_cent(counts.delivered, counts.accepted),
            read: per_cent(counts.read, counts.delivered),
            replied: per_cent(counts.replied, counts.delivered),
            clicked: per_cent(counts.clicked, counts.delivered),
        }
    }
}

/// With two decimals.
#[expect(clippy::cast_precision_loss, reason = "a share of counts far below 2^52")]
fn per_cent(part: i64, whole: i64) -> Option<f64> {
    (whole > 0).then(|| (part as f64 * 10_000.0 / whole as f64).round() / 100.0)
}

/// How many recipients are failed, retrying or unknown with one code, and what to do about it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ReportedError {
    /// The vendor's code, or one of ours in words.
    pub code: String,
    /// The code's name, where it has one.
    pub name: String,
    /// What it means.
    pub meaning: String,
    /// What is done about it.
    pub disposition: String,
    /// What a person should do.
    pub advice: String,
    /// How many recipients.
    pub count: i64,
}

/// How long the buckets of a timeline are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum TimelineStep {
    /// A minute.
    #[default]
    Minute,
    /// An hour of UTC.
    Hour,
}

/// What one minute or hour added to a task's counts. A message that fails after it was accepted is taken off `accepted` in
/// the minute in which it fails, so a number may be below zero, and all buckets together are the counts of now.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct TimelineBucket {
    /// When it begins. What happened at the end of a minute may be counted in the next one: counts are gathered each second.
    pub at: DateTime<Utc>,
    /// Taken by the vendor.
    pub accepted: i64,
    /// Taken by WhatsApp.
    pub sent: i64,
    /// On the phone.
    pub delivered: i64,
    /// Opened.
    pub read: i64,
    /// Will not come.
    pub failed: i64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_are_shares_of_what_they_can_be_at_the_most() {
        let counts = Counts {
            total: 1_000,
            accepted: 900,
            failed: 100,
            delivered: 600,
            read: 200,
            clicked: 1,
            ..Counts::default()
        };
        let expected = Rates {
            accepted: Some(90.0),
            failed: Some(10.0),
            delivered: Some(66.67),
            read: Some(33.33),
            replied: Some(0.0),
            clicked: Some(0.17),
        };
        assert_eq!(Rates::of(&counts), expected);
        assert_eq!(Rates::of(&Counts::default()), Rates::default());
    }
}

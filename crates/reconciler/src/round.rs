//! Reports put together: whatever a batch says of a message becomes one change of it. Nothing is read or written here.

use std::collections::HashMap;

use chrono::{DateTime, Utc};
use model::{
    report::{ReportedOutcome, StatusReport},
    status::{self, Effect, MessageState, OfCall},
};
use store::{
    reports::{Change, Times},
    standings::{Found, Standing},
};

use crate::failed::Failures;

/// A report and when it came.
pub(crate) type Received = (StatusReport, DateTime<Utc>);

/// A report that waits for its message: as it is, as it is kept, and when it came.
type Early = (StatusReport, serde_json::Value, DateTime<Utc>);

/// Reports that are written together: one change a message.
pub(crate) struct Round<'a> {
    found: &'a Found,
    changes: HashMap<(i64, i32), Change>,
    order: Vec<(i64, i32)>,
    early: Vec<Early>,
}

impl<'a> Round<'a> {
    pub(crate) fn new(found: &'a Found) -> Self {
        Self { found, changes: HashMap::new(), order: Vec::new(), early: Vec::new() }
    }

    /// The changes in the order of their first reports, and the reports whose message is not known.
    pub(crate) fn finish(mut self) -> (Vec<Change>, Vec<Early>) {
        let changes = self.order.iter().filter_map(|key| self.changes.remove(key)).collect();
        (changes, self.early)
    }

    /// Applies a report to where its message will stand after the reports before it.
    pub(crate) fn apply(&mut self, (report, received_at): &Received, failures: &mut Failures<'_>) {
        let Some((before, of_call)) = self.locate(report) else {
            if let Ok(body) = serde_json::to_value(report) {
                self.early.push((report.clone(), body, *received_at));
            }
            return;
        };
        let changed = self.changes.get(&(before.task_id, before.no));
        // One that is to be sent again because nothing was heard of its call is still open to what is heard.
        let is_open = before.waits && before.is_resent && of_call == OfCall::Latest && !is_failure(report);
        let stood = if is_open { MessageState::Unknown } else { before.state };
        let state = changed.map_or(stood, |change| change.state);
        let is_being_sent = before.state == MessageState::Retrying && !before.waits;
        let at = report.at.unwrap_or(*received_at);
        match status::apply(state, of_call, is_being_sent, &report.outcome) {
            Effect::Ignored => {}
            Effect::AlreadyKnown => self.fill_in(before, report, at),
            Effect::MoveTo(state) => {
                failures.succeeded(before);
                let change = self.change(before, report);
                // A retry that these reports brought is never written; one that waits in the database is withdrawn.
                change.again = None;
                change.withdraw = before.state == MessageState::Retrying && before.waits;
                change.state = state;
                change.why = None;
                milestone(&mut change.times, &report.outcome, at);
            }
            Effect::FailedNow => {
                let ReportedOutcome::Failed { code, reason } = &report.outcome else { return };
                let fate = failures.failed(before, code, reason);
                let change = self.change(before, report);
                change.state = fate.state;
                change.why = Some(fate.why);
                change.again = fate.again;
                change.times.failed_at = Some(at);
            }
        }
    }

    /// The message that a report speaks of; none while it is not known.
    fn locate(&self, report: &StatusReport) -> Option<(&'a Standing, OfCall)> {
        if let Some(named) = report.correlation {
            let standing = self.found.by_recipient.get(&(named.task_id, named.no))?;
            return match named.request_id.cmp(&standing.request_id) {
                std::cmp::Ordering::Equal => Some((standing, OfCall::Latest)),
                std::cmp::Ordering::Less => Some((standing, OfCall::Older)),
                // Its outcome is not recorded yet.
                std::cmp::Ordering::Greater => None,
            };
        }
        if let Some(key) = self.found.by_vendor_id.get(&report.vendor_id) {
            return Some((self.found.by_recipient.get(key)?, OfCall::Latest));
        }
        let key = self.found.by_old_hash.get(&store::ids::vendor_hash(&report.vendor_id))?;
        Some((self.found.by_recipient.get(key)?, OfCall::Older))
    }

    fn change(&mut self, before: &Standing, report: &StatusReport) -> &mut Change {
        let key = (before.task_id, before.no);
        let order = &mut self.order;
        self.changes.entry(key).or_insert_with(|| {
            order.push(key);
            let learned = !before.has_vendor_id && !report.vendor_id.is_empty();
            Change {
                before: before.clone(),
                state: before.state,
                vendor_id: learned.then(|| report.vendor_id.clone()),
                why: None,
                again: None,
                withdraw: false,
                times: Times::default(),
            }
        })
    }

    /// The state is known already; its time may not be.
    fn fill_in(&mut self, before: &Standing, report: &StatusReport, at: DateTime<Utc>) {
        let is_missing = match report.outcome {
            ReportedOutcome::Sent => !before.has_sent,
            ReportedOutcome::Delivered => !before.has_delivered,
            ReportedOutcome::Read => !before.has_read,
            ReportedOutcome::Accepted | ReportedOutcome::Failed { .. } => false,
        };
        if is_missing {
            milestone(&mut self.change(before, report).times, &report.outcome, at);
        }
    }
}

fn is_failure(report: &StatusReport) -> bool {
    matches!(report.outcome, ReportedOutcome::Failed { .. })
}

fn milestone(times: &mut Times, outcome: &ReportedOutcome, at: DateTime<Utc>) {
    let time = match outcome {
        ReportedOutcome::Accepted => &mut times.accepted_at,
        ReportedOutcome::Sent => &mut times.sent_at,
        ReportedOutcome::Delivered => &mut times.delivered_at,
        ReportedOutcome::Read => &mut times.read_at,
        ReportedOutcome::Failed { .. } => &mut times.failed_at,
    };
    time.get_or_insert(at);
    // Whatever has come further was accepted, even if no answer said so.
    times.accepted_at.get_or_insert(at);
}

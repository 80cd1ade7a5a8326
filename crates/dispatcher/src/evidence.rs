//! What this process knows of calls and cannot record as an outcome any more: true statements about (request, recipient).
//!
//! They go into the inbox like callbacks, and whoever owns the account decides by them. Of what is not known, nothing may
//! be said here.

use chrono::{DateTime, Utc};
use model::report::{Correlation, ReportedOutcome, StatusReport};
use store::{
    intents::{Intent, Taken},
    outcomes::{CallResult, Outcome},
};
use vendors::codes;

use crate::{Shared, account::Owner, commit::LATE};

/// Reports in one entry of the inbox at the most.
const REPORTS: usize = 500;

/// An outcome as a report; none where it tells nothing.
pub(crate) fn of_outcome(outcome: &Outcome) -> Option<StatusReport> {
    let (vendor_id, reported) = match &outcome.result {
        CallResult::Accepted(vendor_id) => (vendor_id.clone(), ReportedOutcome::Accepted),
        CallResult::Failed(why) | CallResult::Retry(why, _) => {
            let (code, reason) = (why.code.clone(), why.reason.clone());
            (String::new(), ReportedOutcome::Failed { code, reason })
        }
        CallResult::Requeued(_) => (String::new(), never_left()),
        CallResult::Unknown(_) => return None,
    };
    Some(report(outcome.request_id, outcome.task_id, &outcome.taken, vendor_id, reported, outcome.at))
}

/// Nobody of the intent was called, and nobody of it ever will be.
pub(crate) fn of_withdrawn(intent: &Intent, at: DateTime<Utc>) -> impl Iterator<Item = StatusReport> {
    let of = move |taken| report(intent.request_id, intent.task_id, taken, String::new(), never_left(), at);
    intent.taken.iter().map(of)
}

fn never_left() -> ReportedOutcome {
    ReportedOutcome::Failed {
        code: codes::NEVER_LEFT.to_owned(),
        reason: "the call had not left when campaignd ended".to_owned(),
    }
}

fn report(
    request_id: i64,
    task_id: i64,
    taken: &Taken,
    vendor_id: String,
    outcome: ReportedOutcome,
    at: DateTime<Utc>,
) -> StatusReport {
    let correlation = Some(Correlation { request_id, task_id, no: taken.no });
    StatusReport { vendor_id, correlation, to: Some(taken.phone), outcome, at: Some(at) }
}

/// The reports as entries of the inbox.
pub(crate) fn entries(reports: &[StatusReport]) -> Vec<String> {
    reports
        .chunks(REPORTS)
        .filter_map(|some| {
            serde_json::to_string(some)
                .inspect_err(|error| tracing::error!(%error, "evidence cannot be written down"))
                .ok()
        })
        .collect()
}

/// Hands reports to the inbox, however long it takes; what takes long is kept in the journal meanwhile.
pub(crate) async fn give(shared: &Shared, owner: &Owner, reports: &[StatusReport]) {
    let account = &owner.account.config.name;
    let mut claim = shared.journal.claim();
    let mut are_stored = true;
    for entry in entries(reports) {
        let mut stored = (shared.evidence)(account.clone(), entry.clone());
        are_stored &= match tokio::time::timeout(LATE, &mut stored).await {
            Ok(is_stored) => is_stored,
            Err(_) => {
                if let Err(error) = claim.keep(account, &entry).await {
                    tracing::error!(account.name = account, %error, "evidence cannot be kept in the journal");
                }
                stored.await
            }
        };
    }
    if are_stored {
        claim.settled().await;
    }
}

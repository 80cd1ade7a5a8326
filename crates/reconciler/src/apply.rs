//! One step of the inbox: read what is next, find the messages it speaks of, move them, remember how far it went.

use std::{collections::HashMap, sync::Arc};

use chrono::{DateTime, Utc};
use model::{
    report::{AccountEvent, Inbound, News, ReportedOutcome, StatusReport},
    status::{self, Effect, MessageState, OfCall},
};
use store::{
    Error, PgConnection, effects, inbound,
    inbox::{self, Entry, EntryKind},
    leases::{self, Lease},
    reports::{self, Change, Found, Standing, Times},
};
use tokio_util::sync::CancellationToken;

use crate::{Shared, failed::Failures};

/// Entries read in one step.
const ENTRIES: i64 = 500;
/// Reports applied in one step, about: an entry may hold a hundred.
const REPORTS: usize = 5_000;
/// Early reports looked at in one step.
const EARLY: i64 = 2_000;
/// A template that the vendor disabled is not lifted by an approval.
const TEMPLATE_DISABLED: &str = "132016";

/// A report and when it came.
pub(crate) type Received = (StatusReport, DateTime<Utc>);

/// Steps until the account's inbox is empty, or something goes wrong.
pub(crate) async fn all(shared: &Arc<Shared>, lease: &Lease, stop: &CancellationToken) {
    while !stop.is_cancelled() {
        match step(shared, lease).await {
            Ok(true) => {}
            Ok(false) => return,
            Err(Error::Fenced) => return,
            Err(error) => {
                tracing::warn!(account.name = lease.account, %error, "callbacks cannot be applied; trying again");
                return;
            }
        }
    }
}

/// Applies a bounded amount; whether there may be more.
async fn step(shared: &Shared, lease: &Lease) -> store::Result<bool> {
    let mut transaction = shared.db.hot.begin().await.map_err(Error::database("applying callbacks"))?;
    let conn: &mut PgConnection = &mut transaction;
    leases::fence(conn, lease).await?;
    let early = reports::take_known_early(conn, &lease.account, 0, EARLY).await?.known;
    let mut entries = inbox::unapplied(conn, &lease.account, ENTRIES).await?;
    if early.is_empty() && entries.is_empty() {
        return Ok(false);
    }
    let mut received: Vec<Received> = early
        .into_iter()
        .filter_map(|early| Some((serde_json::from_value(early.body).ok()?, early.received_at)))
        .collect();
    let (mut people, mut events) = (Vec::new(), Vec::new());
    let mut read = 0;
    for entry in &entries {
        if received.len() >= REPORTS {
            break;
        }
        read += 1;
        for news in news(shared, lease, entry) {
            match news {
                News::Status(report) => received.push((report, entry.received_at)),
                News::Inbound(message) => people.push((message, entry.received_at)),
                News::Event(event) => events.push(event),
            }
        }
    }
    entries.truncate(read);
    let is_full = read as i64 == ENTRIES || received.len() >= REPORTS;
    let mut failures = Failures::new(shared, lease);
    if !apply_reports(conn, lease, &received, &mut failures).await? {
        return Ok(true); // a row moved under us: roll back and read again
    }
    keep_people(conn, lease, &people).await?;
    let mut effects = failures.effects;
    apply_events(conn, lease, &events).await?;
    effects.halts.dedup();
    effects::apply(conn, &effects, shared.clock.now()).await?;
    if !inbox::advance(conn, &lease.account, &entries).await? {
        return Ok(true);
    }
    transaction.commit().await.map_err(Error::database("applying callbacks"))?;
    for (scope, sender) in failures.slow_downs {
        (shared.slow_down)(&lease.account, scope, &sender);
    }
    if !failures.retried.is_empty() {
        (shared.wake_dispatcher)(&lease.account);
    }
    Ok(is_full)
}

/// What an entry says. One that says nothing readable was checked when it came; it is named and passed over.
fn news(shared: &Shared, lease: &Lease, entry: &Entry) -> Vec<News> {
    if entry.kind == EntryKind::Evidence as i16 {
        let reports: Vec<StatusReport> = serde_json::from_str(&entry.body).unwrap_or_default();
        return reports.into_iter().map(News::Status).collect();
    }
    let Some(vendor) = shared.vendors.get(&lease.account) else { return Vec::new() };
    vendors::callback::parse(*vendor, entry.body.as_bytes()).unwrap_or_else(|error| {
        tracing::error!(account.name = lease.account, seq = entry.seq, %error, "a stored callback cannot be read");
        Vec::new()
    })
}

/// Applies the reports in order. False: a row no longer stood as it was read.
async fn apply_reports(
    conn: &mut PgConnection,
    lease: &Lease,
    received: &[Received],
    failures: &mut Failures<'_>,
) -> store::Result<bool> {
    let mut rest = received;
    while !rest.is_empty() {
        let all: Vec<StatusReport> = rest.iter().map(|(report, _)| report.clone()).collect();
        let found = reports::find(conn, &lease.account, &all).await?;
        failures.learn(conn, &found).await?;
        let mut round =
            Round { found: &found, changes: HashMap::new(), order: Vec::new(), early: Vec::new() };
        let applied = rest.iter().take_while(|received| round.apply(received, failures)).count();
        if applied == 0 {
            tracing::error!(account.name = lease.account, "a report could not be applied; it is passed over");
        }
        let changes: Vec<Change> = round.order.iter().filter_map(|key| round.changes.remove(key)).collect();
        if !reports::write(conn, &changes).await? {
            return Ok(false);
        }
        reports::keep_early(conn, &lease.account, &round.early).await?;
        rest = &rest[applied.max(1)..];
    }
    Ok(true)
}

/// Reports that are written together: one change a message.
struct Round<'a> {
    found: &'a Found,
    changes: HashMap<(i64, i32), Change>,
    order: Vec<(i64, i32)>,
    early: Vec<(StatusReport, serde_json::Value, DateTime<Utc>)>,
}

impl Round<'_> {
    /// Applies a report. False: it must wait for the next round, because its message is to be written first.
    fn apply(&mut self, (report, received_at): &Received, failures: &mut Failures<'_>) -> bool {
        let Some((before, of_call)) = self.locate(report) else {
            if let Ok(body) = serde_json::to_value(report) {
                self.early.push((report.clone(), body, *received_at));
            }
            return true;
        };
        let key = (before.task_id, before.no);
        let changed = self.changes.get(&key);
        if changed.is_some_and(|change| change.again.is_some() || change.withdraw) {
            return false;
        }
        let state = changed.map_or(before.state, |change| change.state);
        let is_being_sent = before.state == MessageState::Retrying && !before.waits;
        let at = report.at.unwrap_or(*received_at);
        match status::apply(state, of_call, is_being_sent, &report.outcome) {
            Effect::Ignored => {}
            Effect::AlreadyKnown => self.fill_in(&before, report, at),
            Effect::MoveTo(state) => {
                failures.succeeded(&before);
                let change = self.change(&before, report);
                change.withdraw = before.state == MessageState::Retrying && before.waits;
                change.state = state;
                change.why = None;
                milestone(&mut change.times, &report.outcome, at);
            }
            Effect::FailedNow => {
                let ReportedOutcome::Failed { code, reason } = &report.outcome else { return true };
                let fate = failures.failed(&before, code, reason);
                let change = self.change(&before, report);
                change.state = fate.state;
                change.why = Some(fate.why);
                change.again = fate.again;
                change.times.failed_at = Some(at);
            }
        }
        true
    }

    /// The message that a report speaks of; none while it is not known.
    fn locate(&self, report: &StatusReport) -> Option<(Standing, OfCall)> {
        if let Some(named) = report.correlation {
            let standing = self.found.by_recipient.get(&(named.task_id, named.no))?;
            return match named.request_id.cmp(&standing.request_id) {
                std::cmp::Ordering::Equal => Some((standing.clone(), OfCall::Latest)),
                std::cmp::Ordering::Less => Some((standing.clone(), OfCall::Older)),
                // Its outcome is not recorded yet.
                std::cmp::Ordering::Greater => None,
            };
        }
        if let Some(key) = self.found.by_vendor_id.get(&report.vendor_id) {
            return Some((self.found.by_recipient.get(key)?.clone(), OfCall::Latest));
        }
        let key = self.found.by_old_hash.get(&store::ids::vendor_hash(&report.vendor_id))?;
        Some((self.found.by_recipient.get(key)?.clone(), OfCall::Older))
    }

    fn change(&mut self, before: &Standing, report: &StatusReport) -> &mut Change {
        let key = (before.task_id, before.no);
        let order = &mut self.order;
        self.changes.entry(key).or_insert_with(|| {
            order.push(key);
            let learned = before.vendor_id.is_none() && !report.vendor_id.is_empty();
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

async fn keep_people(
    conn: &mut PgConnection,
    lease: &Lease,
    people: &[(Inbound, DateTime<Utc>)],
) -> store::Result<()> {
    inbound::keep(conn, &lease.account, people).await
}

/// A template that is approved again lets its tasks run on.
async fn apply_events(conn: &mut PgConnection, lease: &Lease, events: &[AccountEvent]) -> store::Result<()> {
    for event in events {
        match event {
            AccountEvent::Template { name, language, event, .. } if event == "APPROVED" => {
                let template = format!("{name}/{language}");
                effects::lift_template(conn, &lease.account, &template, TEMPLATE_DISABLED).await?;
            }
            AccountEvent::Template { name, event, .. } => {
                tracing::warn!(
                    account.name = lease.account,
                    template = name,
                    event,
                    "the vendor changed a template"
                );
            }
            AccountEvent::Other { field, event } => {
                tracing::warn!(account.name = lease.account, field, event, "the vendor changed the account");
            }
        }
    }
    Ok(())
}

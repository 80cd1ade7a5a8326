//! From the words of `model` and the rows of `store` to the types of the interface, and back.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use model::{campaign, disposition::Scope, status::MessageState, task::TaskState};
use store::{
    canaries::{self, Canaried},
    halts::Halt,
    messages::Place,
    suppressions,
};
use vendors::{Vendor, codes};

use crate::state::AppState;

/// Firings of a recurring campaign that are shown ahead.
const SHOWN_FIRINGS: usize = 5;
/// What is advised where no table knows the code.
const ADVICE_ON_UNKNOWN_CODES: &str =
    "Ask the vendor what it means; the messages' `reason` has the vendor's words.";

/// Converts between enums of the same words.
macro_rules! same_words {
    ($name:ident, $back:ident, $from:ty, $to:ty, $($variant:ident),*) => {
        pub fn $name(word: $from) -> $to {
            match word { $(<$from>::$variant => <$to>::$variant,)* }
        }
        pub fn $back(word: $to) -> $from {
            match word { $(<$to>::$variant => <$from>::$variant,)* }
        }
    };
}

mod templates;

pub use templates::{
    event_kind_of, listed_template, new_template, template, template_status_of, vendor_event,
};

same_words!(
    campaign_state,
    campaign_state_of,
    campaign::CampaignState,
    ::api::CampaignState,
    Draft,
    Launched
);
same_words!(category, category_of, campaign::Category, ::api::Category, Marketing, Utility, Authentication);
same_words!(priority, priority_of, campaign::Priority, ::api::Priority, High, Normal, Low);
same_words!(on_unknown, on_unknown_of, campaign::OnUnknown, ::api::OnUnknown, Hold, Resend);
same_words!(
    suppression_reason,
    suppression_reason_of,
    suppressions::Reason,
    ::api::SuppressionReason,
    OptOut,
    Invalid,
    Manual,
    Complaint
);

/// What a task is doing.
pub fn task_state(state: TaskState) -> ::api::TaskState {
    match state {
        TaskState::Scheduled => ::api::TaskState::Scheduled,
        TaskState::Running => ::api::TaskState::Running,
        TaskState::Paused => ::api::TaskState::Paused,
        TaskState::Halted => ::api::TaskState::Halted,
        TaskState::Completed => ::api::TaskState::Completed,
        TaskState::Cancelled => ::api::TaskState::Cancelled,
    }
}

/// Where a recipient is.
pub fn message_state(place: Place) -> ::api::MessageState {
    use ::api::MessageState as A;
    match place {
        Place::Queued => A::Queued,
        Place::Sending => A::Sending,
        Place::Cancelled => A::Cancelled,
        Place::Message(MessageState::Accepted) => A::Accepted,
        Place::Message(MessageState::Sent) => A::Sent,
        Place::Message(MessageState::Delivered) => A::Delivered,
        Place::Message(MessageState::Read) => A::Read,
        Place::Message(MessageState::Failed) => A::Failed,
        Place::Message(MessageState::Retrying) => A::Retrying,
        Place::Message(MessageState::Unknown) => A::Unknown,
        Place::Message(MessageState::Suppressed) => A::Suppressed,
        Place::Message(MessageState::Expired) => A::Expired,
    }
}

/// The place that a state of the interface names.
pub fn place_of(state: ::api::MessageState) -> Place {
    use ::api::MessageState as A;
    match state {
        A::Queued => Place::Queued,
        A::Sending => Place::Sending,
        A::Cancelled => Place::Cancelled,
        A::Accepted => Place::Message(MessageState::Accepted),
        A::Sent => Place::Message(MessageState::Sent),
        A::Delivered => Place::Message(MessageState::Delivered),
        A::Read => Place::Message(MessageState::Read),
        A::Failed => Place::Message(MessageState::Failed),
        A::Retrying => Place::Message(MessageState::Retrying),
        A::Unknown => Place::Message(MessageState::Unknown),
        A::Suppressed => Place::Message(MessageState::Suppressed),
        A::Expired => Place::Message(MessageState::Expired),
    }
}

/// A halt.
pub fn halt(halt: Halt) -> ::api::Halt {
    ::api::Halt {
        id: halt.id,
        scope: match halt.scope {
            Scope::Task => ::api::HaltScope::Task,
            Scope::Template => ::api::HaltScope::Template,
            Scope::Sender => ::api::HaltScope::Sender,
            Scope::Account => ::api::HaltScope::Account,
        },
        value: halt.value,
        account: halt.account,
        code: halt.code,
        meaning: halt.reason,
        remedy: halt.remedy,
        since: halt.since,
        lifts_at: halt.lifts_at,
    }
}

fn canaried(canary: Canaried) -> ::api::TaskCanary {
    ::api::TaskCanary {
        state: match (canary.state, canary.until) {
            (canaries::State::Trying, None) => ::api::CanaryState::Sending,
            (canaries::State::Trying, Some(_)) => ::api::CanaryState::Waiting,
            (canaries::State::Passed, _) => ::api::CanaryState::Passed,
            (canaries::State::Failed, _) => ::api::CanaryState::Failed,
        },
        until: canary.until,
        recipients: i64::from(canary.recipients),
        failed: i64::from(canary.failed),
    }
}

/// A halt in a sentence.
pub fn halt_reason(halt: &Halt) -> String {
    let what = match halt.scope {
        Scope::Task => "the task".to_owned(),
        Scope::Template => format!("template {}", halt.value),
        Scope::Sender => format!("sender {}", halt.value),
        Scope::Account => format!("account {}", halt.value),
    };
    let code = if halt.code.is_empty() { String::new() } else { format!(" by {}", halt.code) };
    let remedy = if halt.remedy.is_empty() { String::new() } else { format!(" Remedy: {}", halt.remedy) };
    format!("{what} is halted{code}: {}.{remedy}", halt.reason.trim_end_matches('.'))
}

/// A task with what its account's owner knows of it; `halts` are those that hold it, and its sender's daily limit is reached
/// until `full_until`.
pub fn task(
    state: &AppState,
    task: store::tasks::Task,
    halts: &[&Halt],
    full_until: Option<DateTime<Utc>>,
) -> ::api::Task {
    let shown = task_state(task.state());
    let is_running = shown == ::api::TaskState::Running;
    let live = (state.live.task)(&task.account, task.id).filter(|_| is_running).unwrap_or_default();
    let (waiting_for, waiting_until) = if shown == ::api::TaskState::Halted {
        (Some(::api::WaitingFor::Halt), last_lift(halts))
    } else if live.waiting_for.is_none() && is_running && task.counts.queued + task.counts.retrying > 0 {
        match closed_window(&task, state.clock.now()) {
            (None, _) if full_until.is_some() => (Some(::api::WaitingFor::DailyLimit), full_until),
            closed => closed,
        }
    } else {
        (live.waiting_for, live.waiting_until)
    };
    let vendor = state.account(&task.account).map(|account| account.vendor);
    let mut reasons: Vec<String> = halts.iter().map(|halt| halt_reason(halt)).collect();
    reasons.dedup();
    ::api::Task {
        id: task.id,
        campaign_id: task.campaign_id,
        name: task.name,
        account: task.account,
        from: task.sender,
        state: shown,
        halt_reason: (shown == ::api::TaskState::Halted).then(|| reasons.join(" ")),
        pause_reason: task.pause_reason,
        starts_at: task.starts_at,
        started_at: task.started_at,
        ended_at: task.ended_at,
        details_removed_at: task.details_removed_at,
        canary: task.canary.map(canaried),
        counts: counts(&task.counts),
        oldest_unknown_since: task.oldest_unknown_since,
        waiting_for,
        waiting_until,
        messages_per_second: live.messages_per_second,
        eta_seconds: eta_seconds(task.counts.queued, live.messages_per_second),
        errors: task.errors.into_iter().map(|(code, count)| task_error(vendor, code, count)).collect(),
    }
}

/// That the task waits for its sending window to open, or for the first of its recipients' own, and until when.
fn closed_window(
    task: &store::tasks::Task,
    now: DateTime<Utc>,
) -> (Option<::api::WaitingFor>, Option<DateTime<Utc>>) {
    if let Some(opens_at) = task.rest_waits_until.filter(|at| *at > now) {
        return (Some(::api::WaitingFor::Window), Some(opens_at));
    }
    let window = task.sending_window.as_ref().and_then(|window| window.compile().ok());
    match window.map(|window| window.taking_begins(now)) {
        Some(Some(begins)) if begins <= now => (None, None),
        Some(begins) => (Some(::api::WaitingFor::Window), begins),
        None => (None, None),
    }
}

/// When the last of them lifts by itself; none when an operator must lift one.
fn last_lift(halts: &[&Halt]) -> Option<DateTime<Utc>> {
    let lifts: Option<Vec<_>> = halts.iter().map(|halt| halt.lifts_at).collect();
    lifts?.into_iter().max()
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_precision_loss,
    reason = "an estimate; `as` saturates"
)]
fn eta_seconds(queued: i64, messages_per_second: f64) -> Option<i64> {
    (messages_per_second > 0.0).then(|| (queued as f64 / messages_per_second).ceil() as i64)
}

fn counts(counts: &model::counts::Counts) -> ::api::Counts {
    ::api::Counts {
        total: counts.total,
        queued: counts.queued,
        sending: counts.sending,
        retrying: counts.retrying,
        unknown: counts.unknown,
        accepted: counts.accepted,
        sent: counts.sent,
        delivered: counts.delivered,
        read: counts.read,
        failed: counts.failed,
        suppressed: counts.suppressed,
        expired: counts.expired,
        cancelled: counts.cancelled,
        replied: counts.replied,
        clicked: counts.clicked,
    }
}

fn task_error(vendor: Option<Vendor>, code: String, count: i64) -> ::api::TaskError {
    let error = reported_error(vendor, code, count);
    let ::api::ReportedError { code, name, meaning, disposition, advice: _, count } = error;
    ::api::TaskError { code, name, meaning, disposition, count }
}

/// A code with what the vendor's table says about it.
pub fn reported_error(vendor: Option<Vendor>, code: String, count: i64) -> ::api::ReportedError {
    let entry = vendor.and_then(|vendor| codes::find(vendor, &code));
    let entry = entry.as_ref();
    ::api::ReportedError {
        name: entry.and_then(|entry| entry.name).unwrap_or_default().to_owned(),
        meaning: entry.map_or("a code that stands in no table", |entry| entry.meaning).to_owned(),
        disposition: entry.map_or("FailRecipient", codes::CodeEntry::disposition).to_owned(),
        advice: entry.map_or(ADVICE_ON_UNKNOWN_CODES, |entry| entry.advice).to_owned(),
        code,
        count,
    }
}

/// A task in numbers.
#[expect(clippy::cast_precision_loss, reason = "a mean of counts and seconds far below 2^52")]
pub fn summary(task: store::tasks::Task, now: DateTime<Utc>) -> ::api::TaskSummary {
    let state = task_state(task.state());
    let counts = counts(&task.counts);
    let end = task.ended_at.unwrap_or(now);
    let duration = task.started_at.map(|started| (end - started).num_seconds().max(0));
    let mean = |seconds: i64| (counts.accepted + counts.failed) as f64 / seconds as f64;
    ::api::TaskSummary {
        task_id: task.id,
        campaign_id: task.campaign_id,
        name: task.name,
        account: task.account,
        from: task.sender,
        state,
        starts_at: task.starts_at,
        started_at: task.started_at,
        ended_at: task.ended_at,
        duration_seconds: duration,
        mean_messages_per_second: duration
            .filter(|seconds| *seconds > 0)
            .map(|seconds| (mean(seconds) * 100.0).round() / 100.0),
        rates: ::api::Rates::of(&counts),
        counts,
    }
}

/// The names of codes, looked up once each.
#[derive(Debug)]
pub struct CodeNames {
    vendor: Option<Vendor>,
    known: BTreeMap<String, Option<String>>,
}

impl CodeNames {
    /// Those of an account's vendor.
    pub fn new(state: &AppState, account: &str) -> Self {
        Self { vendor: state.account(account).map(|account| account.vendor), known: BTreeMap::new() }
    }

    /// The code's name, where it has one.
    pub fn get(&mut self, code: Option<&str>) -> Option<String> {
        let code = code?;
        if let Some(name) = self.known.get(code) {
            return name.clone();
        }
        let entry = self.vendor.and_then(|vendor| codes::find(vendor, code));
        let name = entry.and_then(|entry| entry.name).map(str::to_owned);
        self.known.insert(code.to_owned(), name.clone());
        name
    }
}

/// One recipient's message.
pub fn message(message: store::messages::Message, names: &mut CodeNames) -> ::api::Message {
    ::api::Message {
        no: message.no,
        to: message.to.to_string(),
        state: message_state(message.place),
        attempts: i32::from(message.attempts),
        vendor_id: message.vendor_id,
        code_name: names.get(message.code.as_deref()),
        code: message.code,
        reason: message.reason,
        retry_at: message.retry_at,
        accepted_at: message.accepted_at,
        sent_at: message.sent_at,
        delivered_at: message.delivered_at,
        read_at: message.read_at,
        failed_at: message.failed_at,
        unknown_since: message.unknown_since,
    }
}

/// An audience.
pub fn audience(audience: store::audiences::Audience) -> ::api::Audience {
    use store::audiences::Status;
    ::api::Audience {
        id: audience.id,
        name: audience.name,
        status: match audience.status {
            Status::Importing => ::api::AudienceStatus::Importing,
            Status::Ready => ::api::AudienceStatus::Ready,
            Status::Failed => ::api::AudienceStatus::Failed,
        },
        columns: audience.columns,
        rows: ::api::Rows {
            read: audience.totals.read,
            accepted: audience.totals.accepted,
            rejected: audience.totals.rejected,
            duplicate: audience.totals.duplicate,
        },
        bytes_read: audience.totals.bytes_read,
        bytes_total: audience.bytes_total,
        error: audience.error,
        created_at: audience.created_at,
    }
}

/// A campaign.
pub fn campaign(campaign: store::campaigns::Campaign, now: DateTime<Utc>) -> ::api::Campaign {
    let upcoming = upcoming(&campaign, now);
    let definition = campaign.definition;
    ::api::Campaign {
        id: campaign.id,
        name: definition.name,
        state: campaign_state(campaign.state),
        account: definition.account,
        from: definition.sender,
        audience_id: definition.audience_id,
        message: definition.message,
        template: definition.template,
        schedule: definition.schedule.map(schedule),
        sending_window: definition.sending_window.map(sending_window),
        messages_per_second: definition.messages_per_second,
        canary: definition.canary.map(canary),
        max_attempts: i32::from(definition.max_attempts),
        expires_at: definition.expires_at,
        on_unknown: on_unknown(definition.on_unknown),
        category: category(definition.category),
        priority: priority(definition.priority),
        created_at: campaign.created_at,
        task_id: campaign.task_id,
        next_run_at: campaign.next_run_at,
        upcoming,
    }
}

/// The next firings. A launched campaign without a scheduled task has none, whatever its schedule says.
fn upcoming(campaign: &store::campaigns::Campaign, now: DateTime<Utc>) -> Vec<DateTime<Utc>> {
    let plan = campaign.definition.schedule.as_ref().and_then(|schedule| schedule.plan().ok());
    let is_draft = campaign.state == campaign::CampaignState::Draft;
    match (plan, campaign.next_run_at) {
        (Some(plan), None) if is_draft => plan.upcoming(now).take(SHOWN_FIRINGS).collect(),
        (Some(plan), Some(next)) => {
            std::iter::once(next).chain(plan.upcoming(next)).take(SHOWN_FIRINGS).collect()
        }
        (None, Some(next)) => vec![next],
        (_, None) => Vec::new(),
    }
}

fn schedule(schedule: campaign::Schedule) -> ::api::Schedule {
    let campaign::Schedule { at, cron, time_zone, until } = schedule;
    ::api::Schedule { at, cron, time_zone, until }
}

/// A schedule, as it was written.
pub fn schedule_of(schedule: ::api::Schedule) -> campaign::Schedule {
    let ::api::Schedule { at, cron, time_zone, until } = schedule;
    campaign::Schedule { at, cron, time_zone, until }
}

fn sending_window(window: campaign::SendingWindow) -> ::api::SendingWindow {
    let campaign::SendingWindow { from, to, days, time_zone } = window;
    ::api::SendingWindow { from, to, days, time_zone }
}

/// A window, as it was written.
pub fn sending_window_of(window: ::api::SendingWindow) -> campaign::SendingWindow {
    let ::api::SendingWindow { from, to, days, time_zone } = window;
    campaign::SendingWindow { from, to, days, time_zone }
}

fn canary(canary: campaign::Canary) -> ::api::Canary {
    let campaign::Canary { recipients, wait_seconds, max_failure_rate } = canary;
    ::api::Canary { recipients, wait_seconds, max_failure_rate }
}

/// A canary, as it was written.
pub fn canary_of(canary: ::api::Canary) -> campaign::Canary {
    let ::api::Canary { recipients, wait_seconds, max_failure_rate } = canary;
    campaign::Canary { recipients, wait_seconds, max_failure_rate }
}

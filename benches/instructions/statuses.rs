//! Applying reports to messages: the state's transition, its counts, and for failures the decision and the watch.

use std::hint::black_box;

use chrono::{DateTime, TimeDelta, Utc};
use gungraun::{library_benchmark, library_benchmark_group};
use model::{
    counts::{Deltas, Place},
    decide::{Attempt, Decision, Fate, decide},
    disposition::MessageFacts,
    report::ReportedOutcome,
    status::{Effect, MessageState, OfCall, apply},
    verdict::Failure,
    watch::{Observed, Watch},
};
use vendors::{Vendor, codes};

use crate::{
    budgets::{self, at_most},
    people::PEOPLE,
};

const TASK: i64 = 20_417;
const FACTS: MessageFacts =
    MessageFacts { is_template: true, is_marketing: true, media_per_row: false, parameters_per_row: true };

struct Work {
    reports: Vec<ReportedOutcome>,
    watch: Watch,
    begun: DateTime<Utc>,
}

/// Each message is sent, delivered and read.
fn climb() -> Work {
    work(vec![ReportedOutcome::Sent, ReportedOutcome::Delivered, ReportedOutcome::Read])
}

/// Each message is sent and then fails, with a code that counts towards a halt.
fn fail() -> Work {
    let reason = "The message failed as the recipient was invalid".to_owned();
    work(vec![ReportedOutcome::Sent, ReportedOutcome::Failed { code: "30012".to_owned(), reason }])
}

/// A hundred messages with these reports. The watch knows the task and its sender, as it does in the middle of a task.
fn work(reports: Vec<ReportedOutcome>) -> Work {
    let mut work = Work { reports, watch: Watch::default(), begun: DateTime::UNIX_EPOCH };
    drop(apply_to_a_hundred(&mut work));
    work
}

fn apply_to_a_hundred(work: &mut Work) -> (Deltas, Vec<Decision>) {
    let (mut deltas, mut decisions) = (Deltas::default(), Vec::new());
    for no in 0..PEOPLE {
        let now = work.begun + TimeDelta::milliseconds(i64::from(no) * 7);
        let mut state = MessageState::Accepted;
        for report in &work.reports {
            let (reached, code) = match apply(state, OfCall::Latest, false, report) {
                Effect::MoveTo(reached) => {
                    work.watch.observe(&observed(None), now);
                    (reached, "")
                }
                Effect::FailedNow => {
                    let ReportedOutcome::Failed { code, reason } = report else { continue };
                    let decision = failed(&mut work.watch, code, reason, now);
                    decisions.push(decision);
                    let retries = matches!(decision.fate, Fate::Retries { .. });
                    (if retries { MessageState::Retrying } else { MessageState::Failed }, code.as_str())
                }
                Effect::AlreadyKnown | Effect::Ignored => continue,
            };
            deltas.moved(TASK, Place::Message(state, ""), Place::Message(reached, code));
            state = reached;
        }
    }
    (deltas, decisions)
}

fn failed(watch: &mut Watch, code: &str, reason: &str, now: DateTime<Utc>) -> Decision {
    let rule = codes::judge(Vendor::Exotel, code, reason, &FACTS);
    let failure = Failure { code: code.to_owned(), reason: reason.to_owned(), rule, retry_after: None };
    let attempt = Attempt { number: 1, max_attempts: 5, slow_downs: 0, random: 0.5 };
    let mut decision = decide(&failure, &attempt);
    decision.halt = decision.halt.or_else(|| watch.observe(&observed(Some((code, &failure.rule))), now));
    decision
}

fn observed<'a>(failure: Option<(&'a str, &'a model::disposition::Rule)>) -> Observed<'a> {
    Observed { task_id: TASK, sender: "+918000000000", account: "main", failure }
}

#[library_benchmark]
#[bench::climb(args = (), setup = climb, config = at_most(budgets::STATUSES_CLIMB))]
#[bench::fail(args = (), setup = fail, config = at_most(budgets::STATUSES_FAIL))]
fn apply_statuses(mut work: Work) -> ((Deltas, Vec<Decision>), Work) {
    (apply_to_a_hundred(black_box(&mut work)), work)
}

library_benchmark_group!(name = applying, benchmarks = apply_statuses);

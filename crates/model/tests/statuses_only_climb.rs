//! The rules of one message: a table of every state and report, and properties over any order of reports.

use model::{
    counts::{Counts, Deltas, Place, Rest},
    report::ReportedOutcome as Report,
    status::{Effect, MessageState as State, OfCall, apply},
};
use proptest::prelude::*;
use std::collections::BTreeMap;

fn failed() -> Report {
    Report::Failed { code: "1".into(), reason: String::new() }
}

fn reports() -> [Report; 5] {
    [Report::Accepted, Report::Sent, Report::Delivered, Report::Read, failed()]
}

/// For a report of the latest call: what each state becomes. `-` ignored, `=` known, `F` failed now, else the state.
const LATEST: [(State, [&str; 5]); 9] = [
    (State::Accepted, ["=", "sent", "delivered", "read", "F"]),
    (State::Sent, ["=", "=", "delivered", "read", "F"]),
    (State::Delivered, ["=", "=", "=", "read", "-"]),
    (State::Read, ["=", "=", "=", "=", "-"]),
    (State::Failed, ["-", "-", "delivered", "read", "="]),
    (State::Retrying, ["-", "-", "delivered", "read", "="]),
    (State::Unknown, ["accepted", "sent", "delivered", "read", "F"]),
    (State::Suppressed, ["-", "-", "-", "-", "-"]),
    (State::Expired, ["-", "-", "-", "-", "-"]),
];

fn word(effect: Effect) -> &'static str {
    match effect {
        Effect::Ignored => "-",
        Effect::AlreadyKnown => "=",
        Effect::FailedNow => "F",
        Effect::MoveTo(state) => state.as_str(),
    }
}

#[test]
fn each_state_meets_each_report_of_its_latest_call() {
    for (state, expected) in LATEST {
        for (report, expected) in reports().iter().zip(expected) {
            let effect = apply(state, OfCall::Latest, false, report);
            assert_eq!(word(effect), expected, "{state:?} meets {report:?}");
        }
    }
}

#[test]
fn a_report_of_an_older_call_only_withdraws_a_waiting_retry() {
    for state in State::ALL {
        for report in reports() {
            let effect = apply(state, OfCall::Older, false, &report);
            let withdraws = state == State::Retrying && matches!(report, Report::Delivered | Report::Read);
            assert_eq!(matches!(effect, Effect::MoveTo(_)), withdraws, "{state:?} meets {report:?}");
        }
    }
}

#[test]
fn nothing_moves_a_recipient_that_is_being_sent_to() {
    for report in reports() {
        for of_call in [OfCall::Latest, OfCall::Older] {
            assert_eq!(apply(State::Retrying, of_call, true, &report), Effect::Ignored);
        }
    }
}

/// A failure without a retry, as most codes have it.
fn settle(state: State, report: &Report) -> State {
    match apply(state, OfCall::Latest, false, report) {
        Effect::MoveTo(state) => state,
        Effect::FailedNow => State::Failed,
        Effect::AlreadyKnown | Effect::Ignored => state,
    }
}

fn any_report() -> impl Strategy<Value = Report> {
    prop::sample::select(reports().to_vec())
}

fn any_state() -> impl Strategy<Value = State> {
    prop::sample::select(State::ALL.to_vec())
}

proptest! {
    /// One and the same news, in any order and any number, ends alike.
    #[test]
    fn any_order_of_reports_ends_alike(
        news in prop::collection::vec(any_report(), 0..12),
        shuffled in any::<u64>(),
        start in prop::sample::select(vec![State::Accepted, State::Unknown]),
    ) {
        let mut other = news.clone();
        let mut seed = shuffled;
        for i in (1..other.len()).rev() {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            other.swap(i, usize::try_from(seed >> 33).unwrap() % (i + 1));
        }
        other.extend(news.iter().take(3).cloned());
        let end = news.iter().fold(start, settle);
        let same = other.iter().fold(start, settle);
        prop_assert_eq!(end, same);
    }

    /// Whatever moves a recipient makes, it is counted in exactly one place.
    #[test]
    fn places_always_add_up(
        moves in prop::collection::vec((0_usize..20, any_state(), any::<bool>(), any::<bool>()), 0..200),
        cancelled in any::<bool>(),
    ) {
        let mut places: Vec<Option<(State, String)>> = vec![None; 20];
        let mut sending = [false; 20];
        let (mut sums, mut cursor) = (BTreeMap::new(), 0_i32);
        for (who, state, sends, with_code) in moves {
            let mut deltas = Deltas::default();
            let before = places[who].clone();
            let from = match (&before, sending[who]) {
                (_, true) => Place::Sending,
                (Some((state, code)), false) => Place::Message(*state, code),
                (None, false) => { cursor += 1; Place::Queued }
            };
            let code = if with_code { "7" } else { "" };
            let to = if sends { Place::Sending } else { Place::Message(state, code) };
            deltas.moved(1, from, to);
            sending[who] = sends;
            places[who] = if sends { Some((State::Retrying, String::new())) } else { Some((state, code.to_owned())) };
            for (_, kind, _, n) in deltas.iter().filter(|(_, kind, ..)| !kind.has_code()) {
                *sums.entry(kind).or_insert(0_i64) += i64::from(n);
            }
        }
        let rest = if cancelled { Rest::Cancelled } else { Rest::Waits };
        let counts = Counts::new(20, 20 - cursor, rest, &sums);
        prop_assert_eq!(counts.places(), 20);
        prop_assert!(counts.accepted >= counts.sent && counts.sent >= counts.delivered && counts.delivered >= counts.read);
    }
}

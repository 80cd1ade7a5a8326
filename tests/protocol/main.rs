//! The protocol of sending as a small state machine, explored to the end: two nodes, two recipients, one vendor that
//! accepts, refuses, answers late or never, and a death, a standstill or a lost answer at every point.
//!
//! It takes the rules from `model` (what a report does, what follows a failure, what a move counts) and copies what
//! `dispatcher`, `reconciler` and `store` do around them, step by step and by the same names: who changes the order of
//! their steps changes it here, and sees what it breaks. It must never need a daemon or a database.
//!
//! The explorer is our own (`explore.rs`). The crate for this, stateright 0.31, checks that something happens in the end
//! only where no two ways lead to one state, as its documentation says, which here nearly all do; and it brings a web
//! server along. Forty lines go breadth first, so that a counterexample is the shortest there is.

mod committer;
mod database;
mod explore;
mod protocol;
mod rules;
mod state;
mod step;

use std::{collections::HashSet, time::Instant};

use explore::{Explored, explore};
use protocol::{Broken, Protocol};
use rules::Rule;
use state::Faults;

const NONE: Faults = Faults {
    crashes: 0,
    outages: 0,
    silences: 0,
    releases: 0,
    unanswered: 0,
    no_answers: 0,
    refusals: 0,
    withdrawals: 0,
    reports: 0,
    failures: 0,
    decisions: 0,
};

/// The protocol as it is, where these faults may happen; the vendor's callbacks name the call.
fn with(faults: Faults) -> Protocol {
    Protocol { faults, vendor_names_calls: true, ..Protocol::default() }
}

/// Explores all of it and prints how much that was; every rule named must hold, and no way may lead in a circle.
fn holds(name: &str, protocol: &Protocol, rules: &[Rule]) -> Explored {
    let began = Instant::now();
    let explored = explore(protocol, rules);
    if let Some(counterexample) = &explored.broken {
        panic!("{name}: {counterexample}");
    }
    assert!(!explored.is_circular, "{name}: without a fault it may go on for ever");
    println!(
        "{name}: {} states and {} steps explored, {} deep, in {:.1} s",
        explored.states,
        explored.steps,
        explored.depth,
        began.elapsed().as_secs_f64()
    );
    explored
}

/// What is left out must be missed: prints the shortest way to where the rule does not hold.
fn is_missed(broken: Broken, rule: Rule, protocol: &Protocol) {
    let explored = explore(&Protocol { broken: Some(broken), ..*protocol }, &[rule]);
    let counterexample = explored
        .broken
        .unwrap_or_else(|| panic!("{broken:?} goes unnoticed by {rule:?} in all {} states", explored.states));
    println!("{broken:?}: {counterexample}");
    // The same faults do no harm where nothing is left out.
    holds(&format!("nothing left out, instead of {broken:?}"), protocol, &Rule::ALL);
}

#[test]
fn it_holds_when_nodes_die_stand_still_and_hand_over() {
    holds("deaths", &with(Faults { crashes: 2, no_answers: 1, ..NONE }), &Rule::ALL);
    holds("a death and a standstill", &with(Faults { crashes: 1, silences: 1, ..NONE }), &Rule::ALL);
    let faults = Faults { crashes: 1, outages: 1, no_answers: 1, ..NONE };
    holds("a death and an outage", &with(faults), &Rule::ALL);
    let faults = Faults { silences: 1, releases: 1, withdrawals: 1, ..NONE };
    holds("hand-overs", &with(faults), &Rule::ALL);
    holds("standstills", &with(Faults { silences: 2, no_answers: 1, ..NONE }), &Rule::ALL);
}

#[test]
fn it_holds_when_commits_and_calls_give_no_answer() {
    let faults = Faults { crashes: 1, silences: 1, unanswered: 1, ..NONE };
    holds("commits without an answer", &with(faults), &Rule::ALL);
    let faults = Faults { crashes: 1, unanswered: 2, refusals: 1, ..NONE };
    holds("two of them", &with(faults), &Rule::ALL);
    let faults = Faults { crashes: 1, silences: 1, no_answers: 1, refusals: 1, ..NONE };
    holds("refusals", &with(faults), &Rule::ALL);
}

#[test]
fn it_holds_when_reports_come_early_late_twice_or_never() {
    let faults = Faults { reports: 2, failures: 1, crashes: 1, no_answers: 1, ..NONE };
    holds("reports", &with(faults), &Rule::ALL);
    let faults = Faults { reports: 2, failures: 1, silences: 1, ..NONE };
    holds("reports and a take-over", &with(faults), &Rule::ALL);
    let faults = Faults { reports: 2, failures: 1, crashes: 1, refusals: 1, ..NONE };
    let by_id = Protocol { vendor_names_calls: false, has_records: true, ..with(faults) };
    holds("reports by the vendor's id, and records", &by_id, &Rule::ALL);
}

#[test]
fn it_holds_when_an_operator_decides_meanwhile() {
    let faults = Faults { decisions: 1, reports: 1, crashes: 1, no_answers: 1, ..NONE };
    holds("decisions", &with(faults), &Rule::ALL);
    let faults = Faults { decisions: 1, reports: 1, refusals: 2, failures: 1, ..NONE };
    holds("decisions on failures", &with(faults), &Rule::ALL);
}

/// Clocks decide who sends, and how fast; that nobody gets it twice rests on the fence and on what is never repeated.
#[test]
fn nobody_gets_it_twice_even_when_a_lease_is_trusted_for_ever() {
    let faults = Faults { crashes: 1, silences: 1, no_answers: 1, ..NONE };
    let protocol = Protocol { broken: Some(Broken::LeaseTrustedForEver), ..with(faults) };
    let rules = Rule::ALL.map(|rule| if rule == Rule::OneOwnerCalls { Rule::AtMostOnce } else { rule });
    holds("clocks that lie", &protocol, &rules);
}

/// What never happens proves nothing.
#[test]
fn every_step_is_taken() {
    let one = Faults { crashes: 1, silences: 1, no_answers: 1, ..NONE };
    let two = Faults { unanswered: 1, outages: 1, releases: 1, withdrawals: 1, ..NONE };
    let three = Faults { no_answers: 1, refusals: 1, reports: 1, decisions: 1, ..NONE };
    let mut taken = HashSet::new();
    for faults in [one, two, three] {
        let protocol = Protocol { has_records: true, ..with(faults) };
        taken.extend(holds("a few faults", &protocol, &Rule::ALL).kinds);
    }
    assert_eq!(taken.len(), step::KINDS);
}

#[test]
fn without_the_fence_a_dead_owner_writes_and_somebody_is_sent_to_twice() {
    let faults = Faults { silences: 1, refusals: 1, reports: 1, ..NONE };
    let protocol = Protocol { has_records: true, ..with(faults) };
    is_missed(Broken::NoFence, Rule::NobodyInTwoPlaces, &protocol);
    is_missed(Broken::NoFence, Rule::CountsAgree, &protocol);
    is_missed(Broken::NoFence, Rule::AtMostOnce, &protocol);
}

#[test]
fn the_absence_of_a_record_is_no_evidence() {
    let protocol = Protocol { has_records: true, ..with(Faults { no_answers: 1, reports: 1, ..NONE }) };
    is_missed(Broken::AbsenceIsEvidence, Rule::AtMostOnce, &protocol);
    is_missed(Broken::AbsenceIsEvidence, Rule::RowsTellTheTruth, &protocol);
}

#[test]
fn a_cursor_ahead_of_its_intent_loses_somebody() {
    let protocol = with(Faults { crashes: 1, ..NONE });
    is_missed(Broken::CursorAheadOfIntent, Rule::NobodyIsLost, &protocol);
    is_missed(Broken::CursorAheadOfIntent, Rule::Ends, &protocol);
}

#[test]
fn an_intent_after_its_call_sends_twice() {
    is_missed(Broken::IntentAfterCall, Rule::AtMostOnce, &with(Faults { crashes: 1, ..NONE }));
}

#[test]
fn what_an_older_epoch_left_open_is_never_sent_again() {
    is_missed(Broken::ResendsWhatIsOpen, Rule::AtMostOnce, &with(Faults { crashes: 1, ..NONE }));
}

#[test]
fn a_call_is_marked_before_it_leaves() {
    is_missed(Broken::LeavesUnmarked, Rule::AtMostOnce, &with(Faults { crashes: 1, ..NONE }));
}

#[test]
fn what_no_file_speaks_of_may_have_been_called() {
    // The node that died under an older epoch was another one, which marked its calls elsewhere.
    let protocol = with(Faults { crashes: 1, silences: 1, ..NONE });
    is_missed(Broken::BelievesWhatIsNotThere, Rule::AtMostOnce, &protocol);
    is_missed(Broken::BelievesWhatIsNotThere, Rule::AtMostOnce, &with(Faults { outages: 1, ..NONE }));
}

#[test]
fn a_death_leaves_nobody_unknown_who_was_never_called() {
    let alone = Protocol { is_alone: true, ..with(Faults { crashes: 2, withdrawals: 1, ..NONE }) };
    holds("one node that dies twice", &alone, &[Rule::UnknownWereCalled]);
    is_missed(Broken::NoMarks, Rule::UnknownWereCalled, &alone);
}

#[test]
fn a_lease_is_not_trusted_beyond_its_time() {
    is_missed(Broken::LeaseTrustedForEver, Rule::OneOwnerCalls, &with(Faults { silences: 1, ..NONE }));
}

#[test]
fn a_commit_without_an_answer_is_not_repeated_unasked() {
    let protocol = with(Faults { unanswered: 1, ..NONE });
    is_missed(Broken::NoMark, Rule::CountsAgree, &protocol);
    is_missed(Broken::NoMark, Rule::Ends, &protocol);
}

#[test]
fn what_the_journal_calls_off_is_never_called() {
    let protocol = with(Faults { unanswered: 1, crashes: 1, ..NONE });
    is_missed(Broken::CallsWhatWasCalledOff, Rule::AtMostOnce, &protocol);
}

#[test]
fn who_takes_over_looks_which_outcomes_there_are() {
    is_missed(Broken::SettlesBlindly, Rule::CountsAgree, &with(Faults { crashes: 1, ..NONE }));
}

#[test]
fn a_report_moves_the_call_that_it_speaks_of_and_no_other() {
    let protocol = with(Faults { reports: 2, failures: 1, crashes: 1, ..NONE });
    is_missed(Broken::ForgetsWhichCall, Rule::RowsTellTheTruth, &protocol);
}

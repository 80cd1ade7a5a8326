//! Notices when a code comes so often that more than its recipient must stop.
//!
//! Held in memory by the account's owner, one for answers and one for callbacks: a restart begins to count afresh.

use std::{
    collections::{HashMap, VecDeque},
    time::Duration,
};

use chrono::{DateTime, Utc};

use crate::{
    decide::Halt,
    disposition::{Disposition, Escalation, Rule, Scope, Trigger},
};

/// Bad rows: so many with one code of the first [`BAD_ROWS_FIRST`] outcomes of a task halt it.
const BAD_ROWS: u32 = 20;
/// See [`BAD_ROWS`].
const BAD_ROWS_FIRST: u32 = 100;
/// Bad rows: so many in a row with one code halt the task.
const BAD_ROWS_IN_A_ROW: u32 = 50;
/// Scopes that are remembered at once; the oldest is forgotten first.
const MOST_SCOPES: usize = 4096;
/// Outcomes that one scope's share is computed over at the most.
const MOST_EVENTS: usize = 4096;

/// Counts outcomes per scope.
#[derive(Clone, Debug, Default)]
pub struct Watch {
    scopes: HashMap<(Scope, String), Tally>,
    order: VecDeque<(Scope, String)>,
}

#[derive(Clone, Debug, Default)]
struct Tally {
    outcomes: u32,
    by_code_of_first: HashMap<String, u32>,
    in_a_row: Option<(String, u32)>,
    recent: VecDeque<(DateTime<Utc>, Option<String>)>,
}

/// One outcome, as the watch sees it.
#[derive(Clone, Copy, Debug)]
pub struct Observed<'a> {
    /// The task.
    pub task_id: i64,
    /// The sender.
    pub sender: &'a str,
    /// The account.
    pub account: &'a str,
    /// The code and its rule; none for a success.
    pub failure: Option<(&'a str, &'a Rule)>,
}

impl Watch {
    /// Counts an outcome; a halt when it is one too many.
    pub fn observe(&mut self, seen: &Observed<'_>, now: DateTime<Utc>) -> Option<Halt> {
        let task = seen.task_id.to_string();
        let code = seen.failure.map(|(code, _)| code);
        for (scope, key) in
            [(Scope::Task, task.as_str()), (Scope::Sender, seen.sender), (Scope::Account, seen.account)]
        {
            self.tally(scope, key).count(code, now);
        }
        let (code, rule) = seen.failure?;
        if let Some(escalation) = &rule.escalation {
            let key = match escalation.halt {
                Scope::Task | Scope::Template => task.as_str(),
                Scope::Sender => seen.sender,
                Scope::Account => seen.account,
            };
            // The first outcomes are a task's, whatever they halt.
            let (scope, key) = match escalation.when {
                Trigger::FirstOutcomes(_) => (Scope::Task, task.as_str()),
                _ => (escalation.halt, key),
            };
            if self.tally(scope, key).reaches(escalation, code, now) {
                return Some(Halt { scope: escalation.halt, lifted_after: escalation.lifted_after });
            }
        }
        let bad_rows =
            rule.disposition == Disposition::FailMessage && self.tally(Scope::Task, &task).bad_rows(code);
        bad_rows.then_some(Halt { scope: Scope::Task, lifted_after: None })
    }

    /// Forgets what was counted for a scope: its halt was lifted.
    pub fn forget(&mut self, scope: Scope, key: &str) {
        self.scopes.remove(&(scope, key.to_owned()));
    }

    fn tally(&mut self, scope: Scope, key: &str) -> &mut Tally {
        let id = (scope, key.to_owned());
        if !self.scopes.contains_key(&id) {
            if self.order.len() >= MOST_SCOPES
                && let Some(oldest) = self.order.pop_front()
            {
                self.scopes.remove(&oldest);
            }
            self.order.push_back(id.clone());
        }
        self.scopes.entry(id).or_default()
    }
}

impl Tally {
    fn count(&mut self, code: Option<&str>, now: DateTime<Utc>) {
        self.outcomes = self.outcomes.saturating_add(1);
        if self.outcomes <= BAD_ROWS_FIRST
            && let Some(code) = code
        {
            *self.by_code_of_first.entry(code.to_owned()).or_default() += 1;
        }
        self.in_a_row = match (self.in_a_row.take(), code) {
            (_, None) => None,
            (Some((last, n)), Some(code)) if last == code => Some((last, n.saturating_add(1))),
            (_, Some(code)) => Some((code.to_owned(), 1)),
        };
        self.recent.push_back((now, code.map(str::to_owned)));
        if self.recent.len() > MOST_EVENTS {
            self.recent.pop_front();
        }
    }

    fn reaches(&self, escalation: &Escalation, code: &str, now: DateTime<Utc>) -> bool {
        match escalation.when {
            Trigger::InARow(most) => self.run_of(code) >= u32::from(most),
            Trigger::FirstOutcomes(most) => {
                self.outcomes == u32::from(most)
                    && self.by_code_of_first.get(code).is_some_and(|n| *n == u32::from(most))
            }
            Trigger::Share { percent, of_at_least, within } => {
                self.share(code, percent, of_at_least, within, now)
            }
        }
    }

    fn run_of(&self, code: &str) -> u32 {
        self.in_a_row.as_ref().filter(|(last, _)| last == code).map_or(0, |(_, n)| *n)
    }

    fn share(&self, code: &str, percent: u8, of_at_least: u32, within: Duration, now: DateTime<Utc>) -> bool {
        let since = now - chrono::TimeDelta::from_std(within).unwrap_or(chrono::TimeDelta::MAX);
        let recent = || self.recent.iter().filter(|(at, _)| *at >= since);
        let (all, with_code) =
            (recent().count(), recent().filter(|(_, c)| c.as_deref() == Some(code)).count());
        all >= of_at_least as usize && with_code * 100 > all * usize::from(percent)
    }

    fn bad_rows(&self, code: &str) -> bool {
        self.run_of(code) >= BAD_ROWS_IN_A_ROW
            || (self.outcomes <= BAD_ROWS_FIRST
                && self.by_code_of_first.get(code).is_some_and(|n| *n >= BAD_ROWS))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn halts_after(rule: Rule, failures: usize, successes_before: usize) -> Option<usize> {
        let mut watch = Watch::default();
        let seen = |failure| Observed { task_id: 1, sender: "s", account: "a", failure };
        let now = DateTime::UNIX_EPOCH;
        for _ in 0..successes_before {
            assert_eq!(watch.observe(&seen(None), now), None);
        }
        (1..=failures).find(|_| watch.observe(&seen(Some(("7", &rule))), now).is_some())
    }

    #[test]
    fn a_run_of_one_code_halts_at_its_number() {
        let escalation = Escalation { when: Trigger::InARow(20), halt: Scope::Account, lifted_after: None };
        let rule = Rule { disposition: Disposition::FailRecipient, escalation: Some(escalation) };
        assert_eq!(halts_after(rule, 30, 3), Some(20));
    }

    #[test]
    fn the_first_outcomes_count_only_when_they_are_the_first() {
        let escalation =
            Escalation { when: Trigger::FirstOutcomes(20), halt: Scope::Sender, lifted_after: None };
        let rule = Rule { disposition: Disposition::FailRecipient, escalation: Some(escalation) };
        assert_eq!(halts_after(rule, 30, 0), Some(20));
        assert_eq!(halts_after(rule, 300, 1), None);
    }

    #[test]
    fn bad_rows_halt_early_or_in_a_long_run() {
        let rule = Rule::from(Disposition::FailMessage);
        assert_eq!(halts_after(rule, 100, 0), Some(20));
        assert_eq!(halts_after(rule, 100, 100), Some(50));
    }
}

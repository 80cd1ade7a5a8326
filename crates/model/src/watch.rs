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
/// Tasks that are remembered at once; the oldest is forgotten first.
const MOST_TASKS: usize = 4096;
/// Outcomes that one scope's share is computed over at the most.
const MOST_OUTCOMES: u32 = 4096;
/// Successes that follow each other within this time are kept as one event.
const TOGETHER: chrono::TimeDelta = chrono::TimeDelta::milliseconds(100);

/// Counts outcomes per scope.
#[derive(Clone, Debug, Default)]
pub struct Watch {
    tasks: HashMap<i64, Tally>,
    task_order: VecDeque<i64>,
    /// As many as are configured: few.
    senders: Vec<(String, Tally)>,
    accounts: Vec<(String, Tally)>,
}

#[derive(Clone, Debug, Default)]
struct Tally {
    outcomes: u32,
    by_code_of_first: HashMap<String, u32>,
    in_a_row: Option<(String, u32)>,
    recent: VecDeque<Event>,
    /// Outcomes in `recent`.
    recent_outcomes: u32,
}

/// Outcomes of one moment; none: successes.
#[derive(Clone, Debug)]
struct Event {
    at: DateTime<Utc>,
    code: Option<String>,
    n: u32,
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
        let code = seen.failure.map(|(code, _)| code);
        for scope in [Scope::Task, Scope::Sender, Scope::Account] {
            self.tally(scope, seen).count(code, now);
        }
        let (code, rule) = seen.failure?;
        if let Some(escalation) = &rule.escalation {
            // The first outcomes are a task's, whatever they halt.
            let scope = match escalation.when {
                Trigger::FirstOutcomes(_) => Scope::Task,
                _ => escalation.halt,
            };
            if self.tally(scope, seen).reaches(escalation, code, now) {
                return Some(Halt { scope: escalation.halt, lifted_after: escalation.lifted_after });
            }
        }
        let bad_rows =
            rule.disposition == Disposition::FailMessage && self.tally(Scope::Task, seen).bad_rows(code);
        bad_rows.then_some(Halt { scope: Scope::Task, lifted_after: None })
    }

    fn tally(&mut self, scope: Scope, seen: &Observed<'_>) -> &mut Tally {
        match scope {
            Scope::Task | Scope::Template => self.task(seen.task_id),
            Scope::Sender => by_name(&mut self.senders, seen.sender),
            Scope::Account => by_name(&mut self.accounts, seen.account),
        }
    }

    fn task(&mut self, task_id: i64) -> &mut Tally {
        if !self.tasks.contains_key(&task_id) {
            if self.task_order.len() >= MOST_TASKS
                && let Some(oldest) = self.task_order.pop_front()
            {
                self.tasks.remove(&oldest);
            }
            self.task_order.push_back(task_id);
        }
        self.tasks.entry(task_id).or_default()
    }
}

/// No name is copied but at its first outcome: this runs for every message.
fn by_name<'a>(tallies: &'a mut Vec<(String, Tally)>, name: &str) -> &'a mut Tally {
    let known = tallies.iter().position(|(known, _)| known == name);
    let index = known.unwrap_or_else(|| {
        tallies.push((name.to_owned(), Tally::default()));
        tallies.len() - 1
    });
    &mut tallies[index].1
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
        match self.recent.back_mut() {
            Some(last) if code.is_none() && last.code.is_none() && now - last.at < TOGETHER => last.n += 1,
            _ => self.recent.push_back(Event { at: now, code: code.map(str::to_owned), n: 1 }),
        }
        self.recent_outcomes += 1;
        while self.recent_outcomes > MOST_OUTCOMES
            && let Some(oldest) = self.recent.pop_front()
        {
            self.recent_outcomes -= oldest.n;
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
        let recent = || self.recent.iter().filter(|event| event.at >= since);
        let all: u32 = recent().map(|event| event.n).sum();
        let with_code: u32 =
            recent().filter(|event| event.code.as_deref() == Some(code)).map(|event| event.n).sum();
        all >= of_at_least && with_code * 100 > all * u32::from(percent)
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

//! Halts a task when too many of its recent outcomes failed, whatever the codes.

use std::{
    collections::{HashMap, VecDeque},
    time::Duration,
};

use chrono::{DateTime, TimeDelta, Utc};
use store::maintenance::OutcomeCounts;
use tokio::time::Instant;

/// The window.
const WINDOW: Duration = Duration::from_secs(600);
/// Outcomes that there must be in it.
const AT_LEAST: i64 = 100;
/// More than this share failed, in per cent.
const PERCENT: i64 = 50;
/// Looks that are kept at the most: one a second fills the window.
const LOOKS: usize = 700;

/// The outcomes of running tasks over the last minutes.
#[derive(Debug, Default)]
pub(crate) struct Shares(HashMap<i64, VecDeque<(Instant, i64, i64)>>);

impl Shares {
    /// Takes in the counts of the running tasks; those that must halt. `today` is the business clock's time.
    pub(crate) fn observe(&mut self, counts: &[OutcomeCounts], today: DateTime<Utc>) -> Vec<i64> {
        let now = Instant::now();
        self.0.retain(|task_id, _| counts.iter().any(|count| count.task_id == *task_id));
        counts
            .iter()
            .filter(|count| {
                let looks = self.0.entry(count.task_id).or_insert_with(|| first_look(count, today, now));
                while looks.len() > 1 && looks.front().is_some_and(|(at, ..)| *at + WINDOW < now) {
                    looks.pop_front();
                }
                let (_, outcomes, failed) = looks.front().copied().unwrap_or((now, 0, 0));
                let (recent, bad) = (count.outcomes - outcomes, count.failed - failed);
                if looks.len() < LOOKS {
                    looks.push_back((now, count.outcomes, count.failed));
                }
                recent >= AT_LEAST && bad * 100 > recent * PERCENT
            })
            .map(|count| count.task_id)
            .collect()
    }

    /// Begins afresh for a task: it was halted for it.
    pub(crate) fn forget(&mut self, task_id: i64, count: &OutcomeCounts) {
        self.0.insert(task_id, VecDeque::from([(Instant::now(), count.outcomes, count.failed)]));
    }
}

/// Where the window begins for a task that is seen for the first time. One that began before the window (the daemon
/// was started again, or the account taken over) begins with what it has: its history is not of the last minutes.
fn first_look(count: &OutcomeCounts, today: DateTime<Utc>, now: Instant) -> VecDeque<(Instant, i64, i64)> {
    let window = TimeDelta::from_std(WINDOW).unwrap_or(TimeDelta::MAX);
    let is_young = count.started_at.is_some_and(|started_at| today - started_at <= window);
    let (outcomes, failed) = if is_young { (0, 0) } else { (count.outcomes, count.failed) };
    VecDeque::from([(now, outcomes, failed)])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn today() -> DateTime<Utc> {
        DateTime::from_timestamp(1_795_000_000, 0).unwrap()
    }

    fn counts(started_minutes_ago: i64, outcomes: i64, failed: i64) -> [OutcomeCounts; 1] {
        let started_at = Some(today() - TimeDelta::minutes(started_minutes_ago));
        [OutcomeCounts { task_id: 1, started_at, outcomes, failed }]
    }

    #[tokio::test(start_paused = true)]
    async fn more_than_half_of_a_hundred_halts_and_an_old_failure_does_not() {
        let mut shares = Shares::default();
        assert!(shares.observe(&counts(1, 99, 99), today()).is_empty());
        assert_eq!(shares.observe(&counts(1, 200, 120), today()), [1]);
        tokio::time::advance(Duration::from_secs(700)).await;
        assert!(shares.observe(&counts(1, 400, 120), today()).is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn what_happened_before_the_daemon_started_again_is_no_matter_of_the_last_minutes() {
        let mut shares = Shares::default();
        assert!(shares.observe(&counts(60, 1000, 900), today()).is_empty());
        assert!(shares.observe(&counts(60, 1090, 990), today()).is_empty());
        assert_eq!(shares.observe(&counts(60, 1110, 1000), today()), [1]);
    }
}

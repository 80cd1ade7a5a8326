//! Halts a task when too many of its recent outcomes failed, whatever the codes.

use std::{
    collections::{HashMap, VecDeque},
    time::Duration,
};

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
    /// Takes in the counts of the running tasks; those that must halt.
    pub(crate) fn observe(&mut self, counts: &[OutcomeCounts]) -> Vec<i64> {
        let now = Instant::now();
        self.0.retain(|task_id, _| counts.iter().any(|count| count.task_id == *task_id));
        counts
            .iter()
            .filter(|count| {
                let looks = self.0.entry(count.task_id).or_insert_with(|| VecDeque::from([(now, 0, 0)]));
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

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn more_than_half_of_a_hundred_halts_and_an_old_failure_does_not() {
        let mut shares = Shares::default();
        let counts = |outcomes, failed| [OutcomeCounts { task_id: 1, outcomes, failed }];
        assert!(shares.observe(&counts(99, 99)).is_empty());
        assert_eq!(shares.observe(&counts(200, 120)), [1]);
        tokio::time::advance(Duration::from_secs(700)).await;
        assert!(shares.observe(&counts(400, 120)).is_empty());
    }
}

//! A trial with some of the recipients before the others: who they are, and what follows from how they fared.
//!
//! Who they are is a function of the task and its size, kept nowhere: it must never change, or a task that is under way
//! when campaignd is updated sends to some twice and to some never.

use chrono::{DateTime, Duration, Utc};
use serde::{Deserialize, Serialize};

use crate::{FieldError, fault_class::FaultCounts};

/// Recipients of a canary, at the most: they are written down one by one when a task begins.
pub const LIMIT_CANARY: i32 = 10_000;

/// A trial with some recipients.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Canary {
    /// How many.
    pub recipients: i32,
    /// How long their outcomes are waited for.
    pub wait_seconds: i32,
    /// The share of failures above which the task halts.
    pub max_failure_rate: f64,
}

impl Canary {
    /// Complaints about its fields.
    pub fn check(&self, errors: &mut Vec<FieldError>) {
        if !(1..=LIMIT_CANARY).contains(&self.recipients) {
            let message = format!("must be 1 to {LIMIT_CANARY}");
            errors.push(FieldError::new("canary.recipients", message));
        }
        if !(0..=86_400).contains(&self.wait_seconds) {
            errors.push(FieldError::new("canary.wait_seconds", "must be 0 to 86400"));
        }
        if !(0.0..=1.0).contains(&self.max_failure_rate) {
            errors.push(FieldError::new("canary.max_failure_rate", "must be 0 to 1, such as 0.2"));
        }
    }

    /// Who tries the task `task_id` of `total` recipients.
    #[must_use]
    pub fn sample(&self, task_id: i64, total: i32) -> Sample {
        Sample::new(task_id, total, self.recipients)
    }

    /// What follows from how the sample fares at `now`. `all_called_at` is when the last of it was called for the first
    /// time.
    ///
    /// - More failures than allowed halt at once: nothing that is still to come can mend the rate.
    /// - While somebody has not been called yet, that is waited for (a window may be closed, a rate may be low).
    /// - Then `wait_seconds` pass, in which callbacks come in.
    /// - At the end, whoever is not known to be well counts as a failure: what is retrying has failed at least once, and a
    ///   vendor that answers nobody must not be given a million more.
    /// - Who was suppressed or had expired says nothing. Where that is everybody, the task goes on.
    #[must_use]
    pub fn judge(
        &self,
        counts: &SampleCounts,
        all_called_at: Option<DateTime<Utc>>,
        now: DateTime<Utc>,
    ) -> CanaryVerdict {
        let failed = counts.failed.total();
        let undecided = u64::from(counts.retrying) + u64::from(counts.unknown);
        let of = u64::from(counts.waiting) + undecided + u64::from(counts.accepted) + failed;
        let halt = CanaryVerdict::Halt { failed, undecided, of };
        if self.is_exceeded(failed, of) {
            return halt;
        }
        if of == 0 {
            return CanaryVerdict::Continue;
        }
        let Some(all_called_at) = all_called_at.filter(|_| counts.waiting == 0) else {
            return CanaryVerdict::WaitForCalls;
        };
        let until = all_called_at + Duration::seconds(i64::from(self.wait_seconds));
        if now < until {
            return CanaryVerdict::WaitUntil(until);
        }
        if self.is_exceeded(failed + undecided, of) { halt } else { CanaryVerdict::Continue }
    }

    fn is_exceeded(&self, failed: u64, of: u64) -> bool {
        #[expect(clippy::cast_precision_loss, reason = "a sample has no more than 2^31 recipients")]
        let (failed, of) = (failed as f64, of as f64);
        // 20 of 100 is not more than 0.2, whatever a product of the two rounds to.
        failed > of * self.max_failure_rate + 1e-6
    }
}

/// How the sample fares: each of it is in exactly one of these.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SampleCounts {
    /// Not called yet, or being called for the first time.
    pub waiting: u32,
    /// Failed and to be tried again.
    pub retrying: u32,
    /// It may have been sent.
    pub unknown: u32,
    /// The vendor took it, or more is known.
    pub accepted: u32,
    /// Failed for good, by what was to blame.
    pub failed: FaultCounts,
    /// Suppressed, expired or cancelled.
    pub skipped: u32,
}

/// What follows from a trial.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CanaryVerdict {
    /// Somebody is still to be called.
    WaitForCalls,
    /// All were called; news is waited for until then.
    WaitUntil(DateTime<Utc>),
    /// The others are sent to.
    Continue,
    /// The task halts.
    Halt {
        /// So many failed.
        failed: u64,
        /// So many are neither well nor lost.
        undecided: u64,
        /// Of so many.
        of: u64,
    },
}

/// The recipients of an audience who try a task first.
///
/// The audience is cut into as many stretches as are wanted, of equal length give or take one; one recipient is drawn from
/// each. So they come from all over the audience, are as many as are wanted, and each is found without looking at others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sample {
    task_id: i64,
    total: u64,
    wanted: u64,
}

impl Sample {
    /// `wanted` of the recipients 1 to `total`; all of them, where there are no more.
    #[must_use]
    pub fn new(task_id: i64, total: i32, wanted: i32) -> Self {
        let total = u64::try_from(total).unwrap_or(0);
        Self { task_id, total, wanted: u64::try_from(wanted).unwrap_or(0).min(total) }
    }

    /// How many there are.
    #[must_use]
    pub fn size(&self) -> i32 {
        i32::try_from(self.wanted).unwrap_or(i32::MAX)
    }

    /// Whether the recipient `no` is one of them.
    #[must_use]
    pub fn contains(&self, no: i32) -> bool {
        self.stretch_of(no).is_some_and(|stretch| self.drawn(stretch) == no)
    }

    /// How many of them have a number up to and including `no`.
    #[must_use]
    pub fn count_up_to(&self, no: i32) -> i32 {
        let count = match self.stretch_of(no) {
            Some(stretch) => stretch + u64::from(self.drawn(stretch) <= no),
            None if no < 1 => 0,
            None => self.wanted,
        };
        i32::try_from(count).unwrap_or(i32::MAX)
    }

    /// All of them, in order.
    pub fn iter(&self) -> impl Iterator<Item = i32> + '_ {
        (0..self.wanted).map(|stretch| self.drawn(stretch))
    }

    /// The stretch that `no` lies in: the last one that begins at it or before it.
    fn stretch_of(&self, no: i32) -> Option<u64> {
        let no = u64::try_from(no).ok().filter(|no| (1..=self.total).contains(no))?;
        (no * self.wanted).checked_sub(1).map(|product| product / self.total)
    }

    /// The number that is drawn from a stretch.
    fn drawn(&self, stretch: u64) -> i32 {
        let begins = |stretch| stretch * self.total / self.wanted;
        let (first, length) = (begins(stretch), begins(stretch + 1) - begins(stretch));
        let random = mixed(mixed(self.task_id.cast_unsigned()).wrapping_add(stretch));
        let offset = (u128::from(random) * u128::from(length)) >> 64;
        u64::try_from(offset).ok().and_then(|offset| i32::try_from(first + offset + 1).ok()).unwrap_or(0)
    }
}

/// A number that looks as if drawn by lot, always the same for the same `x` (the finaliser of SplitMix64).
fn mixed(x: u64) -> u64 {
    let x = x.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const CANARY: Canary = Canary { recipients: 100, wait_seconds: 300, max_failure_rate: 0.2 };

    fn judged(counts: SampleCounts, called_seconds_ago: Option<i64>) -> CanaryVerdict {
        let now = DateTime::from_timestamp(1_800_000_000, 0).unwrap();
        CANARY.judge(&counts, called_seconds_ago.map(|seconds| now - Duration::seconds(seconds)), now)
    }

    #[test]
    fn a_trial_waits_then_goes_on_or_halts() {
        let none = SampleCounts::default();
        let failed = |recipient| FaultCounts { recipient, ..FaultCounts::default() };
        let until = |seconds: i64| {
            CanaryVerdict::WaitUntil(DateTime::from_timestamp(1_800_000_000 + seconds, 0).unwrap())
        };
        let halt = |failed, undecided, of| CanaryVerdict::Halt { failed, undecided, of };
        for (counts, called, expected) in [
            (SampleCounts { waiting: 100, ..none }, None, CanaryVerdict::WaitForCalls),
            (SampleCounts { waiting: 1, accepted: 99, ..none }, None, CanaryVerdict::WaitForCalls),
            (SampleCounts { accepted: 100, ..none }, Some(0), until(300)),
            (SampleCounts { accepted: 100, ..none }, Some(299), until(1)),
            (SampleCounts { accepted: 100, ..none }, Some(300), CanaryVerdict::Continue),
            // Exactly the share that is allowed.
            (SampleCounts { accepted: 80, failed: failed(20), ..none }, Some(300), CanaryVerdict::Continue),
            (SampleCounts { accepted: 79, failed: failed(21), ..none }, Some(300), halt(21, 0, 100)),
            // Too many already: nobody is waited for.
            (SampleCounts { waiting: 79, failed: failed(21), ..none }, None, halt(21, 0, 100)),
            (SampleCounts { waiting: 80, failed: failed(20), ..none }, None, CanaryVerdict::WaitForCalls),
            // Those of whom nothing is known may yet be well, until the wait is over.
            (SampleCounts { accepted: 60, retrying: 30, unknown: 10, ..none }, Some(299), until(1)),
            (SampleCounts { accepted: 60, retrying: 30, unknown: 10, ..none }, Some(300), halt(0, 40, 100)),
            (
                SampleCounts { accepted: 80, retrying: 10, failed: failed(10), ..none },
                Some(300),
                CanaryVerdict::Continue,
            ),
            // Who was skipped says nothing.
            (SampleCounts { skipped: 90, accepted: 7, failed: failed(3), ..none }, Some(300), halt(3, 0, 10)),
            (SampleCounts { skipped: 100, ..none }, None, CanaryVerdict::Continue),
        ] {
            assert_eq!(judged(counts, called), expected, "{counts:?}");
        }
    }

    #[test]
    fn limits_of_none_and_of_all_are_kept() {
        let counts = SampleCounts {
            accepted: 99,
            failed: FaultCounts { bad_data: 1, ..FaultCounts::default() },
            ..SampleCounts::default()
        };
        let called = DateTime::from_timestamp(0, 0).unwrap();
        let strict = Canary { max_failure_rate: 0.0, wait_seconds: 0, ..CANARY };
        assert!(matches!(strict.judge(&counts, None, called), CanaryVerdict::Halt { failed: 1, .. }));
        let lost = SampleCounts { accepted: 0, unknown: 99, ..counts };
        let lax = Canary { max_failure_rate: 1.0, wait_seconds: 0, ..CANARY };
        assert_eq!(lax.judge(&lost, Some(called), called), CanaryVerdict::Continue);
    }

    /// Running tasks rely on it: these numbers may never change.
    #[test]
    fn the_sample_of_a_task_is_the_same_for_ever() {
        assert_eq!(
            Sample::new(1, 1_000_000, 5).iter().collect::<Vec<_>>(),
            [73638, 305344, 547540, 738490, 974183]
        );
        assert_eq!(Sample::new(4711, 20, 4).iter().collect::<Vec<_>>(), [4, 6, 11, 20]);
        assert_eq!(Sample::new(1, 3, 10).iter().collect::<Vec<_>>(), [1, 2, 3]);
        assert_eq!(Sample::new(1, 0, 10).iter().count(), 0);
        assert_eq!(Sample::new(1, i32::MAX, 1).size(), 1);
        assert!(!Sample::new(1, 10, 0).contains(3));
    }

    #[test]
    fn every_recipient_has_about_the_same_chance() {
        let mut drawn = [0_u32; 10];
        for task_id in 0..10_000 {
            for no in Sample::new(task_id, 10, 3).iter() {
                drawn[usize::try_from(no).unwrap() - 1] += 1;
            }
        }
        // 3,000 each would be even; stretches of 3 and 4 give 3,333 and 2,500.
        assert!(drawn.iter().all(|n| (2_300..3_600).contains(n)), "{drawn:?}");
    }

    proptest! {
        #[test]
        fn a_sample_is_as_large_as_wanted_and_spread_and_found_again(
            task_id: i64,
            total in 1..3_000_i32,
            wanted in 1..400_i32,
        ) {
            let sample = Sample::new(task_id, total, wanted);
            let rows: Vec<i32> = sample.iter().collect();
            prop_assert_eq!(rows.len(), usize::try_from(wanted.min(total)).unwrap());
            prop_assert_eq!(sample.size(), wanted.min(total));
            prop_assert!(rows.is_sorted_by(|a, b| a < b));
            prop_assert!(rows.iter().all(|no| (1..=total).contains(no)));
            let found: Vec<i32> = (-1..=total + 1).filter(|no| sample.contains(*no)).collect();
            prop_assert_eq!(&found, &rows);
            for no in [-1, 0, 1, total / 3, total / 2, total - 1, total, total + 1] {
                let counted = rows.iter().filter(|row| **row <= no).count();
                prop_assert_eq!(usize::try_from(sample.count_up_to(no)).unwrap(), counted);
            }
            // Nowhere do more than two stretches pass without one.
            let longest = 2 * (total / wanted.min(total) + 1);
            prop_assert!(rows.windows(2).all(|pair| pair[1] - pair[0] <= longest));
        }

        #[test]
        fn large_samples_hold_their_numbers(task_id: i64, total in 1_000_000..=i32::MAX, wanted in 1..=i32::MAX, no: i32) {
            let sample = Sample::new(task_id, total, wanted);
            let no = no.rem_euclid(total) + 1;
            let count = sample.count_up_to(no) - sample.count_up_to(no - 1);
            prop_assert_eq!(count, i32::from(sample.contains(no)));
            prop_assert_eq!(sample.count_up_to(total), wanted.min(total));
        }
    }
}

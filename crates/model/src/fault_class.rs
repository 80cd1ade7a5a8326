//! What is to blame for failures, in classes, and when there are too many of a class within a while.
//!
//! [`crate::watch`] counts single codes, as the table of codes says. Here all codes of a class count together, by limits
//! that belong to a campaign. It must never ask what time it is: an instant is handed in.

use std::collections::VecDeque;

use chrono::{DateTime, TimeDelta, Utc};

use crate::disposition::{Disposition, Scope};

/// What is to blame for a failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum FaultClass {
    /// The recipient's row.
    BadData,
    /// The template, or how the campaign uses it.
    Template,
    /// The business number.
    Sender,
    /// The account.
    Account,
    /// The person: cannot or does not want to get it.
    Recipient,
    /// Nothing of ours: a fault that passes.
    Passing,
}

impl FaultClass {
    /// All of them.
    pub const ALL: [Self; 6] =
        [Self::BadData, Self::Template, Self::Sender, Self::Account, Self::Recipient, Self::Passing];

    /// The class of what is done about a code.
    #[must_use]
    pub fn of(disposition: &Disposition) -> Self {
        match disposition {
            Disposition::FailMessage => Self::BadData,
            Disposition::HaltTask | Disposition::HaltTemplate => Self::Template,
            Disposition::SlowDown { scope: Scope::Account, .. } | Disposition::HaltAccount => Self::Account,
            Disposition::SlowDown { .. } | Disposition::HaltSender { .. } => Self::Sender,
            Disposition::FailRecipient
            | Disposition::Suppress { .. }
            | Disposition::OptOut
            | Disposition::RetryPair
            | Disposition::RetryNextDay { .. } => Self::Recipient,
            Disposition::Requeue | Disposition::RetrySoon { .. } | Disposition::Unknown => Self::Passing,
        }
    }

    /// A word for people.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::BadData => "bad data",
            Self::Template => "template",
            Self::Sender => "sender",
            Self::Account => "account",
            Self::Recipient => "recipient",
            Self::Passing => "passing fault",
        }
    }

    /// What stands still when there is too much of it.
    #[must_use]
    pub fn halts(self) -> Scope {
        match self {
            Self::Template => Scope::Template,
            Self::Sender => Scope::Sender,
            Self::Account => Scope::Account,
            Self::BadData | Self::Recipient | Self::Passing => Scope::Task,
        }
    }
}

/// Failures by what is to blame.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FaultCounts {
    /// [`FaultClass::BadData`].
    pub bad_data: u32,
    /// [`FaultClass::Template`].
    pub template: u32,
    /// [`FaultClass::Sender`].
    pub sender: u32,
    /// [`FaultClass::Account`].
    pub account: u32,
    /// [`FaultClass::Recipient`].
    pub recipient: u32,
    /// [`FaultClass::Passing`].
    pub passing: u32,
}

impl FaultCounts {
    /// Those of one class.
    #[must_use]
    pub fn of(&self, class: FaultClass) -> u32 {
        match class {
            FaultClass::BadData => self.bad_data,
            FaultClass::Template => self.template,
            FaultClass::Sender => self.sender,
            FaultClass::Account => self.account,
            FaultClass::Recipient => self.recipient,
            FaultClass::Passing => self.passing,
        }
    }

    /// All of them.
    #[must_use]
    pub fn total(&self) -> u64 {
        FaultClass::ALL.into_iter().map(|class| u64::from(self.of(class))).sum()
    }

    /// The class with the most, and how many; none when nothing failed.
    #[must_use]
    pub fn worst(&self) -> Option<(FaultClass, u32)> {
        let counts = FaultClass::ALL.into_iter().map(|class| (class, self.of(class)));
        // Of equals the first, which is the more precise one.
        counts.rev().max_by_key(|(_, count)| *count).filter(|(_, count)| *count > 0)
    }

    /// Counts `n` of `class`.
    pub fn add(&mut self, class: FaultClass, n: u32) {
        let count = match class {
            FaultClass::BadData => &mut self.bad_data,
            FaultClass::Template => &mut self.template,
            FaultClass::Sender => &mut self.sender,
            FaultClass::Account => &mut self.account,
            FaultClass::Recipient => &mut self.recipient,
            FaultClass::Passing => &mut self.passing,
        };
        *count = count.saturating_add(n);
    }
}

/// How many failures are too many.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct FaultLimits {
    /// Outcomes within so long are looked at.
    pub within: TimeDelta,
    /// So many outcomes there must be.
    pub of_at_least: u32,
    /// More than this share of failures of any class together, in per cent.
    pub percent: u32,
    /// More than this share with the template, the sender, the account or bad rows to blame, in per cent: those do not
    /// pass by themselves.
    pub percent_of_class: u32,
}

impl Default for FaultLimits {
    fn default() -> Self {
        Self { within: TimeDelta::minutes(10), of_at_least: 100, percent: 50, percent_of_class: 25 }
    }
}

/// Too many failures.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TooMany {
    /// What is to blame; none: no class by itself.
    pub class: Option<FaultClass>,
    /// So many.
    pub failed: u64,
    /// Of so many outcomes.
    pub of: u64,
}

impl TooMany {
    /// What is to stand still.
    #[must_use]
    pub fn halts(&self) -> Scope {
        self.class.map_or(Scope::Task, FaultClass::halts)
    }
}

/// The outcomes of a while, by what was to blame. Held in memory: a restart begins to count afresh.
#[derive(Clone, Debug, Default)]
pub struct FaultWatch {
    /// By moments of a tenth of a minute; as many as the longest window asked for has.
    moments: VecDeque<Moment>,
}

#[derive(Clone, Copy, Debug)]
struct Moment {
    number: i64,
    outcomes: u64,
    failed: FaultCounts,
}

/// The length of a moment.
const MOMENT_SECONDS: i64 = 6;
/// Moments that are kept: an hour.
const MOST_MOMENTS: usize = 600;

impl FaultWatch {
    /// Counts `n` outcomes at `now`: failures with `class` to blame, successes with none.
    pub fn count(&mut self, class: Option<FaultClass>, n: u32, now: DateTime<Utc>) {
        let number = now.timestamp().div_euclid(MOMENT_SECONDS);
        // A clock that was put back goes on in the moment that it had.
        if self.moments.back().is_none_or(|last| last.number < number) {
            self.moments.push_back(Moment { number, outcomes: 0, failed: FaultCounts::default() });
        }
        if self.moments.len() > MOST_MOMENTS {
            self.moments.pop_front();
        }
        if let Some(moment) = self.moments.back_mut() {
            moment.outcomes += u64::from(n);
            if let Some(class) = class {
                moment.failed.add(class, n);
            }
        }
    }

    /// Whether there are too many failures at `now`; a class by itself is named before all together.
    #[must_use]
    pub fn too_many(&self, limits: &FaultLimits, now: DateTime<Utc>) -> Option<TooMany> {
        let first = (now - limits.within).timestamp().div_euclid(MOMENT_SECONDS);
        let recent = || self.moments.iter().filter(|moment| moment.number > first);
        let of: u64 = recent().map(|moment| moment.outcomes).sum();
        if of < u64::from(limits.of_at_least) {
            return None;
        }
        let exceeds = |failed: u64, percent: u32| failed * 100 > of * u64::from(percent);
        let counted = |class| recent().map(|moment| u64::from(moment.failed.of(class))).sum::<u64>();
        let blamed = [FaultClass::BadData, FaultClass::Template, FaultClass::Sender, FaultClass::Account];
        let worst = blamed.into_iter().map(|class| (counted(class), class)).max_by_key(|(failed, _)| *failed);
        if let Some((failed, class)) = worst
            && exceeds(failed, limits.percent_of_class)
        {
            return Some(TooMany { class: Some(class), failed, of });
        }
        let failed = FaultClass::ALL.into_iter().map(counted).sum();
        exceeds(failed, limits.percent).then_some(TooMany { class: None, failed, of })
    }

    /// Begins to count afresh: it was halted for what was counted, and is lifted.
    pub fn forget(&mut self) {
        self.moments.clear();
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn at(seconds: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(1_800_000_000 + seconds, 0).unwrap()
    }

    #[test]
    fn every_disposition_blames_somebody() {
        for (disposition, class, halts) in [
            (Disposition::FailMessage, FaultClass::BadData, Scope::Task),
            (Disposition::HaltTask, FaultClass::Template, Scope::Template),
            (Disposition::HaltTemplate, FaultClass::Template, Scope::Template),
            (Disposition::slow_down(Scope::Sender), FaultClass::Sender, Scope::Sender),
            (Disposition::halt_sender(), FaultClass::Sender, Scope::Sender),
            (Disposition::slow_down(Scope::Account), FaultClass::Account, Scope::Account),
            (Disposition::HaltAccount, FaultClass::Account, Scope::Account),
            (Disposition::FailRecipient, FaultClass::Recipient, Scope::Task),
            (Disposition::Suppress { days: 30, from_time: 1 }, FaultClass::Recipient, Scope::Task),
            (Disposition::OptOut, FaultClass::Recipient, Scope::Task),
            (Disposition::RetryPair, FaultClass::Recipient, Scope::Task),
            (Disposition::RetryNextDay { at_most: 3 }, FaultClass::Recipient, Scope::Task),
            (Disposition::retry_soon(3), FaultClass::Passing, Scope::Task),
            (Disposition::Unknown, FaultClass::Passing, Scope::Task),
        ] {
            assert_eq!((FaultClass::of(&disposition), class.halts()), (class, halts), "{disposition:?}");
        }
    }

    #[test]
    fn a_class_by_itself_is_named_before_all_together() {
        let limits = FaultLimits::default();
        let mut watch = FaultWatch::default();
        watch.count(None, 74, at(0));
        watch.count(Some(FaultClass::Template), 25, at(0));
        // Too few outcomes, whatever they are.
        assert_eq!(watch.too_many(&limits, at(0)), None);
        watch.count(None, 1, at(0));
        // A quarter is not more than a quarter.
        assert_eq!(watch.too_many(&limits, at(0)), None);
        watch.count(Some(FaultClass::Template), 1, at(1));
        let found = watch.too_many(&limits, at(1)).unwrap();
        assert_eq!(found, TooMany { class: Some(FaultClass::Template), failed: 26, of: 101 });
        assert_eq!(found.halts(), Scope::Template);
        watch.forget();
        assert_eq!(watch.too_many(&limits, at(1)), None);
        watch.count(Some(FaultClass::Recipient), 51, at(2));
        watch.count(None, 49, at(2));
        let found = watch.too_many(&limits, at(2)).unwrap();
        assert_eq!((found.class, found.halts()), (None, Scope::Task));
    }

    #[test]
    fn what_is_older_than_the_window_is_forgotten() {
        let limits = FaultLimits::default();
        let mut watch = FaultWatch::default();
        watch.count(Some(FaultClass::Sender), 200, at(0));
        assert!(watch.too_many(&limits, at(590)).is_some());
        assert_eq!(watch.too_many(&limits, at(606)), None);
        for moment in 0..2_000 {
            watch.count(None, 1, at(moment * MOMENT_SECONDS));
        }
        assert_eq!(watch.moments.len(), MOST_MOMENTS);
        // Put back, the clock adds to what it had.
        watch.count(Some(FaultClass::Sender), 500, at(0));
        assert!(watch.too_many(&limits, at(2_000 * MOMENT_SECONDS)).is_some());
    }

    proptest! {
        #[test]
        fn the_worst_class_is_the_one_with_the_most(counts: [u8; 6]) {
            let mut faults = FaultCounts::default();
            for (class, n) in FaultClass::ALL.into_iter().zip(counts) {
                faults.add(class, u32::from(n));
            }
            prop_assert_eq!(faults.total(), counts.iter().map(|n| u64::from(*n)).sum::<u64>());
            let most = u32::from(*counts.iter().max().unwrap());
            prop_assert_eq!(faults.worst().map(|(class, n)| (n, faults.of(class))), (most > 0).then_some((most, most)));
        }
    }
}

//! From a failure to what is done: about the recipient, and about what stands around it.

use std::time::Duration;

use crate::{
    disposition::{Disposition, Exhausted, Scope},
    retry,
    verdict::Failure,
};

/// What a decision must know of the call that failed.
#[derive(Clone, Copy, Debug)]
pub struct Attempt {
    /// The number of this call for this recipient, from 1, not counting those that used up none.
    pub number: i16,
    /// The campaign's `max_attempts`.
    pub max_attempts: i16,
    /// How often in a row the scope has been asked to slow down.
    pub slow_downs: u32,
    /// A random number in 0.0..1.0.
    pub random: f64,
}

/// What becomes of the recipient.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It will not come.
    Fails,
    /// It is tried again after this long.
    Retries {
        /// How long.
        after: Duration,
        /// The call counts as an attempt.
        attempt_used: bool,
    },
    /// It is tried again as soon as the halt is lifted; the call counts for nothing.
    WaitsForHalt,
    /// It may have been sent.
    Unknown,
}

/// A number to be suppressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Suppression {
    /// The person opted out.
    OptOut,
    /// The number is no good, for so many days, from the how-many-th time on.
    Invalid {
        /// Days.
        days: u16,
        /// From the how-many-th time on.
        from_time: u8,
    },
}

/// A scope to be halted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Halt {
    /// What stands still.
    pub scope: Scope,
    /// It runs again by itself after this long; none: an operator lifts it.
    pub lifted_after: Option<Duration>,
}

/// All that is done about one failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Decision {
    /// About the recipient.
    pub fate: Fate,
    /// About a scope.
    pub halt: Option<Halt>,
    /// About the number.
    pub suppression: Option<Suppression>,
    /// About the rate of a scope.
    pub slow_down: Option<Scope>,
}

/// What is done about `failure` of the call `attempt`.
#[must_use]
pub fn decide(failure: &Failure, attempt: &Attempt) -> Decision {
    let none = Decision { fate: Fate::Fails, halt: None, suppression: None, slow_down: None };
    let halt = |scope, lifted_after| Some(Halt { scope, lifted_after });
    let nth = u32::try_from(attempt.number - 1).unwrap_or(0);
    let again = |at_most: u8, delay: Duration| {
        (attempt.number <= i16::from(at_most) && attempt.number < attempt.max_attempts)
            .then(|| Fate::Retries { after: retry::with_jitter(delay, attempt.random), attempt_used: true })
    };
    match failure.rule.disposition {
        Disposition::SlowDown { scope, floor } => {
            let delay = retry::slow_down_delay(attempt.slow_downs, failure.retry_after, floor);
            let after = retry::with_jitter(delay, attempt.random).max(floor);
            Decision { fate: Fate::Retries { after, attempt_used: false }, slow_down: Some(scope), ..none }
        }
        Disposition::Requeue => {
            Decision { fate: Fate::Retries { after: Duration::ZERO, attempt_used: false }, ..none }
        }
        Disposition::RetryPair => {
            Decision { fate: again(3, retry::pair_delay(nth)).unwrap_or(Fate::Fails), ..none }
        }
        Disposition::RetrySoon { at_most, first, then } => {
            match again(at_most, retry::soon_delay(nth, first)) {
                Some(fate) => Decision { fate, ..none },
                None if then == Exhausted::HaltTask => Decision { halt: halt(Scope::Task, None), ..none },
                None => none,
            }
        }
        Disposition::RetryNextDay { at_most } => {
            Decision { fate: again(at_most, retry::next_day_delay(nth)).unwrap_or(Fate::Fails), ..none }
        }
        Disposition::FailMessage | Disposition::FailRecipient => none,
        Disposition::Suppress { days, from_time } => {
            Decision { suppression: Some(Suppression::Invalid { days, from_time }), ..none }
        }
        Disposition::OptOut => Decision { suppression: Some(Suppression::OptOut), ..none },
        Disposition::HaltTask => Decision { halt: halt(Scope::Task, None), ..none },
        Disposition::HaltTemplate => {
            Decision { fate: Fate::WaitsForHalt, halt: halt(Scope::Template, None), ..none }
        }
        Disposition::HaltSender { lifted_after } => {
            Decision { fate: Fate::WaitsForHalt, halt: halt(Scope::Sender, lifted_after), ..none }
        }
        Disposition::HaltAccount => {
            Decision { fate: Fate::WaitsForHalt, halt: halt(Scope::Account, None), ..none }
        }
        Disposition::Unknown => Decision { fate: Fate::Unknown, ..none },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decided(disposition: Disposition, number: i16) -> Decision {
        let failure =
            Failure { code: "1".into(), reason: String::new(), rule: disposition.into(), retry_after: None };
        decide(&failure, &Attempt { number, max_attempts: 5, slow_downs: 0, random: 0.5 })
    }

    #[test]
    fn throttling_uses_up_no_attempt_and_never_ends() {
        let decision = decided(Disposition::slow_down(Scope::Account), 4);
        let after = Duration::from_secs(2);
        assert_eq!(decision.fate, Fate::Retries { after, attempt_used: false });
        assert_eq!(decision.slow_down, Some(Scope::Account));
    }

    #[test]
    fn retries_end_at_their_own_limit_and_at_the_campaigns() {
        let fates = [1, 2, 3].map(|n| decided(Disposition::retry_soon(2), n).fate);
        assert!(matches!(fates[0], Fate::Retries { attempt_used: true, .. }));
        assert!(matches!(fates[1], Fate::Retries { .. }));
        assert_eq!(fates[2], Fate::Fails);
        assert_eq!(decided(Disposition::retry_soon(20), 5).fate, Fate::Fails);
    }

    #[test]
    fn a_task_halts_when_its_media_cannot_be_loaded_even_later() {
        let disposition = Disposition::RetrySoon { at_most: 2, first: None, then: Exhausted::HaltTask };
        assert_eq!(decided(disposition, 2).halt, None);
        assert_eq!(decided(disposition, 3).halt, Some(Halt { scope: Scope::Task, lifted_after: None }));
    }

    #[test]
    fn who_halts_more_than_a_task_waits_and_who_halts_a_task_fails() {
        assert_eq!(decided(Disposition::HaltAccount, 1).fate, Fate::WaitsForHalt);
        assert_eq!(decided(Disposition::HaltTask, 1).fate, Fate::Fails);
    }
}

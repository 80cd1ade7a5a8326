//! From verdicts to outcomes: what is recorded of each recipient, and what stands still because of it.

use std::{
    cell::OnceCell,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use chrono::{DateTime, TimeDelta, Utc};
use model::{
    Random, decide,
    decide::{Attempt, Fate},
    disposition::{Disposition, Scope},
    retry,
    verdict::{Failure, Verdict},
    watch::{Observed, Watch},
};
use store::{
    effects::{Effects, Stood},
    outcomes::{Again, CallResult, Outcome, Why},
};
use vendors::codes;

use crate::{call::Call, commit::Recorded, recent::RecentIds};

/// Judges the answers of one account.
#[derive(Debug, Default)]
pub(crate) struct Judge {
    watch: Mutex<Watch>,
    slow_downs: Mutex<SlowDowns>,
    ids: RecentIds,
}

/// How often in a row the vendor asked for time and, given it, asked again.
#[derive(Debug, Default)]
struct SlowDowns {
    count: u32,
    counted_at: Option<DateTime<Utc>>,
}

impl SlowDowns {
    /// A throttled call: how many there were before. Those of one moment are one, however many calls were under way: else
    /// sixteen refused at once would have the last of them wait as after sixteen refusals.
    fn another(&mut self, now: DateTime<Utc>) -> u32 {
        let last = self.count.saturating_sub(1);
        let waits = retry::slow_down_delay(last, None, Duration::ZERO);
        if self.counted_at.is_some_and(|at| now < later(at, waits)) {
            return last;
        }
        self.count = self.count.saturating_add(1);
        self.counted_at = Some(now);
        self.count - 1
    }
}

/// What all verdicts of a call have in common.
pub(crate) struct About<'a> {
    pub(crate) call: &'a Call,
    pub(crate) account: &'a str,
    pub(crate) vendor: vendors::Vendor,
    pub(crate) random: &'a Random,
    pub(crate) now: DateTime<Utc>,
    /// The batch that the call was.
    pub(crate) batch: usize,
    /// How often in a row calls were throttled before this one: counted once a call.
    pub(crate) slow_downs: OnceCell<u32>,
}

/// What is recorded, and which scope is to slow down.
pub(crate) struct Judged {
    pub(crate) recorded: Recorded,
    pub(crate) slow_down: Option<Scope>,
}

impl Judge {
    /// What is recorded of recipient `index` of the call.
    pub(crate) fn judge(&self, about: &About<'_>, index: usize, verdict: Verdict) -> Judged {
        let (result, effects, slow_down) = match verdict {
            Verdict::Accepted { vendor_id } if !self.ids.is_new(&vendor_id) => {
                (CallResult::Unknown(why_of_repeated_id()), Effects::default(), None)
            }
            Verdict::Accepted { vendor_id } => {
                self.observe(about, None);
                *self.slow_downs.lock().unwrap_or_else(PoisonError::into_inner) = SlowDowns::default();
                (CallResult::Accepted(vendor_id), Effects::default(), None)
            }
            Verdict::Unknown(failure) => (CallResult::Unknown(why(&failure)), Effects::default(), None),
            Verdict::Split(_) if about.batch > 1 => {
                let batch_max = i16::try_from(about.batch.div_ceil(2)).unwrap_or(1);
                (
                    CallResult::Requeued(about.call.again(index, about.now, batch_max)),
                    Effects::default(),
                    None,
                )
            }
            Verdict::Split(failure) | Verdict::Refused(failure) => self.refused(about, index, &failure),
        };
        let outcome = Outcome {
            task_id: about.call.facts.run.task_id,
            request_id: about.call.request_id,
            taken: about.call.taken[index].clone(),
            result,
            at: about.now,
        };
        Judged { recorded: Recorded { outcome, effects }, slow_down }
    }

    fn refused(
        &self,
        about: &About<'_>,
        index: usize,
        failure: &Failure,
    ) -> (CallResult, Effects, Option<Scope>) {
        let run = &about.call.facts.run;
        let slow_downs = match failure.rule.disposition {
            Disposition::SlowDown { .. } => *about.slow_downs.get_or_init(|| {
                self.slow_downs.lock().unwrap_or_else(PoisonError::into_inner).another(about.now)
            }),
            _ => 0,
        };
        let taken = &about.call.taken[index];
        let attempt = Attempt {
            number: taken.attempt,
            max_attempts: run.max_attempts,
            slow_downs,
            random: about.random.next(),
        };
        let mut decision = decide::decide(failure, &attempt);
        decision.halt = decision.halt.or_else(|| self.observe(about, Some(failure)));
        let stood = Stood {
            account: about.account,
            task_id: run.task_id,
            sender: &run.sender,
            template: run.template.as_deref(),
            phone: Some(taken.phone),
        };
        let remedy = codes::find(about.vendor, &failure.code).map_or("", |entry| entry.advice);
        let effects = Effects::of(&decision, failure, &stood, remedy, about.now);
        let again = |after, attempts_used| Again {
            due_at: later(about.now, after),
            attempts_used,
            batch_max: i16::MAX,
        };
        let result = match decision.fate {
            Fate::Fails => CallResult::Failed(why(failure)),
            Fate::Retries { after, attempt_used } => {
                let used = if attempt_used { taken.attempt } else { taken.attempt - 1 };
                CallResult::Retry(why(failure), again(after, used))
            }
            Fate::WaitsForHalt => CallResult::Retry(why(failure), again(Duration::ZERO, taken.attempt - 1)),
            Fate::Unknown => CallResult::Unknown(why(failure)),
        };
        (result, effects, decision.slow_down)
    }

    fn observe(&self, about: &About<'_>, failure: Option<&Failure>) -> Option<decide::Halt> {
        let run = &about.call.facts.run;
        let seen = Observed {
            task_id: run.task_id,
            sender: &run.sender,
            account: about.account,
            failure: failure.map(|failure| (failure.code.as_str(), &failure.rule)),
        };
        self.watch.lock().unwrap_or_else(PoisonError::into_inner).observe(&seen, about.now)
    }
}

fn why_of_repeated_id() -> Why {
    let reason = "the vendor gave its id to an earlier message too".to_owned();
    Why { code: codes::DUPLICATE_IN_ANSWER.to_owned(), reason }
}

fn why(failure: &Failure) -> Why {
    Why { code: failure.code.clone(), reason: failure.reason.clone() }
}

fn later(now: DateTime<Utc>, after: Duration) -> DateTime<Utc> {
    now + TimeDelta::from_std(after).unwrap_or(TimeDelta::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_throttled_together_wait_alike_and_longer_only_once_the_wait_was_in_vain() {
        let mut slow_downs = SlowDowns::default();
        let start = DateTime::UNIX_EPOCH;
        let mut after = |ms: i64| slow_downs.another(start + TimeDelta::milliseconds(ms));
        assert_eq!([after(0), after(1), after(1_999)], [0, 0, 0]);
        assert_eq!([after(2_000), after(5_999)], [1, 1], "4 s this time");
        assert_eq!([after(6_000), after(13_999), after(14_000)], [2, 2, 3]);
    }
}

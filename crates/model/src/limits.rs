//! How often a person, and how many persons through one sender, may be written to.
//!
//! Each rule looks at what was sent and says whether one more may be sent now, or when. The times are of calls begun: what
//! may have reached a vendor counts as sent. It must never ask what time it is: an instant is handed in.

use chrono::{DateTime, Duration, DurationRound, Utc};
use serde::{Deserialize, Serialize};

use crate::FieldError;

/// WhatsApp takes one message to one person from one sender in so many seconds.
pub const PAIR_SECONDS: i64 = 6;
/// Days that a frequency cap looks back, at the very most.
pub const LIMIT_CAP_DAYS: u32 = 90;
/// Messages that a frequency cap allows, at the very most.
pub const LIMIT_CAP_COUNT: u32 = 1000;

/// The code of a message that a frequency cap withheld.
pub const FREQUENCY_CAP: &str = "frequency_cap";
/// A message without a template reaches a person for so long after the person wrote.
pub const WINDOW_HOURS: i64 = 24;
/// The window is taken for closed so much earlier: a call takes its time, and clocks differ.
const WINDOW_MARGIN_SECONDS: i64 = 60;

/// Whether one more may be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Allowance {
    /// Now.
    Now,
    /// Not before then.
    At(DateTime<Utc>),
}

impl Allowance {
    /// What both allow.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        match (self, other) {
            (Self::Now, one) | (one, Self::Now) => one,
            (Self::At(one), Self::At(other)) => Self::At(one.max(other)),
        }
    }

    fn from(earliest: DateTime<Utc>, now: DateTime<Utc>) -> Self {
        if earliest <= now { Self::Now } else { Self::At(earliest) }
    }
}

/// Whether a person may be written to again, `last` being when that sender wrote last.
#[must_use]
pub fn pair_allows(last: Option<DateTime<Utc>>, now: DateTime<Utc>) -> Allowance {
    last.map_or(Allowance::Now, |last| Allowance::from(last + Duration::seconds(PAIR_SECONDS), now))
}

/// Whether a message without a template reaches a person who wrote `last`.
#[must_use]
pub fn is_window_open(last: Option<DateTime<Utc>>, now: DateTime<Utc>) -> bool {
    let open = Duration::hours(WINDOW_HOURS) - Duration::seconds(WINDOW_MARGIN_SECONDS);
    last.is_some_and(|last| now < last + open)
}

/// So many messages to one person within so many days, across campaigns (`max_per_recipient`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FrequencyCap {
    /// Messages.
    pub count: u32,
    /// Days of 24 hours, looked back from each message.
    pub days: u32,
}

impl FrequencyCap {
    /// Complaints about its fields.
    pub fn check(&self, errors: &mut Vec<FieldError>) {
        for (field, value, most) in
            [("count", self.count, LIMIT_CAP_COUNT), ("days", self.days, LIMIT_CAP_DAYS)]
        {
            if !(1..=most).contains(&value) {
                let message = format!("must be 1 to {most}");
                errors.push(FieldError::new(format!("max_per_recipient.{field}"), message));
            }
        }
    }

    /// Why somebody gets no more, in words.
    #[must_use]
    pub fn why(&self) -> String {
        let messages = if self.count == 1 { "message" } else { "messages" };
        let days = if self.days == 1 { "day".to_owned() } else { format!("{} days", self.days) };
        format!("had {} marketing {messages} within the last {days} already", self.count)
    }

    /// From when on earlier messages matter: what a store has to look for.
    #[must_use]
    pub fn since(&self, now: DateTime<Utc>) -> DateTime<Utc> {
        now - self.span()
    }

    /// Whether a person may be written to again, `past` being when that person was written to, in any order. A message
    /// counts for the whole of the days after it, and no longer.
    #[must_use]
    pub fn allows(&self, past: &[DateTime<Utc>], now: DateTime<Utc>) -> Allowance {
        let since = self.since(now);
        let mut counted: Vec<DateTime<Utc>> = past.iter().copied().filter(|at| *at > since).collect();
        let Some(surplus) = counted.len().checked_sub(self.count.max(1) as usize) else {
            return Allowance::Now;
        };
        // When the oldest of the last `count` has gone out of sight, one more fits.
        let (_, oldest, _) = counted.select_nth_unstable(surplus);
        Allowance::At(*oldest + self.span())
    }

    fn span(&self) -> Duration {
        Duration::days(i64::from(self.days.min(LIMIT_CAP_DAYS)))
    }
}

/// How many persons a sender wrote to last in an hour: each counts in the hour of the last message only.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HourOfRecipients {
    /// When the hour began.
    pub hour: DateTime<Utc>,
    /// Persons.
    pub recipients: u32,
}

/// How many more persons a sender may write to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DailyRoom {
    /// So many.
    For(u32),
    /// None before then.
    FullUntil(DateTime<Utc>),
}

/// The hour that `at` lies in, by which persons are counted.
#[must_use]
pub fn hour_of(at: DateTime<Utc>) -> DateTime<Utc> {
    at.duration_trunc(Duration::hours(1)).unwrap_or(at)
}

/// When those who were last written to in `hour` are no longer counted: 24 hours after its last moment, so that never more
/// than the limit are written to in any 24 hours. Somebody may so be counted for up to an hour longer than need be.
#[must_use]
pub fn counted_until(hour: DateTime<Utc>) -> DateTime<Utc> {
    hour + Duration::hours(25)
}

/// How many more persons may be written to under `daily_recipients`, who are not among those counted: the latter take no
/// room. `hours` may have any order, and hours that count no longer.
#[must_use]
pub fn daily_room(daily_recipients: u32, hours: &[HourOfRecipients], now: DateTime<Utc>) -> DailyRoom {
    let mut counted: Vec<_> = hours.iter().filter(|hour| now < counted_until(hour.hour)).collect();
    counted.sort_unstable_by_key(|hour| hour.hour);
    let mut sum: u64 = counted.iter().map(|hour| u64::from(hour.recipients)).sum();
    let limit = u64::from(daily_recipients.max(1));
    if let Some(room) =
        limit.checked_sub(sum).and_then(|room| u32::try_from(room).ok()).filter(|room| *room > 0)
    {
        return DailyRoom::For(room);
    }
    let mut until = now;
    for hour in counted {
        sum -= u64::from(hour.recipients);
        until = counted_until(hour.hour);
        if sum < limit {
            break;
        }
    }
    DailyRoom::FullUntil(until)
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, HashMap, HashSet};

    use proptest::prelude::*;

    use super::*;

    fn at(seconds: i64) -> DateTime<Utc> {
        // On a whole hour.
        DateTime::from_timestamp(1_800_000_000 + seconds, 0).unwrap()
    }

    const HOUR: i64 = 3_600;
    const DAY: i64 = 24 * HOUR;

    #[test]
    fn one_message_in_six_seconds_to_one_person() {
        assert_eq!(pair_allows(None, at(0)), Allowance::Now);
        assert_eq!(pair_allows(Some(at(0)), at(0)), Allowance::At(at(6)));
        assert_eq!(pair_allows(Some(at(0)), at(5)), Allowance::At(at(6)));
        assert_eq!(pair_allows(Some(at(0)), at(6)), Allowance::Now);
    }

    #[test]
    fn a_window_closes_a_minute_before_the_day_is_over() {
        assert!(!is_window_open(None, at(0)));
        assert!(is_window_open(Some(at(0)), at(0)));
        assert!(is_window_open(Some(at(0)), at(DAY - 61)));
        assert!(!is_window_open(Some(at(0)), at(DAY - 60)));
    }

    #[test]
    fn the_later_of_two_allowances_holds() {
        let (soon, late) = (Allowance::At(at(1)), Allowance::At(at(2)));
        assert_eq!(Allowance::Now.and(Allowance::Now), Allowance::Now);
        assert_eq!(Allowance::Now.and(soon), soon);
        assert_eq!(late.and(soon), late);
    }

    #[test]
    fn a_cap_counts_the_days_before_each_message() {
        let cap = FrequencyCap { count: 2, days: 7 };
        for (past, now, expected) in [
            (&[][..], 0, Allowance::Now),
            (&[0], 1, Allowance::Now),
            (&[0, 10], 20, Allowance::At(at(7 * DAY))),
            (&[10, 0], 20, Allowance::At(at(7 * DAY))),
            (&[0, 10], 7 * DAY - 1, Allowance::At(at(7 * DAY))),
            (&[0, 10], 7 * DAY, Allowance::Now),
            // More than it allows (the cap was lowered): two must have gone.
            (&[0, 10, 20], 30, Allowance::At(at(10 + 7 * DAY))),
            (&[-8 * DAY, -9 * DAY, 0], 30, Allowance::Now),
        ] {
            let past: Vec<_> = past.iter().map(|seconds| at(*seconds)).collect();
            assert_eq!(cap.allows(&past, at(now)), expected, "{past:?} {now}");
        }
        assert_eq!(cap.since(at(7 * DAY)), at(0));
    }

    #[test]
    fn a_wrong_cap_is_named_by_field() {
        for (count, days, expected) in [
            (1, 1, &[][..]),
            (0, 7, &["max_per_recipient.count"]),
            (2, 0, &["max_per_recipient.days"]),
            (1001, 91, &["max_per_recipient.count", "max_per_recipient.days"]),
        ] {
            let mut errors = Vec::new();
            FrequencyCap { count, days }.check(&mut errors);
            assert_eq!(errors.iter().map(|error| error.field.as_str()).collect::<Vec<_>>(), expected);
        }
    }

    #[test]
    fn a_sender_has_room_again_when_its_oldest_hours_are_a_day_old() {
        let hours = |counts: &[(i64, u32)]| {
            let hour = |(hour, recipients): &(i64, u32)| HourOfRecipients {
                hour: at(hour * HOUR),
                recipients: *recipients,
            };
            counts.iter().map(hour).collect::<Vec<_>>()
        };
        for (counts, now, expected) in [
            (&[][..], 0, DailyRoom::For(100)),
            (&[(0, 60), (1, 39)], 2 * HOUR, DailyRoom::For(1)),
            (&[(1, 40), (0, 60)], 2 * HOUR, DailyRoom::FullUntil(at(25 * HOUR))),
            (&[(0, 60), (1, 40)], 25 * HOUR - 1, DailyRoom::FullUntil(at(25 * HOUR))),
            (&[(0, 60), (1, 40)], 25 * HOUR, DailyRoom::For(60)),
            // The limit was lowered meanwhile: the first hour alone does not make room.
            (&[(0, 10), (1, 150)], 2 * HOUR, DailyRoom::FullUntil(at(26 * HOUR))),
        ] {
            assert_eq!(daily_room(100, &hours(counts), at(now)), expected, "{counts:?} {now}");
        }
        assert_eq!(hour_of(at(HOUR - 1)), at(0));
        assert_eq!(hour_of(at(HOUR)), at(HOUR));
    }

    proptest! {
        #[test]
        fn a_cap_is_never_exceeded_and_never_waits_too_long(
            count in 1..5_u32,
            days in 1..4_u32,
            gaps in prop::collection::vec(0..2 * DAY, 1..40),
        ) {
            let cap = FrequencyCap { count, days };
            let (mut now, mut sent) = (at(0), Vec::new());
            for gap in gaps {
                now += Duration::seconds(gap);
                if let Allowance::At(then) = cap.allows(&sent, now) {
                    prop_assert!(then > now);
                    prop_assert!(cap.allows(&sent, then - Duration::seconds(1)) != Allowance::Now);
                    now = then;
                }
                prop_assert_eq!(cap.allows(&sent, now), Allowance::Now);
                sent.push(now);
                let recent = sent.iter().filter(|at| **at > cap.since(now)).count();
                prop_assert!(recent <= count as usize);
            }
        }

        #[test]
        fn in_no_24_hours_are_more_persons_written_to_than_allowed(
            limit in 1..8_u32,
            calls in prop::collection::vec((0..4 * HOUR, 0..20_u8), 1..120),
        ) {
            let mut now = at(0);
            let mut last_hours: HashMap<u8, DateTime<Utc>> = HashMap::new();
            let mut sent: Vec<(DateTime<Utc>, u8)> = Vec::new();
            for (gap, person) in calls {
                now += Duration::seconds(gap);
                let mut by_hour: BTreeMap<DateTime<Utc>, u32> = BTreeMap::new();
                last_hours.values().for_each(|hour| *by_hour.entry(*hour).or_default() += 1);
                let hours: Vec<_> =
                    by_hour.into_iter().map(|(hour, recipients)| HourOfRecipients { hour, recipients }).collect();
                let is_counted = last_hours.get(&person).is_some_and(|hour| now < counted_until(*hour));
                if let DailyRoom::FullUntil(then) = daily_room(limit, &hours, now) {
                    prop_assert!(then > now && then <= now + Duration::hours(25));
                    prop_assert!(matches!(daily_room(limit, &hours, then), DailyRoom::For(_)));
                    if !is_counted {
                        continue;
                    }
                }
                last_hours.insert(person, hour_of(now));
                sent.push((now, person));
                let day = now - Duration::hours(24);
                let persons: HashSet<u8> = sent.iter().filter(|(at, _)| *at > day).map(|(_, person)| *person).collect();
                prop_assert!(persons.len() <= limit as usize);
            }
        }
    }
}

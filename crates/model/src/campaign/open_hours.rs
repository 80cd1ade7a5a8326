//! The hours of a week at which a campaign may be sent, and when they begin and end in real time.
//!
//! What the clocks of a zone show decides, at every instant: where they skip hours those never come, where they repeat
//! some those come twice. So nobody is ever written to at a time of day outside of the window. It must never be asked
//! what time it is: an instant is handed in.

use chrono::{DateTime, Datelike, Duration, NaiveDateTime, Offset, TimeZone, Timelike, Utc, Weekday};
use chrono_tz::Tz;

/// How far ahead an opening is looked for.
pub const SEARCH_DAYS: i64 = 14;

const DAY: u16 = 24 * 60;
const WEEK: u16 = 7 * DAY;

/// Stretches of a week, in minutes from Monday 00:00.
///
/// Where zones are asked for, several stand for a place that is not known better: it is open when it is open in all of
/// them. No zones at all are always open.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct OpenHours {
    /// In order, apart from each other, none reaching over the end of the week.
    stretches: Vec<(u16, u16)>,
}

impl OpenHours {
    /// From the minute `from` of each of `days` up to the minute `to`: of the next day where it is not later.
    pub(super) fn new(days: impl IntoIterator<Item = Weekday>, from: u16, to: u16) -> Self {
        let length = if to > from { to - from } else { DAY + to - from };
        let mut pieces = Vec::new();
        for day in days {
            let start = u16::try_from(day.num_days_from_monday()).unwrap_or(0) * DAY + from;
            let end = start + length;
            pieces.push((start, end.min(WEEK)));
            if end > WEEK {
                pieces.push((0, end - WEEK));
            }
        }
        pieces.sort_unstable();
        let mut stretches: Vec<(u16, u16)> = Vec::new();
        for (start, end) in pieces {
            match stretches.last_mut() {
                Some(last) if start <= last.1 => last.1 = last.1.max(end),
                _ => stretches.push((start, end)),
            }
        }
        Self { stretches }
    }

    /// Whether it is open at `at` in all of `zones`.
    #[must_use]
    pub fn is_open(&self, zones: &[Tz], at: DateTime<Utc>) -> bool {
        zones.iter().all(|zone| self.stretch_at(&at.with_timezone(zone).naive_local()).is_some())
    }

    /// The first instant, not before `from`, at which it is open in all of `zones`; none: not within [`SEARCH_DAYS`].
    #[must_use]
    pub fn next_opening(&self, zones: &[Tz], from: DateTime<Utc>) -> Option<DateTime<Utc>> {
        let end = from.checked_add_signed(Duration::days(SEARCH_DAYS))?;
        let mut at = from;
        while at <= end {
            // No earlier instant can be: some zone is closed until then.
            let mut latest = at;
            for zone in zones {
                latest = latest.max(self.first(*zone, at, |local| self.opens(local))?);
            }
            if latest == at {
                return Some(at);
            }
            at = latest;
        }
        None
    }

    /// The first instant, not before `from`, at which it is closed in one of `zones`; none: not within [`SEARCH_DAYS`].
    #[must_use]
    pub fn closes_at(&self, zones: &[Tz], from: DateTime<Utc>) -> Option<DateTime<Utc>> {
        zones.iter().filter_map(|zone| self.first(*zone, from, |local| self.closes(local))).min()
    }

    fn stretch_at(&self, local: &NaiveDateTime) -> Option<(u16, u16)> {
        let minute = minute_of_week(local);
        self.stretches.iter().copied().find(|(start, end)| (*start..*end).contains(&minute))
    }

    /// When it opens by a clock that shows `local` and is never put forward or back: at once, when it is open.
    fn opens(&self, local: NaiveDateTime) -> Option<NaiveDateTime> {
        if self.stretch_at(&local).is_some() {
            return Some(local);
        }
        let minute = minute_of_week(&local);
        let later = self.stretches.iter().map(|(start, _)| *start).find(|start| *start > minute);
        let start = later.or_else(|| self.stretches.first().map(|(start, _)| start + WEEK))?;
        minutes_on(local, start - minute)
    }

    /// When it closes by a clock that shows `local` and is never put forward or back; none: never.
    fn closes(&self, local: NaiveDateTime) -> Option<NaiveDateTime> {
        let Some((_, mut end)) = self.stretch_at(&local) else { return Some(local) };
        if end == WEEK
            && let Some((0, monday)) = self.stretches.first()
        {
            end = WEEK + monday;
        }
        (end < 2 * WEEK).then(|| minutes_on(local, end - minute_of_week(&local)))?
    }

    /// The first instant, not before `from`, that `turn` names for a clock of `zone`. Its stretches between changes of
    /// clocks are gone through one by one: within each, `turn` is right.
    fn first(
        &self,
        zone: Tz,
        from: DateTime<Utc>,
        turn: impl Fn(NaiveDateTime) -> Option<NaiveDateTime>,
    ) -> Option<DateTime<Utc>> {
        let end = from.checked_add_signed(Duration::days(SEARCH_DAYS))?;
        let mut at = from;
        while at <= end {
            let offset = offset(zone, at);
            let turned = turn(at.naive_utc() + offset)? - offset;
            let next = change_within_a_day(zone, at);
            if turned.and_utc() < next {
                return Some(turned.and_utc()).filter(|found| *found <= end);
            }
            at = next;
        }
        None
    }
}

fn minute_of_week(local: &NaiveDateTime) -> u16 {
    let minutes = local.weekday().num_days_from_monday() * 1440 + local.hour() * 60 + local.minute();
    u16::try_from(minutes).unwrap_or(0)
}

/// The beginning of the minute that lies `minutes` after the one of `local`.
fn minutes_on(local: NaiveDateTime, minutes: u16) -> Option<NaiveDateTime> {
    let minute = local.with_second(0)?.with_nanosecond(0)?;
    minute.checked_add_signed(Duration::minutes(i64::from(minutes)))
}

fn offset(zone: Tz, at: DateTime<Utc>) -> Duration {
    Duration::seconds(i64::from(zone.offset_from_utc_datetime(&at.naive_utc()).fix().local_minus_utc()))
}

/// The first instant after `at` at which the clocks of `zone` are changed, or a day after `at`, whichever is first.
fn change_within_a_day(zone: Tz, at: DateTime<Utc>) -> DateTime<Utc> {
    let before = offset(zone, at);
    let mut changed = at + Duration::days(1);
    if offset(zone, changed) == before {
        return changed;
    }
    // Clocks are changed on whole seconds.
    let mut unchanged = at.with_nanosecond(0).unwrap_or(at);
    changed = unchanged + Duration::days(1) + Duration::seconds(1);
    while changed - unchanged > Duration::seconds(1) {
        let middle = unchanged + Duration::seconds((changed - unchanged).num_seconds() / 2);
        if offset(zone, middle) == before {
            unchanged = middle;
        } else {
            changed = middle;
        }
    }
    changed
}

#[cfg(test)]
mod tests;

//! Recurring schedules: the instants that a cron line means in a time zone.
//!
//! The fields are matched against what the clocks of the zone show, and every matching local time fires once: where the
//! clocks skip it, at the first instant after the gap (all skipped ones together fire there once); where they show it
//! twice, the first time. It must never be asked what time it is: an instant is handed in.

use chrono::{DateTime, Datelike, NaiveDate, NaiveDateTime, NaiveTime, Utc};
use chrono_tz::Tz;
use croner::{
    Cron,
    parser::{CronParser, Seconds, Year},
};

use super::{schedule::in_zone, short};
use crate::FieldError;

/// Characters of a cron line.
const LIMIT_CRON: usize = 200;
/// No campaign is planned further ahead, by the years of its firings.
const LAST_YEAR: i32 = 9000;
/// A line that does not fire in so many years never does: 29 February falls on a given weekday at least once in 40.
const YEARS_SEARCHED: i32 = 41;

/// The fields of a cron line: the name, and what may stand there.
const FIELDS: [(&str, &str); 5] = [
    ("minute", "0-59"),
    ("hour", "0-23"),
    ("day", "1-31, L for the last one"),
    ("month", "1-12 or JAN-DEC"),
    ("weekday", "0-7 or SUN-SAT, MON#1 for the first Monday of the month, FRIL for the last Friday"),
];

const MONTHS: [&str; 12] =
    ["JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC"];
const WEEKDAYS: [&str; 7] = ["SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT"];

/// A cron line in a time zone, with an end or without.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recurrence {
    cron: Cron,
    zone: Tz,
    until: Option<DateTime<Utc>>,
}

impl Recurrence {
    /// The recurrence that `cron` means in `zone`, up to and including `until`.
    ///
    /// # Errors
    /// A line that is none, or that never fires.
    pub(super) fn new(cron: &str, zone: Tz, until: Option<DateTime<Utc>>) -> Result<Self, FieldError> {
        let cron = parse(cron).map_err(|message| FieldError::new("schedule.cron", message))?;
        Ok(Self { cron, zone, until })
    }

    /// The zone whose clocks it follows.
    #[must_use]
    pub fn zone(&self) -> Tz {
        self.zone
    }

    /// The last instant at which it may fire.
    #[must_use]
    pub fn until(&self) -> Option<DateTime<Utc>> {
        self.until
    }

    /// The first firing later than `after`; none when there is none any more.
    #[must_use]
    pub fn next_after(&self, after: DateTime<Utc>) -> Option<DateTime<Utc>> {
        let mut local = after.with_timezone(&self.zone).naive_local();
        // Local times up to this one fire at `after` or before it. Of those behind it, only the ones that the clocks are
        // showing for the second time fired already: as many minutes as the clocks were put back.
        loop {
            local = self.cron.find_next_occurrence(&local, false).ok()?;
            if local.year() > LAST_YEAR {
                return None;
            }
            let instant = in_zone(local, self.zone)?;
            if instant > after {
                return self.until.is_none_or(|until| instant <= until).then_some(instant);
            }
        }
    }

    /// All firings later than `after`, in order. It may have no end: take as many as are to be shown.
    pub fn upcoming(&self, after: DateTime<Utc>) -> impl Iterator<Item = DateTime<Utc>> + '_ {
        std::iter::successors(self.next_after(after), |last| self.next_after(*last))
    }
}

/// The fields of `line`, or what is wrong with it.
fn parse(line: &str) -> Result<Cron, String> {
    let fields: Vec<&str> = line.split_whitespace().collect();
    if fields.len() != FIELDS.len() || line.len() > LIMIT_CRON {
        return Err(format!(
            "`{}` must have five fields: minute hour day month weekday, such as `0 9 * * MON`; it has {}",
            short(line),
            fields.len()
        ));
    }
    if let Some(i) = (0..FIELDS.len()).find(|i| !is_field(*i, fields[*i])) {
        let (name, allowed) = FIELDS[i];
        return Err(format!(
            "`{}` is no {name}: write {allowed}, with `*`, `,`, `-` and `*/2` as usual",
            short(fields[i])
        ));
    }
    let cron =
        read(line).ok_or_else(|| format!("`{}` is not a cron line such as `0 9 * * MON`", short(line)))?;
    if !fires(&cron) {
        return Err(format!("`{}` never fires: no month has that day", short(line)));
    }
    Ok(cron)
}

/// Whether `text` may be the `i`th field: alone with four that match everything, it makes a line.
fn is_field(i: usize, text: &str) -> bool {
    let mut fields = ["*"; FIELDS.len()];
    fields[i] = text;
    // The library replaces names wherever they stand: an hour `MON` would pass for a 1, a month `1FEB` for a 12.
    let names: &[&str] = match i {
        3 => &MONTHS,
        4 => &WEEKDAYS,
        _ => &[],
    };
    let has_no_stray_name = text.split([',', '-', '/']).all(|part| {
        let part = part.trim_start_matches('+').to_ascii_uppercase();
        let plain = part.split_once('#').map_or(part.as_str(), |(day, _)| day);
        let is_named =
            names.iter().any(|name| plain.strip_prefix(name).is_some_and(|rest| matches!(rest, "" | "L")));
        is_named || !part.chars().any(|c| c.is_alphabetic() && !matches!(c, 'L' | 'W'))
    });
    has_no_stray_name && !text.contains('@') && read(&fields.join(" ")).is_some()
}

fn read(line: &str) -> Option<Cron> {
    CronParser::builder().seconds(Seconds::Disallowed).year(Year::Disallowed).build().parse(line).ok()
}

/// Whether some day of the calendar has the line's day, month and weekday.
fn fires(cron: &Cron) -> bool {
    // The first years of a cycle of leap years: they have every date on every weekday.
    let first = NaiveDate::from_ymd_opt(2000, 1, 1);
    let days = first.into_iter().flat_map(|first| first.iter_days());
    days.take_while(|day| day.year() < 2000 + YEARS_SEARCHED)
        .any(|day| is_day_of(cron, day.and_time(NaiveTime::MIN)))
}

fn is_day_of(cron: &Cron, day: NaiveDateTime) -> bool {
    let weekday = croner::Weekday::from_days_from_sunday(day.weekday().num_days_from_sunday());
    cron.pattern.month_match(day.month()).unwrap_or(false)
        && cron.pattern.day_match(day.year(), day.month(), day.day(), weekday).unwrap_or(false)
}

#[cfg(test)]
mod tests;

//! When a campaign is sent, as it was written, and the instants that are meant by it.

use chrono::{DateTime, Datelike, Duration, NaiveDate, NaiveDateTime, TimeZone, Timelike, Utc};
use chrono_tz::Tz;
use serde::{Deserialize, Serialize};

use super::{recurrence::Recurrence, short, zone};
use crate::FieldError;

/// When to send, as it was written.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Schedule {
    /// Once, at this local time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at: Option<String>,
    /// Again and again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cron: Option<String>,
    /// An IANA name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub time_zone: Option<String>,
    /// With `cron`: the end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<String>,
}

/// When to send, as it is meant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Plan {
    /// Once.
    Once(DateTime<Utc>),
    /// Again and again.
    Recurring(Box<Recurrence>),
}

impl Plan {
    /// The first firing later than `after`; none when there is none any more.
    #[must_use]
    pub fn next_after(&self, after: DateTime<Utc>) -> Option<DateTime<Utc>> {
        match self {
            Self::Once(at) => (*at > after).then_some(*at),
            Self::Recurring(recurrence) => recurrence.next_after(after),
        }
    }

    /// All firings later than `after`, in order. It may have no end: take as many as are to be shown.
    pub fn upcoming(&self, after: DateTime<Utc>) -> impl Iterator<Item = DateTime<Utc>> + '_ {
        std::iter::successors(self.next_after(after), |last| self.next_after(*last))
    }

    /// The first firing later than `now` of a recurrence that is launched.
    ///
    /// # Errors
    /// It ends before that.
    pub fn first(&self, now: DateTime<Utc>) -> Result<DateTime<Utc>, FieldError> {
        match self {
            // A moment that has passed is due at once.
            Self::Once(at) => Ok(*at),
            Self::Recurring(recurrence) => recurrence.next_after(now).ok_or_else(|| {
                FieldError::new(
                    "schedule.until",
                    "ends it before its first run: give a later one, or leave it out",
                )
            }),
        }
    }
}

impl Schedule {
    /// When a campaign starts that is launched `now`: a moment that has passed is due at once.
    ///
    /// # Errors
    /// As [`Schedule::plan`], or a recurrence that ends before.
    pub fn first(&self, now: DateTime<Utc>) -> Result<DateTime<Utc>, FieldError> {
        self.plan()?.first(now)
    }

    /// When a recurring campaign fires next, later than `after`; none: it does not recur, or has ended.
    ///
    /// # Errors
    /// As [`Schedule::plan`].
    pub fn next_firing(&self, after: DateTime<Utc>) -> Result<Option<DateTime<Utc>>, FieldError> {
        if self.cron.is_none() {
            return Ok(None);
        }
        Ok(self.plan()?.next_after(after))
    }

    /// What is meant by it.
    ///
    /// `until` is the last instant at which a recurrence may fire: a firing at exactly that instant still happens. It is an
    /// RFC 3339 time, a local time of the zone, or a date of the zone: that whole day then belongs to it.
    ///
    /// # Errors
    /// No such time, zone or cron line, a line that never fires, or fields that contradict each other.
    pub fn plan(&self) -> Result<Plan, FieldError> {
        let zone = self.time_zone.as_deref().map(|name| zone("schedule.time_zone", name)).transpose()?;
        match (&self.at, &self.cron) {
            (Some(_), Some(_)) => Err(FieldError::new("schedule", "has both `at` and `cron`: leave one out")),
            (None, None) => Err(FieldError::new(
                "schedule.at",
                "is missing: give a local time such as 2026-12-01T09:00:00",
            )),
            (Some(_), None) if self.until.is_some() => {
                Err(FieldError::new("schedule.until", "belongs to `cron`: leave it out with `at`"))
            }
            (Some(at), None) => instant("schedule.at", at, zone).map(Plan::Once),
            (None, Some(cron)) => {
                let zone = zone.ok_or_else(|| {
                    let message = "is missing: name the zone of `cron`, such as Asia/Kolkata";
                    FieldError::new("schedule.time_zone", message)
                })?;
                let until = self.until.as_deref().map(|until| last_instant(until, zone)).transpose()?;
                Recurrence::new(cron, zone, until).map(|recurrence| Plan::Recurring(Box::new(recurrence)))
            }
        }
    }
}

/// The end of a recurrence.
fn last_instant(until: &str, zone: Tz) -> Result<DateTime<Utc>, FieldError> {
    let field = "schedule.until";
    match NaiveDate::parse_from_str(until.trim(), "%Y-%m-%d") {
        Ok(date) => instant(field, &format!("{date}T23:59:59"), Some(zone)),
        Err(_) => instant(field, until, Some(zone)),
    }
}

/// The instant of `at`: an RFC 3339 time with an offset, or a local time of `zone`.
fn instant(field: &str, at: &str, zone: Option<Tz>) -> Result<DateTime<Utc>, FieldError> {
    let at = at.trim();
    let instant = match (DateTime::parse_from_rfc3339(at), zone) {
        (Ok(instant), _) => instant.with_timezone(&Utc),
        (Err(_), Some(zone)) => in_zone(local_time(field, at)?, zone)
            .ok_or_else(|| FieldError::new(field, "is not a time of that time zone"))?,
        (Err(_), None) => {
            local_time(field, at)?;
            let message = "is missing: name the zone of `at`, such as Asia/Kolkata";
            return Err(FieldError::new("schedule.time_zone", message));
        }
    };
    if !(2000..=9000).contains(&instant.year()) {
        return Err(FieldError::new(field, "must lie between the years 2000 and 9000"));
    }
    Ok(instant)
}

fn local_time(field: &str, text: &str) -> Result<NaiveDateTime, FieldError> {
    let forms = ["%Y-%m-%dT%H:%M:%S%.f", "%Y-%m-%dT%H:%M", "%Y-%m-%d %H:%M:%S%.f", "%Y-%m-%d %H:%M"];
    forms.iter().find_map(|form| NaiveDateTime::parse_from_str(text, form).ok()).ok_or_else(|| {
        FieldError::new(field, format!("`{}` is not a local time such as 2026-12-01T09:00:00", short(text)))
    })
}

/// Whether something that was due is still to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Timeliness {
    /// Not before then.
    Early,
    /// It is time.
    Due,
    /// It was due so long ago that a person must decide whether it is still wanted.
    Late {
        /// Since when it is due.
        by: Duration,
    },
}

/// How late a firing may be without a person being asked, where nothing else is configured.
pub const DEFAULT_LATE_AFTER_SECONDS: u32 = 3600;

/// Whether what is due at `due` is to be done at `now`: from then on, and until it is late by more than `late_after`
/// (after an outage, or in a restored copy of the database).
#[must_use]
pub fn timeliness(due: DateTime<Utc>, now: DateTime<Utc>, late_after: std::time::Duration) -> Timeliness {
    let by = now - due;
    let tolerated = Duration::from_std(late_after).unwrap_or(Duration::MAX);
    match by {
        _ if by < Duration::zero() => Timeliness::Early,
        _ if by <= tolerated => Timeliness::Due,
        _ => Timeliness::Late { by },
    }
}

/// The instant at which the clocks of `zone` show `local`: the earlier one where they show it twice, the first one
/// after it where they skip it.
#[must_use]
pub fn in_zone(local: NaiveDateTime, zone: Tz) -> Option<DateTime<Utc>> {
    let valid = |local: &NaiveDateTime| zone.from_local_datetime(local).earliest();
    if let Some(instant) = valid(&local) {
        return Some(instant.with_timezone(&Utc));
    }
    // A skipped stretch begins and ends on a whole minute; the longest known one is a day (Samoa, 2011).
    let minute = local.with_second(0)?.with_nanosecond(0)?;
    (1..=26 * 60)
        .map_while(|minutes| minute.checked_add_signed(Duration::minutes(minutes)))
        .find_map(|local| valid(&local))
        .map(|instant| instant.with_timezone(&Utc))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str, zone: &str) -> Result<String, FieldError> {
        let schedule =
            Schedule { at: Some(text.to_owned()), time_zone: Some(zone.to_owned()), ..Schedule::default() };
        schedule.first(DateTime::UNIX_EPOCH).map(|instant| instant.to_rfc3339())
    }

    #[test]
    fn a_local_time_becomes_the_instant_at_which_clocks_show_it() {
        for (text, zone, expected) in [
            ("2026-12-01T09:00:00", "Asia/Kolkata", "2026-12-01T03:30:00+00:00"),
            ("2026-12-01T09:00", "Asia/Kolkata", "2026-12-01T03:30:00+00:00"),
            ("2026-12-01T09:00:00Z", "Asia/Kolkata", "2026-12-01T09:00:00+00:00"),
            // Clocks skip 02:00 to 03:00: the first instant after.
            ("2027-03-28T02:30:00", "Europe/Paris", "2027-03-28T01:00:00+00:00"),
            ("2027-03-28T02:30:30", "Europe/Paris", "2027-03-28T01:00:00+00:00"),
            // Clocks show 02:30 twice: the earlier one.
            ("2026-10-25T02:30:00", "Europe/Paris", "2026-10-25T00:30:00+00:00"),
            // A whole day is skipped.
            ("2011-12-30T12:00:00", "Pacific/Apia", "2011-12-30T10:00:00+00:00"),
        ] {
            assert_eq!(at(text, zone).as_deref(), Ok(expected), "{text} {zone}");
        }
    }

    #[test]
    fn a_wrong_schedule_is_named_by_field() {
        for (text, zone, field) in [
            ("tomorrow", "Asia/Kolkata", "schedule.at"),
            ("2026-13-01T09:00:00", "Asia/Kolkata", "schedule.at"),
            ("2026-12-01T09:00:00", "Asia/Nowhere", "schedule.time_zone"),
            ("99999-12-01T09:00:00", "Asia/Kolkata", "schedule.at"),
        ] {
            assert_eq!(at(text, zone).unwrap_err().field, field, "{text} {zone}");
        }
        assert!(
            at("2026-12-01T09:00:00", "asia/kolkata").unwrap_err().message.contains("write Asia/Kolkata")
        );
        let missing = Schedule { at: Some("2026-12-01T09:00:00".to_owned()), ..Schedule::default() };
        assert_eq!(missing.plan().unwrap_err().field, "schedule.time_zone");
        let both = Schedule { cron: Some("0 9 * * MON".to_owned()), ..missing };
        assert_eq!(both.plan().unwrap_err().field, "schedule");
        assert_eq!(Schedule::default().plan().unwrap_err().field, "schedule.at");
    }

    #[test]
    fn a_firing_is_late_only_beyond_the_tolerance() {
        let due = DateTime::from_timestamp(1_800_000_000, 0).unwrap();
        let hour = std::time::Duration::from_secs(u64::from(DEFAULT_LATE_AFTER_SECONDS));
        let after = |ms| timeliness(due, due + Duration::milliseconds(ms), hour);
        assert_eq!(after(-1), Timeliness::Early);
        assert_eq!(after(0), Timeliness::Due);
        assert_eq!(after(3_600_000), Timeliness::Due);
        assert_eq!(after(3_600_001), Timeliness::Late { by: Duration::milliseconds(3_600_001) });
        assert_eq!(timeliness(due, DateTime::<Utc>::MAX_UTC, std::time::Duration::MAX), Timeliness::Due);
        assert_eq!(timeliness(due, due, std::time::Duration::ZERO), Timeliness::Due);
    }
}

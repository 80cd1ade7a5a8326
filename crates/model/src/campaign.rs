//! The rules of a campaign's definition: its words, its schedule, its window, its canary, its limits.
//!
//! Each check names the field as the sender of it wrote it. What is sent, and whether its vendor can express it, is
//! judged elsewhere.

use chrono::{DateTime, Datelike, Duration, NaiveDateTime, NaiveTime, TimeZone, Timelike, Utc};
use chrono_tz::Tz;
use serde::{Deserialize, Serialize};

use crate::FieldError;

/// How often a message is tried, where the campaign does not say.
pub const DEFAULT_MAX_ATTEMPTS: i32 = 5;
/// How often a message is tried, at the very most.
pub const LIMIT_MAX_ATTEMPTS: i32 = 20;
/// Characters of a campaign's name.
pub const LIMIT_NAME: usize = 200;

/// Messages or requests per second, at the least: one in about seventeen minutes. The pause between two must fit a duration.
pub const LEAST_PER_SECOND: f64 = 0.001;
/// Messages or requests per second, at the very most.
pub const MOST_PER_SECOND: f64 = 100_000.0;

/// The complaint about a rate that no clock can keep.
#[must_use]
pub fn check_rate(field: &str, per_second: f64) -> Option<FieldError> {
    // NaN lies in no range.
    let fits = (LEAST_PER_SECOND..=MOST_PER_SECOND).contains(&per_second);
    let message = || {
        format!(
            "must be {LEAST_PER_SECOND} to {MOST_PER_SECOND} per second; leave it out for no limit of its own"
        )
    };
    (!fits).then(|| FieldError::new(field, message()))
}

macro_rules! words {
    ($(#[$doc:meta])* $name:ident { $($(#[$variant_doc:meta])* $variant:ident = $number:literal $word:literal,)* }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
        #[serde(rename_all = "snake_case")]
        #[repr(i16)]
        pub enum $name { $($(#[$variant_doc])* $variant = $number,)* }

        impl $name {
            /// All of them.
            pub const ALL: &[Self] = &[$(Self::$variant,)*];

            /// The one that the database keeps as `number`.
            #[must_use]
            pub fn from_i16(number: i16) -> Option<Self> {
                Self::ALL.iter().copied().find(|one| *one as i16 == number)
            }

            /// The word of the HTTP interface.
            #[must_use]
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $word,)* }
            }
        }
    };
}

words! {
    /// Whether a campaign has been launched.
    CampaignState {
        /// May be changed and deleted.
        Draft = 1 "draft",
        /// Has a task.
        Launched = 2 "launched",
    }
}
words! {
    /// What a message is for, as WhatsApp sorts it.
    Category {
        /// Advertising; what a person can opt out of.
        Marketing = 1 "marketing",
        /// About something that the person asked for or bought.
        Utility = 2 "utility",
        /// A one-time password.
        Authentication = 3 "authentication",
    }
}
words! {
    /// Which of an account's tasks go first.
    Priority {
        /// Before the others.
        High = 1 "high",
        /// As usual.
        Normal = 2 "normal",
        /// After the others.
        Low = 3 "low",
    }
}
words! {
    /// What is done with messages that may or may not have reached the vendor.
    OnUnknown {
        /// They stay unknown until evidence or an operator decides.
        Hold = 1 "hold",
        /// They are sent again, once, after ten minutes.
        Resend = 2 "resend",
    }
}

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

impl Schedule {
    /// The instant at which a schedule without recurrence is due.
    ///
    /// # Errors
    /// No such time or zone, fields that contradict each other, or a recurrence: that is not built yet.
    pub fn starts_at(&self) -> Result<DateTime<Utc>, FieldError> {
        let zone = self.time_zone.as_deref().map(|name| zone("schedule.time_zone", name)).transpose()?;
        match (&self.at, &self.cron) {
            (Some(_), Some(_)) => Err(FieldError::new("schedule", "has both `at` and `cron`: leave one out")),
            (None, None) => Err(FieldError::new(
                "schedule.at",
                "is missing: give a local time such as 2026-12-01T09:00:00",
            )),
            (None, Some(_)) => Err(FieldError::new(
                "schedule.cron",
                "recurring campaigns are not built yet: give `at`, or launch the campaign each time",
            )),
            (Some(_), None) if self.until.is_some() => {
                Err(FieldError::new("schedule.until", "belongs to `cron`: leave it out with `at`"))
            }
            (Some(at), None) => instant(at, zone),
        }
    }
}

/// The instant of `at`: an RFC 3339 time with an offset, or a local time of `zone`.
fn instant(at: &str, zone: Option<Tz>) -> Result<DateTime<Utc>, FieldError> {
    let at = at.trim();
    let instant = match (DateTime::parse_from_rfc3339(at), zone) {
        (Ok(instant), _) => instant.with_timezone(&Utc),
        (Err(_), Some(zone)) => in_zone(local_time(at)?, zone)
            .ok_or_else(|| FieldError::new("schedule.at", "is not a time of that time zone"))?,
        (Err(_), None) => {
            local_time(at)?;
            let message = "is missing: name the zone of `at`, such as Asia/Kolkata";
            return Err(FieldError::new("schedule.time_zone", message));
        }
    };
    if !(2000..=9000).contains(&instant.year()) {
        return Err(FieldError::new("schedule.at", "must lie between the years 2000 and 9000"));
    }
    Ok(instant)
}

fn local_time(text: &str) -> Result<NaiveDateTime, FieldError> {
    let forms = ["%Y-%m-%dT%H:%M:%S%.f", "%Y-%m-%dT%H:%M", "%Y-%m-%d %H:%M:%S%.f", "%Y-%m-%d %H:%M"];
    forms.iter().find_map(|form| NaiveDateTime::parse_from_str(text, form).ok()).ok_or_else(|| {
        FieldError::new(
            "schedule.at",
            format!("`{}` is not a local time such as 2026-12-01T09:00:00", short(text)),
        )
    })
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

/// At which hours to send, as it was written.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SendingWindow {
    /// The first minute: `09:00`.
    pub from: String,
    /// The minute after the last: `21:00`.
    pub to: String,
    /// `mon` … `sun`; none: all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub days: Option<Vec<String>>,
    /// An IANA name, or `recipient`.
    pub time_zone: String,
}

impl SendingWindow {
    /// Complaints about its fields.
    pub fn check(&self, errors: &mut Vec<FieldError>) {
        for (field, text) in [("from", &self.from), ("to", &self.to)] {
            if NaiveTime::parse_from_str(text, "%H:%M").is_err() && !(field == "to" && text == "24:00") {
                let message = format!("`{}` is not a time of day such as 09:00", short(text));
                errors.push(FieldError::new(format!("sending_window.{field}"), message));
            }
        }
        const DAYS: [&str; 7] = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"];
        for (i, day) in self.days.iter().flatten().enumerate() {
            if !DAYS.contains(&day.as_str()) {
                let message = format!("`{}` is not one of {}", short(day), DAYS.join(", "));
                errors.push(FieldError::new(format!("sending_window.days[{i}]"), message));
            }
        }
        if self.days.as_ref().is_some_and(Vec::is_empty) {
            errors.push(FieldError::new("sending_window.days", "is empty: leave it out for all days"));
        }
        if self.time_zone != "recipient" {
            errors.extend(zone("sending_window.time_zone", &self.time_zone).err());
        }
    }
}

/// A trial with the first recipients.
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
        if self.recipients < 1 {
            errors.push(FieldError::new("canary.recipients", "must be 1 or more"));
        }
        if !(0..=86_400).contains(&self.wait_seconds) {
            errors.push(FieldError::new("canary.wait_seconds", "must be 0 to 86400"));
        }
        if !(0.0..=1.0).contains(&self.max_failure_rate) {
            errors.push(FieldError::new("canary.max_failure_rate", "must be 0 to 1, such as 0.2"));
        }
    }
}

/// What of a definition can be judged by itself.
#[derive(Clone, Copy, Debug)]
pub struct Definition<'a> {
    /// A name for people.
    pub name: &'a str,
    /// When to send.
    pub schedule: Option<&'a Schedule>,
    /// At which hours.
    pub sending_window: Option<&'a SendingWindow>,
    /// A trial first.
    pub canary: Option<&'a Canary>,
    /// The most messages a second.
    pub messages_per_second: Option<f64>,
    /// How often a message is tried.
    pub max_attempts: i32,
    /// From when on nobody is sent to.
    pub expires_at: Option<DateTime<Utc>>,
}

impl Definition<'_> {
    /// Everything that is wrong with it.
    #[must_use]
    pub fn check(&self, now: DateTime<Utc>) -> Vec<FieldError> {
        let mut errors = Vec::new();
        if self.name.trim().is_empty() || self.name.chars().count() > LIMIT_NAME {
            errors.push(FieldError::new("name", format!("must have 1 to {LIMIT_NAME} characters")));
        }
        if !(1..=LIMIT_MAX_ATTEMPTS).contains(&self.max_attempts) {
            errors.push(FieldError::new("max_attempts", format!("must be 1 to {LIMIT_MAX_ATTEMPTS}")));
        }
        errors.extend(self.messages_per_second.and_then(|rate| check_rate("messages_per_second", rate)));
        let starts_at = match self.schedule.map(Schedule::starts_at) {
            Some(Err(error)) => {
                errors.push(error);
                None
            }
            Some(Ok(at)) => Some(at),
            None => None,
        };
        if self.expires_at.is_some_and(|at| at <= starts_at.unwrap_or(now).max(now)) {
            errors.push(FieldError::new("expires_at", "must lie after now and after the start"));
        }
        if let Some(window) = self.sending_window {
            window.check(&mut errors);
        }
        if let Some(canary) = self.canary {
            canary.check(&mut errors);
        }
        errors
    }
}

fn zone(field: &str, name: &str) -> Result<Tz, FieldError> {
    name.parse().map_err(|_| {
        let meant = chrono_tz::TZ_VARIANTS.iter().find(|zone| zone.name().eq_ignore_ascii_case(name.trim()));
        let remedy =
            meant.map_or_else(|| "such as Asia/Kolkata".to_owned(), |zone| format!("write {}", zone.name()));
        FieldError::new(field, format!("`{}` is not an IANA time zone: {remedy}", short(name)))
    })
}

fn short(text: &str) -> String {
    text.chars().take(60).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str, zone: &str) -> Result<String, FieldError> {
        let schedule =
            Schedule { at: Some(text.to_owned()), time_zone: Some(zone.to_owned()), ..Schedule::default() };
        schedule.starts_at().map(|instant| instant.to_rfc3339())
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
        assert_eq!(missing.starts_at().unwrap_err().field, "schedule.time_zone");
        let both = Schedule { cron: Some("0 9 * * MON".to_owned()), ..missing };
        assert_eq!(both.starts_at().unwrap_err().field, "schedule");
        assert_eq!(Schedule::default().starts_at().unwrap_err().field, "schedule.at");
    }

    #[test]
    fn every_wrong_field_is_named_at_once() {
        let now = DateTime::from_timestamp(1_800_000_000, 0).unwrap();
        let window = SendingWindow {
            from: "9".to_owned(),
            to: "24:00".to_owned(),
            days: Some(vec!["mon".to_owned(), "Monday".to_owned()]),
            time_zone: "recipient".to_owned(),
        };
        let canary = Canary { recipients: 0, wait_seconds: -1, max_failure_rate: f64::NAN };
        let definition = Definition {
            name: " ",
            schedule: None,
            sending_window: Some(&window),
            canary: Some(&canary),
            messages_per_second: Some(1e-20),
            max_attempts: 0,
            expires_at: Some(now),
        };
        let fields: Vec<String> = definition.check(now).into_iter().map(|error| error.field).collect();
        assert_eq!(
            fields,
            [
                "name",
                "max_attempts",
                "messages_per_second",
                "expires_at",
                "sending_window.from",
                "sending_window.days[1]",
                "canary.recipients",
                "canary.wait_seconds",
                "canary.max_failure_rate",
            ]
        );
    }

    #[test]
    fn a_rate_is_one_that_a_clock_can_keep() {
        for rate in [0.001, 0.5, 80.0, 100_000.0] {
            assert_eq!(check_rate("rate", rate), None, "{rate}");
            std::time::Duration::try_from_secs_f64(1.0 / rate).unwrap();
        }
        for rate in
            [0.0, -1.0, 1e-20, 0.000_999, 100_001.0, 1e300, f64::NAN, f64::INFINITY, f64::NEG_INFINITY]
        {
            let error = check_rate("rate", rate).unwrap();
            assert_eq!(error.field, "rate");
            assert!(error.message.contains("0.001 to 100000"), "{}", error.message);
        }
    }

    #[test]
    fn numbers_read_back_as_the_words_they_stand_for() {
        for category in Category::ALL {
            assert_eq!(Category::from_i16(*category as i16), Some(*category));
        }
        assert_eq!(Priority::from_i16(2).map(Priority::as_str), Some("normal"));
        assert_eq!(OnUnknown::from_i16(3), None);
        assert_eq!(CampaignState::from_i16(1), Some(CampaignState::Draft));
    }
}

//! The rules of a campaign's definition: its words, its schedule, its window, its canary, its limits.
//!
//! Each check names the field as the sender of it wrote it. What is sent, and whether its vendor can express it, is
//! judged elsewhere.

mod canary;
mod forecast;
mod open_hours;
mod recurrence;
mod schedule;
mod window;

use chrono::{DateTime, Utc};
use chrono_tz::Tz;
use serde::{Deserialize, Serialize};

use crate::FieldError;

pub use canary::{Canary, CanaryVerdict, LIMIT_CANARY, Sample, SampleCounts};
pub use forecast::{Forecast, Pace};
pub use open_hours::{OpenHours, SEARCH_DAYS};
pub use recurrence::Recurrence;
pub use schedule::{DEFAULT_LATE_AFTER_SECONDS, Plan, Schedule, Timeliness, in_zone, timeliness};
pub use window::{SendingWindow, Window, WindowZone};

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
        let starts_at = match self.schedule.map(|schedule| schedule.first(now)) {
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

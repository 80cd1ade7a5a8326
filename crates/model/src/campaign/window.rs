//! At which hours a campaign may be sent, as it was written.

use chrono::{DateTime, NaiveTime, Timelike, Utc, Weekday};
use chrono_tz::Tz;
use serde::{Deserialize, Serialize};

use super::{open_hours::OpenHours, short, zone};
use crate::FieldError;

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

/// Whose clocks a window follows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum WindowZone {
    /// Those of one zone: nobody is taken while it is closed.
    Named(Tz),
    /// Those of each recipient.
    Recipient,
}

/// At which hours to send, as it is meant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Window {
    /// The hours of the week.
    pub hours: OpenHours,
    /// Whose.
    pub zone: WindowZone,
}

impl Window {
    /// From when on, not before `from`, recipients may be taken at all: at once where each has clocks of its own. None:
    /// not within the days that are looked at.
    #[must_use]
    pub fn taking_begins(&self, from: DateTime<Utc>) -> Option<DateTime<Utc>> {
        match self.zone {
            WindowZone::Named(zone) => self.hours.next_opening(&[zone], from),
            WindowZone::Recipient => Some(from),
        }
    }

    /// When taking ends that may begin at `from`; none: it does not, or each recipient has clocks of its own.
    #[must_use]
    pub fn taking_ends(&self, from: DateTime<Utc>) -> Option<DateTime<Utc>> {
        match self.zone {
            WindowZone::Named(zone) => self.hours.closes_at(&[zone], from),
            WindowZone::Recipient => None,
        }
    }
}

impl SendingWindow {
    /// What is meant by it.
    ///
    /// # Errors
    /// Everything that is wrong with it.
    pub fn compile(&self) -> Result<Window, Vec<FieldError>> {
        let mut errors = Vec::new();
        self.check(&mut errors);
        let zone = match self.time_zone.as_str() {
            "recipient" => Some(WindowZone::Recipient),
            name => name.parse().ok().map(WindowZone::Named),
        };
        match (zone, minute_of_day(&self.from), minute_of_day(&self.to)) {
            (Some(zone), Some(from), Some(to)) if errors.is_empty() => {
                let named = |day: &&Weekday| {
                    self.days.as_ref().is_none_or(|days| days.iter().any(|name| name == word(**day)))
                };
                let days = WEEK.iter().filter(named).copied();
                Ok(Window { hours: OpenHours::new(days, from, to), zone })
            }
            _ => Err(errors),
        }
    }

    /// Complaints about its fields.
    pub fn check(&self, errors: &mut Vec<FieldError>) {
        for (field, text) in [("from", &self.from), ("to", &self.to)] {
            if NaiveTime::parse_from_str(text, "%H:%M").is_err() && !(field == "to" && text == "24:00") {
                let message = format!("`{}` is not a time of day such as 09:00", short(text));
                errors.push(FieldError::new(format!("sending_window.{field}"), message));
            }
        }
        for (i, day) in self.days.iter().flatten().enumerate() {
            if !WEEK.iter().any(|known| word(*known) == day) {
                let message = format!("`{}` is not one of {}", short(day), WEEK.map(word).join(", "));
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

const WEEK: [Weekday; 7] =
    [Weekday::Mon, Weekday::Tue, Weekday::Wed, Weekday::Thu, Weekday::Fri, Weekday::Sat, Weekday::Sun];

fn word(day: Weekday) -> &'static str {
    match day {
        Weekday::Mon => "mon",
        Weekday::Tue => "tue",
        Weekday::Wed => "wed",
        Weekday::Thu => "thu",
        Weekday::Fri => "fri",
        Weekday::Sat => "sat",
        Weekday::Sun => "sun",
    }
}

/// The minute of the day that `text` names; 1440 for `24:00`.
fn minute_of_day(text: &str) -> Option<u16> {
    if text == "24:00" {
        return Some(24 * 60);
    }
    let time = NaiveTime::parse_from_str(text, "%H:%M").ok()?;
    u16::try_from(time.hour() * 60 + time.minute()).ok()
}

//! At which hours a campaign may be sent.

use chrono::NaiveTime;
use serde::{Deserialize, Serialize};

use super::{short, zone};
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

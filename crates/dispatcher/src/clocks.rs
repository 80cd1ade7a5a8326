//! When each recipient may be sent to, by clocks of its own.

use std::collections::HashMap;

use chrono::{DateTime, TimeDelta, Utc};
use model::{
    Phone,
    campaign::{OpenHours, SEARCH_DAYS, Window, WindowZone},
    message::Columns,
    recipient_zones::{self, RecipientZones},
};

/// A sending window that follows each recipient's clocks.
#[derive(Debug)]
pub(crate) struct Clocks {
    hours: OpenHours,
    /// The place of the column that names a recipient's zone.
    column: Option<usize>,
    /// What holds in which zones; no more than there are zones and sets of them.
    known: HashMap<RecipientZones, Stretch>,
}

/// A stretch of time in which a window stays as it is.
#[derive(Clone, Copy, Debug)]
struct Stretch {
    is_open: bool,
    from: DateTime<Utc>,
    until: DateTime<Utc>,
}

impl Clocks {
    /// Those of a window that follows recipients; none: it does not.
    pub(crate) fn of(window: Option<Window>, columns: &Columns) -> Option<Self> {
        let window = window.filter(|window| window.zone == WindowZone::Recipient)?;
        let column = recipient_zones::column_of(columns);
        Some(Self { hours: window.hours, column, known: HashMap::new() })
    }

    /// When the recipient's window opens; none: it is open.
    ///
    /// One that does not open within the days that are looked ahead is looked at again then.
    pub(crate) fn opens_at(
        &mut self,
        phone: Phone,
        vars: &[String],
        now: DateTime<Utc>,
    ) -> Option<DateTime<Utc>> {
        let column = self.column.and_then(|column| vars.get(column)).map(String::as_str);
        let (zones, _) = RecipientZones::of(phone, column);
        let known = self.known.get(&zones).copied();
        // A clock that was put back asks anew.
        let stretch = known.filter(|known| (known.from..known.until).contains(&now)).unwrap_or_else(|| {
            let stretch = self.stretch(zones, now);
            self.known.insert(zones, stretch);
            stretch
        });
        (!stretch.is_open).then_some(stretch.until)
    }

    fn stretch(&self, zones: RecipientZones, now: DateTime<Utc>) -> Stretch {
        let is_open = self.hours.is_open(zones.as_slice(), now);
        let ends = if is_open {
            self.hours.closes_at(zones.as_slice(), now)
        } else {
            self.hours.next_opening(zones.as_slice(), now)
        };
        Stretch { is_open, from: now, until: ends.unwrap_or(now + TimeDelta::days(SEARCH_DAYS)) }
    }
}

#[cfg(test)]
mod tests {
    use model::campaign::SendingWindow;

    use super::*;

    fn clocks(from: &str, to: &str, columns: &[&str]) -> Clocks {
        let window = SendingWindow {
            from: from.to_owned(),
            to: to.to_owned(),
            days: None,
            time_zone: "recipient".to_owned(),
        };
        let columns = Columns::new(columns.iter().map(|name| (*name).to_owned()).collect());
        Clocks::of(window.compile().ok(), &columns).unwrap()
    }

    fn at(text: &str) -> DateTime<Utc> {
        text.parse().unwrap()
    }

    #[test]
    fn each_recipient_waits_for_a_window_of_its_own() {
        let mut clocks = clocks("09:00", "21:00", &["name", "Time_Zone"]);
        let (india, new_york) = ("+919876543210".parse().unwrap(), "+12125550100".parse().unwrap());
        let row = |zone: &str| vec!["Asha".to_owned(), zone.to_owned()];
        let mut opens = |phone, zone, now| clocks.opens_at(phone, &row(zone), at(now));
        for _ in 0..2 {
            // The second time from memory.
            assert_eq!(opens(india, "", "2026-12-01T03:29:59Z"), Some(at("2026-12-01T03:30:00Z")));
            assert_eq!(opens(india, "", "2026-12-01T03:30:00Z"), None);
            assert_eq!(opens(india, "", "2026-12-01T15:29:59Z"), None);
            assert_eq!(opens(india, "", "2026-12-01T15:30:00Z"), Some(at("2026-12-02T03:30:00Z")));
            assert_eq!(opens(new_york, "", "2026-12-01T03:30:00Z"), Some(at("2026-12-01T14:00:00Z")));
            assert_eq!(opens(new_york, "", "2026-12-01T14:00:00Z"), None);
            // The column decides before the number.
            assert_eq!(opens(new_york, "asia/kolkata", "2026-12-01T14:00:00Z"), None);
            assert_eq!(
                opens(india, "America/New_York", "2026-12-01T03:30:00Z"),
                Some(at("2026-12-01T14:00:00Z"))
            );
            // It names no zone: the number decides.
            assert_eq!(opens(india, "India", "2026-12-01T03:30:00Z"), None);
        }
    }

    #[test]
    fn hours_that_never_come_are_looked_for_again_later() {
        // From Kaliningrad to Kamchatka it is nowhere noon at once.
        let mut clocks = clocks("12:00", "13:00", &[]);
        let russia = "+79161234567".parse().unwrap();
        let now = at("2026-12-01T09:00:00Z");
        assert_eq!(clocks.opens_at(russia, &[], now), Some(now + TimeDelta::days(SEARCH_DAYS)));
    }
}

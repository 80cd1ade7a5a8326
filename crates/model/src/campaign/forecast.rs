//! When everybody will have been sent to, by the limits that are known beforehand.

use chrono::{DateTime, Duration, Utc};

use super::Window;

/// Openings of the window and days of the limit that are gone through; more is no forecast any more.
const LIMIT_STEPS: u32 = 2_000;
/// In this time a sender may write to no more than its limit of recipients.
const LIMIT_SPAN: Duration = Duration::hours(24);

/// What limits a campaign's sending.
#[derive(Clone, Debug, Default)]
pub struct Pace {
    /// Messages a second; none: no limit of ours.
    pub messages_per_second: Option<f64>,
    /// Recipients in any 24 hours; none: no limit of ours.
    pub daily_recipients: Option<u32>,
    /// The hours in which recipients may be taken; none, or one of each recipient's own clock: at all.
    pub window: Option<Window>,
}

/// When the first and the last recipient are sent to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Forecast {
    /// The first.
    pub begins_at: DateTime<Utc>,
    /// The last; none where nothing limits the rate, and where it would take years.
    pub ends_at: Option<DateTime<Utc>>,
}

impl Pace {
    /// The forecast for `recipients`, of whom none is sent to before `from`. None: the window does not open.
    #[must_use]
    pub fn forecast(&self, recipients: i64, from: DateTime<Utc>) -> Option<Forecast> {
        let begins_at = self.opening(from)?;
        let is_limited = self.messages_per_second.is_some() || self.daily_recipients.is_some();
        let ends_at = if is_limited { self.end(recipients, begins_at) } else { None };
        Some(Forecast { begins_at, ends_at })
    }

    fn end(&self, recipients: i64, begins_at: DateTime<Utc>) -> Option<DateTime<Utc>> {
        let mut left = recipients;
        let (mut now, mut day, mut of_day) = (begins_at, begins_at, 0_i64);
        for _ in 0..LIMIT_STEPS {
            now = self.opening(now)?;
            if now >= day + LIMIT_SPAN {
                (day, of_day) = (now, 0);
            }
            let allowed = self.daily_recipients.map_or(i64::MAX, |most| i64::from(most) - of_day);
            let closes = self.window.as_ref().and_then(|window| window.taking_ends(now));
            let sent = left.min(allowed).min(closes.map_or(i64::MAX, |at| self.fit(at - now)));
            now = now.checked_add_signed(self.length(sent)?)?;
            (left, of_day) = (left - sent, of_day + sent);
            if left <= 0 {
                return Some(now);
            }
            let is_spent = self.daily_recipients.is_some_and(|most| of_day >= i64::from(most));
            now = match closes {
                _ if is_spent => now.max(day + LIMIT_SPAN),
                Some(closes) => now.max(closes),
                None => now,
            };
        }
        None
    }

    fn opening(&self, from: DateTime<Utc>) -> Option<DateTime<Utc>> {
        self.window.as_ref().map_or(Some(from), |window| window.taking_begins(from))
    }

    /// How many are sent to in so long.
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_precision_loss,
        reason = "an estimate; `as` saturates"
    )]
    fn fit(&self, span: Duration) -> i64 {
        let seconds = span.num_milliseconds() as f64 / 1000.0;
        self.messages_per_second.map_or(i64::MAX, |rate| (seconds * rate).floor() as i64)
    }

    /// How long so many take, in whole seconds; none: for ever.
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_precision_loss,
        reason = "an estimate; `as` saturates"
    )]
    fn length(&self, recipients: i64) -> Option<Duration> {
        let seconds = self.messages_per_second.map_or(0.0, |rate| recipients as f64 / rate);
        Duration::try_seconds(seconds.ceil() as i64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::campaign::SendingWindow;

    fn at(text: &str) -> DateTime<Utc> {
        text.parse().unwrap()
    }

    /// 09:00 to 21:00 in India: 03:30 to 15:30 UTC.
    fn daytime() -> Option<Window> {
        let [from, to] = ["09:00", "21:00"].map(str::to_owned);
        SendingWindow { from, to, days: None, time_zone: "Asia/Kolkata".to_owned() }.compile().ok()
    }

    fn pace(rate: Option<f64>, daily: Option<u32>, window: Option<Window>) -> Pace {
        Pace { messages_per_second: rate, daily_recipients: daily, window }
    }

    #[test]
    fn the_slowest_limit_decides() {
        let from = at("2026-12-01T10:00:00Z");
        let end = |pace: &Pace, recipients| pace.forecast(recipients, from).unwrap().ends_at;
        assert_eq!(end(&pace(Some(10.0), None, None), 6_000), Some(at("2026-12-01T10:10:00Z")));
        assert_eq!(end(&pace(None, None, None), 6_000), None);
        // Two full days, and the rest on the third.
        assert_eq!(end(&pace(Some(10.0), Some(1_000), None), 2_600), Some(at("2026-12-03T10:01:00Z")));
        assert_eq!(end(&pace(None, Some(1_000), None), 1_000), Some(from));
        // 5 h 30 min on the first day: 19,800; the other 200 when it opens again.
        let closing = pace(Some(1.0), None, daytime());
        assert_eq!(end(&closing, 20_000), Some(at("2026-12-02T03:33:20Z")));
        // The limit of the first day is spent within it; 24 hours later it is open again.
        let both = pace(Some(1.0), Some(1_800), daytime());
        assert_eq!(end(&both, 2_000), Some(at("2026-12-02T10:03:20Z")));
        // Centuries.
        assert_eq!(end(&pace(None, Some(1), None), 1_000_000), None);
    }

    #[test]
    fn it_begins_when_the_window_opens() {
        let forecast = pace(Some(1.0), None, daytime()).forecast(60, at("2026-12-01T20:00:00Z")).unwrap();
        assert_eq!(forecast.begins_at, at("2026-12-02T03:30:00Z"));
        assert_eq!(forecast.ends_at, Some(at("2026-12-02T03:31:00Z")));
    }
}

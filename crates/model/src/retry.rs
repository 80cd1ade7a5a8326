//! How long to wait before trying again, by class of fault.

use std::time::Duration;

use backoff::{ExponentialBackoff, backoff::Backoff};

/// The delays of "soon", in seconds.
const SOON_SECONDS: [u64; 4] = [30, 120, 600, 3600];
/// A vendor's Retry-After is believed within these bounds.
const RETRY_AFTER_BOUNDS: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(3600));

/// The `nth` delay (from 0) of an exponential policy. The crate's own randomness and clock stay unused: jitter is ours.
fn exponential(first: Duration, factor: f64, most: Duration, nth: u32) -> Duration {
    let mut policy = ExponentialBackoff {
        current_interval: first,
        initial_interval: first,
        randomization_factor: 0.0,
        multiplier: factor,
        max_interval: most,
        max_elapsed_time: None,
        ..ExponentialBackoff::default()
    };
    (0..=nth.min(32)).filter_map(|_| policy.next_backoff()).last().unwrap_or(most)
}

/// After too many messages to one person: 6 s, 1 min, 10 min.
#[must_use]
pub fn pair_delay(nth: u32) -> Duration {
    exponential(Duration::from_secs(6), 10.0, Duration::from_secs(600), nth)
}

/// After a passing fault: 30 s, 2 min, 10 min, 1 h; or from `first`, where the table of codes names one.
#[must_use]
pub fn soon_delay(nth: u32, first: Option<Duration>) -> Duration {
    let usual = Duration::from_secs(SOON_SECONDS[(nth as usize).min(SOON_SECONDS.len() - 1)]);
    first.map_or(usual, |first| if nth == 0 { first } else { usual.max(first) })
}

/// Another day: 24 h, 48 h, 96 h.
#[must_use]
pub fn next_day_delay(nth: u32) -> Duration {
    exponential(Duration::from_secs(86_400), 2.0, Duration::from_secs(4 * 86_400), nth)
}

/// After a throttled call: what the vendor asked for within bounds, else 2, 4, 8 … 60 s; never below `floor`.
#[must_use]
pub fn slow_down_delay(nth: u32, retry_after: Option<Duration>, floor: Duration) -> Duration {
    let (least, most) = RETRY_AFTER_BOUNDS;
    let usual = || exponential(Duration::from_secs(2), 2.0, Duration::from_secs(60), nth);
    retry_after.map_or_else(usual, |asked| asked.clamp(least, most)).max(floor)
}

/// `delay` ± 20 %, by a random number in 0.0..1.0.
#[must_use]
pub fn with_jitter(delay: Duration, random: f64) -> Duration {
    delay.mul_f64(0.8 + 0.4 * random.clamp(0.0, 1.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delays_follow_the_table() {
        let seconds = |delays: [Duration; 4]| delays.map(|delay| delay.as_secs());
        assert_eq!(seconds([0, 1, 2, 3].map(pair_delay)), [6, 60, 600, 600]);
        assert_eq!(seconds([0, 1, 2, 9].map(|n| soon_delay(n, None))), [30, 120, 600, 3600]);
        assert_eq!(seconds([0, 1, 2, 3].map(next_day_delay)), [86_400, 172_800, 345_600, 345_600]);
        assert_eq!(seconds([0, 1, 4, 9].map(|n| slow_down_delay(n, None, Duration::ZERO))), [2, 4, 32, 60]);
    }

    #[test]
    fn a_vendors_wish_is_believed_within_bounds_and_never_below_the_floor() {
        let asked = |s| slow_down_delay(0, Some(Duration::from_secs(s)), Duration::ZERO).as_secs();
        assert_eq!([asked(0), asked(7), asked(999_999)], [1, 7, 3600]);
        assert_eq!(slow_down_delay(0, Some(Duration::from_secs(7)), Duration::from_secs(60)).as_secs(), 60);
    }
}

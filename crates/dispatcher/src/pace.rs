//! The rate of one sender: a limiter that spaces the taking, and a factor by which it is slowed down.

use std::{num::NonZeroU32, sync::Mutex, time::Duration};

use governor::{DefaultDirectRateLimiter, Quota, RateLimiter};
use tokio::time::Instant;

use crate::guard::Guard;

/// At most one halving in this time.
const HALVING: Duration = Duration::from_secs(1);
/// What is won back per second without refusal, of the full rate.
const CLIMB_PER_SECOND: f64 = 0.05;
/// The slowest, of the full rate; never below one message a second.
const LEAST: f64 = 0.02;
/// Bursts of single messages last this long at the most.
const BURST: Duration = Duration::from_millis(30);

/// The pace of one sender.
#[derive(Debug)]
pub(crate) struct Pace {
    rate: Option<f64>,
    limiter: Option<DefaultDirectRateLimiter>,
    burst: u32,
    guard: Option<Guard>,
    slow: Mutex<Slow>,
}

#[derive(Debug)]
struct Slow {
    factor: f64,
    since: Option<Instant>,
    next: Option<Instant>,
    base: f64,
}

impl Pace {
    /// A pace of `rate` messages a second (none: as fast as can be), sent `batch` at a time.
    pub(crate) fn new(rate: Option<f64>, batch: u32) -> Self {
        let burst =
            rate.map_or(1, |rate| (rate * BURST.as_secs_f64()).ceil().max(f64::from(batch)) as u32).max(1);
        Self {
            rate,
            limiter: rate.and_then(|rate| limiter(rate, burst)),
            burst,
            guard: rate.map(|rate| Guard::new(rate, batch)),
            slow: Mutex::new(Slow { factor: 1.0, since: None, next: None, base: 0.0 }),
        }
    }

    /// Waits until `n` messages may be taken. One task alone calls it.
    pub(crate) async fn admit(&self, n: u32) {
        let factor = self.factor();
        let Some(limiter) = &self.limiter else { return self.space(n, factor).await };
        // No quota ever changes: whoever is slowed down pays more cells for a message.
        let mut cells = (f64::from(n) / factor).ceil() as u32;
        while let Some(part) = NonZeroU32::new(cells.min(self.burst)) {
            if limiter.until_n_ready(part).await.is_err() {
                return; // more than the burst in one: ruled out by the minimum above
            }
            cells -= part.get();
        }
    }

    /// Waits until `n` messages may leave.
    pub(crate) async fn depart(&self, n: u32) {
        if let Some(guard) = &self.guard {
            guard.depart(n).await;
        }
    }

    /// Messages that one taking may hold at the most, so that bursts stay small.
    pub(crate) fn chunk(&self) -> u32 {
        if self.rate.is_some() { self.burst } else { u32::MAX }
    }

    /// The vendor refused for speed. `measured`: messages per second lately, for a sender without a rate.
    pub(crate) fn slow_down(&self, measured: f64) {
        let current = self.factor();
        let mut slow = self.lock();
        let now = Instant::now();
        if slow.since.is_some_and(|since| now - since < HALVING) {
            return;
        }
        if slow.since.is_none() || current >= 1.0 {
            slow.base = self.rate.unwrap_or_else(|| measured.max(10.0));
        }
        let least = LEAST.max(1.0 / slow.base.max(1.0));
        slow.factor = (current / 2.0).max(least).min(1.0);
        slow.since = Some(now);
    }

    /// The share of the full rate that is used now.
    pub(crate) fn factor(&self) -> f64 {
        let slow = self.lock();
        let climbed = slow.since.map_or(0.0, |since| since.elapsed().as_secs_f64() * CLIMB_PER_SECOND);
        (slow.factor + climbed).min(1.0)
    }

    /// Spaces the messages of a sender without a rate while it is slowed down.
    async fn space(&self, n: u32, factor: f64) {
        if factor >= 1.0 {
            return;
        }
        let at = {
            let mut slow = self.lock();
            let gap =
                Duration::try_from_secs_f64(f64::from(n) / (slow.base * factor).max(1.0)).unwrap_or_default();
            let at = slow.next.map_or_else(Instant::now, |next| next.max(Instant::now()));
            slow.next = Some(at + gap);
            at
        };
        tokio::time::sleep_until(at).await;
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Slow> {
        self.slow.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

/// A limiter of `rate` cells a second that lets no burst through at its birth.
pub(crate) fn limiter(rate: f64, burst: u32) -> Option<DefaultDirectRateLimiter> {
    let burst = NonZeroU32::new(burst)?;
    let period = Duration::try_from_secs_f64(1.0 / rate).ok()?;
    let quota = Quota::with_period(period)?.allow_burst(burst);
    let limiter = RateLimiter::direct(quota);
    // Full at birth, it would let rate + burst through in its first second.
    let _ = limiter.check_n(burst);
    Some(limiter)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn slowing_down_halves_once_a_second_and_climbs_back() {
        let pace = Pace::new(Some(100.0), 1);
        pace.slow_down(0.0);
        pace.slow_down(0.0);
        assert!((pace.factor() - 0.5).abs() < 0.01);
        tokio::time::advance(Duration::from_secs(2)).await;
        assert!((pace.factor() - 0.6).abs() < 0.01);
        for _ in 0..20 {
            tokio::time::advance(Duration::from_millis(1001)).await;
            pace.slow_down(0.0);
        }
        assert!(pace.factor() >= LEAST);
        tokio::time::advance(Duration::from_secs(30)).await;
        assert!((pace.factor() - 1.0).abs() < f64::EPSILON);
    }
}

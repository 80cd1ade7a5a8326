//! The exact guard at the wire: in any second no more messages leave a sender than its rate and a little.
//!
//! The limiter upstream paces the taking; a slow commit would bunch what it let through, and this spreads it again.

use std::{collections::VecDeque, sync::Mutex, time::Duration};

use tokio::time::Instant;

/// A second, and what may lie between our clock and the vendor's.
const WINDOW: Duration = Duration::from_millis(1010);

/// The recent departures of one sender.
#[derive(Debug)]
pub(crate) struct Guard {
    most: f64,
    recent: Mutex<Recent>,
}

#[derive(Debug, Default)]
struct Recent {
    departures: VecDeque<(Instant, u32)>,
    /// Their sum.
    messages: u32,
}

impl Guard {
    /// A guard for `rate` messages a second sent `batch` at a time.
    pub(crate) fn new(rate: f64, batch: u32) -> Self {
        let most = if batch > 1 { rate + f64::from(batch) } else { rate + f64::max(1.0, 0.04 * rate) };
        Self { most, recent: Mutex::default() }
    }

    /// Waits until `n` messages may leave, and counts them as gone.
    pub(crate) async fn depart(&self, n: u32) {
        while let Some(at) = self.earliest(n) {
            tokio::time::sleep_until(at).await;
        }
    }

    /// None when they may leave now, and have been counted; else when to ask again.
    fn earliest(&self, n: u32) -> Option<Instant> {
        let mut recent = self.recent.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let now = Instant::now();
        while let Some((_, gone)) = recent.departures.pop_front_if(|(at, _)| *at + WINDOW <= now) {
            recent.messages -= gone;
        }
        if recent.messages == 0 || f64::from(recent.messages + n) <= self.most {
            recent.departures.push_back((now, n));
            recent.messages += n;
            return None;
        }
        recent.departures.front().map(|(at, _)| *at + WINDOW)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn no_second_holds_more_than_the_rate_and_a_little() {
        let guard = Guard::new(80.0, 1);
        let mut departures = Vec::new();
        for _ in 0..400 {
            guard.depart(1).await;
            departures.push(Instant::now());
        }
        for (first, start) in departures.iter().enumerate() {
            let within = departures[first..].iter().take_while(|at| **at < *start + Duration::from_secs(1));
            assert!(within.count() <= 84);
        }
    }
}

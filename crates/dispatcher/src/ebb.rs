//! A number that falls when a vendor is overloaded and climbs again while it answers: calls at once, messages in a call.
//!
//! It falls by half and climbs slowly, so that it settles a little below what the vendor bears. Time alone wins nothing
//! back: a vendor that says nothing for an hour is found as it was left.

use std::{
    sync::{Mutex, PoisonError},
    time::Duration,
};

use tokio::time::Instant;

/// At most one halving in this time.
const HALVING: Duration = Duration::from_secs(5);
/// What is won back in a second of usable answers, of the whole.
const CLIMB_PER_SECOND: f64 = 0.05;
/// A pause between two usable answers counts as so much at the most.
const CLIMB_AT_ONCE: Duration = Duration::from_secs(1);

/// What of a number may be used now.
#[derive(Debug)]
pub(crate) struct Ebb {
    most: usize,
    least: usize,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    share: f64,
    fell_at: Option<Instant>,
    climbed_at: Option<Instant>,
}

impl Ebb {
    /// All of `most`, and never less than `least`, unless `most` is.
    pub(crate) fn new(most: usize, least: usize) -> Self {
        let state = State { share: 1.0, fell_at: None, climbed_at: None };
        Self { most, least: least.min(most), state: Mutex::new(state) }
    }

    /// The vendor was overloaded.
    pub(crate) fn fall(&self, now: Instant) {
        let mut state = self.lock();
        state.climbed_at = Some(now);
        if state.fell_at.is_some_and(|at| now.saturating_duration_since(at) < HALVING) {
            return;
        }
        state.fell_at = Some(now);
        state.share = (state.share / 2.0).max(self.least as f64 / self.most.max(1) as f64);
    }

    /// The vendor gave a usable answer.
    pub(crate) fn climb(&self, now: Instant) {
        let mut state = self.lock();
        if state.share >= 1.0 {
            return;
        }
        let since = state.climbed_at.map_or(Duration::ZERO, |at| now.saturating_duration_since(at));
        state.share = (state.share + CLIMB_PER_SECOND * since.min(CLIMB_AT_ONCE).as_secs_f64()).min(1.0);
        state.climbed_at = Some(now);
    }

    /// What may be used now.
    pub(crate) fn now(&self) -> usize {
        self.part_of(self.most)
    }

    /// The same share of another number.
    pub(crate) fn part_of(&self, most: usize) -> usize {
        let part = (most as f64 * self.lock().share).round() as usize;
        part.max(self.least).min(most)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn it_halves_once_in_five_seconds_and_not_below_the_least() {
        let (ebb, start) = (Ebb::new(64, 8), Instant::now());
        let mut seen = vec![ebb.now()];
        for second in 0..25 {
            ebb.fall(start + second * SECOND);
            ebb.fall(start + second * SECOND);
            seen.push(ebb.now());
        }
        seen.dedup();
        assert_eq!(seen, [64, 32, 16, 8]);
        ebb.fall(start + 4 * SECOND);
        assert_eq!(ebb.now(), 8, "an older time changes nothing");
    }

    #[test]
    fn it_climbs_by_a_twentieth_a_second_while_answers_come() {
        let (ebb, start) = (Ebb::new(100, 10), Instant::now());
        ebb.fall(start);
        for tenth in 1..=20 {
            ebb.climb(start + tenth * SECOND / 10);
        }
        assert_eq!(ebb.now(), 60);
        // Many answers at one moment are worth one, and so is one after an hour of silence.
        for _ in 0..100 {
            ebb.climb(start + 3600 * SECOND);
        }
        assert_eq!(ebb.now(), 65);
        for second in 3601..3700 {
            ebb.climb(start + second * SECOND);
        }
        assert_eq!(ebb.now(), 100);
    }

    #[test]
    fn a_fall_while_it_climbs_begins_from_where_it_stands() {
        let (ebb, start) = (Ebb::new(100, 10), Instant::now());
        ebb.fall(start);
        for second in 1..=6 {
            ebb.climb(start + second * SECOND);
        }
        assert_eq!(ebb.now(), 80);
        ebb.fall(start + 6 * SECOND);
        assert_eq!(ebb.now(), 40);
    }

    #[test]
    fn what_is_small_already_stays() {
        let ebb = Ebb::new(3, 8);
        ebb.fall(Instant::now());
        assert_eq!(ebb.now(), 3);
        let batch = Ebb::new(100, 10);
        batch.fall(Instant::now());
        assert_eq!([100, 40, 12, 1].map(|most| batch.part_of(most)), [50, 20, 10, 1]);
    }
}

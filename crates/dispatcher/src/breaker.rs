//! Stops calling a vendor that gives no usable answer, and tries it again with one call at a time.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use tokio::time::Instant;

/// So many calls in a row without a usable answer open it.
const FAILURES: u32 = 10;
/// How long it stays open, time after time.
const OPEN_SECONDS: [u64; 5] = [5, 10, 20, 40, 60];
/// While the probe is under way, others ask again after this long.
const ASK_AGAIN: Duration = Duration::from_millis(100);

/// Whether a call may begin.
#[derive(Debug)]
pub(crate) enum Gate {
    /// As many as you like.
    Open,
    /// One: the probe.
    Probe(Probe),
    /// Not before.
    Wait(Instant),
}

/// The one call that may begin. Dropped before its answer came, it makes way for another.
#[derive(Debug)]
pub(crate) struct Probe(Arc<Mutex<State>>);

#[derive(Debug, Default)]
pub(crate) struct Breaker(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    failures: u32,
    times: usize,
    until: Option<Instant>,
    is_probing: bool,
}

impl Breaker {
    /// Whether a call may begin; there is one [`Probe`] at a time.
    pub(crate) fn gate(&self) -> Gate {
        let mut state = lock(&self.0);
        let now = Instant::now();
        let Some(until) = state.until else { return Gate::Open };
        if now < until {
            return Gate::Wait(until);
        }
        if state.is_probing {
            return Gate::Wait(now + ASK_AGAIN);
        }
        state.is_probing = true;
        Gate::Probe(Probe(Arc::clone(&self.0)))
    }

    /// Counts the answer of a call; `probe` is what it had.
    pub(crate) fn observe(&self, usable: bool, probe: Option<Probe>) {
        let mut state = lock(&self.0);
        if usable {
            *state = State { is_probing: state.is_probing, ..State::default() };
        } else {
            state.failures = state.failures.saturating_add(1);
            // Calls that had begun before it opened say nothing new.
            let opens = if state.until.is_none() { state.failures >= FAILURES } else { probe.is_some() };
            if opens {
                let seconds = OPEN_SECONDS[state.times.min(OPEN_SECONDS.len() - 1)];
                state.times += 1;
                state.until = Some(Instant::now() + Duration::from_secs(seconds));
            }
        }
        // The probe takes the lock when it is dropped.
        drop(state);
        drop(probe);
    }

    /// No call begins but the probe.
    pub(crate) fn is_open(&self) -> bool {
        lock(&self.0).until.is_some()
    }

    /// Until when no call begins; none while it is closed.
    pub(crate) fn open_until(&self) -> Option<Instant> {
        lock(&self.0).until
    }
}

impl Drop for Probe {
    fn drop(&mut self) {
        lock(&self.0).is_probing = false;
    }
}

fn lock(state: &Mutex<State>) -> std::sync::MutexGuard<'_, State> {
    state.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn opened() -> Breaker {
        let breaker = Breaker::default();
        for _ in 0..9 {
            breaker.observe(false, None);
        }
        assert!(matches!(breaker.gate(), Gate::Open));
        breaker.observe(false, None);
        assert!(matches!(breaker.gate(), Gate::Wait(_)));
        breaker
    }

    fn probe(breaker: &Breaker) -> Probe {
        match breaker.gate() {
            Gate::Probe(probe) => probe,
            gate => panic!("no probe: {gate:?}"),
        }
    }

    #[tokio::test(start_paused = true)]
    async fn ten_failures_open_it_and_one_answer_closes_it() {
        let breaker = opened();
        for seconds in [5, 10, 20, 40, 60, 60] {
            tokio::time::advance(Duration::from_millis(seconds * 1000 - 1)).await;
            assert!(matches!(breaker.gate(), Gate::Wait(_)), "before {seconds} s are over");
            tokio::time::advance(Duration::from_millis(1)).await;
            let probe = probe(&breaker);
            assert!(matches!(breaker.gate(), Gate::Wait(_)), "one probe at a time");
            breaker.observe(false, Some(probe));
        }
        tokio::time::advance(Duration::from_secs(60)).await;
        breaker.observe(true, Some(probe(&breaker)));
        assert!(matches!(breaker.gate(), Gate::Open));
        assert_eq!(breaker.open_until(), None);
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_between_them_begins_the_count_again() {
        let breaker = Breaker::default();
        for _ in 0..5 {
            (0..9).for_each(|_| breaker.observe(false, None));
            breaker.observe(true, None);
        }
        assert!(matches!(breaker.gate(), Gate::Open));
    }

    #[tokio::test(start_paused = true)]
    async fn a_probe_that_never_began_makes_way_for_another() {
        let breaker = opened();
        tokio::time::advance(Duration::from_secs(5)).await;
        drop(probe(&breaker));
        breaker.observe(true, Some(probe(&breaker)));
        assert!(matches!(breaker.gate(), Gate::Open));
    }

    #[tokio::test(start_paused = true)]
    async fn late_failures_of_calls_begun_before_neither_prolong_it_nor_end_the_probe() {
        let breaker = opened();
        tokio::time::advance(Duration::from_secs(5)).await;
        let probe = probe(&breaker);
        for _ in 0..20 {
            breaker.observe(false, None);
        }
        assert!(matches!(breaker.gate(), Gate::Wait(_)), "the probe is still under way");
        breaker.observe(false, Some(probe));
        tokio::time::advance(Duration::from_secs(10)).await;
        assert!(matches!(breaker.gate(), Gate::Probe(_)), "the second time lasts ten seconds");
    }
}

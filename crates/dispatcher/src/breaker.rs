//! Stops calling a vendor that gives no usable answer, and tries it again with one call at a time.

use std::{sync::Mutex, time::Duration};

use tokio::time::Instant;

/// So many calls in a row without a usable answer open it.
const FAILURES: u32 = 10;
/// How long it stays open, time after time.
const OPEN_SECONDS: [u64; 5] = [5, 10, 20, 40, 60];
/// A probe that has not come back by then is thought lost.
const PROBE: Duration = Duration::from_secs(25);

/// Whether a call may begin.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Gate {
    /// As many as you like.
    Open,
    /// One: the probe.
    Probe,
    /// Not before.
    Wait(Instant),
}

#[derive(Debug, Default)]
pub(crate) struct Breaker(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    failures: u32,
    times: usize,
    until: Option<Instant>,
    probing_since: Option<Instant>,
}

impl Breaker {
    /// Whether a call may begin; [`Gate::Probe`] is given out once.
    pub(crate) fn gate(&self) -> Gate {
        let mut state = self.lock();
        let now = Instant::now();
        let Some(until) = state.until else { return Gate::Open };
        if now < until {
            return Gate::Wait(until);
        }
        match state.probing_since {
            Some(since) if now < since + PROBE => {
                Gate::Wait((now + Duration::from_millis(100)).min(since + PROBE))
            }
            _ => {
                state.probing_since = Some(now);
                Gate::Probe
            }
        }
    }

    /// Counts the answer of a call.
    pub(crate) fn observe(&self, usable: bool) {
        let mut state = self.lock();
        if usable {
            *state = State::default();
            return;
        }
        state.failures = state.failures.saturating_add(1);
        let probe_failed = state.probing_since.take().is_some();
        if probe_failed || (state.until.is_none() && state.failures >= FAILURES) {
            let seconds = OPEN_SECONDS[state.times.min(OPEN_SECONDS.len() - 1)];
            state.times += 1;
            state.until = Some(Instant::now() + Duration::from_secs(seconds));
        }
    }

    /// The call that was to be the probe never began.
    pub(crate) fn release_probe(&self) {
        self.lock().probing_since = None;
    }

    /// Until when no call begins; none while it is closed.
    pub(crate) fn open_until(&self) -> Option<Instant> {
        self.lock().until
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn ten_failures_open_it_and_one_answer_closes_it() {
        let breaker = Breaker::default();
        for _ in 0..9 {
            breaker.observe(false);
        }
        assert_eq!(breaker.gate(), Gate::Open);
        breaker.observe(false);
        assert!(matches!(breaker.gate(), Gate::Wait(_)));
        tokio::time::advance(Duration::from_secs(5)).await;
        assert_eq!(breaker.gate(), Gate::Probe);
        assert!(matches!(breaker.gate(), Gate::Wait(_)));
        breaker.observe(false);
        tokio::time::advance(Duration::from_secs(9)).await;
        assert!(matches!(breaker.gate(), Gate::Wait(_)));
        tokio::time::advance(Duration::from_secs(1)).await;
        assert_eq!(breaker.gate(), Gate::Probe);
        breaker.observe(true);
        assert_eq!(breaker.gate(), Gate::Open);
    }
}

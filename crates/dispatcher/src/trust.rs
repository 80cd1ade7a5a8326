//! How long this process may believe that it owns an account, by a clock that runs on while the machine sleeps.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use nix::time::{ClockId, clock_gettime};

/// Time since boot, sleep included. A process that was stopped for longer than its lease sees it.
pub(crate) fn since_boot() -> Duration {
    // The clock exists on every kernel that PostgreSQL runs on; without it nothing is ever trusted.
    clock_gettime(ClockId::CLOCK_BOOTTIME).map_or(Duration::MAX, Duration::from)
}

/// The end of a lease as this process knows it.
#[derive(Debug, Default)]
pub(crate) struct Trust(AtomicU64);

impl Trust {
    /// The lease was acquired or renewed by a statement that began at `began` (since boot).
    pub(crate) fn extend(&self, began: Duration) {
        let until = began.saturating_add(Duration::from_secs_f64(store::leases::lease_seconds()));
        self.0.store(millis(until), Ordering::Release);
    }

    /// Whether something that takes at most `timeout` ends while the account is surely ours.
    pub(crate) fn covers(&self, timeout: Duration) -> bool {
        let end = since_boot().saturating_add(timeout);
        millis(end) < self.0.load(Ordering::Acquire)
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lease_covers_what_ends_before_it_does() {
        let trust = Trust::default();
        assert!(!trust.covers(Duration::ZERO));
        trust.extend(since_boot());
        assert!(trust.covers(Duration::from_secs(20)));
        assert!(!trust.covers(Duration::from_secs(31)));
    }
}

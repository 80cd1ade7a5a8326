//! How many may be under way at once: calls at the vendor, and recipients whose intent is being committed for the next.
//!
//! Calls never exceed `max_in_flight`. Were intents within that number too, a vendor that answers at once would wait for
//! the database most of the time: so as many more are taken as calls end while one commit lasts, and none for a vendor
//! that is slower than the database.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Taken ahead at the most, as a multiple of the calls at once.
const MOST_AHEAD: f64 = 2.0;
/// A call that finds no place within this time is withdrawn: the vendor hangs.
const PATIENCE: Duration = Duration::from_secs(1);
/// The weight of the latest measurement, as a divisor.
const SMOOTHING: u64 = 8;

/// The places of one account.
#[derive(Debug)]
pub(crate) struct Slots {
    most: usize,
    /// Taken and not yet done with.
    taken: Arc<Semaphore>,
    /// Permits that `taken` has beyond `most`. Written by the committer alone.
    ahead: AtomicU64,
    calls: Arc<Semaphore>,
    call_us: AtomicU64,
    commit_us: AtomicU64,
}

impl Slots {
    pub(crate) fn new(most: usize) -> Self {
        Self {
            most,
            taken: Arc::new(Semaphore::new(most)),
            ahead: AtomicU64::new(0),
            calls: Arc::new(Semaphore::new(most)),
            call_us: AtomicU64::new(0),
            commit_us: AtomicU64::new(0),
        }
    }

    /// Waits for a place, and takes up to `wanted` of those that are free.
    pub(crate) async fn take(&self, wanted: usize) -> Option<OwnedSemaphorePermit> {
        let mut permits = Arc::clone(&self.taken).acquire_owned().await.ok()?;
        let free = self.taken.available_permits().min(wanted.saturating_sub(1));
        if let Some(more) = u32::try_from(free).ok().filter(|free| *free > 0)
            && let Ok(more) = Arc::clone(&self.taken).try_acquire_many_owned(more)
        {
            permits.merge(more);
        }
        Some(permits)
    }

    /// Places that could be taken now.
    pub(crate) fn free(&self) -> usize {
        self.taken.available_permits()
    }

    /// Waits for a place at the vendor. None: others have held theirs for too long.
    pub(crate) async fn call(&self) -> Option<OwnedSemaphorePermit> {
        if let Ok(permit) = Arc::clone(&self.calls).try_acquire_owned() {
            return Some(permit);
        }
        let waiting = Arc::clone(&self.calls).acquire_owned();
        match tokio::time::timeout(PATIENCE, waiting).await {
            Ok(permit) => permit.ok(),
            Err(_) => {
                self.called(PATIENCE);
                None
            }
        }
    }

    /// Calls under way.
    pub(crate) fn in_flight(&self) -> usize {
        self.most.saturating_sub(self.calls.available_permits())
    }

    /// A call took so long.
    pub(crate) fn called(&self, took: Duration) {
        smooth(&self.call_us, took);
    }

    /// A commit took so long: takes more or fewer ahead. One task alone calls it.
    pub(crate) fn committed(&self, took: Duration) {
        smooth(&self.commit_us, took);
        let (call, commit) = (self.call_us.load(Ordering::Relaxed), self.commit_us.load(Ordering::Relaxed));
        let wanted = ahead(self.most, call, commit);
        let has = self.ahead.load(Ordering::Relaxed);
        let has = if wanted > has {
            self.taken.add_permits(usize::try_from(wanted - has).unwrap_or(0));
            wanted
        } else {
            has - self.taken.forget_permits(usize::try_from(has - wanted).unwrap_or(0)) as u64
        };
        self.ahead.store(has, Ordering::Relaxed);
    }
}

/// How many calls end while a commit lasts.
fn ahead(most: usize, call_us: u64, commit_us: u64) -> u64 {
    if call_us == 0 {
        return 0;
    }
    (most as f64 * (commit_us as f64 / call_us as f64).min(MOST_AHEAD)) as u64
}

fn smooth(mean_us: &AtomicU64, latest: Duration) {
    let latest = u64::try_from(latest.as_micros()).unwrap_or(u64::MAX).max(1);
    let mean = mean_us.load(Ordering::Relaxed);
    // A lost update among many does no harm.
    let next = if mean == 0 { latest } else { (mean * (SMOOTHING - 1) + latest) / SMOOTHING };
    mean_us.store(next.max(1), Ordering::Relaxed);
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    #[tokio::test(start_paused = true)]
    async fn a_slow_vendor_has_nobody_taken_ahead_and_a_fast_one_has_enough() {
        let slots = Slots::new(16);
        for _ in 0..100 {
            slots.called(200 * MS);
            slots.committed(2 * MS);
        }
        assert_eq!(slots.taken.available_permits(), 16);
        for _ in 0..100 {
            slots.called(MS);
            slots.committed(2 * MS);
        }
        assert_eq!(slots.taken.available_permits(), 48);
        for _ in 0..100 {
            slots.called(200 * MS);
            slots.committed(2 * MS);
        }
        assert_eq!(slots.taken.available_permits(), 16);
    }

    #[tokio::test(start_paused = true)]
    async fn calls_never_exceed_their_number_and_give_up_when_the_vendor_hangs() {
        let slots = Slots::new(2);
        let held = (slots.call().await.unwrap(), slots.call().await.unwrap());
        assert_eq!(slots.in_flight(), 2);
        assert!(slots.call().await.is_none());
        drop(held);
        assert!(slots.call().await.is_some());
    }

    #[tokio::test(start_paused = true)]
    async fn as_many_places_are_taken_as_are_wanted_and_free() {
        let slots = Slots::new(5);
        let first = slots.take(3).await.unwrap();
        assert_eq!(first.num_permits(), 3);
        assert_eq!(slots.take(64).await.unwrap().num_permits(), 2);
    }
}

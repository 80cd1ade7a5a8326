//! How many may be under way at once: calls at the vendor, and recipients whose intent is being committed for the next.
//!
//! Calls never exceed `max_in_flight`. Were intents within that number too, a vendor that answers at once would wait for
//! the database most of the time: so as many more are taken as calls end while a few commits last, and hardly any for a
//! vendor that is slower than the database. A few, not one: a commit costs a millisecond and more whatever it holds, so the
//! more share it, the less each of them costs.

use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::Instant,
};

use crate::{breaker::Probe, ebb::Ebb};

/// Taken ahead are as many as calls end while so many commits last.
const COMMITS_AHEAD: u64 = 8;
/// Taken ahead at the most, as multiples of the calls at once: always, and while the messages are few.
const MOST_AHEAD: (usize, usize) = (1, 8);
/// Few messages.
const FEW: usize = 1024;
/// A call that finds no place within this time is withdrawn: the vendor hangs.
const PATIENCE: Duration = Duration::from_secs(1);
/// The weight of the latest measurement, as a divisor.
const SMOOTHING: u64 = 8;
/// Calls at once for an overloaded vendor, at the least.
const LEAST_CALLS: usize = 8;

/// The places of one account.
#[derive(Debug)]
pub(crate) struct Slots {
    /// Calls at once.
    at_once: Ebb,
    /// Messages in one call.
    batch: usize,
    /// Taken and not yet done with.
    taken: Arc<Places>,
    calls: Arc<Places>,
    call_us: AtomicU64,
    commit_us: AtomicU64,
}

/// Places whose number changes.
#[derive(Debug)]
struct Places {
    semaphore: Arc<Semaphore>,
    size: Mutex<Size>,
}

#[derive(Debug)]
struct Size {
    has: usize,
    wanted: usize,
}

impl Places {
    fn new(size: usize) -> Self {
        let semaphore = Arc::new(Semaphore::new(size));
        Self { semaphore, size: Mutex::new(Size { has: size, wanted: size }) }
    }

    /// Makes it this large; places that are in use now go when they are given back.
    fn resize(&self, wanted: usize) {
        let mut size = self.size.lock().unwrap_or_else(PoisonError::into_inner);
        size.wanted = wanted;
        if size.has < wanted {
            self.semaphore.add_permits(wanted - size.has);
            size.has = wanted;
        } else if size.has > wanted {
            size.has -= self.semaphore.forget_permits(size.has - wanted);
        }
    }

    /// Free again, or no more.
    fn give_back(&self, mut places: OwnedSemaphorePermit) {
        let mut size = self.size.lock().unwrap_or_else(PoisonError::into_inner);
        let too_many = size.has.saturating_sub(size.wanted).min(places.num_permits());
        if let Some(gone) = places.split(too_many) {
            size.has -= gone.num_permits();
            gone.forget();
        }
    }

    fn in_use(&self) -> usize {
        let size = self.size.lock().unwrap_or_else(PoisonError::into_inner);
        size.has.saturating_sub(self.semaphore.available_permits())
    }
}

/// Places held until it is dropped.
#[derive(Debug)]
pub(crate) struct Permit {
    places: Option<OwnedSemaphorePermit>,
    of: Arc<Places>,
    /// Held for the one call that the breaker lets through.
    pub(crate) probe: Option<Probe>,
}

impl Permit {
    fn new(places: OwnedSemaphorePermit, of: &Arc<Places>) -> Self {
        Self { places: Some(places), of: Arc::clone(of), probe: None }
    }

    /// How many.
    pub(crate) fn num_permits(&self) -> usize {
        self.places.as_ref().map_or(0, OwnedSemaphorePermit::num_permits)
    }

    /// Some of them, the probe first; none where there are fewer.
    pub(crate) fn split(&mut self, n: usize) -> Option<Self> {
        let places = self.places.as_mut()?.split(n)?;
        let mut split = Self::new(places, &self.of);
        split.probe = self.probe.take();
        Some(split)
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        if let Some(places) = self.places.take() {
            self.of.give_back(places);
        }
    }
}

impl Slots {
    /// Places for `most` calls at once, of `batch` messages each.
    pub(crate) fn new(most: usize, batch: usize) -> Self {
        Self {
            batch,
            at_once: Ebb::new(most, LEAST_CALLS),
            taken: Arc::new(Places::new(most)),
            calls: Arc::new(Places::new(most)),
            call_us: AtomicU64::new(0),
            commit_us: AtomicU64::new(0),
        }
    }

    /// Waits for a place, and takes up to `wanted` of those that are free.
    pub(crate) async fn take(&self, wanted: usize) -> Option<Permit> {
        let taken = &self.taken.semaphore;
        let mut permits = Arc::clone(taken).acquire_owned().await.ok()?;
        let free = taken.available_permits().min(wanted.saturating_sub(1));
        if let Some(more) = u32::try_from(free).ok().filter(|free| *free > 0)
            && let Ok(more) = Arc::clone(taken).try_acquire_many_owned(more)
        {
            permits.merge(more);
        }
        Some(Permit::new(permits, &self.taken))
    }

    /// Places that could be taken now.
    pub(crate) fn free(&self) -> usize {
        self.taken.semaphore.available_permits()
    }

    /// Waits for a place at the vendor. None: others have held theirs for too long.
    pub(crate) async fn call(&self) -> Option<Permit> {
        let calls = &self.calls.semaphore;
        if let Ok(place) = Arc::clone(calls).try_acquire_owned() {
            return Some(Permit::new(place, &self.calls));
        }
        let Ok(place) = tokio::time::timeout(PATIENCE, Arc::clone(calls).acquire_owned()).await else {
            self.called(PATIENCE);
            return None;
        };
        Some(Permit::new(place.ok()?, &self.calls))
    }

    /// Calls under way.
    pub(crate) fn in_flight(&self) -> usize {
        self.calls.in_use()
    }

    /// Calls that may be under way at once now.
    pub(crate) fn at_once(&self) -> usize {
        self.at_once.now()
    }

    /// The call that had this place is over; `overloaded`: the vendor could not cope with it.
    pub(crate) fn ended(&self, place: Permit, took: Duration, overloaded: bool) {
        self.called(took);
        if overloaded {
            self.at_once.fall(Instant::now());
        } else {
            self.at_once.climb(Instant::now());
        }
        self.calls.resize(self.at_once.now());
        drop(place);
    }

    fn called(&self, took: Duration) {
        smooth(&self.call_us, took);
    }

    /// A commit took so long: takes more or fewer ahead.
    pub(crate) fn committed(&self, took: Duration) {
        smooth(&self.commit_us, took);
        let (call, commit) = (self.call_us.load(Ordering::Relaxed), self.commit_us.load(Ordering::Relaxed));
        let at_once = self.at_once.now();
        self.taken.resize(at_once + ahead(at_once, self.batch, call, commit));
    }
}

/// How many calls are taken ahead of those at once.
fn ahead(at_once: usize, batch: usize, call_us: u64, commit_us: u64) -> usize {
    if call_us == 0 {
        return 0;
    }
    let most = (at_once * MOST_AHEAD.1).min(FEW / batch.max(1)).max(at_once * MOST_AHEAD.0);
    let ends = at_once as u64 * COMMITS_AHEAD * commit_us / call_us;
    usize::try_from(ends).unwrap_or(usize::MAX).min(most)
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
        let slots = Slots::new(16, 1);
        let measured = |call: Duration| {
            for _ in 0..100 {
                slots.called(call);
                slots.committed(2 * MS);
            }
            slots.free()
        };
        assert_eq!(measured(400 * MS), 16);
        assert_eq!(measured(32 * MS), 16 + 8);
        assert_eq!(measured(MS), 16 + 128);
        assert_eq!(measured(400 * MS), 16);
    }

    #[test]
    fn few_messages_may_be_taken_further_ahead_than_many() {
        assert_eq!(ahead(16, 1, 1, 1_000), 128);
        assert_eq!(ahead(512, 1, 1, 1_000), 1_024);
        assert_eq!(ahead(16, 100, 1, 1_000), 16);
        assert_eq!(ahead(2_000, 1, 1, 1_000), 2_000);
        assert_eq!(ahead(16, 1, 0, 1_000), 0, "nothing is known of the vendor yet");
    }

    #[tokio::test(start_paused = true)]
    async fn calls_never_exceed_their_number_and_give_up_when_the_vendor_hangs() {
        let slots = Slots::new(2, 1);
        let held = (slots.call().await.unwrap(), slots.call().await.unwrap());
        assert_eq!(slots.in_flight(), 2);
        assert!(slots.call().await.is_none());
        drop(held);
        assert!(slots.call().await.is_some());
    }

    #[tokio::test(start_paused = true)]
    async fn as_many_places_are_taken_as_are_wanted_and_free() {
        let slots = Slots::new(5, 1);
        let first = slots.take(3).await.unwrap();
        assert_eq!(first.num_permits(), 3);
        assert_eq!(slots.take(64).await.unwrap().num_permits(), 2);
    }

    #[tokio::test(start_paused = true)]
    async fn an_overloaded_vendor_has_fewer_calls_at_once_and_more_again_when_it_answers() {
        let slots = Slots::new(32, 1);
        let mut held = Vec::new();
        for _ in 0..32 {
            held.push((slots.take(1).await, slots.call().await.unwrap()));
        }
        // All places are in use and somebody waits for each that comes free, as at full speed.
        for (taken, place) in held {
            slots.ended(place, MS, true);
            slots.committed(MS / 1_000);
            drop(taken);
        }
        assert_eq!((slots.at_once(), slots.free()), (16, 16));
        let mut held = Vec::new();
        for _ in 0..16 {
            held.push(slots.call().await.unwrap());
        }
        assert!(slots.call().await.is_none(), "sixteen are the most now");
        assert_eq!(slots.in_flight(), 16);
        for place in held {
            slots.ended(place, MS, false);
        }
        for _ in 0..12 {
            tokio::time::advance(1000 * MS).await;
            let place = slots.call().await.unwrap();
            slots.ended(place, MS, false);
            slots.committed(MS / 1_000);
        }
        assert_eq!((slots.at_once(), slots.free(), slots.in_flight()), (32, 32, 0));
    }
}

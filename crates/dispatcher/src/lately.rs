//! Whom a sender wrote to in the last six seconds, in eight bytes each: at full speed that is some hundred thousand people.

use std::{
    collections::HashSet,
    hash::{Hash, Hasher},
    time::Duration,
};

use tokio::time::Instant;

use crate::pairs::PAIR;

/// Parts of the memory.
const PARTS: usize = 32;
/// Kept of the people in one part when its table of twice as many is full. All parts together keep those of a sender of
/// 19,000 messages a second, which is nineteen times what WhatsApp lets the fastest send.
const KEPT: usize = 3_584;
/// How finely the end of a wait is kept; it is rounded up.
const TICK: Duration = Duration::from_millis(2);
/// What a phone leaves of 64 bits: fifteen digits need fifty.
const TICK_BITS: u32 = 14;
/// Ticks until they begin anew: 32 seconds. An entry is looked at within 18 seconds of its making, or forgotten unseen.
const TICKS: u64 = 1 << TICK_BITS;
/// Ticks of a wait, with one for the part of a tick that has passed when it begins.
const WAIT: u64 = PAIR.as_secs() * 1000 / TICK.as_millis() as u64 + 1;

/// A phone, and the tick from which it may be written to again. Equal by the phone alone.
#[derive(Clone, Copy, Debug)]
struct Entry(u64);

impl Entry {
    fn new(phone: i64, free: u64) -> Self {
        Self((phone.cast_unsigned() << TICK_BITS) | (free % TICKS))
    }

    fn phone(self) -> u64 {
        self.0 >> TICK_BITS
    }

    /// Ticks that it still has to wait; none once it may be written to.
    fn waits(self, now: u64) -> Option<u64> {
        let left = (self.0 % TICKS + TICKS - now % TICKS) % TICKS;
        (1..=WAIT).contains(&left).then_some(left)
    }
}

impl PartialEq for Entry {
    fn eq(&self, other: &Self) -> bool {
        self.phone() == other.phone()
    }
}

impl Eq for Entry {}

impl Hash for Entry {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.phone().hash(state);
    }
}

/// Whom a sender wrote to lately, in parts that grow one after the other: none needs room for all while it does.
#[derive(Debug, Default)]
pub(crate) struct Lately([Part; PARTS]);

impl Lately {
    /// From now on the phone waits for six seconds.
    pub(crate) fn insert(&mut self, phone: i64, now: Instant) {
        self.part(phone).insert(phone, now);
    }

    /// How long the phone still has to wait; none: it need not.
    pub(crate) fn waits(&mut self, phone: i64, now: Instant) -> Option<Duration> {
        self.part(phone).waits(phone, now)
    }

    fn part(&mut self, phone: i64) -> &mut Part {
        &mut self.0[phone.cast_unsigned() as usize % PARTS]
    }
}

/// Those whose wait is over stay until the next sweep: every six seconds, and whenever the set is full.
#[derive(Debug)]
struct Part {
    entries: HashSet<Entry>,
    /// Ticks are counted from here.
    began: Instant,
    swept: Instant,
}

impl Default for Part {
    fn default() -> Self {
        let now = Instant::now();
        Self { entries: HashSet::new(), began: now, swept: now }
    }
}

impl Part {
    fn insert(&mut self, phone: i64, now: Instant) {
        self.sweep_when_due(now);
        if self.entries.len() == self.entries.capacity() {
            self.sweep(now);
            self.forget(now);
        }
        self.entries.replace(Entry::new(phone, self.tick(now) + WAIT));
    }

    /// Forgets those who were written to longest ago, where they are too many: the table would grow.
    fn forget(&mut self, now: Instant) {
        let (tick, mut least) = (self.tick(now), WAIT / 2);
        while self.entries.len() > KEPT {
            self.entries.retain(|entry| entry.waits(tick).is_some_and(|waits| waits > least));
            least = (least + WAIT).div_ceil(2);
        }
    }

    fn waits(&mut self, phone: i64, now: Instant) -> Option<Duration> {
        self.sweep_when_due(now);
        let waits = self.entries.get(&Entry::new(phone, 0))?.waits(self.tick(now))?;
        Some(TICK * u32::try_from(waits).unwrap_or(u32::MAX))
    }

    fn tick(&self, now: Instant) -> u64 {
        let since = now.saturating_duration_since(self.began).as_millis() / TICK.as_millis();
        u64::try_from(since).unwrap_or(u64::MAX)
    }

    fn sweep_when_due(&mut self, now: Instant) {
        let since = now.saturating_duration_since(self.swept);
        if since > 2 * PAIR + TICK {
            // The last one came within six seconds of the last sweep, so its wait is over as well.
            self.entries.clear();
        }
        if since >= PAIR {
            self.sweep(now);
        }
    }

    fn sweep(&mut self, now: Instant) {
        let tick = self.tick(now);
        self.entries.retain(|entry| entry.waits(tick).is_some());
        if self.entries.len() < self.entries.capacity() / 8 {
            self.entries.shrink_to(2 * self.entries.len());
        }
        self.swept = now;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: i64 = 999_999_999_999_999;

    /// The least and the most of what is waited for after so long a time, whatever else was asked before.
    fn waits_after(since: Duration) -> Option<Duration> {
        let mut lately = Lately::default();
        let begun = Instant::now();
        lately.insert(A, begun);
        lately.waits(A, begun + since)
    }

    #[tokio::test(start_paused = true)]
    async fn the_wait_ends_after_six_seconds_and_never_begins_again() {
        for ms in 0..100_000_u64 {
            let (since, waits) = (Duration::from_millis(ms), waits_after(Duration::from_millis(ms)));
            match PAIR.checked_sub(since).filter(|left| !left.is_zero()) {
                Some(left) => {
                    let waits = waits.unwrap();
                    assert!(waits >= left && waits <= left + 2 * TICK, "after {ms} ms: {waits:?}");
                }
                None => assert!(waits.is_none_or(|waits| ms <= 6_002 && waits <= TICK), "after {ms} ms"),
            }
        }
    }

    #[tokio::test(start_paused = true)]
    async fn at_any_moment_it_waits_for_whom_it_should_and_for_nobody_else() {
        let mut lately = Lately::default();
        let mut written = std::collections::HashMap::new();
        // 40 seconds in steps of 7 ms, with one pause; a fifth of the steps writes to one of 800 people.
        let begun = Instant::now();
        for step in 0..6_000_u64 {
            let now = begun + Duration::from_millis(step * 7 + if step > 3_000 { 11_000 } else { 0 });
            let phone = 10_000_000 + i64::try_from(step * 7_919 % 800).unwrap();
            let left = written.get(&phone).and_then(|at: &Instant| (*at + PAIR).checked_duration_since(now));
            match left.filter(|left| *left > 2 * TICK) {
                Some(left) => assert!(lately.waits(phone, now).unwrap() >= left, "step {step}"),
                None if left.is_none_or(|left| left.is_zero()) => {
                    assert!(lately.waits(phone, now).is_none_or(|waits| waits <= TICK), "step {step}");
                }
                None => {}
            }
            if step % 5 == 0 {
                lately.insert(phone, now);
                written.insert(phone, now);
            }
        }
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_over_is_forgotten() {
        let mut lately = Lately::default();
        let begun = Instant::now();
        for ms in 0..60_000_u32 {
            lately.insert(10_000_000 + i64::from(ms), begun + Duration::from_millis(u64::from(ms)));
        }
        let sum =
            |of: fn(&HashSet<Entry>) -> usize| lately.0.iter().map(|part| of(&part.entries)).sum::<usize>();
        assert!(sum(HashSet::len) <= 12_100, "{}", sum(HashSet::len));
        assert!(sum(HashSet::capacity) <= 28_700, "{}", sum(HashSet::capacity));
        let mut part = std::mem::take(&mut lately.0[0]);
        assert!(part.waits(32, begun + Duration::from_secs(90)).is_none());
        assert_eq!((part.entries.len(), part.entries.capacity()), (0, 0));
    }

    #[tokio::test(start_paused = true)]
    async fn it_is_bounded_and_forgets_those_of_longest_ago_first() {
        let mut lately = Lately::default();
        let begun = Instant::now();
        let at = |number: u32| begun + Duration::from_micros(20) * number;
        // 50,000 a second for four seconds, and all of a second in one moment.
        for number in 0..200_000 {
            lately.insert(10_000_000 + i64::from(number), at(number));
        }
        for number in 200_000..250_000 {
            lately.insert(10_000_000 + i64::from(number), at(200_000));
        }
        let sum: usize = lately.0.iter().map(|part| part.entries.capacity()).sum();
        assert!(sum <= PARTS * 2 * KEPT, "{sum}");
        assert!(lately.waits(10_000_000, at(200_000)).is_none());
        assert!(lately.waits(10_000_000 + 249_999, at(200_000)).is_some());
    }
}

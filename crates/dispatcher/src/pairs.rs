//! One message in six seconds to one person from one sender: WhatsApp takes no more (131056).
//!
//! Kept in memory, because only an account's owner sends: who is under way, and who was sent to in the last seconds. So it
//! holds as much as is under way and what a sender sends in six seconds, and nothing is ever searched for in it.

use std::{
    cmp::Ordering,
    collections::HashSet,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use model::{Phone, limits::PAIR_SECONDS};
use tokio::time::Instant;

use crate::lately::Lately;

/// Between two messages to one person.
pub(crate) const PAIR: Duration = Duration::from_secs(PAIR_SECONDS.unsigned_abs());

/// Whom a sender writes to.
#[derive(Clone, Debug, Default)]
pub(crate) struct Pairs(Arc<Mutex<Recent>>);

#[derive(Debug, Default)]
struct Recent {
    /// Who is under way: nobody knows yet when it leaves.
    under_way: HashSet<i64>,
    lately: Lately,
}

impl Pairs {
    /// Takes those of `recipients`, a number and a phone each, who may be written to now; the others with how long they
    /// have to wait at least.
    pub(crate) fn take(
        &self,
        recipients: impl Iterator<Item = (i32, Phone)>,
    ) -> (Holds, Vec<(i32, Duration)>) {
        let (mut who, mut early) = (Vec::new(), Vec::new());
        let now = Instant::now();
        let mut recent = self.lock();
        for (no, phone) in recipients {
            let phone = phone.as_i64();
            if let Some(waits) = recent.lately.waits(phone, now) {
                early.push((no, waits));
            } else if recent.under_way.insert(phone) {
                who.push((no, phone));
            } else {
                early.push((no, PAIR));
            }
        }
        drop(recent);
        (Holds { pairs: self.clone(), who }, early)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Recent> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Those who are under way; whoever is still in it when it is dropped was not sent to.
#[derive(Debug)]
pub(crate) struct Holds {
    pairs: Pairs,
    /// Number and phone.
    who: Vec<(i32, i64)>,
}

impl Holds {
    /// How many.
    pub(crate) fn len(&self) -> usize {
        self.who.len()
    }

    /// Lets go of those who are not called after all.
    pub(crate) fn retain(&mut self, is_called: impl Fn(i32) -> bool) {
        let (called, others) = std::mem::take(&mut self.who).into_iter().partition(|(no, _)| is_called(*no));
        self.who = called;
        drop(Self { pairs: self.pairs.clone(), who: others });
    }

    /// The first `n`, who are called together.
    pub(crate) fn split(&mut self, n: usize) -> Self {
        let who = match n.cmp(&self.who.len()) {
            Ordering::Less => self.who.drain(..n).collect(),
            Ordering::Equal | Ordering::Greater => std::mem::take(&mut self.who),
        };
        Self { pairs: self.pairs.clone(), who }
    }

    /// The call is over: from now on those who may have got a message have to wait. In their order.
    pub(crate) fn end(mut self, may_have_got: impl Iterator<Item = bool>) {
        let now = Instant::now();
        let mut recent = self.pairs.lock();
        let mut others = Vec::new();
        for ((no, phone), may_have_got) in std::mem::take(&mut self.who).into_iter().zip(may_have_got) {
            if may_have_got {
                recent.under_way.remove(&phone);
                recent.lately.insert(phone, now);
            } else {
                others.push((no, phone));
            }
        }
        drop(recent);
        self.who = others;
    }
}

impl Drop for Holds {
    fn drop(&mut self) {
        if self.who.is_empty() {
            return;
        }
        let mut recent = self.pairs.lock();
        for (_, phone) in &self.who {
            recent.under_way.remove(phone);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn people(numbers: std::ops::Range<i32>) -> impl Iterator<Item = (i32, Phone)> {
        let phone = |no: i32| Phone::from_digits(919_876_000_000 + u64::try_from(no).unwrap()).unwrap();
        numbers.map(move |no| (no, phone(no)))
    }

    fn waiting(pairs: &Pairs, numbers: std::ops::Range<i32>) -> Vec<(i32, Duration)> {
        pairs.take(people(numbers)).1
    }

    #[tokio::test(start_paused = true)]
    async fn whoever_was_sent_to_waits_six_seconds_and_nobody_else() {
        let pairs = Pairs::default();
        let (mut holds, early) = pairs.take(people(0..4));
        assert!(early.is_empty());
        // Under way: nobody knows yet when it leaves.
        assert_eq!(waiting(&pairs, 0..1), [(0, PAIR)]);
        holds.retain(|no| no != 3);
        assert!(waiting(&pairs, 3..4).is_empty(), "it was not called after all");
        // The first two are sent to together, of whom one is refused; the third call never begins.
        holds.split(2).end([true, false].into_iter());
        drop(holds);
        tokio::time::advance(Duration::from_secs(4)).await;
        let [(0, waits)] = waiting(&pairs, 0..4)[..] else { panic!("one of them has to wait") };
        assert!((2_000..2_010).contains(&waits.as_millis()), "{waits:?}");
        tokio::time::advance(waits).await;
        assert!(waiting(&pairs, 0..1).is_empty());
    }
}

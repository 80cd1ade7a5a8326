//! Reports that are due: a queue ordered by time, and its counts. An entry is small and there is one for a
//! message at a time, so that millions of messages with a slow receiver fit into memory.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use serde::Serialize;
use tokio::sync::Notify;

use crate::options::CallbackOptions;

/// One report that is to be posted at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Due {
    pub(crate) at_us: u64,
    pub(crate) sequence: u32,
    /// Position in the message's plan.
    pub(crate) step: u8,
    pub(crate) attempt: u8,
    /// Posted once more on request; its successors follow at once.
    pub(crate) replay: bool,
}

/// How far the status reports have come. Inbound messages are not counted here.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct CallbackCounts {
    /// Reports planned so far, repeats included.
    pub planned: u64,
    /// Reports posted, every attempt counted.
    pub sent: u64,
    /// Reports answered with 200.
    pub acknowledged: u64,
    /// Reports given up after the last attempt.
    pub abandoned: u64,
    /// Reports neither acknowledged nor given up.
    pub outstanding: u64,
    /// HTTP requests made; an Exotel request may carry 100 reports.
    pub posts: u64,
}

/// The queue of reports.
pub(crate) struct Callbacks {
    heap: Mutex<BinaryHeap<Reverse<Due>>>,
    pub(crate) wake: Notify,
    changed: Notify,
    planned: AtomicU64,
    sent: AtomicU64,
    acknowledged: AtomicU64,
    abandoned: AtomicU64,
    posts: AtomicU64,
    /// Options by the first message that they are for: a change must not rewrite the past.
    options: RwLock<Vec<(u32, Arc<CallbackOptions>)>>,
}

impl Callbacks {
    pub(crate) fn new(options: CallbackOptions) -> Callbacks {
        Callbacks {
            heap: Mutex::default(),
            wake: Notify::new(),
            changed: Notify::new(),
            planned: AtomicU64::new(0),
            sent: AtomicU64::new(0),
            acknowledged: AtomicU64::new(0),
            abandoned: AtomicU64::new(0),
            posts: AtomicU64::new(0),
            options: RwLock::new(vec![(0, Arc::new(options))]),
        }
    }

    pub(crate) fn options_for(&self, sequence: u32) -> Arc<CallbackOptions> {
        let options = self.options.read().unwrap_or_else(PoisonError::into_inner);
        let found = options.iter().rev().find(|(from, _)| *from <= sequence).or_else(|| options.first());
        found.map(|(_, options)| options.clone()).unwrap_or_default()
    }

    pub(crate) fn set_options(&self, from: u32, new: CallbackOptions) {
        let mut options = self.options.write().unwrap_or_else(PoisonError::into_inner);
        options.retain(|(first, _)| *first < from || *first == 0 && from > 0);
        options.push((from, Arc::new(new)));
    }

    pub(crate) fn plan(&self, reports: usize) {
        self.planned.fetch_add(reports as u64, Ordering::SeqCst);
    }

    /// Adds entries and wakes the pump when one of them is earlier than all others.
    pub(crate) fn push(&self, entries: impl IntoIterator<Item = Due>) {
        let mut heap = self.heap.lock().unwrap_or_else(PoisonError::into_inner);
        let earliest = heap.peek().map(|due| due.0.at_us);
        heap.extend(entries.into_iter().map(Reverse));
        let sooner = heap.peek().map(|due| due.0.at_us) != earliest;
        drop(heap);
        if sooner {
            self.wake.notify_one();
        }
    }

    /// Takes up to `most` entries that are due, and says when the next one is.
    pub(crate) fn take(&self, now_us: u64, most: usize) -> (Vec<Due>, Option<u64>) {
        let mut heap = self.heap.lock().unwrap_or_else(PoisonError::into_inner);
        let mut due = Vec::new();
        while due.len() < most && heap.peek().is_some_and(|next| next.0.at_us <= now_us) {
            due.extend(heap.pop().map(|next| next.0));
        }
        (due, heap.peek().map(|next| next.0.at_us))
    }

    pub(crate) fn posted(&self, reports: usize) {
        self.posts.fetch_add(1, Ordering::SeqCst);
        self.sent.fetch_add(reports as u64, Ordering::SeqCst);
    }

    pub(crate) fn acknowledge(&self, reports: usize) {
        self.acknowledged.fetch_add(reports as u64, Ordering::SeqCst);
        self.changed.notify_waiters();
    }

    pub(crate) fn abandon(&self, reports: usize) {
        self.abandoned.fetch_add(reports as u64, Ordering::SeqCst);
        self.changed.notify_waiters();
    }

    pub(crate) fn counts(&self) -> CallbackCounts {
        // The ends are read before the beginning, so that the difference is never negative.
        let acknowledged = self.acknowledged.load(Ordering::SeqCst);
        let abandoned = self.abandoned.load(Ordering::SeqCst);
        let sent = self.sent.load(Ordering::SeqCst);
        let posts = self.posts.load(Ordering::SeqCst);
        let planned = self.planned.load(Ordering::SeqCst);
        let outstanding = planned.saturating_sub(acknowledged + abandoned);
        CallbackCounts { planned, sent, acknowledged, abandoned, outstanding, posts }
    }

    /// Comes back once every planned report was acknowledged or given up.
    pub(crate) async fn idle(&self) {
        loop {
            let changed = self.changed.notified();
            if self.counts().outstanding == 0 {
                return;
            }
            changed.await;
        }
    }
}

//! The witness: every message that a vendor accepted, and every send request that arrived.
//!
//! Records are compact and lie in sealed chunks, so that a question costs the sends no more than copying a
//! few pointers. It must never lose an acceptance, and never hold its lock across an await.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

use serde::Serialize;

use crate::ids::Ids;
use crate::vendor::Vendor;

const CHUNK: usize = 4_096;
/// Names beyond this many are told apart no more: a guard against a caller that makes up names without end.
const MAX_NAMES: usize = 1_000_000;

/// A message that a vendor accepted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct AcceptedMessage {
    /// Number in the order of acceptance, over all vendors, from 0.
    pub sequence: u32,
    /// The vendor that accepted it.
    pub vendor: Vendor,
    /// Account: Exotel's sid, sobot.io's app id, sobot.in's access key.
    pub account: String,
    /// Sender as given; empty for sobot.in, where requests have none.
    pub from: String,
    /// Recipient's digits as a number.
    pub to: u64,
    /// The id that the answer gave it.
    pub vendor_id: String,
    /// `name/language` of the template, or the message's type in brackets, such as `(text)`.
    pub template: String,
    /// A hash of the content; equal contents have equal ones.
    pub digest: u64,
    /// Exotel's custom data, the most specific one given; else empty.
    pub custom_data: String,
    /// Milliseconds since the simulator started.
    pub at_ms: u64,
    /// Microseconds since the simulator started.
    pub at_us: u64,
}

/// A recipient who was sent the same template through the same account more than once.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Duplicate {
    /// The vendor.
    pub vendor: Vendor,
    /// The account.
    pub account: String,
    /// Recipient's digits as a number.
    pub to: u64,
    /// `name/language`, or `(type)`; messages without template count as the same only with equal content.
    pub template: String,
    /// How often it was accepted, at least 2.
    pub count: u32,
}

/// A send request that arrived, whatever became of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Arrival {
    /// Microseconds since the simulator started.
    pub at_us: u64,
    /// The vendor.
    pub vendor: Vendor,
    /// The account.
    pub account: String,
    /// The sender (of the request's first message).
    pub from: String,
    /// Messages in the request.
    pub messages: u16,
    /// Messages of it that were accepted.
    pub accepted: u16,
    /// HTTP status that was decided, also when the answer was never sent.
    pub status: u16,
}

/// A message about to be recorded; names are interned before.
pub(crate) struct NewRecord<'a> {
    pub(crate) to: u64,
    pub(crate) digest: u64,
    pub(crate) origin: u32,
    pub(crate) template: u32,
    pub(crate) url: u32,
    pub(crate) failure: u32,
    pub(crate) custom_data: &'a str,
}

#[derive(Clone, Copy)]
pub(crate) struct Record {
    pub(crate) to: u64,
    pub(crate) digest: u64,
    pub(crate) at_us: u64,
    pub(crate) origin: u32,
    pub(crate) template: u32,
    pub(crate) url: u32,
    pub(crate) failure: u32,
    custom_at: u32,
    custom_len: u32,
}

/// An arrival whose names are interned: three words, kept by the million.
#[derive(Clone, Copy)]
pub(crate) struct CompactArrival {
    at_us: u64,
    origin: u32,
    messages: u16,
    accepted: u16,
    status: u16,
}

#[derive(Clone, Default)]
pub(crate) struct Chunk {
    records: Vec<Record>,
    text: String,
}

impl Chunk {
    fn custom_data(&self, record: &Record) -> &str {
        let start = record.custom_at as usize;
        self.text.get(start..start + record.custom_len as usize).unwrap_or_default()
    }
}

#[derive(Default)]
struct Log {
    sealed: Vec<Arc<Chunk>>,
    open: Chunk,
}

/// Numbers by name, and names by number.
type NamesInner = (HashMap<Arc<str>, u32>, Vec<Arc<str>>);

/// Names that are used by millions of records, each kept once. Number 0 is the empty name.
pub(crate) struct Names {
    inner: RwLock<NamesInner>,
}

impl Default for Names {
    fn default() -> Self {
        let empty: Arc<str> = Arc::from("");
        Names { inner: RwLock::new((HashMap::from([(empty.clone(), 0)]), vec![empty])) }
    }
}

impl Names {
    pub(crate) fn number(&self, name: &str) -> u32 {
        let known = self.inner.read().unwrap_or_else(PoisonError::into_inner).0.get(name).copied();
        if let Some(number) = known {
            return number;
        }
        let mut inner = self.inner.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(number) = inner.0.get(name) {
            return *number;
        }
        let number = u32::try_from(inner.1.len()).unwrap_or(0);
        if inner.1.len() >= MAX_NAMES {
            return 0;
        }
        let name: Arc<str> = Arc::from(name);
        inner.0.insert(name.clone(), number);
        inner.1.push(name);
        number
    }

    pub(crate) fn name(&self, number: u32) -> Arc<str> {
        let inner = self.inner.read().unwrap_or_else(PoisonError::into_inner);
        inner.1.get(number as usize).or_else(|| inner.1.first()).cloned().unwrap_or_else(|| Arc::from(""))
    }
}

/// Where a message came from: vendor, account and sender in one interned name.
#[derive(Clone)]
pub(crate) struct Origin(Arc<str>);

impl Origin {
    pub(crate) fn vendor(&self) -> Vendor {
        match self.part(0) {
            "sobot_io" => Vendor::SobotIo,
            "sobot_in" => Vendor::SobotIn,
            _ => Vendor::Exotel,
        }
    }

    pub(crate) fn account(&self) -> &str {
        self.part(1)
    }

    pub(crate) fn sender(&self) -> &str {
        self.part(2)
    }

    fn part(&self, position: usize) -> &str {
        self.0.split('\u{1f}').nth(position).unwrap_or_default()
    }
}

/// The ledger of all three vendors.
pub(crate) struct Ledger {
    ids: Ids,
    log: Mutex<Log>,
    arrivals: Mutex<Vec<CompactArrival>>,
    kept_arrivals: usize,
    arrivals_total: AtomicU64,
    accepted: [AtomicU64; 3],
    changed: tokio::sync::Notify,
    origins: Names,
    pub(crate) templates: Names,
    pub(crate) urls: Names,
}

impl Ledger {
    pub(crate) fn new(ids: Ids, kept_arrivals: usize) -> Ledger {
        Ledger {
            ids,
            log: Mutex::default(),
            arrivals: Mutex::default(),
            kept_arrivals,
            arrivals_total: AtomicU64::new(0),
            accepted: Default::default(),
            changed: tokio::sync::Notify::new(),
            origins: Names::default(),
            templates: Names::default(),
            urls: Names::default(),
        }
    }

    pub(crate) fn origin(&self, vendor: Vendor, account: &str, from: &str) -> u32 {
        self.origins.number(&format!("{}\u{1f}{account}\u{1f}{from}", vendor.name()))
    }

    /// Vendor, account and sender of an origin.
    pub(crate) fn origin_of(&self, origin: u32) -> Origin {
        Origin(self.origins.name(origin))
    }

    /// Records an acceptance, all messages of a request at once; returns the number of the first.
    pub(crate) fn accept(&self, vendor: Vendor, at_us: u64, messages: &[NewRecord<'_>]) -> u32 {
        let mut log = self.lock();
        let first = log.sealed.len() * CHUNK + log.open.records.len();
        for message in messages {
            let (at, length) = (log.open.text.len(), message.custom_data.len());
            log.open.text.push_str(message.custom_data);
            log.open.records.push(Record {
                to: message.to,
                digest: message.digest,
                at_us,
                origin: message.origin,
                template: message.template,
                url: message.url,
                failure: message.failure,
                custom_at: u32::try_from(at).unwrap_or(u32::MAX),
                custom_len: u32::try_from(length).unwrap_or(0),
            });
            if log.open.records.len() == CHUNK {
                let mut full = std::mem::take(&mut log.open);
                full.text.shrink_to_fit();
                log.sealed.push(Arc::new(full));
                log.open.records.reserve_exact(CHUNK);
            }
        }
        drop(log);
        self.accepted[vendor as usize].fetch_add(messages.len() as u64, Ordering::Relaxed);
        self.changed.notify_waiters();
        u32::try_from(first).unwrap_or(u32::MAX)
    }

    /// Keeps a request for rate checks.
    pub(crate) fn arrived(&self, at_us: u64, origin: u32, messages: usize, accepted: usize, status: u16) {
        self.arrivals_total.fetch_add(1, Ordering::Relaxed);
        let count = |number: usize| u16::try_from(number).unwrap_or(u16::MAX);
        let mut arrivals = self.arrivals.lock().unwrap_or_else(PoisonError::into_inner);
        if arrivals.len() < self.kept_arrivals {
            let (messages, accepted) = (count(messages), count(accepted));
            arrivals.push(CompactArrival { at_us, origin, messages, accepted, status });
        }
    }

    /// Reads one record under the lock; `None` for a number not given out yet.
    pub(crate) fn read<T>(&self, sequence: u32, with: impl FnOnce(&Record, &str) -> T) -> Option<T> {
        let log = self.lock();
        let (chunk, position) = (sequence as usize / CHUNK, sequence as usize % CHUNK);
        let chunk = match log.sealed.get(chunk) {
            Some(sealed) => sealed.as_ref(),
            None if chunk == log.sealed.len() => &log.open,
            None => return None,
        };
        chunk.records.get(position).map(|record| with(record, chunk.custom_data(record)))
    }

    /// What is recorded so far; costs the writers a copy of one chunk at most.
    pub(crate) fn snapshot(&self) -> Vec<Arc<Chunk>> {
        let log = self.lock();
        let mut chunks = log.sealed.clone();
        chunks.push(Arc::new(log.open.clone()));
        chunks
    }

    pub(crate) fn accepted_total(&self) -> u64 {
        Vendor::ALL.into_iter().map(|vendor| self.accepted_of(vendor)).sum()
    }

    pub(crate) fn accepted_of(&self, vendor: Vendor) -> u64 {
        self.accepted[vendor as usize].load(Ordering::Relaxed)
    }

    pub(crate) fn arrivals_total(&self) -> u64 {
        self.arrivals_total.load(Ordering::Relaxed)
    }

    /// Comes back once at least so many messages were accepted.
    pub(crate) async fn accepted_at_least(&self, count: u64) {
        loop {
            let changed = self.changed.notified();
            if self.accepted_total() >= count {
                return;
            }
            changed.await;
        }
    }

    /// Requests kept so far, in the order of arrival, without their names.
    pub(crate) fn compact_arrivals(&self) -> Vec<CompactArrival> {
        let mut kept = self.arrivals.lock().unwrap_or_else(PoisonError::into_inner).clone();
        kept.sort_by_key(|arrival| arrival.at_us);
        kept
    }

    /// An arrival with its names.
    pub(crate) fn arrival(&self, compact: &CompactArrival) -> Arrival {
        let origin = self.origin_of(compact.origin);
        Arrival {
            at_us: compact.at_us,
            vendor: origin.vendor(),
            account: origin.account().to_owned(),
            from: origin.sender().to_owned(),
            messages: compact.messages,
            accepted: compact.accepted,
            status: compact.status,
        }
    }

    pub(crate) fn arrivals(&self) -> Vec<Arrival> {
        self.compact_arrivals().iter().map(|compact| self.arrival(compact)).collect()
    }

    /// Calls `visit` for every message accepted so far, in order.
    pub(crate) fn visit(&self, mut visit: impl FnMut(u32, &Record, &str)) {
        let mut sequence = 0;
        for chunk in self.snapshot() {
            for record in &chunk.records {
                visit(sequence, record, chunk.custom_data(record));
                sequence += 1;
            }
        }
    }

    pub(crate) fn message(&self, sequence: u32, record: &Record, custom_data: &str) -> AcceptedMessage {
        let origin = self.origin_of(record.origin);
        let vendor = origin.vendor();
        AcceptedMessage {
            sequence,
            vendor,
            account: origin.account().to_owned(),
            from: origin.sender().to_owned(),
            to: record.to,
            vendor_id: self.ids.message(vendor, sequence, record.to),
            template: self.templates.name(record.template).to_string(),
            digest: record.digest,
            custom_data: custom_data.to_owned(),
            at_ms: record.at_us / 1_000,
            at_us: record.at_us,
        }
    }

    pub(crate) fn accepted_by_recipient(&self) -> HashMap<u64, u32> {
        let mut counts = HashMap::new();
        self.visit(|_, record, _| *counts.entry(record.to).or_insert(0) += 1);
        counts
    }

    /// Sorting keys takes less memory than counting in a map, and no time from the sends.
    pub(crate) fn duplicates(&self) -> Vec<Duplicate> {
        let mut accounts = HashMap::new();
        let mut free_form = HashMap::new();
        let mut keys = Vec::new();
        self.visit(|_, record, _| {
            let account = *accounts.entry(record.origin).or_insert_with(|| {
                let origin = self.origin_of(record.origin);
                self.origin(origin.vendor(), origin.account(), "")
            });
            let is_free = *free_form
                .entry(record.template)
                .or_insert_with(|| self.templates.name(record.template).starts_with('('));
            keys.push((record.to, account, record.template, if is_free { record.digest } else { 0 }));
        });
        keys.sort_unstable();
        let same = keys.chunk_by(|left, right| left == right).filter(|group| group.len() > 1);
        same.map(|group| {
            let (to, origin, template, _) = group[0];
            let origin = self.origin_of(origin);
            Duplicate {
                vendor: origin.vendor(),
                account: origin.account().to_owned(),
                to,
                template: self.templates.name(template).to_string(),
                count: u32::try_from(group.len()).unwrap_or(u32::MAX),
            }
        })
        .collect()
    }

    fn lock(&self) -> MutexGuard<'_, Log> {
        self.log.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Chunk {
    pub(crate) fn records(&self) -> &[Record] {
        &self.records
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(ledger: &Ledger, to: u64, template: &str, custom_data: &str) -> u32 {
        let origin = ledger.origin(Vendor::Exotel, "acme", "+91");
        let template = ledger.templates.number(template);
        let message = NewRecord { to, digest: 7, origin, template, url: 0, failure: 0, custom_data };
        ledger.accept(Vendor::Exotel, 5_000, &[message])
    }

    #[test]
    fn every_acceptance_is_kept_in_order_across_chunks() {
        let ledger = Ledger::new(Ids::new(1), 10);
        for number in 0..10_000_u32 {
            assert_eq!(record(&ledger, u64::from(number), "a/en", &format!("c{number}")), number);
        }
        assert_eq!(ledger.accepted_total(), 10_000);
        let mut seen = 0;
        ledger.visit(|sequence, record, custom| {
            assert_eq!((u64::from(sequence), custom), (record.to, format!("c{sequence}").as_str()));
            seen += 1;
        });
        assert_eq!(seen, 10_000);
        assert_eq!(ledger.read(9_999, |record, _| record.to), Some(9_999));
        assert_eq!(ledger.read(10_000, |record, _| record.to), None);
        assert!(ledger.duplicates().is_empty());
    }

    #[test]
    fn duplicates_are_by_recipient_account_and_template() {
        let ledger = Ledger::new(Ids::new(1), 10);
        for (to, template) in [(1, "a/en"), (1, "b/en"), (2, "a/en"), (2, "a/en"), (2, "a/en")] {
            record(&ledger, to, template, "");
        }
        let duplicates = ledger.duplicates();
        assert_eq!(duplicates.len(), 1);
        assert_eq!((duplicates[0].to, duplicates[0].count, duplicates[0].template.as_str()), (2, 3, "a/en"));
        assert_eq!(ledger.accepted_by_recipient(), HashMap::from([(1, 2), (2, 3)]));
    }
}

//! What the vendors share: options, clock, ledger, faults, callbacks. Vendors' own state lies in their
//! modules' types.

use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

use crate::callbacks::Callbacks;
use crate::clock::Clock;
use crate::customers::Customers;
use crate::exceptions::Exceptions;
use crate::faults::{FaultRule, FaultSet};
use crate::ids::Ids;
use crate::ledger::Ledger;
use crate::options::SimulatorOptions;
use crate::pump::HttpClient;
use crate::random::{Random, mix};
use crate::records::Refusal;
use crate::samples::Samples;
use crate::templates::Templates;
use crate::tokens::Tokens;
use crate::vendor::Vendor;

pub(crate) struct World {
    pub(crate) options: SimulatorOptions,
    pub(crate) clock: Clock,
    pub(crate) ids: Ids,
    pub(crate) ledger: Ledger,
    pub(crate) callbacks: Callbacks,
    pub(crate) samples: Samples,
    pub(crate) tokens: Tokens,
    pub(crate) templates: Templates,
    pub(crate) customers: Customers,
    pub(crate) exceptions: Exceptions,
    pub(crate) refusals: Mutex<VecDeque<Refusal>>,
    pub(crate) client: HttpClient,
    faults: RwLock<Arc<FaultSet>>,
    callback_urls: RwLock<BTreeMap<String, String>>,
    /// The current second and the requests in it, by vendor.
    windows: [AtomicU64; 3],
    requests: AtomicU64,
}

impl World {
    pub(crate) fn new(options: SimulatorOptions) -> World {
        let clock = Clock::start(options.wall_offset_ms);
        // Ids must not repeat from run to run, so the start's time is part of the key.
        let ids = Ids::new(mix(options.seed ^ mix(clock.wall_ms(0).unsigned_abs())));
        World {
            ids,
            ledger: Ledger::new(ids, options.kept_arrivals),
            callbacks: Callbacks::new(options.callbacks.clone()),
            samples: Samples::new(options.kept_requests),
            tokens: Tokens::default(),
            templates: Templates::new(options.extra_templates),
            customers: Customers::default(),
            exceptions: Exceptions::default(),
            refusals: Mutex::default(),
            client: crate::pump::client(),
            faults: RwLock::new(Arc::new(FaultSet::new(options.seed, options.faults.clone()))),
            callback_urls: RwLock::new(options.callback_urls.clone()),
            windows: Default::default(),
            requests: AtomicU64::new(0),
            clock,
            options,
        }
    }

    pub(crate) fn faults(&self) -> Arc<FaultSet> {
        self.faults.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(crate) fn set_faults(&self, rules: Vec<FaultRule>) {
        let set = Arc::new(FaultSet::new(self.options.seed, rules));
        *self.faults.write().unwrap_or_else(PoisonError::into_inner) = set;
    }

    /// The address registered for an account, else for its vendor.
    pub(crate) fn callback_url(&self, vendor: Vendor, account: &str) -> Option<String> {
        let urls = self.callback_urls.read().unwrap_or_else(PoisonError::into_inner);
        if urls.is_empty() {
            return None;
        }
        let own = urls.get(&format!("{vendor}/{account}"));
        own.or_else(|| urls.get(vendor.name())).filter(|url| !url.is_empty()).cloned()
    }

    pub(crate) fn register_callback_urls(&self, new: BTreeMap<String, String>) {
        self.callback_urls.write().unwrap_or_else(PoisonError::into_inner).extend(new);
    }

    /// New options for the reports of messages that are accepted from now on.
    pub(crate) fn set_callback_options(&self, options: crate::options::CallbackOptions) {
        let from = u32::try_from(self.ledger.accepted_total()).unwrap_or(u32::MAX);
        self.callbacks.set_options(from, options);
    }

    /// A number for each request, for ids.
    pub(crate) fn next_request(&self) -> u64 {
        self.requests.fetch_add(1, Ordering::Relaxed)
    }

    /// Counts a request against the vendor's limit; true when there were too many in this second.
    pub(crate) fn is_over_limit(&self, vendor: Vendor, at_us: u64) -> bool {
        let Some(limit) = self.options.requests_per_second.get(&vendor) else { return false };
        let second = (at_us / 1_000_000) << 32;
        let count = |window: u64| Some(if window >> 32 == second >> 32 { window + 1 } else { second + 1 });
        let before = self.windows[vendor as usize]
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, count)
            .unwrap_or_default();
        before >> 32 == second >> 32 && (before & 0xFFFF_FFFF) >= u64::from(*limit)
    }

    pub(crate) fn latency(&self, vendor: Vendor, at_us: u64) -> Duration {
        match self.options.latency_ms.get(&vendor) {
            None => Duration::ZERO,
            Some(range) => {
                let mut random = Random::new(self.options.seed, at_us ^ 0x4C41_5445);
                Duration::from_millis(random.between(range.min, range.max))
            }
        }
    }
}

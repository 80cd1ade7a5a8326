//! What moves now, for pages and metrics: kept in memory, never the truth about anything.

use std::{
    collections::{HashMap, VecDeque},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use tokio::time::Instant;

/// Rates are taken over this time.
const WINDOW: Duration = Duration::from_secs(5);
/// The lease loop turns each second, and each statement of it may wait for a connection.
const LEASE_LOOP: Duration = Duration::from_secs(20);
/// Departures within one slice are kept as one.
const SLICE: Duration = Duration::from_millis(250);

/// A task as it moves.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct TaskLive {
    /// Messages that left per second lately.
    pub messages_per_second: f64,
}

/// An account as it moves.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct AccountLive {
    /// This node owns it.
    pub is_owned: bool,
    /// Calls under way.
    pub in_flight: usize,
    /// Calls that may be under way at once: fewer for a vendor that is overloaded.
    pub calls_at_once: usize,
    /// Messages that one call may hold: fewer for a vendor that leaves batches unanswered.
    pub messages_per_call: usize,
    /// Messages that left per second lately.
    pub messages_per_second: f64,
    /// For how long the breaker stays open yet.
    pub breaker_open_for: Option<Duration>,
    /// Outcomes cannot be recorded: nothing new is taken.
    pub database_is_away: bool,
}

/// The register of what moves. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Live(Arc<Mutex<Inner>>);

#[derive(Debug, Default)]
struct Inner {
    tasks: HashMap<i64, Meter>,
    accounts: HashMap<String, (Meter, AccountLive)>,
    lease_loop_at: Option<Instant>,
}

#[derive(Debug, Default)]
struct Meter(VecDeque<(Instant, u32)>);

impl Meter {
    fn add(&mut self, now: Instant, n: u32) {
        match self.0.back_mut() {
            Some((at, sum)) if now - *at < SLICE => *sum += n,
            _ => self.0.push_back((now, n)),
        }
        while self.0.front().is_some_and(|(at, _)| *at + WINDOW < now) {
            self.0.pop_front();
        }
    }

    fn rate(&self, now: Instant) -> f64 {
        let recent = self.0.iter().filter(|(at, _)| *at + WINDOW >= now);
        let (first, sum) = recent.fold((None, 0), |(first, sum), (at, n)| (first.or(Some(*at)), sum + n));
        // A run that began a moment ago is measured over its own time, but never over less than a second.
        first.map_or(0.0, |first| {
            f64::from(sum) / (now - first).clamp(Duration::from_secs(1), WINDOW).as_secs_f64()
        })
    }
}

impl Live {
    /// What moves of a task.
    #[must_use]
    pub fn task(&self, task_id: i64) -> TaskLive {
        let inner = self.lock();
        let rate = inner.tasks.get(&task_id).map_or(0.0, |meter| meter.rate(Instant::now()));
        TaskLive { messages_per_second: rate }
    }

    /// What moves of an account.
    #[must_use]
    pub fn account(&self, name: &str) -> AccountLive {
        let inner = self.lock();
        inner.accounts.get(name).map_or_else(AccountLive::default, |(meter, live)| AccountLive {
            messages_per_second: meter.rate(Instant::now()),
            ..live.clone()
        })
    }

    /// The loop that renews leases has turned lately.
    #[must_use]
    pub fn is_lease_loop_alive(&self) -> bool {
        self.lock().lease_loop_at.is_some_and(|at| at.elapsed() < LEASE_LOOP)
    }

    pub(crate) fn lease_loop_turned(&self) {
        self.lock().lease_loop_at = Some(Instant::now());
    }

    pub(crate) fn departed(&self, account: &str, task_id: i64, n: u32) {
        let now = Instant::now();
        let mut inner = self.lock();
        inner.tasks.entry(task_id).or_default().add(now, n);
        if let Some((meter, _)) = inner.accounts.get_mut(account) {
            meter.add(now, n);
        }
    }

    pub(crate) fn set_account(&self, name: &str, live: AccountLive) {
        self.lock().accounts.entry(name.to_owned()).or_default().1 = live;
    }

    /// Forgets the tasks that have not moved for a while.
    pub(crate) fn forget_idle(&self) {
        let now = Instant::now();
        self.lock().tasks.retain(|_, meter| meter.0.back().is_some_and(|(at, _)| *at + WINDOW >= now));
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

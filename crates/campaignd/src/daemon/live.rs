//! What pages ask of the running parts: rates, what is waited for, whether leases are renewed.

use std::sync::{
    Arc, OnceLock,
    atomic::{AtomicBool, Ordering},
};

use chrono::TimeDelta;
use dispatcher::{CallPermit, Dispatcher, StopTasks, Wake};
use model::Clock;

struct Parts {
    live: dispatcher::Live,
    wake: Wake,
    stop_tasks: StopTasks,
    call_permit: CallPermit,
}

/// The running parts, once they run.
#[derive(Clone, Default)]
pub struct Running(Arc<Inner>);

#[derive(Default)]
struct Inner {
    parts: OnceLock<Parts>,
    clock: OnceLock<Clock>,
    is_stopping: AtomicBool,
}

impl Running {
    /// The dispatcher has started.
    pub fn set(&self, dispatcher: &Dispatcher, clock: &Clock) {
        let _ = self.0.clock.set(clock.clone());
        let parts = Parts {
            live: dispatcher.live(),
            wake: dispatcher.wake(),
            stop_tasks: dispatcher.stop_tasks(),
            call_permit: dispatcher.call_permit(),
        };
        let _ = self.0.parts.set(parts);
    }

    /// The dispatcher is about to end.
    pub fn stop(&self) {
        self.0.is_stopping.store(true, Ordering::Release);
    }

    /// The hooks of the server.
    pub fn hooks(&self, accounts: Vec<String>) -> server::Live {
        let [of_account, of_task, of_wake, of_stop, of_permit, of_lease, of_database, of_metrics] =
            std::array::from_fn(|_| self.clone());
        let names = accounts.clone();
        server::Live {
            account: Arc::new(move |name| of_account.account(name)),
            task: Arc::new(move |account, task_id| of_task.task(account, task_id)),
            wake: Arc::new(move |account| {
                if let Some(parts) = of_wake.0.parts.get() {
                    (parts.wake)(account);
                }
            }),
            stop_tasks: Arc::new(move |account, task_ids| match of_stop.0.parts.get() {
                Some(parts) => (parts.stop_tasks)(account, task_ids),
                None => Box::pin(async {}),
            }),
            call_permit: Arc::new(move |account| match of_permit.0.parts.get() {
                Some(parts) => (parts.call_permit)(account),
                None => Box::pin(async {}),
            }),
            is_lease_loop_alive: Arc::new(move || of_lease.is_alive()),
            is_database_away: Arc::new(move || of_database.is_database_away(&names)),
            metrics: Arc::new(move |text| of_metrics.metrics(&accounts, text)),
        }
    }

    fn is_alive(&self) -> bool {
        let lives = self.0.parts.get().is_some_and(|parts| parts.live.is_lease_loop_alive());
        lives && !self.0.is_stopping.load(Ordering::Acquire)
    }

    fn is_database_away(&self, accounts: &[String]) -> bool {
        let is_away =
            |live: &dispatcher::Live| accounts.iter().any(|name| live.account(name).database_is_away);
        self.0.parts.get().is_some_and(|parts| is_away(&parts.live))
    }

    fn account(&self, name: &str) -> server::AccountLive {
        let Some(Parts { live, .. }) = self.0.parts.get() else { return server::AccountLive::default() };
        let now = live.account(name);
        let breaker = match now.breaker_open_for {
            None => api::Breaker::Closed,
            Some(left) if left.is_zero() => api::Breaker::Probing,
            Some(_) => api::Breaker::Open,
        };
        let count = |n: usize| i64::try_from(n).unwrap_or(i64::MAX);
        server::AccountLive {
            owned: now.is_owned,
            rate_per_second: now.messages_per_second,
            in_flight: count(now.in_flight),
            calls_at_once: count(now.calls_at_once),
            messages_per_call: count(now.messages_per_call),
            breaker,
        }
    }

    fn task(&self, account: &str, task_id: i64) -> Option<server::TaskLive> {
        let Parts { live, .. } = self.0.parts.get()?;
        let account = live.account(account);
        let open_for = account.breaker_open_for.and_then(|left| TimeDelta::from_std(left).ok());
        let (waiting_for, waiting_until) = match open_for {
            _ if account.database_is_away => (Some(api::WaitingFor::Database), None),
            Some(left) => {
                (Some(api::WaitingFor::Breaker), self.0.clock.get().map(|clock| clock.now() + left))
            }
            None => (None, None),
        };
        let messages_per_second = live.task(task_id).messages_per_second;
        Some(server::TaskLive { messages_per_second, waiting_for, waiting_until })
    }

    fn metrics(&self, accounts: &[String], text: &mut String) {
        use std::fmt::Write as _;
        let Some(Parts { live, .. }) = self.0.parts.get() else { return };
        let _ =
            writeln!(text, "# HELP campaignd_messages_per_second Messages that left lately, per account.");
        let _ = writeln!(text, "# TYPE campaignd_messages_per_second gauge");
        for name in accounts {
            let label = server::escape_label(name);
            let rate = live.account(name).messages_per_second;
            let _ = writeln!(text, "campaignd_messages_per_second{{account=\"{label}\"}} {rate:.2}");
        }
    }
}

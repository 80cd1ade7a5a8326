//! What came back: callbacks into states, retries and halts; and the small steps that keep tasks true to the clock.
//!
//! The inbox is written by any node and applied by the account's owner alone. Applying never fails on what a vendor says.

pub mod events;
pub mod inbox;

mod apply;
mod blame;
mod canary;
mod chores;
mod failed;
mod firings;
mod owned;
mod people;
mod records;
mod resend;
mod round;
mod share;
mod vendor_events;
mod waiting;

#[cfg(test)]
mod tests;

use std::{collections::HashMap, pin::Pin, sync::Arc, time::Duration};

use model::{Clock, Random, disposition::Scope, reply_words::ReplyWords};
use store::{Database, leases::Lease};
use tokio::{
    sync::{Notify, Semaphore, watch},
    task::JoinHandle,
};
use tokio_util::sync::CancellationToken;
use vendors::{Account, Vendor};

/// Is told that (account, scope, sender) is too fast.
pub type SlowDown = Arc<dyn Fn(&str, Scope, &str) + Send + Sync>;

/// Waits until the account may make one more call to its vendor, beside those that send.
pub type CallPermit = Arc<dyn Fn(&str) -> Pin<Box<dyn Future<Output = ()> + Send>> + Send + Sync>;

/// What a reconciler is made of.
pub struct Setup {
    /// The database.
    pub db: Database,
    /// Business time.
    pub clock: Clock,
    /// Jitter.
    pub random: Random,
    /// Every account's vendor.
    pub vendors: HashMap<String, Vendor>,
    /// Every account's business numbers, as the configuration writes them.
    pub senders: HashMap<String, Vec<String>>,
    /// The accounts that this node owns, as they change.
    pub leases: watch::Receiver<Vec<Lease>>,
    /// Told when a callback says that a scope of an account is too fast: (account, scope, sender).
    pub slow_down: SlowDown,
    /// Told when an account may have something to send again.
    pub wake_dispatcher: Arc<dyn Fn(&str) + Send + Sync>,
    /// Rings when something was appended to the inbox by this node (`notify_waiters`).
    pub appended: Arc<Notify>,
    /// A scheduled task that is late by more than this waits for a person.
    pub late_after: Duration,
    /// The words by which people stop and start marketing.
    pub reply_words: ReplyWords,
    /// What those are told who stopped it by a reply; none: nothing.
    pub opt_out_confirmation: Option<String>,
    /// The webhooks that are told what happens; none: nothing is written down for them.
    pub events: Vec<Arc<events::Endpoint>>,
}

/// How vendors are asked what they sent, where they keep records of it.
pub struct Records {
    /// Every account's client.
    pub accounts: HashMap<String, Arc<Account>>,
    /// Paces what is asked by the account's limit of calls.
    pub call_permit: CallPermit,
}

impl Default for Records {
    /// Nobody is asked.
    fn default() -> Self {
        Self { accounts: HashMap::new(), call_permit: Arc::new(|_| Box::pin(async {})) }
    }
}

/// What every loop shares.
struct Shared {
    db: Database,
    clock: Clock,
    random: Random,
    vendors: HashMap<String, Vendor>,
    senders: HashMap<String, Vec<String>>,
    records: Records,
    slow_down: SlowDown,
    wake_dispatcher: Arc<dyn Fn(&str) + Send + Sync>,
    late_after: Duration,
    reply_words: ReplyWords,
    opt_out_confirmation: Option<String>,
    events: Vec<Arc<events::Endpoint>>,
    /// Steps of all accounts at once: they share few connections with what sends.
    steps: Semaphore,
    /// Chores of all accounts at once.
    chores: Semaphore,
}

impl Shared {
    /// The account's sender with this number: by its digits, or the only one there is, which may be named by an id.
    fn sender(&self, account: &str, number: &str) -> Option<&str> {
        let digits = |text: &str| text.chars().filter(char::is_ascii_digit).collect::<String>();
        let senders = self.senders.get(account)?;
        let wanted = digits(number);
        let same = senders.iter().find(|sender| !wanted.is_empty() && digits(sender) == wanted);
        let only = senders.first().filter(|_| senders.len() == 1);
        same.or(only).map(String::as_str)
    }
}

/// The running reconciler.
pub struct Reconciler {
    stop: CancellationToken,
    work: JoinHandle<()>,
}

/// The inbox is looked into this often when nothing rings.
const LOOK: Duration = Duration::from_millis(200);
/// Accounts that are worked for at the same instant.
const AT_ONCE: usize = 4;

impl Reconciler {
    /// Starts to apply what comes back.
    #[must_use]
    pub fn start(setup: Setup) -> Self {
        Self::start_asking(setup, Records::default())
    }

    /// Starts to apply what comes back, and to ask vendors about what does not.
    #[must_use]
    pub fn start_asking(setup: Setup, records: Records) -> Self {
        let stop = CancellationToken::new();
        let shared = Arc::new(Shared {
            db: setup.db,
            clock: setup.clock,
            random: setup.random,
            vendors: setup.vendors,
            senders: setup.senders,
            records,
            slow_down: setup.slow_down,
            wake_dispatcher: setup.wake_dispatcher,
            late_after: setup.late_after,
            reply_words: setup.reply_words,
            opt_out_confirmation: setup.opt_out_confirmation,
            events: setup.events,
            steps: Semaphore::new(AT_ONCE),
            chores: Semaphore::new(AT_ONCE),
        });
        let work = tokio::spawn(owned::run(shared, setup.leases, setup.appended, stop.clone()));
        Self { stop, work }
    }

    /// Ends after the step that is under way.
    pub async fn shutdown(self) {
        self.stop.cancel();
        if let Err(error) = self.work.await {
            tracing::error!(%error, "the reconciler died");
        }
    }
}

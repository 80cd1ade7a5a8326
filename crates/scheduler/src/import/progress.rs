//! How far an import has come, counted by its parser and shown about once a second.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicI64, Ordering::Relaxed},
    },
    time::Duration,
};

use model::Clock;
use store::{
    PgPool,
    audiences::{self, Totals},
};
use tokio::time::{self, MissedTickBehavior};

const PERIOD: Duration = Duration::from_secs(1);

/// The counts. One thread writes, others read.
#[derive(Debug, Default)]
pub(super) struct Meter {
    read: AtomicI64,
    accepted: AtomicI64,
    rejected: AtomicI64,
    duplicate: AtomicI64,
    bytes: AtomicI64,
    cancelled: AtomicBool,
}

impl Meter {
    /// Counts a data row; how many there are.
    pub(super) fn row(&self, bytes_read: u64) -> i64 {
        self.set_bytes(bytes_read);
        self.read.fetch_add(1, Relaxed) + 1
    }

    pub(super) fn set_bytes(&self, bytes_read: u64) {
        self.bytes.store(i64::try_from(bytes_read).unwrap_or(i64::MAX), Relaxed);
    }

    /// Counts a recipient; its number.
    pub(super) fn accepted(&self) -> i64 {
        self.accepted.fetch_add(1, Relaxed) + 1
    }

    pub(super) fn rejected(&self) {
        self.rejected.fetch_add(1, Relaxed);
    }

    pub(super) fn duplicate(&self) {
        self.duplicate.fetch_add(1, Relaxed);
    }

    /// Asks the parser to stop.
    pub(super) fn cancel(&self) {
        self.cancelled.store(true, Relaxed);
    }

    pub(super) fn is_cancelled(&self) -> bool {
        self.cancelled.load(Relaxed)
    }

    pub(super) fn totals(&self) -> Totals {
        Totals {
            read: self.read.load(Relaxed),
            accepted: self.accepted.load(Relaxed),
            rejected: self.rejected.load(Relaxed),
            duplicate: self.duplicate.load(Relaxed),
            bytes_read: self.bytes.load(Relaxed),
        }
    }
}

/// Shows the counts each second, and cancels the import when its audience is no longer importing. Never ends by itself.
pub(super) async fn show(pool: PgPool, clock: Clock, audience_id: i64, meter: Arc<Meter>) {
    let mut ticks = time::interval(PERIOD);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let shown = match pool.acquire().await {
            Ok(mut connection) => {
                audiences::update_progress(&mut connection, audience_id, &meter.totals(), clock.now()).await
            }
            Err(error) => Err(store::Error::database("showing an import's progress")(error)),
        };
        match shown {
            Ok(true) => {}
            Ok(false) => meter.cancel(),
            Err(error) => {
                tracing::warn!(audience.id = audience_id, %error, "an import's progress could not be shown");
            }
        }
    }
}

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

/// The counts. One thread writes them every few hundred rows, others read.
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
    /// Shows what the parser has counted by itself.
    pub(super) fn show(&self, totals: &Totals) {
        self.read.store(totals.read, Relaxed);
        self.accepted.store(totals.accepted, Relaxed);
        self.rejected.store(totals.rejected, Relaxed);
        self.duplicate.store(totals.duplicate, Relaxed);
        self.bytes.store(totals.bytes_read, Relaxed);
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

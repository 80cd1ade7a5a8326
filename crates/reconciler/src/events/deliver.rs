//! Batches to their webhooks: those of one task one after the other, those of several tasks at once. A batch that is not taken
//! holds back its own task alone, and is tried again until it is given up.

use std::{
    collections::HashSet,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use chrono::{DateTime, TimeDelta, Utc};
use model::event;
use store::{
    Error, PgTransaction,
    database::LIMIT_STEP,
    event_batches::{self, Batch, Posted},
    leases::{self, Lease},
};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::{Endpoint, Tried, body, message_id};
use crate::Shared;

/// Between two looks for what is due.
const LOOK: Duration = Duration::from_millis(250);
/// Tasks that are looked at once. More than may be under way, so that there are always others among them.
const LOOKED_AT: i64 = 256;
/// Batches of one task that are posted in a row; then others get their turn.
const IN_A_ROW: usize = 20;

/// The way of one account's events to one webhook.
pub(super) struct Delivery {
    pub(super) shared: Arc<Shared>,
    pub(super) lease: Lease,
    pub(super) endpoint: Arc<Endpoint>,
    /// Tasks whose batches are under way.
    pub(super) busy: Mutex<HashSet<i64>>,
}

impl Delivery {
    /// Posts what is due until `stop`. What is under way then is posted again by the next owner, under the same id.
    pub(super) async fn run(self: Arc<Self>, stop: CancellationToken) {
        let mut under_way = JoinSet::new();
        while !stop.is_cancelled() {
            if let Err(error) = self.begin(&mut under_way).await {
                let (account, webhook) = (&self.lease.account, &self.endpoint.webhook.name);
                tracing::warn!(account.name = account, webhook.name = webhook, %error, "events cannot be read; trying again");
            }
            tokio::select! {
                () = stop.cancelled() => {}
                () = tokio::time::sleep(LOOK) => {}
            }
            while let Some(ended) = under_way.try_join_next() {
                if let Err(error) = ended {
                    tracing::error!(%error, "a delivery of events died; it is begun again");
                }
            }
        }
    }

    /// Begins with the tasks that are due, as many as may be under way.
    async fn begin(self: &Arc<Self>, under_way: &mut JoinSet<()>) -> store::Result<()> {
        for task_id in self.due().await? {
            if self.is_busy(task_id) {
                continue;
            }
            let Ok(permit) = Arc::clone(&self.endpoint.in_flight).try_acquire_owned() else { break };
            let turn = Turn::take(Arc::clone(self), task_id);
            under_way.spawn(async move {
                turn.drain().await;
                drop(permit);
            });
        }
        Ok(())
    }

    fn is_busy(&self, task_id: i64) -> bool {
        self.busy.lock().unwrap_or_else(PoisonError::into_inner).contains(&task_id)
    }

    async fn due(&self) -> store::Result<Vec<i64>> {
        let Ok(_turn) = self.shared.chores.acquire().await else { return Ok(Vec::new()) };
        let attempted = "looking which events are due";
        let (account, webhook) = (&self.lease.account, &self.endpoint.webhook.name);
        let look = async {
            let mut conn = self.shared.db.background.acquire().await.map_err(Error::database(attempted))?;
            event_batches::due(&mut conn, account, webhook, self.shared.clock.now(), LOOKED_AT).await
        };
        self.shared.db.within(LIMIT_STEP, attempted, look).await
    }

    /// A transaction of the account's owner, and of nobody else.
    async fn begin_fenced(&self, attempted: &'static str) -> store::Result<PgTransaction<'static>> {
        let mut transaction =
            store::begin_in(&self.shared.db.background).await.map_err(Error::database(attempted))?;
        leases::fence(&mut transaction, &self.lease).await?;
        Ok(transaction)
    }

    async fn read(&self, task_id: i64) -> store::Result<Option<Batch>> {
        let Ok(_turn) = self.shared.chores.acquire().await else { return Ok(None) };
        let attempted = "reading a batch of events";
        let read = async {
            let mut transaction = self.begin_fenced(attempted).await?;
            let now = self.shared.clock.now();
            event_batches::head(&mut transaction, &self.endpoint.webhook.name, task_id, now).await
        };
        self.shared.db.within(LIMIT_STEP, attempted, read).await
    }

    async fn record(&self, batch: &Batch, posted: &Posted, now: DateTime<Utc>) -> store::Result<()> {
        let Ok(_turn) = self.shared.chores.acquire().await else { return Ok(()) };
        let attempted = "recording what came of events";
        let write = async {
            let mut transaction = self.begin_fenced(attempted).await?;
            let (account, webhook) = (&self.lease.account, &self.endpoint.webhook.name);
            event_batches::record(&mut transaction, account, webhook, batch, posted, now).await?;
            transaction.commit().await.map_err(Error::database(attempted))
        };
        self.shared.db.within(LIMIT_STEP, attempted, write).await
    }

    /// Posts the task's first batch; whether it was taken, so that the next one may follow.
    async fn post_next(&self, task_id: i64) -> store::Result<bool> {
        let Some(batch) = self.read(task_id).await? else { return Ok(false) };
        let body = body::of(&batch);
        let tried = self.endpoint.post(&message_id(batch.id), body, self.shared.clock.now()).await;
        hooks::point!("events.posted");
        let now = self.shared.clock.now();
        let posted = judge(&tried, batch.tries, now);
        self.record(&batch, &posted, now).await?;
        self.tell(&batch, &posted);
        Ok(tried.is_delivered())
    }

    fn tell(&self, batch: &Batch, posted: &Posted) {
        let (webhook, tries) = (&self.endpoint.webhook.name, batch.tries + 1);
        match posted {
            Posted::Taken => {}
            Posted::Again { at, error } => {
                tracing::debug!(task.id = batch.task_id, webhook.name = webhook, tries, %at, error, "events were not taken");
            }
            Posted::GivenUp { error } => tracing::warn!(
                task.id = batch.task_id,
                webhook.name = webhook,
                tries,
                error,
                "events were given up; `campaignd event dead-letters` lists them, `event redrive` posts them again"
            ),
        }
    }
}

/// What becomes of a batch after a try, when `tries` had failed before.
fn judge(tried: &Tried, tries: usize, now: DateTime<Utc>) -> Posted {
    let Some(error) = tried.error.clone() else { return Posted::Taken };
    let next = event::next_try_after(tries + 1).filter(|_| !tried.is_gone());
    match next.and_then(|after| TimeDelta::from_std(after).ok()) {
        Some(after) => Posted::Again { at: now + after, error },
        None => Posted::GivenUp { error },
    }
}

/// The right to post a task's batches, which nobody else has meanwhile.
struct Turn {
    delivery: Arc<Delivery>,
    task_id: i64,
}

impl Turn {
    fn take(delivery: Arc<Delivery>, task_id: i64) -> Self {
        delivery.busy.lock().unwrap_or_else(PoisonError::into_inner).insert(task_id);
        Self { delivery, task_id }
    }

    /// Posts one batch after the other, until one is not taken or there is none.
    async fn drain(&self) {
        for _ in 0..IN_A_ROW {
            match self.delivery.post_next(self.task_id).await {
                Ok(true) => {}
                Ok(false) | Err(Error::Fenced) => return,
                Err(error) => {
                    let webhook = &self.delivery.endpoint.webhook.name;
                    tracing::warn!(webhook.name = webhook, %error, "events cannot be delivered; trying again");
                    return;
                }
            }
        }
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        self.delivery.busy.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.task_id);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_batch_is_tried_eight_times_and_one_that_is_gone_once() {
        let now = DateTime::from_timestamp(1_795_000_000, 0).unwrap();
        let tried = |status: u16| Tried { status: Some(status), error: (status != 200).then(String::new) };
        assert_eq!(judge(&tried(200), 7, now), Posted::Taken);
        let again = |tries| matches!(judge(&tried(500), tries, now), Posted::Again { .. });
        assert_eq!((0..8).map(again).collect::<Vec<_>>(), [true, true, true, true, true, true, true, false]);
        let first = Posted::Again { at: now + TimeDelta::seconds(5), error: String::new() };
        assert_eq!(judge(&tried(500), 0, now), first);
        assert_eq!(judge(&tried(410), 0, now), Posted::GivenUp { error: String::new() });
    }
}

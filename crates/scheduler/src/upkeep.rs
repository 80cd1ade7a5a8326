//! What the database needs so that it does not grow for ever: partitions made ahead, old ones dropped, phones listed. And
//! the proof, each night, that its rows and counts agree.
//!
//! Every step may be done by any node at any time, and again. None of them makes senders wait for longer than a moment.

use std::{future::Future, time::Duration};

use model::Clock;
use store::{
    Database, Error, caps, daily, people,
    retention::{self, Removed},
};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::{
    jobs::{Jobs, JobsError},
    nightly_audit,
};

/// After an import its phones are listed within half a minute.
const LIST_PHONES: &str = "15/30 * * * * *";
/// Partitions are made days ahead of their need.
const ROTATE: &str = "0 7 * * * *";
/// At night in most of the places that campaigns are sent from.
const REMOVE: &str = "0 17 20 * * *";
/// Looked at each hour, done once a night: a node that was down in the evening comes to it later.
const AUDIT: &str = "0 37 * * * *";
/// A removal that finds its tables busy is tried again this often.
const TRIES: u32 = 5;
/// Between two tries.
const PAUSE: Duration = Duration::from_secs(20);

/// How long things are kept.
#[derive(Clone, Copy, Debug)]
pub struct Retention {
    /// Messages, after their task's end; none: for ever.
    pub messages_days: Option<u32>,
    /// Raw callbacks.
    pub callbacks_days: u32,
}

/// Keeps the database in shape.
#[derive(Clone)]
pub struct Upkeep {
    database: Database,
    clock: Clock,
    retention: Retention,
    node: Uuid,
    stop: CancellationToken,
}

impl Upkeep {
    /// Does nothing yet.
    #[must_use]
    pub fn new(
        database: Database,
        clock: Clock,
        retention: Retention,
        node: Uuid,
        stop: CancellationToken,
    ) -> Self {
        Self { database, clock, retention, node, stop }
    }

    /// Makes sure now that partitions are ahead, and adds the jobs that go by the clock.
    ///
    /// # Errors
    /// A job cannot be set up.
    pub async fn start(self, jobs: &Jobs) -> Result<(), JobsError> {
        self.rotate().await;
        self.add(jobs, LIST_PHONES, |upkeep| async move { upkeep.list_phones().await }).await?;
        self.add(jobs, ROTATE, |upkeep| async move { upkeep.rotate().await }).await?;
        self.add(jobs, AUDIT, |upkeep| async move { upkeep.audit().await }).await?;
        self.add(jobs, REMOVE, |upkeep| async move { upkeep.remove().await }).await
    }

    async fn add<Work, Turn>(&self, jobs: &Jobs, cron: &str, work: Work) -> Result<(), JobsError>
    where
        Work: Fn(Self) -> Turn + Send + Sync + 'static,
        Turn: Future<Output = ()> + Send + 'static,
    {
        let upkeep = self.clone();
        jobs.add(cron, move || work(upkeep.clone())).await
    }

    /// Lists the phones of audiences that were imported lately.
    pub async fn list_phones(&self) {
        while !self.stop.is_cancelled() {
            let listed = async {
                let mut conn =
                    self.database.general.acquire().await.map_err(Error::database("doing upkeep"))?;
                people::list_phones(&mut conn).await
            };
            match listed.await {
                Ok(true) => {}
                Ok(false) => return,
                Err(error) => {
                    return tracing::warn!(%error, "an audience's phones are not listed yet; trying again");
                }
            }
        }
    }

    /// Makes partitions ahead.
    pub async fn rotate(&self) {
        let rotated = async {
            let mut conn = self.database.general.acquire().await.map_err(Error::database("doing upkeep"))?;
            people::forget_withheld(&mut conn, self.clock.now()).await?;
            while !self.stop.is_cancelled() && daily::forget(&mut conn, self.clock.now()).await? {}
            while !self.stop.is_cancelled() && caps::forget(&mut conn, self.clock.now()).await? {}
            retention::rotate(&mut conn, self.clock.now()).await
        };
        match rotated.await {
            Ok(0) => {}
            Ok(made) => tracing::info!(made, "partitions were made ahead"),
            Err(error) => tracing::error!(%error, "partitions are not made ahead; trying again in an hour"),
        }
    }

    /// Removes what is old enough.
    pub async fn remove(&self) {
        for _ in 0..TRIES {
            match self.remove_once().await {
                Ok(removed) => {
                    for table in &removed.tables {
                        tracing::info!(table, "retention removed a partition");
                    }
                    for kept in &removed.kept {
                        tracing::info!(kept, "retention would remove this, but for what is named");
                    }
                    return;
                }
                Err(error) => tracing::warn!(%error, "retention could not remove old details; trying again"),
            }
            tokio::select! {
                () = tokio::time::sleep(PAUSE) => {}
                () = self.stop.cancelled() => return,
            }
        }
    }

    /// Audits what this night still has to look at, unless another node does.
    pub async fn audit(&self) {
        match nightly_audit::run(&self.database, &self.clock, self.node, &self.stop).await {
            Ok(None) => {}
            Ok(Some(done)) => tracing::info!(tasks = done.tasks, wrong = done.wrong, "the nightly audit"),
            Err(error) => tracing::warn!(%error, "the nightly audit stops here; it goes on within the hour"),
        }
    }

    async fn remove_once(&self) -> store::Result<Removed> {
        let mut conn = self.database.general.acquire().await.map_err(Error::database("doing upkeep"))?;
        let now = self.clock.now();
        let today = now.date_naive();
        let mut removed =
            retention::remove_callbacks(&mut conn, today, self.retention.callbacks_days).await?;
        if let Some(days) = self.retention.messages_days {
            let messages = retention::remove_messages(&mut conn, now, days).await?;
            removed.tables.extend(messages.tables);
            removed.kept.extend(messages.kept);
        }
        Ok(removed)
    }
}

#[cfg(test)]
mod tests;

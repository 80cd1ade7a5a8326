//! System jobs by the clock, in UTC: housekeeping that nobody waits for.
//!
//! Never for what must happen at its time: a job that is missed is not made up for, and one that is still running when its
//! next turn comes is left out. The truth about timed campaigns stands in the database.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use tokio_cron_scheduler::{Job, JobScheduler, JobSchedulerError};

/// The jobs of one process.
pub struct Jobs(JobScheduler);

/// A job cannot be set up.
#[derive(Debug, thiserror::Error)]
#[error("the system jobs cannot be set up: {0}")]
pub struct JobsError(#[from] JobSchedulerError);

impl Jobs {
    /// Starts without any job.
    ///
    /// # Errors
    /// The scheduler cannot be set up.
    pub async fn start() -> Result<Self, JobsError> {
        let scheduler = JobScheduler::new().await?;
        scheduler.start().await?;
        Ok(Self(scheduler))
    }

    /// Runs `job` whenever `cron` says (seconds first, in UTC), unless it is still running from the last time.
    ///
    /// # Errors
    /// `cron` is no cron expression.
    pub async fn add<Work, Turn>(&self, cron: &str, work: Work) -> Result<(), JobsError>
    where
        Work: Fn() -> Turn + Send + Sync + 'static,
        Turn: Future<Output = ()> + Send + 'static,
    {
        let is_running = Arc::new(AtomicBool::new(false));
        let job = Job::new_async(cron, move |_, _| {
            let is_running = Arc::clone(&is_running);
            let turn = (!is_running.swap(true, Ordering::AcqRel)).then(&work);
            Box::pin(async move {
                if let Some(turn) = turn {
                    turn.await;
                    is_running.store(false, Ordering::Release);
                }
            })
        })?;
        self.0.add(job).await?;
        Ok(())
    }

    /// Starts no job any more.
    pub async fn stop(mut self) {
        if let Err(error) = self.0.shutdown().await {
            tracing::warn!(%error, "the system jobs did not stop");
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{sync::Mutex, time::Duration};

    use tokio::sync::mpsc;

    use super::*;

    #[tokio::test]
    async fn a_job_takes_its_turns_but_never_two_at_once() {
        let jobs = Jobs::start().await.unwrap();
        let (began, mut turns) = mpsc::unbounded_channel();
        let (go_on, gate) = mpsc::unbounded_channel::<()>();
        let gate = Arc::new(Mutex::new(Some(gate)));
        jobs.add("* * * * * *", move || {
            began.send(()).unwrap();
            // The first turn waits to be let go on; all later ones find no gate.
            let gate = gate.lock().unwrap().take();
            async move {
                if let Some(mut gate) = gate {
                    gate.recv().await;
                }
            }
        })
        .await
        .unwrap();
        let within = |seconds| Duration::from_secs(seconds);
        tokio::time::timeout(within(10), turns.recv()).await.unwrap();
        assert!(
            tokio::time::timeout(within(3), turns.recv()).await.is_err(),
            "a second turn beside the first"
        );
        go_on.send(()).unwrap();
        tokio::time::timeout(within(10), turns.recv()).await.unwrap();
        jobs.stop().await;
    }

    #[tokio::test]
    async fn what_is_no_cron_expression_is_refused() {
        let jobs = Jobs::start().await.unwrap();
        assert!(jobs.add("every now and then", || async {}).await.is_err());
    }
}

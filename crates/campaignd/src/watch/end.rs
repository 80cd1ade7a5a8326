//! When watching ends, and what is said then.

use std::time::{Duration, Instant};

use api::{Counts, Task, TaskState};
use chrono::{DateTime, Utc};

use crate::{
    context::Outcome,
    output::{thousands, time},
    system,
};

/// Retries due sooner than this are waited for.
const SOON: Duration = Duration::from_secs(5);
/// When nothing moves for so long, what is waiting waits for something else than its time.
const STILL: Duration = Duration::from_secs(15);

/// How watching ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// Nothing is left to send.
    Completed,
    /// Nothing is left to send now; the first retry is due then, where that is known.
    RetriesLater(Option<DateTime<Utc>>),
    /// A halt holds it.
    Halted,
    /// It was stopped for good.
    Cancelled,
}

impl End {
    /// How it has ended, where its state alone says so.
    pub fn of(task: &Task) -> Option<Self> {
        match task.state {
            TaskState::Completed => Some(Self::Completed),
            TaskState::Halted => Some(Self::Halted),
            // Requests that were open when it was cancelled end normally.
            TaskState::Cancelled if task.counts.sending == 0 => Some(Self::Cancelled),
            _ => None,
        }
    }

    pub fn outcome(self) -> Outcome {
        match self {
            Self::Completed | Self::RetriesLater(_) => Outcome::Done,
            Self::Halted | Self::Cancelled => Outcome::Failed,
        }
    }

    /// What a person should know and do.
    pub fn sentences(self, task: &Task) -> Vec<String> {
        let (counts, id) = (&task.counts, task.id);
        let mut sentences = Vec::new();
        match self {
            Self::Completed => {}
            Self::RetriesLater(first) => {
                let first = first.map(|at| format!(", the first at {}", time(at))).unwrap_or_default();
                let retrying = thousands(counts.retrying);
                sentences.push(format!(
                    "nothing is left to send now; {retrying} are tried again later{first}. `campaignd task watch {id}` shows it"
                ));
            }
            Self::Halted => {
                let reason = task.halt_reason.as_deref().unwrap_or("`campaignd halt list` says why");
                sentences.push(format!("task {id} is halted: {reason}"));
                sentences.push(format!("when that is mended: `campaignd task resume {id} --lift`"));
            }
            Self::Cancelled => sentences.push(format!("task {id} was cancelled")),
        }
        if counts.unknown > 0 {
            sentences.push(format!(
                "{} may or may not have reached the vendor and are not sent again by themselves: `campaignd task report {id} --state unknown` lists them, `campaignd task resolve {id}` decides",
                thousands(counts.unknown)
            ));
        }
        sentences
    }
}

/// Whether only retries are left.
pub fn waits_for_retries(task: &Task) -> bool {
    let Counts { queued, sending, retrying, .. } = task.counts;
    task.state == TaskState::Running && queued + sending == 0 && retrying > 0
}

/// Sees when the retries that are left are for later.
#[derive(Debug, Default)]
pub struct Rest {
    last: Option<(Counts, Instant)>,
}

impl Rest {
    /// The end, when no retry is due soon or nothing moves any more.
    pub fn end(&mut self, task: &Task, first_retry: Option<DateTime<Utc>>) -> Option<End> {
        let since = match self.last {
            Some((counts, since)) if counts == task.counts => since,
            _ => {
                self.last = Some((task.counts, Instant::now()));
                return None; // seen once: a retry may be on its way into a request
            }
        };
        let is_later = first_retry.is_some_and(|at| at > system::now() + SOON);
        (is_later || since.elapsed() >= STILL).then_some(End::RetriesLater(first_retry))
    }
}

//! The life of a task: what it is, and what an operator may ask of it.

use crate::counts::Rest;

/// What the database keeps of a task's life. Halts and pauses lie over it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(i16)]
pub enum Phase {
    /// Waits for its time.
    Scheduled = 1,
    /// May send.
    Running = 2,
    /// Nothing is left to send.
    Completed = 3,
    /// Stopped for good by an operator.
    Cancelled = 4,
    /// Stopped for good by the campaign's `expires_at`. Shown as completed.
    Expired = 5,
}

impl Phase {
    /// The phase that the database keeps as `number`.
    #[must_use]
    pub fn from_i16(number: i16) -> Option<Self> {
        [Self::Scheduled, Self::Running, Self::Completed, Self::Cancelled, Self::Expired]
            .into_iter()
            .find(|phase| *phase as i16 == number)
    }

    /// What becomes of those who are not sent to.
    #[must_use]
    pub fn rest(self) -> Rest {
        match self {
            Self::Cancelled => Rest::Cancelled,
            Self::Expired => Rest::Expired,
            Self::Scheduled | Self::Running | Self::Completed => Rest::Waits,
        }
    }
}

/// The state as the HTTP interface shows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(i16)]
pub enum TaskState {
    /// Waits for its time.
    Scheduled = 1,
    /// May send.
    Running = 2,
    /// An operator stopped it for a while.
    Paused = 3,
    /// A halt holds it.
    Halted = 4,
    /// Nothing is left to send.
    Completed = 5,
    /// Stopped for good.
    Cancelled = 6,
}

impl TaskState {
    /// The state that events keep as `number`.
    #[must_use]
    pub fn from_i16(number: i16) -> Option<Self> {
        [Self::Scheduled, Self::Running, Self::Paused, Self::Halted, Self::Completed, Self::Cancelled]
            .into_iter()
            .find(|state| *state as i16 == number)
    }

    /// `halted` while any halt holds the task, else `paused`, else what it is.
    #[must_use]
    pub fn new(phase: Phase, paused: bool, halted: bool) -> Self {
        match phase {
            Phase::Cancelled => Self::Cancelled,
            Phase::Completed | Phase::Expired => Self::Completed,
            Phase::Scheduled | Phase::Running if halted => Self::Halted,
            Phase::Scheduled | Phase::Running if paused => Self::Paused,
            Phase::Scheduled => Self::Scheduled,
            Phase::Running => Self::Running,
        }
    }

    /// The word of the HTTP interface.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Scheduled => "scheduled",
            Self::Running => "running",
            Self::Paused => "paused",
            Self::Halted => "halted",
            Self::Completed => "completed",
            Self::Cancelled => "cancelled",
        }
    }
}

/// What an operator may ask of a task.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Command {
    /// Take nobody more, for a while.
    Pause,
    /// Go on.
    Resume,
    /// Take nobody more, for good.
    Cancel,
}

/// Why a command is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the task is {} and stays so", state.as_str())]
pub struct Refused {
    /// The state that forbids it.
    pub state: TaskState,
}

/// The phase and the pause after `command`; the same as before where it is so already.
///
/// # Errors
/// From completed and cancelled nothing leads on, but a cancelled task may be cancelled again.
pub fn command(phase: Phase, paused: bool, command: Command) -> Result<(Phase, bool), Refused> {
    match (phase, command) {
        (Phase::Cancelled, Command::Cancel) => Ok((Phase::Cancelled, paused)),
        (Phase::Completed | Phase::Cancelled | Phase::Expired, _) => {
            Err(Refused { state: TaskState::new(phase, paused, false) })
        }
        (Phase::Scheduled | Phase::Running, Command::Pause) => Ok((phase, true)),
        (Phase::Scheduled | Phase::Running, Command::Resume) => Ok((phase, false)),
        (Phase::Scheduled | Phase::Running, Command::Cancel) => Ok((Phase::Cancelled, false)),
    }
}

//! What a vendor's code means for us: the dispositions and the rules that escalate them.
//!
//! The tables that map codes to these stand with the vendors; here stands only what each disposition is.

use std::time::Duration;

/// Where a disposition, a halt or a slow-down applies.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Scope {
    /// One run of a campaign.
    Task,
    /// Every task on one (account, template, language).
    Template,
    /// One business number of an account.
    Sender,
    /// One set of vendor credentials.
    Account,
}

impl Scope {
    /// The word of the HTTP interface.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Task => "task",
            Self::Template => "template",
            Self::Sender => "sender",
            Self::Account => "account",
        }
    }
}

/// What is done about a recipient, and perhaps a scope, when a code arrives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Disposition {
    /// The recipient is queued again without using up an attempt; the scope's rate is halved and climbs back.
    SlowDown {
        /// [`Scope::Sender`] or [`Scope::Account`].
        scope: Scope,
        /// The earliest retry of the recipients concerned.
        floor: Duration,
    },
    /// Nothing was sent, for a reason of our own: queued again at once, without using up an attempt.
    Requeue,
    /// Too many to one person: that person again after 6 s, 1 min, 10 min.
    RetryPair,
    /// A passing fault: again after 30 s, 2 min, 10 min, 1 h.
    RetrySoon {
        /// Retries at the most.
        at_most: u8,
        /// The first delay, where the table names another than 30 s.
        first: Option<Duration>,
        /// What becomes of the recipient when the retries are used up.
        then: Exhausted,
    },
    /// Not today: again after 24 h, 48 h, 96 h, inside the campaign's window and expiry.
    RetryNextDay {
        /// Retries at the most.
        at_most: u8,
    },
    /// This row's data is bad; no retry.
    FailMessage,
    /// This person cannot get it; no retry.
    FailRecipient,
    /// [`Disposition::FailRecipient`], and the number is suppressed for some days.
    Suppress {
        /// How long, in days.
        days: u16,
        /// From the how-many-th time on that this number has this code (1: at once).
        from_time: u8,
    },
    /// [`Disposition::FailRecipient`], and the person gets no marketing until resuming it.
    OptOut,
    /// The campaign is built wrong: the recipient fails, the task halts.
    HaltTask,
    /// The template cannot be sent: every task on it halts, the recipient waits.
    HaltTemplate,
    /// The business number cannot send: it halts, the recipient waits.
    HaltSender {
        /// The halt ends by itself after this long; none: an operator lifts it.
        lifted_after: Option<Duration>,
    },
    /// The account cannot send: it halts, the recipient waits.
    HaltAccount,
    /// The outcome is not known. Never sent again blindly.
    Unknown,
}

/// What follows when a [`Disposition::RetrySoon`] has used up its retries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exhausted {
    /// The recipient fails.
    Fail,
    /// The recipient fails and the task halts (its shared media cannot be loaded, for instance).
    HaltTask,
}

impl Disposition {
    /// [`Disposition::RetrySoon`] with the usual delays, the recipient failing afterwards.
    #[must_use]
    pub const fn retry_soon(at_most: u8) -> Self {
        Self::RetrySoon { at_most, first: None, then: Exhausted::Fail }
    }

    /// [`Disposition::SlowDown`] without a floor.
    #[must_use]
    pub const fn slow_down(scope: Scope) -> Self {
        Self::SlowDown { scope, floor: Duration::ZERO }
    }

    /// [`Disposition::HaltSender`] that an operator lifts.
    #[must_use]
    pub const fn halt_sender() -> Self {
        Self::HaltSender { lifted_after: None }
    }

    /// The name of the table of codes, as the HTTP interface and `campaignd codes` show it.
    #[must_use]
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::SlowDown { scope: Scope::Account, .. } => "SlowDown(account)",
            Self::SlowDown { .. } => "SlowDown(sender)",
            Self::Requeue => "Requeue",
            Self::RetryPair => "RetryPair",
            Self::RetrySoon { .. } => "RetrySoon",
            Self::RetryNextDay { .. } => "RetryNextDay",
            Self::FailMessage => "FailMessage",
            Self::FailRecipient => "FailRecipient",
            Self::Suppress { .. } => "Suppress",
            Self::OptOut => "OptOut",
            Self::HaltTask => "HaltTask",
            Self::HaltTemplate => "HaltTemplate",
            Self::HaltSender { .. } => "HaltSender",
            Self::HaltAccount => "HaltAccount",
            Self::Unknown => "Unknown",
        }
    }

    /// Whether a recipient that failed with this may be taken again by "retry failed": neither bad data nor suppressed, nor
    /// one of whom nobody knows whether the vendor took the message.
    #[must_use]
    pub fn may_be_retried(&self) -> bool {
        !matches!(self, Self::FailMessage | Self::Suppress { .. } | Self::OptOut | Self::Unknown)
    }
}

/// When a code that comes often enough halts more than its recipient.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trigger {
    /// So many outcomes of the scope in a row, all with this code.
    InARow(u16),
    /// The first so many outcomes of a task, all with this code.
    FirstOutcomes(u16),
    /// More than `percent` of at least `of_at_least` outcomes of the scope within `within`.
    Share {
        /// Per cent.
        percent: u8,
        /// Outcomes that there must be.
        of_at_least: u32,
        /// The window.
        within: Duration,
    },
}

/// A trigger, what it counts over, and what it halts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Escalation {
    /// When.
    pub when: Trigger,
    /// Whose outcomes are counted and what is halted.
    pub halt: Scope,
    /// The halt ends by itself after this long; none: an operator lifts it.
    pub lifted_after: Option<Duration>,
}

/// A code's disposition, resolved for one message, with its escalation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rule {
    /// What is done about this recipient.
    pub disposition: Disposition,
    /// What is done when it comes often.
    pub escalation: Option<Escalation>,
}

impl From<Disposition> for Rule {
    fn from(disposition: Disposition) -> Self {
        Self { disposition, escalation: None }
    }
}

/// What a rule must know of the message it judges.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MessageFacts {
    /// A template message; free-form otherwise.
    pub is_template: bool,
    /// Marketing, unless the template or the campaign says otherwise.
    pub is_marketing: bool,
    /// A media link or another part that the code may blame is filled from the recipient's row.
    pub media_per_row: bool,
    /// Some parameter is filled from the recipient's row.
    pub parameters_per_row: bool,
}

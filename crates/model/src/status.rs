//! The state of one message and how reports move it. Statuses only climb; applying a report never fails.

use crate::report::ReportedOutcome;

/// Where a message row stands. While an open request names the recipient it is being sent, whatever this says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(i16)]
pub enum MessageState {
    /// The vendor took it.
    Accepted = 1,
    /// WhatsApp took it.
    Sent = 2,
    /// It is on the person's phone.
    Delivered = 3,
    /// It was opened.
    Read = 4,
    /// It will not come.
    Failed = 5,
    /// It failed and is to be tried again.
    Retrying = 6,
    /// It may have reached the vendor.
    Unknown = 7,
    /// Never sent: the number is listed.
    Suppressed = 8,
    /// Never sent: the campaign expired.
    Expired = 9,
}

impl MessageState {
    /// All states, in order of their numbers.
    pub const ALL: [Self; 9] = [
        Self::Accepted,
        Self::Sent,
        Self::Delivered,
        Self::Read,
        Self::Failed,
        Self::Retrying,
        Self::Unknown,
        Self::Suppressed,
        Self::Expired,
    ];

    /// The state that the database keeps as `number`.
    #[must_use]
    pub fn from_i16(number: i16) -> Option<Self> {
        Self::ALL.into_iter().find(|state| *state as i16 == number)
    }

    /// The word of the HTTP interface.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Accepted => "accepted",
            Self::Sent => "sent",
            Self::Delivered => "delivered",
            Self::Read => "read",
            Self::Failed => "failed",
            Self::Retrying => "retrying",
            Self::Unknown => "unknown",
            Self::Suppressed => "suppressed",
            Self::Expired => "expired",
        }
    }

    /// Accepted or further.
    #[must_use]
    pub fn is_accepted(self) -> bool {
        self <= Self::Read
    }

    /// The recipient's last outcome carries a code that the task's errors count.
    #[must_use]
    pub fn counts_as_error(self) -> bool {
        matches!(self, Self::Failed | Self::Retrying | Self::Unknown)
    }

    /// A row in `troubles` stands for it.
    #[must_use]
    pub fn is_trouble(self) -> bool {
        !self.is_accepted()
    }
}

/// Whether a report speaks of the recipient's latest call or of an older one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OfCall {
    /// The call whose outcome the row holds.
    Latest,
    /// A call before that one, or the call before the one that is open now.
    Older,
}

/// What a report does to a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// The state becomes this.
    MoveTo(MessageState),
    /// The message failed after it was accepted (or unknown): the code's rule decides what follows.
    FailedNow,
    /// The state stays; only the time of this milestone may be filled in.
    AlreadyKnown,
    /// Nothing is changed by it.
    Ignored,
}

/// What `report` does to a message in `state`.
///
/// `being_sent` says that an open request names the recipient (a newer call is under way).
#[must_use]
pub fn apply(state: MessageState, of_call: OfCall, being_sent: bool, report: &ReportedOutcome) -> Effect {
    use MessageState as S;
    let reached = match report {
        ReportedOutcome::Accepted => S::Accepted,
        ReportedOutcome::Sent => S::Sent,
        ReportedOutcome::Delivered => S::Delivered,
        ReportedOutcome::Read => S::Read,
        ReportedOutcome::Failed { .. } => return apply_failure(state, of_call, being_sent),
    };
    if of_call == OfCall::Older || being_sent {
        // Only proof of delivery can undo a failure, and only while nothing newer has happened: then the waiting
        // retry is withdrawn. A newer call that is under way or decided stands.
        let withdraws = state == S::Retrying && !being_sent && reached >= S::Delivered;
        return if withdraws { Effect::MoveTo(reached) } else { Effect::Ignored };
    }
    match state {
        S::Accepted | S::Sent | S::Delivered | S::Read if reached > state => Effect::MoveTo(reached),
        S::Accepted | S::Sent | S::Delivered | S::Read => Effect::AlreadyKnown,
        S::Unknown => Effect::MoveTo(reached),
        S::Retrying | S::Failed if reached >= S::Delivered => Effect::MoveTo(reached),
        S::Retrying | S::Failed | S::Suppressed | S::Expired => Effect::Ignored,
    }
}

fn apply_failure(state: MessageState, of_call: OfCall, being_sent: bool) -> Effect {
    use MessageState as S;
    if of_call == OfCall::Older || being_sent {
        return Effect::Ignored;
    }
    match state {
        S::Accepted | S::Sent | S::Unknown => Effect::FailedNow,
        S::Failed | S::Retrying => Effect::AlreadyKnown,
        S::Delivered | S::Read | S::Suppressed | S::Expired => Effect::Ignored,
    }
}

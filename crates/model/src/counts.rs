//! The counts of a task: places that add up to the total, milestones within `accepted`, and errors by code.
//!
//! A move yields its deltas here and nowhere else, so counts and states cannot part.

use std::collections::BTreeMap;

use crate::status::MessageState;

/// What a delta counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(i16)]
pub enum Kind {
    /// Rows of `retries` with attempt 0: taken by the cursor or of a canary, not tried yet. Shown as queued.
    Waiting = 1,
    /// Named by an open request.
    Sending = 2,
    /// To be tried again.
    Retrying = 3,
    /// May have reached the vendor.
    Unknown = 4,
    /// Taken by the vendor, and all that follows.
    Accepted = 5,
    /// Of these, taken by WhatsApp.
    Sent = 6,
    /// Of these, on the phone.
    Delivered = 7,
    /// Of these, opened.
    Read = 8,
    /// Will not come.
    Failed = 9,
    /// Never sent: listed.
    Suppressed = 10,
    /// Never sent: the campaign expired.
    Expired = 11,
    /// Persons who replied.
    Replied = 13,
    /// Persons who clicked.
    Clicked = 14,
    /// Recipients who are failed or unknown with this code.
    Error = 15,
    /// Recipients who are to be tried again after this code. Apart, because in a cancelled task they are cancelled.
    RetryingError = 16,
}

impl Kind {
    /// Every kind.
    pub const ALL: [Self; 15] = [
        Self::Waiting,
        Self::Sending,
        Self::Retrying,
        Self::Unknown,
        Self::Accepted,
        Self::Sent,
        Self::Delivered,
        Self::Read,
        Self::Failed,
        Self::Suppressed,
        Self::Expired,
        Self::Replied,
        Self::Clicked,
        Self::Error,
        Self::RetryingError,
    ];

    /// The kind that the database keeps as `number`.
    #[must_use]
    pub fn from_i16(number: i16) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| *kind as i16 == number)
    }
}

/// Where a recipient is, as far as counts can tell. Exactly one holds at every instant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place<'a> {
    /// Beyond the cursor.
    Queued,
    /// In `retries`, not tried yet.
    Waiting,
    /// Named by an open request.
    Sending,
    /// Its message row tells; the code counts where the state is an error.
    Message(MessageState, &'a str),
}

impl Place<'_> {
    /// The kinds that a recipient is counted under there, beside its code.
    fn kinds(self) -> &'static [Kind] {
        match self {
            Self::Queued => &[], // the cursor tells
            Self::Waiting => &[Kind::Waiting],
            Self::Sending => &[Kind::Sending],
            Self::Message(state, _) => kinds_of(state),
        }
    }
}

/// The changes in counts of one transaction, by task, kind and code.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Deltas(BTreeMap<(i64, Kind, String), i32>);

impl Deltas {
    /// Counts a recipient of `task_id` out of one place and into another.
    pub fn moved(&mut self, task_id: i64, from: Place<'_>, to: Place<'_>) {
        // Whoever climbs stays counted as what was reached before.
        let stays = from.kinds().iter().zip(to.kinds()).take_while(|(from, to)| from == to).count();
        self.place(task_id, from, stays, -1);
        self.place(task_id, to, stays, 1);
    }

    /// Adds to one kind without a code (replies and clicks).
    pub fn add(&mut self, task_id: i64, kind: Kind, n: i32) {
        *self.0.entry((task_id, kind, String::new())).or_default() += n;
    }

    /// Counts a place but for the first kinds of it, which stay as they are.
    fn place(&mut self, task_id: i64, place: Place<'_>, stays: usize, sign: i32) {
        for kind in place.kinds().iter().skip(stays) {
            self.add(task_id, *kind, sign);
        }
        if let Place::Message(state, code) = place
            && state.counts_as_error()
        {
            let kind = if state == MessageState::Retrying { Kind::RetryingError } else { Kind::Error };
            *self.0.entry((task_id, kind, code.to_owned())).or_default() += sign;
        }
    }

    /// The changes that are not nought.
    pub fn iter(&self) -> impl Iterator<Item = (i64, Kind, &str, i32)> {
        self.0
            .iter()
            .filter(|(_, n)| **n != 0)
            .map(|((task, kind, code), n)| (*task, *kind, code.as_str(), *n))
    }

    /// Adds the changes of `other`.
    pub fn merge(&mut self, other: Self) {
        for (key, n) in other.0 {
            *self.0.entry(key).or_default() += n;
        }
    }
}

/// The kinds that a message in `state` is counted under.
fn kinds_of(state: MessageState) -> &'static [Kind] {
    match state {
        MessageState::Accepted => &[Kind::Accepted],
        MessageState::Sent => &[Kind::Accepted, Kind::Sent],
        MessageState::Delivered => &[Kind::Accepted, Kind::Sent, Kind::Delivered],
        MessageState::Read => &[Kind::Accepted, Kind::Sent, Kind::Delivered, Kind::Read],
        MessageState::Failed => &[Kind::Failed],
        MessageState::Retrying => &[Kind::Retrying],
        MessageState::Unknown => &[Kind::Unknown],
        MessageState::Suppressed => &[Kind::Suppressed],
        MessageState::Expired => &[Kind::Expired],
    }
}

/// The counts of a task as the HTTP interface shows them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[expect(missing_docs, reason = "the fields are the words of the HTTP interface")]
pub struct Counts {
    pub total: i64,
    pub queued: i64,
    pub sending: i64,
    pub retrying: i64,
    pub unknown: i64,
    pub accepted: i64,
    pub sent: i64,
    pub delivered: i64,
    pub read: i64,
    pub failed: i64,
    pub suppressed: i64,
    pub expired: i64,
    pub cancelled: i64,
    pub replied: i64,
    pub clicked: i64,
}

/// What becomes of those who have not been tried or wait to be tried again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rest {
    /// They go on waiting.
    Waits,
    /// The task was cancelled: they are.
    Cancelled,
    /// The campaign expired: they have.
    Expired,
}

impl Kind {
    /// Whether a task's errors by code show it, given what becomes of the rest.
    #[must_use]
    pub fn is_shown_error(self, rest: Rest) -> bool {
        self == Self::Error || (self == Self::RetryingError && rest == Rest::Waits)
    }

    /// Whether it counts by code.
    #[must_use]
    pub fn has_code(self) -> bool {
        matches!(self, Self::Error | Self::RetryingError)
    }
}

impl Counts {
    /// The counts from the task row and the sums by kind. `untaken` are beyond the cursor, and not of the canary that was taken
    /// from there.
    #[must_use]
    pub fn new(total: i32, untaken: i32, rest: Rest, sums: &BTreeMap<Kind, i64>) -> Self {
        let sum = |kind: Kind| sums.get(&kind).copied().unwrap_or(0);
        let queued = i64::from(untaken) + sum(Kind::Waiting);
        let retrying = sum(Kind::Retrying);
        let mut counts = Self {
            total: i64::from(total),
            sending: sum(Kind::Sending),
            unknown: sum(Kind::Unknown),
            accepted: sum(Kind::Accepted),
            sent: sum(Kind::Sent),
            delivered: sum(Kind::Delivered),
            read: sum(Kind::Read),
            failed: sum(Kind::Failed),
            suppressed: sum(Kind::Suppressed),
            expired: sum(Kind::Expired),
            replied: sum(Kind::Replied),
            clicked: sum(Kind::Clicked),
            ..Self::default()
        };
        match rest {
            Rest::Waits => (counts.queued, counts.retrying) = (queued, retrying),
            Rest::Cancelled => counts.cancelled = queued + retrying,
            Rest::Expired => counts.expired += queued + retrying,
        }
        counts
    }

    /// The places summed; equals the total when every recipient is in exactly one place.
    #[must_use]
    pub fn places(&self) -> i64 {
        self.queued
            + self.sending
            + self.retrying
            + self.unknown
            + self.accepted
            + self.failed
            + self.suppressed
            + self.expired
            + self.cancelled
    }

    /// Nothing is left to send, now or later.
    #[must_use]
    pub fn is_done(&self) -> bool {
        self.queued + self.sending + self.retrying == 0
    }
}

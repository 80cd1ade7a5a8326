//! The steps by name, as a trace tells them.

use std::fmt;

use crate::{
    database::Decision,
    state::{PEOPLE, Report, ReportKind},
};

/// What the committer hears of its commit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Heard {
    Done,
    /// Nothing, and it is committed.
    NothingAndThere,
    /// Nothing, and it was rolled back.
    NothingAndLost,
}

impl Heard {
    pub const ALL: [Self; 3] = [Self::Done, Self::NothingAndThere, Self::NothingAndLost];
}

/// How many kinds of steps there are.
pub const KINDS: usize = 25;

/// One step; nodes and people by index.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    LeaseExpires,
    Acquire(usize),
    Crash(usize),
    Outage(usize),
    Silence(usize),
    Renew(usize),
    Settle(usize),
    Release(usize),
    /// Whether from beyond the cursor, and who.
    Prefetch(usize, bool, [bool; PEOPLE]),
    Commit(usize, Heard),
    Ask(usize),
    Keep(usize),
    ReadBack(usize),
    Begin(usize, usize),
    Withdraw(usize, usize),
    Leave(usize, usize),
    /// Whether it accepted.
    Answer(usize, usize, bool),
    NoAnswer(usize, usize),
    Apply(usize, Report),
    LookAgain(usize, Report),
    AskRecords(usize, Report),
    Accepts(u8, usize),
    Refuses(u8, usize),
    Reports(Report),
    Decide(usize, Decision),
}

impl Step {
    /// It happens in the end when nothing goes wrong any more.
    pub fn goes_on(self) -> bool {
        match self {
            Self::Crash(_)
            | Self::Outage(_)
            | Self::Silence(_)
            | Self::Release(_)
            | Self::Keep(_)
            | Self::NoAnswer(..)
            | Self::AskRecords(..)
            | Self::Refuses(..)
            | Self::Reports(_)
            | Self::Decide(..) => false,
            Self::Commit(_, heard) => heard == Heard::Done,
            Self::LeaseExpires
            | Self::Acquire(_)
            | Self::Renew(_)
            | Self::Settle(_)
            | Self::Prefetch(..)
            | Self::Ask(_)
            | Self::ReadBack(_)
            | Self::Begin(..)
            | Self::Withdraw(..)
            | Self::Leave(..)
            | Self::Answer(..)
            | Self::Apply(..)
            | Self::LookAgain(..)
            | Self::Accepts(..) => true,
        }
    }
}

fn people(who: [bool; PEOPLE]) -> String {
    let numbers: Vec<String> =
        who.iter().enumerate().filter(|(_, is)| **is).map(|(who, _)| (who + 1).to_string()).collect();
    numbers.join(" and ")
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match self.kind {
            ReportKind::Accepted => "was accepted",
            ReportKind::Refused => "was refused",
            ReportKind::NeverLeft => "never left",
            ReportKind::Sent => "is sent",
            ReportKind::Delivered => "is delivered",
            ReportKind::Failed => "failed",
        };
        write!(f, "request {} of recipient {} {kind}", self.request, self.who + 1)
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let node = |node: usize| ["A", "B"][node];
        match *self {
            Self::LeaseExpires => write!(f, "the lease expires"),
            Self::Acquire(n) => write!(f, "{} acquires the account under a new epoch", node(n)),
            Self::Crash(n) => write!(f, "{} is killed", node(n)),
            Self::Outage(n) => write!(f, "the machine of {} goes down", node(n)),
            Self::Silence(n) => write!(f, "{} stands still until its lease can be trusted no more", node(n)),
            Self::Renew(n) => write!(f, "{} renews its lease, or learns that it is lost", node(n)),
            Self::Settle(n) => write!(f, "{} settles what older epochs left open", node(n)),
            Self::Release(n) => write!(f, "{} gives the account back", node(n)),
            Self::Prefetch(n, fresh, who) => {
                let from = if fresh { "beyond the cursor" } else { "the retries" };
                write!(f, "{} prefetches recipient {} from {from}", node(n), people(who))
            }
            Self::Commit(n, Heard::Done) => write!(f, "{} commits a group", node(n)),
            Self::Commit(n, Heard::NothingAndThere) => {
                write!(f, "{} commits a group and hears no answer; it is there", node(n))
            }
            Self::Commit(n, Heard::NothingAndLost) => {
                write!(f, "{} commits a group and hears no answer; it was rolled back", node(n))
            }
            Self::Ask(n) => write!(f, "{} turns to the commit that gave no answer", node(n)),
            Self::Keep(n) => write!(f, "{} writes what it knows into the journal", node(n)),
            Self::ReadBack(n) => write!(f, "{} reads the journal back", node(n)),
            Self::Begin(n, who) => write!(f, "{} begins the call of recipient {}", node(n), who + 1),
            Self::Withdraw(n, who) => write!(f, "{} withdraws the call of recipient {}", node(n), who + 1),
            Self::Leave(n, who) => write!(f, "the call of recipient {} leaves {}", who + 1, node(n)),
            Self::Answer(n, who, is_accepted) => {
                let said = if is_accepted { "accepted" } else { "refused" };
                write!(f, "{} hears that recipient {} is {said}", node(n), who + 1)
            }
            Self::NoAnswer(n, who) => write!(f, "{} hears nothing of recipient {}", node(n), who + 1),
            Self::Apply(n, report) => write!(f, "{} applies: {report}", node(n)),
            Self::LookAgain(n, report) => write!(f, "{} applies what came early: {report}", node(n)),
            Self::AskRecords(n, report) => write!(f, "{} reads from the vendor's records: {report}", node(n)),
            Self::Accepts(request, who) => {
                write!(f, "the vendor accepts recipient {} by request {request}", who + 1)
            }
            Self::Refuses(request, who) => {
                write!(f, "the vendor refuses recipient {} of request {request}", who + 1)
            }
            Self::Reports(report) => write!(f, "the vendor reports: {report}"),
            Self::Decide(who, decision) => {
                write!(f, "an operator decides on recipient {}: {decision:?}", who + 1)
            }
        }
    }
}

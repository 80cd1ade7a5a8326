//! What the model remembers: the database's rows, the memory of two nodes, the vendor's truth. Small and flat, because
//! there are hundreds of thousands of it; named as the product names it.

use std::sync::LazyLock;

use model::{
    counts::{Counts, Deltas, Kind, Place, Rest},
    status::MessageState,
};

pub const NODES: usize = 2;
pub const PEOPLE: usize = 2;
/// Request ids that may be drawn: 1 to this.
pub const REQUESTS: usize = 8;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct State {
    pub database: Database,
    pub nodes: [Node; NODES],
    /// What the vendor holds of each call, by request and person.
    pub vendor: [[AtVendor; PEOPLE]; REQUESTS],
    /// Faults that may still happen.
    pub left: Faults,
    pub operator: [Operator; PEOPLE],
    /// The calls that have begun, as bits; only where there is one node, because every bit doubles the states.
    pub begun: u16,
    pub flaw: Option<Flaw>,
}

/// What no row shows afterwards.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Flaw {
    /// A call began though a newer owner had the account.
    CalledWithoutOwning,
    /// A row was inserted where one stood: the database would have refused it for ever.
    RowWasThere,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Database {
    // account_leases
    pub epoch: u8,
    pub owner: Option<u8>,
    pub is_expired: bool,
    // tasks
    pub cursor: u8,
    // the sequence request_ids
    pub drawn: u8,
    pub requests: [Option<Request>; REQUESTS],
    /// The attempts used up.
    pub retries: [Option<u8>; PEOPLE],
    pub messages: [Option<Row>; PEOPLE],
    /// `resends`: the call in whose place another one is made.
    pub resends: [u8; PEOPLE],
    /// `old_vendor_ids`: the calls, as bits, whose ids lead to the person.
    pub old_ids: [u8; PEOPLE],
    pub counts: Sums,
    /// `commit_marks`: epoch and number. A bit is enough of a number: one group is unanswered at a time.
    pub mark: (u8, bool),
    /// Reports that were stored and not applied, in no order.
    pub inbox: Reports,
    /// `early_reports`.
    pub early: Reports,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Request {
    pub epoch: u8,
    /// The attempt of each person that it names.
    pub attempts: [Option<u8>; PEOPLE],
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Row {
    pub state: MessageState,
    pub attempt: u8,
    pub request: u8,
    pub code: Code,
    /// The call whose vendor id the row bears; 0: none.
    pub vendor_id: u8,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Code {
    #[default]
    None,
    Refused,
    NoAnswer,
    ProcessDied,
    /// Reported after it had been accepted.
    Failed,
    /// Called off before it left.
    NeverLeft,
}

impl Code {
    pub const ALL: [Self; 6] =
        [Self::None, Self::Refused, Self::NoAnswer, Self::ProcessDied, Self::Failed, Self::NeverLeft];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::None => "",
            Self::Refused => "refused",
            Self::NoAnswer => "no_answer",
            Self::ProcessDied => "process_died",
            Self::Failed => "failed",
            Self::NeverLeft => "never_left",
        }
    }
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Node {
    pub lease: Option<Lease>,
    /// What the pacer has handed to the committer.
    pub taking: Option<Taking>,
    /// The group whose commit gave no answer.
    pub unanswered: Option<Unanswered>,
    /// From the intent's commit until the outcome's.
    pub calls: [Option<Call>; PEOPLE],
    /// What the journal holds: it outlives the process.
    pub journal: Reports,
    /// What the journal of an earlier process holds.
    pub left_over: Reports,
    /// The files of departures that this process has begun, by epoch, as bits.
    pub files: u8,
    /// Those that a dead process left.
    pub left_files: u8,
    /// The calls that are marked in them, by request and person, as bits.
    pub marks: u16,
}

/// The bit of a call among [`Node::marks`].
pub fn mark(request: u8, who: usize) -> u16 {
    1 << (usize::from(request - 1) * PEOPLE + who)
}

impl Node {
    pub fn is_idle(&self) -> bool {
        self.taking.is_none() && self.unanswered.is_none() && self.calls == [None; PEOPLE]
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Lease {
    pub epoch: u8,
    /// By this node's own clock there is time for a whole call.
    pub is_trusted: bool,
    pub is_settled: bool,
    pub is_lost: bool,
    /// Of the next group.
    pub number: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Taking {
    pub request: u8,
    /// From where to where the cursor is to move; none: they come from `retries`.
    pub fresh: Option<(u8, u8)>,
    pub who: [Option<Taken>; PEOPLE],
    /// The journal says that nobody of it was called.
    pub is_withdrawn: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Taken {
    pub attempt: u8,
    pub prior: Prior,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Prior {
    Queued,
    Waiting,
    Retrying(Code),
}

impl Prior {
    pub fn place(self) -> Sums {
        match self {
            Self::Queued => Sums::default(),
            Self::Waiting => Sums::waiting(),
            Self::Retrying(code) => Sums::message(MessageState::Retrying, code),
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Unanswered {
    pub takes: bool,
    /// The calls whose outcomes are in it.
    pub records: [bool; PEOPLE],
    /// Who was taken, should it be there.
    pub joined: [bool; PEOPLE],
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Call {
    pub request: u8,
    pub taken: Taken,
    pub phase: Phase,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Phase {
    /// The intent is committed.
    Waiting,
    /// The lease was looked at for the last time.
    Begun,
    /// The bytes are gone.
    Left,
    Over(Answer),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Answer {
    Accepted,
    Refused,
    /// Timeout, reset, half an answer.
    None,
    /// It never began.
    Withdrawn,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum AtVendor {
    #[default]
    Nothing,
    /// It may still be accepted, at any time.
    OnTheWay,
    Refused,
    Accepted,
    Delivered,
    /// Accepted, and failed after that.
    Failed,
}

impl AtVendor {
    pub fn was_accepted(self) -> bool {
        matches!(self, Self::Accepted | Self::Delivered | Self::Failed)
    }
}

/// How often each fault may happen in one run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Faults {
    /// kill −9 of a node.
    pub crashes: u8,
    /// The machine of a node goes down: a process dies, and what the kernel held with it.
    pub outages: u8,
    /// A node stands still, or hears nothing of the database, for longer than its lease: SIGSTOP, a cut network.
    pub silences: u8,
    /// An account is given back.
    pub releases: u8,
    /// A commit gives no answer.
    pub unanswered: u8,
    /// A call gives no answer.
    pub no_answers: u8,
    pub refusals: u8,
    /// A call finds no place in time.
    pub withdrawals: u8,
    /// The vendor reports, or is asked for its records.
    pub reports: u8,
    /// What was accepted fails.
    pub failures: u8,
    /// An operator decides.
    pub decisions: u8,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Operator {
    pub has_decided: bool,
    pub resends: u8,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Report {
    pub request: u8,
    pub who: usize,
    pub kind: ReportKind,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ReportKind {
    /// Evidence: an answer that the fence refused, or a record of the vendor.
    Accepted,
    /// Evidence, too.
    Refused,
    /// Evidence of ours: the call was called off.
    NeverLeft,
    Sent,
    Delivered,
    Failed,
}

impl ReportKind {
    pub const ALL: [Self; 6] =
        [Self::Accepted, Self::Refused, Self::NeverLeft, Self::Sent, Self::Delivered, Self::Failed];

    pub fn is_evidence(self) -> bool {
        matches!(self, Self::Accepted | Self::Refused | Self::NeverLeft)
    }

    /// It says that the message does not come, or did not leave.
    pub fn is_failure(self) -> bool {
        matches!(self, Self::Refused | Self::NeverLeft | Self::Failed)
    }
}

/// A set of reports, a bit each.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Reports(u128);

impl Reports {
    fn bit(report: Report) -> u128 {
        let index = (report.request as usize * PEOPLE + report.who) * ReportKind::ALL.len();
        1 << (index + report.kind as usize)
    }

    pub fn insert(&mut self, report: Report) {
        self.0 |= Self::bit(report);
    }

    pub fn merge(&mut self, other: Self) {
        self.0 |= other.0;
    }

    pub fn remove(&mut self, report: Report) {
        self.0 &= !Self::bit(report);
    }

    pub fn is_empty(self) -> bool {
        self.0 == 0
    }

    pub fn iter(self) -> impl Iterator<Item = Report> {
        let mut left = self.0;
        std::iter::from_fn(move || {
            if left == 0 {
                return None;
            }
            let index = left.trailing_zeros() as usize;
            left &= left - 1;
            let (call, kind) = (index / ReportKind::ALL.len(), index % ReportKind::ALL.len());
            let kind = ReportKind::ALL[kind];
            Some(Report { request: (call / PEOPLE) as u8, who: call % PEOPLE, kind })
        })
    }
}

/// The task's counts: by kind, and by code where a kind has codes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Sums([i8; Self::KINDS + 2 * Code::ALL.len()]);

/// What one recipient in each place adds to the counts, as `model::counts` says.
struct Table {
    messages: Vec<Sums>,
    waiting: Sums,
    sending: Sums,
}

static TABLE: LazyLock<Table> = LazyLock::new(|| {
    let message = |state| Code::ALL.map(|code| Sums::of(Place::Message(state, code.as_str())));
    Table {
        messages: MessageState::ALL.into_iter().flat_map(message).collect(),
        waiting: Sums::of(Place::Waiting),
        sending: Sums::of(Place::Sending),
    }
});

impl Sums {
    const KINDS: usize = 15;

    fn of(place: Place<'_>) -> Self {
        let mut deltas = Deltas::default();
        deltas.moved(0, Place::Queued, place);
        let mut sums = Self::default();
        for (_, kind, code, n) in deltas.iter() {
            let index = if kind.has_code() {
                let code = Code::ALL.iter().position(|known| known.as_str() == code).unwrap_or(0);
                Self::KINDS + code + if kind == Kind::Error { 0 } else { Code::ALL.len() }
            } else {
                kind as usize
            };
            sums.0[index] += i8::try_from(n).unwrap_or(0);
        }
        sums
    }

    pub fn message(state: MessageState, code: Code) -> Self {
        TABLE.messages[(state as usize - 1) * Code::ALL.len() + code as usize]
    }

    pub fn waiting() -> Self {
        TABLE.waiting
    }

    pub fn sending() -> Self {
        TABLE.sending
    }

    pub fn moved(&mut self, from: Self, to: Self) {
        for ((sum, from), to) in self.0.iter_mut().zip(from.0).zip(to.0) {
            *sum += to - from;
        }
    }

    /// The counts as they are shown.
    pub fn shown(self, cursor: u8) -> Counts {
        let kinds = Kind::ALL.into_iter().filter(|kind| !kind.has_code());
        let sums = kinds.map(|kind| (kind, i64::from(self.0[kind as usize]))).collect();
        let people = PEOPLE as i32;
        Counts::new(people, people - i32::from(cursor), Rest::Waits, &sums)
    }
}

//! The transactions of `crates/store`: the fence is the caller's, what they write is here. Each is one step, because what
//! it touches is locked until it ends, and a take-over waits for it (`store/leases.rs`).

use std::sync::LazyLock;

use model::{
    decide::{self, Attempt, Fate},
    disposition::Disposition,
    report::ReportedOutcome,
    status::{self, Effect, MessageState, OfCall},
    verdict::Failure,
};

use crate::{
    protocol::Protocol,
    state::{
        Answer, Call, Code, Database, Flaw, PEOPLE, Prior, Report, ReportKind, Request, Row, Sums, Taking,
    },
};

/// One retry.
const MAX_ATTEMPTS: i16 = 2;

/// What one transaction of the committer writes.
pub struct Group {
    pub epoch: u8,
    pub number: bool,
    pub taking: Option<Taking>,
    pub outcomes: [Option<(Call, Answer)>; PEOPLE],
    /// The requests, as bits, whose last outcome is among these.
    pub closed: u16,
}

/// What is done about a failure after so many attempts: `model::decide`, asked once each.
static FATES: LazyLock<[[Fate; 4]; 2]> =
    LazyLock::new(|| [Disposition::retry_soon(3), Disposition::Requeue].map(fates));

fn fates(disposition: Disposition) -> [Fate; 4] {
    let failure = Failure {
        code: Code::Refused.as_str().to_owned(),
        reason: String::new(),
        rule: disposition.into(),
        retry_after: None,
    };
    [0, 1, 2, 3].map(|number| {
        let attempt = Attempt { number, max_attempts: MAX_ATTEMPTS, slow_downs: 0, random: 0.5 };
        decide::decide(&failure, &attempt).fate
    })
}

/// Where a failure leaves its recipient, and the attempts used up where it is tried again.
fn fate(code: Code, attempt: u8) -> (MessageState, Option<u8>) {
    match FATES[usize::from(code == Code::NeverLeft)][usize::from(attempt.max(1)).min(3)] {
        Fate::Retries { attempt_used: true, .. } => (MessageState::Retrying, Some(attempt)),
        Fate::Retries { .. } | Fate::WaitsForHalt => (MessageState::Retrying, Some(attempt - 1)),
        Fate::Fails => (MessageState::Failed, None),
        Fate::Unknown => (MessageState::Unknown, None),
    }
}

impl Database {
    /// `store/groups.rs`, `write`: who was taken.
    pub fn write(&mut self, group: &Group, flaw: &mut Option<Flaw>) -> [bool; PEOPLE] {
        self.mark = (group.epoch, group.number);
        let mut joined = [false; PEOPLE];
        if let Some(taking) = &group.taking {
            joined = self.take(taking, group.epoch);
        }
        for (who, (call, answer)) in
            group.outcomes.iter().enumerate().filter_map(|(who, some)| Some((who, (*some)?)))
        {
            self.record(who, &call, answer, flaw);
        }
        for (index, request) in self.requests.iter_mut().enumerate() {
            if group.closed & (1 << index) != 0 {
                *request = None;
            }
        }
        joined
    }

    /// Moves the cursor, or takes the rows of `retries`, and writes the intent.
    fn take(&mut self, taking: &Taking, epoch: u8) -> [bool; PEOPLE] {
        let mut joined = [false; PEOPLE];
        if let Some((from, to)) = taking.fresh {
            if self.cursor != from {
                return joined;
            }
            self.cursor = to;
        }
        let mut attempts = [None; PEOPLE];
        for (who, taken) in taking.who.iter().enumerate().filter_map(|(who, taken)| Some((who, (*taken)?))) {
            if taking.fresh.is_none() {
                if self.retries[who] != Some(taken.attempt - 1) {
                    continue;
                }
                self.retries[who] = None;
            }
            self.counts.moved(taken.prior.place(), Sums::sending());
            attempts[who] = Some(taken.attempt);
            joined[who] = true;
        }
        if joined.contains(&true) {
            self.requests[usize::from(taking.request) - 1] = Some(Request { epoch, attempts });
        }
        joined
    }

    /// `dispatcher/judge.rs` and `store/outcomes.rs`: what came of a call.
    fn record(&mut self, who: usize, call: &Call, answer: Answer, flaw: &mut Option<Flaw>) {
        let (attempt, request, prior) = (call.taken.attempt, call.request, call.taken.prior);
        let row = |state, attempt, code, vendor_id| Some(Row { state, attempt, request, code, vendor_id });
        let (row, again) = match answer {
            Answer::Accepted => (row(MessageState::Accepted, attempt, Code::None, request), None),
            Answer::None => (row(MessageState::Unknown, attempt, Code::NoAnswer, 0), None),
            Answer::Refused => {
                let (state, again) = fate(Code::Refused, attempt);
                (row(state, again.unwrap_or(attempt), Code::Refused, 0), again)
            }
            Answer::Withdrawn => (None, Some(attempt - 1)),
        };
        let back = match prior {
            Prior::Queued | Prior::Waiting => Sums::waiting(),
            Prior::Retrying(_) => prior.place(),
        };
        self.counts.moved(Sums::sending(), row.map_or(back, |row| Sums::message(row.state, row.code)));
        if let Some(row) = row {
            if answer == Answer::Accepted && prior == Prior::Queued && self.messages[who].is_some() {
                *flaw = Some(Flaw::RowWasThere);
            }
            self.overwrite(who, row);
        }
        if let Some(used) = again {
            self.queue_retry(who, used, flaw);
        }
    }

    /// `upsert_messages` after `keep_old_ids`.
    fn overwrite(&mut self, who: usize, row: Row) {
        if let Some(before) = self.messages[who].filter(|before| before.vendor_id > 0) {
            self.old_ids[who] |= 1 << (before.vendor_id - 1);
        }
        self.messages[who] = Some(row);
    }

    fn queue_retry(&mut self, who: usize, used: u8, flaw: &mut Option<Flaw>) {
        if self.retries[who].is_some() {
            *flaw = Some(Flaw::RowWasThere);
        }
        self.retries[who] = Some(used);
    }

    /// The newest open request that names the person.
    pub fn open_for(&self, who: usize) -> Option<u8> {
        let names =
            |request: &Option<Request>| request.is_some_and(|request| request.attempts[who].is_some());
        self.requests.iter().rposition(names).map(|index| index as u8 + 1)
    }

    /// `store/settling.rs`, `settle_older_epochs`: of what older epochs left open, who was surely never called goes back, and
    /// the others are unknown.
    pub fn settle(
        &mut self,
        epoch: u8,
        never_began: impl Fn(u8, u8, usize) -> bool,
        protocol: &Protocol,
        flaw: &mut Option<Flaw>,
    ) {
        let before = *self;
        for index in 0..self.requests.len() {
            let Some(request) = self.requests[index].filter(|request| request.epoch < epoch) else {
                continue;
            };
            let id = index as u8 + 1;
            for who in 0..PEOPLE {
                let Some(attempt) = request.attempts[who] else { continue };
                let has_row = before.messages[who].is_some_and(|row| row.request >= id);
                let is_decided = has_row || before.retries[who].is_some() || before.open_for(who) > Some(id);
                if is_decided && !protocol.settles_blindly() {
                    continue;
                }
                let back = match before.messages[who] {
                    None => Some(Sums::waiting()),
                    Some(row) if row.state == MessageState::Retrying => {
                        Some(Sums::message(row.state, row.code))
                    }
                    Some(_) => None,
                };
                let goes_back = protocol.resends_what_is_open() || never_began(request.epoch, id, who);
                if let Some(back) = back.filter(|_| goes_back) {
                    self.counts.moved(Sums::sending(), back);
                    self.queue_retry(who, attempt - 1, flaw);
                    continue;
                }
                let state = MessageState::Unknown;
                let row = Row { state, attempt, request: id, code: Code::ProcessDied, vendor_id: 0 };
                self.counts.moved(Sums::sending(), Sums::message(state, row.code));
                self.overwrite(who, row);
            }
            self.requests[index] = None;
        }
    }

    /// `reconciler/round.rs`, `locate`: whether the report speaks of the person's latest call; none while it is not known.
    pub fn locate(&self, report: Report, protocol: &Protocol) -> Option<OfCall> {
        let row = self.messages[report.who]?;
        let is_named = protocol.vendor_names_calls || report.kind.is_evidence();
        if protocol.forgets_which_call() {
            return Some(OfCall::Latest);
        }
        if is_named {
            return match report.request.cmp(&row.request) {
                std::cmp::Ordering::Equal => Some(OfCall::Latest),
                std::cmp::Ordering::Less => Some(OfCall::Older),
                // Its outcome is not recorded yet.
                std::cmp::Ordering::Greater => None,
            };
        }
        if row.vendor_id == report.request {
            return Some(OfCall::Latest);
        }
        (self.old_ids[report.who] & (1 << (report.request - 1)) != 0).then_some(OfCall::Older)
    }

    /// `reconciler/round.rs`, `apply`, and `store/reports.rs`, `write`.
    pub fn apply(&mut self, report: Report, protocol: &Protocol, flaw: &mut Option<Flaw>) {
        let who = report.who;
        let (Some(of_call), Some(mut row)) = (self.locate(report, protocol), self.messages[who]) else {
            self.early.insert(report);
            return;
        };
        let waits = row.state == MessageState::Retrying && self.retries[who].is_some();
        let is_being_sent = row.state == MessageState::Retrying && !waits;
        let before = Sums::message(row.state, row.code);
        // One that is to be sent again because nothing was heard of its call is still open to what is heard.
        let is_open = waits && self.resends[who] == row.request && of_call == OfCall::Latest;
        let stood = if is_open && !report.kind.is_failure() { MessageState::Unknown } else { row.state };
        match status::apply(stood, of_call, is_being_sent, &told(report.kind)) {
            Effect::Ignored | Effect::AlreadyKnown => return,
            Effect::MoveTo(state) => {
                if waits {
                    self.retries[who] = None;
                }
                (row.state, row.code) = (state, Code::None);
            }
            Effect::FailedNow => {
                let code = match report.kind {
                    ReportKind::Refused => Code::Refused,
                    ReportKind::NeverLeft => Code::NeverLeft,
                    _ => Code::Failed,
                };
                let (state, again) = fate(code, row.attempt);
                (row.state, row.code) = (state, code);
                if let Some(used) = again {
                    self.queue_retry(who, used, flaw);
                }
            }
        }
        if row.vendor_id == 0 && !matches!(report.kind, ReportKind::Refused | ReportKind::NeverLeft) {
            row.vendor_id = report.request;
        }
        self.counts.moved(before, Sums::message(row.state, row.code));
        self.messages[who] = Some(row);
    }

    /// `store/decisions.rs`: an operator moves a failed or unknown message.
    pub fn decide(&mut self, who: usize, decision: Decision, flaw: &mut Option<Flaw>) -> bool {
        let Some(mut row) = self.messages[who] else { return false };
        let from = if decision == Decision::TryAgain { MessageState::Failed } else { MessageState::Unknown };
        if row.state != from {
            return false;
        }
        let before = Sums::message(row.state, row.code);
        let (state, again) = match decision {
            Decision::TryAgain => (MessageState::Retrying, Some(0)),
            Decision::Resend => (MessageState::Retrying, Some(row.attempt)),
            Decision::Accepted => (MessageState::Accepted, None),
            Decision::Failed => (MessageState::Failed, None),
        };
        if decision == Decision::Resend {
            self.resends[who] = row.request;
        }
        row.state = state;
        if state.is_accepted() {
            row.code = Code::None;
        }
        if let Some(used) = again {
            self.queue_retry(who, used, flaw);
        }
        self.counts.moved(before, Sums::message(row.state, row.code));
        self.messages[who] = Some(row);
        true
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    TryAgain,
    Resend,
    Accepted,
    Failed,
}

impl Decision {
    pub const ALL: [Self; 4] = [Self::TryAgain, Self::Resend, Self::Accepted, Self::Failed];
}

fn told(kind: ReportKind) -> ReportedOutcome {
    match kind {
        ReportKind::Accepted => ReportedOutcome::Accepted,
        ReportKind::Sent => ReportedOutcome::Sent,
        ReportKind::Delivered => ReportedOutcome::Delivered,
        ReportKind::Refused | ReportKind::NeverLeft | ReportKind::Failed => {
            ReportedOutcome::Failed { code: String::new(), reason: String::new() }
        }
    }
}

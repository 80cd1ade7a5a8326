//! The protocol: which steps lead on from a state. A node that takes no step for a while is one that was stopped, or that
//! nobody hears; so every delay is in the order of the steps, and time is only what ends trust and leases.

use model::status::MessageState;

use crate::{
    database::Decision,
    state::{
        Answer, AtVendor, Faults, Flaw, Lease, NODES, Node, PEOPLE, Phase, Prior, REQUESTS, Report,
        ReportKind, Reports, State, Taken, Taking, mark,
    },
    step::{Heard, Step},
};

/// What is explored.
#[derive(Clone, Copy, Debug, Default)]
pub struct Protocol {
    /// How often each fault may happen.
    pub faults: Faults,
    /// The vendor's callbacks tell the call and not only an id of its own.
    pub vendor_names_calls: bool,
    /// The vendor can be asked for its records.
    pub has_records: bool,
    /// There is one node.
    pub is_alone: bool,
    /// What is left out.
    pub broken: Option<Broken>,
}

/// A protocol with one thing left out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Broken {
    /// Transactions do not look whether the epoch is the newest.
    NoFence,
    /// The vendor has no record of a call: so it was not sent.
    AbsenceIsEvidence,
    /// The cursor moves in one transaction, the intent is written in the next.
    CursorAheadOfIntent,
    /// The intent is committed when the call is gone already.
    IntentAfterCall,
    /// Whoever takes over sends what the owner before left open.
    ResendsWhatIsOpen,
    /// Calls begin without a look at the lease.
    LeaseTrustedForEver,
    /// A group whose commit gave no answer is repeated without looking for its mark.
    NoMark,
    /// Whoever takes over marks everybody that an open request names, outcome or not.
    SettlesBlindly,
    /// A call begins though the journal says that it never left.
    CallsWhatWasCalledOff,
    /// A report is applied to the recipient, whichever call it speaks of.
    ForgetsWhichCall,
    /// No call is marked, and no file believed.
    NoMarks,
    /// Calls leave unmarked, and the files are believed.
    LeavesUnmarked,
    /// Whoever is marked nowhere was never called, whatever files there are.
    BelievesWhatIsNotThere,
}

impl Protocol {
    pub fn is(&self, broken: Broken) -> bool {
        self.broken == Some(broken)
    }

    pub fn resends_what_is_open(&self) -> bool {
        self.is(Broken::ResendsWhatIsOpen)
    }

    pub fn settles_blindly(&self) -> bool {
        self.is(Broken::SettlesBlindly)
    }

    pub fn forgets_which_call(&self) -> bool {
        self.is(Broken::ForgetsWhichCall)
    }

    pub fn start(&self) -> State {
        State { left: self.faults, ..State::default() }
    }

    /// Every step that leads on from `state`, with where it leads.
    pub fn steps(&self, state: &State) -> Vec<(Step, State)> {
        let mut steps = Steps { protocol: self, from: state, found: Vec::with_capacity(24) };
        steps.time();
        for node in 0..NODES {
            steps.leases(node);
            steps.committer(node);
            for who in 0..PEOPLE {
                steps.call(node, who);
            }
            steps.reconciler(node);
        }
        for who in 0..PEOPLE {
            for request in 1..=state.database.drawn {
                steps.vendor(request, who);
            }
            steps.operator(who);
        }
        steps.found
    }
}

struct Steps<'a> {
    protocol: &'a Protocol,
    from: &'a State,
    found: Vec<(Step, State)>,
}

/// Counts one of the faults that are left; the step is not there when none is.
fn spend(left: &mut u8) -> Option<()> {
    *left = left.checked_sub(1)?;
    Some(())
}

impl Steps<'_> {
    fn add(&mut self, step: Step, change: impl FnOnce(&mut State) -> Option<()>) {
        let mut state = *self.from;
        if change(&mut state).is_some() {
            // Whoever has lost the account looks for it again when all that was under way has ended.
            for node in &mut state.nodes {
                if node.lease.is_some_and(|lease| lease.is_lost) {
                    node.taking = None;
                    if node.is_idle() {
                        node.lease = None;
                    }
                }
            }
            self.found.push((step, state));
        }
    }

    fn time(&mut self) {
        // The owner died, or could not renew: its own trust ended before, by a clock that started earlier.
        let Some(owner) = self.from.database.owner.filter(|_| !self.from.database.is_expired) else { return };
        let lease = self.from.nodes[usize::from(owner)].lease;
        let epoch = self.from.database.epoch;
        if lease.is_none_or(|lease| lease.epoch != epoch || !lease.is_trusted) {
            self.add(Step::LeaseExpires, |to| {
                to.database.is_expired = true;
                Some(())
            });
        }
    }

    /// `dispatcher/ownership.rs`.
    fn leases(&mut self, node: usize) {
        let database = self.from.database;
        if !self.from.nodes[node].left_over.is_empty() {
            self.add(Step::ReadBack(node), |to| {
                to.database.inbox.merge(to.nodes[node].left_over);
                to.nodes[node].left_over = Reports::default();
                Some(())
            });
        }
        let Some(lease) = self.from.nodes[node].lease else {
            let is_free =
                database.owner.is_none_or(|owner| usize::from(owner) == node) || database.is_expired;
            // The nodes are alike: the first owner is A.
            if is_free && (node == 0 || database.epoch > 0 && !self.protocol.is_alone) {
                self.add(Step::Acquire(node), |to| {
                    (to.database.owner, to.database.is_expired) = (Some(node as u8), false);
                    to.database.epoch += 1;
                    let epoch = to.database.epoch;
                    to.nodes[node].lease = Some(Lease {
                        epoch,
                        is_trusted: true,
                        is_settled: false,
                        is_lost: false,
                        number: false,
                    });
                    Some(())
                });
            }
            return;
        };
        self.deaths(node);
        if lease.is_lost {
            return;
        }
        let is_owner = lease.epoch == database.epoch;
        if lease.is_trusted {
            self.add(Step::Silence(node), |to| {
                to.nodes[node].lease.as_mut()?.is_trusted = false;
                spend(&mut to.left.silences)
            });
        } else {
            self.add(Step::Renew(node), |to| {
                let lease = to.nodes[node].lease.as_mut()?;
                (lease.is_trusted, lease.is_lost) = (is_owner, !is_owner);
                to.database.is_expired &= !is_owner;
                Some(())
            });
        }
        if !lease.is_settled {
            self.add(Step::Settle(node), |to| {
                let lease = to.nodes[node].lease.as_mut()?;
                if !is_owner {
                    lease.is_lost = true;
                    return Some(());
                }
                lease.is_settled = true;
                let epoch = lease.epoch;
                to.settle(node, epoch, self.protocol);
                Some(())
            });
        } else if self.from.nodes[node].is_idle() && is_owner {
            self.add(Step::Release(node), |to| {
                to.nodes[node].lease = None;
                to.database.owner = None;
                spend(&mut to.left.releases)
            });
        }
    }

    /// Of the process, and of its machine: the journal is synced and outlives both, the departures only the first.
    fn deaths(&mut self, node: usize) {
        self.add(Step::Crash(node), |to| {
            let Node { journal, mut left_over, files, left_files, marks, .. } = to.nodes[node];
            left_over.merge(journal);
            let left_files = left_files | files;
            to.nodes[node] = Node { left_over, left_files, marks, ..Node::default() };
            spend(&mut to.left.crashes)
        });
        self.add(Step::Outage(node), |to| {
            let Node { journal, mut left_over, .. } = to.nodes[node];
            left_over.merge(journal);
            to.nodes[node] = Node { left_over, ..Node::default() };
            spend(&mut to.left.outages)
        });
    }

    /// `dispatcher/pacer.rs` and `commit.rs`.
    fn committer(&mut self, node: usize) {
        let own = self.from.nodes[node];
        let Some(lease) = own.lease else { return };
        if own.unanswered.is_some() {
            self.add(Step::Keep(node), |to| to.keep(node, self.protocol));
            return self.add(Step::Ask(node), |to| to.ask(node, self.protocol));
        }
        if lease.is_settled && lease.is_trusted && !lease.is_lost && own.taking.is_none() {
            self.prefetch(node);
        }
        for heard in Heard::ALL {
            self.add(Step::Commit(node, heard), |to| {
                if heard != Heard::Done {
                    spend(&mut to.left.unanswered)?;
                }
                to.commit(node, heard, self.protocol)
            });
        }
    }

    fn prefetch(&mut self, node: usize) {
        let database = self.from.database;
        let cursor = database.cursor;
        for to in cursor + 1..=PEOPLE as u8 {
            let is_taken = |who: usize| (cursor..to).contains(&(who as u8));
            let first = Taken { attempt: 1, prior: Prior::Queued };
            let who = std::array::from_fn(|who| is_taken(who).then_some(first));
            self.prefetched(node, Some((cursor, to)), who);
        }
        let due: [Option<Taken>; PEOPLE] = std::array::from_fn(|who| {
            let prior = database.messages[who].map_or(Prior::Waiting, |row| Prior::Retrying(row.code));
            database.retries[who].map(|used| Taken { attempt: used + 1, prior })
        });
        if due != [None; PEOPLE] {
            self.prefetched(node, None, due);
        }
    }

    fn prefetched(&mut self, node: usize, fresh: Option<(u8, u8)>, who: [Option<Taken>; PEOPLE]) {
        self.add(Step::Prefetch(node, fresh.is_some(), who.map(|taken| taken.is_some())), |to| {
            to.database.drawn += 1;
            let request = to.database.drawn;
            assert!(usize::from(request) <= REQUESTS, "too few request ids for this many faults");
            let taking = Taking { request, fresh, who, is_withdrawn: false };
            to.nodes[node].taking = Some(taking);
            if self.protocol.is(Broken::IntentAfterCall) {
                to.nodes[node].begin(&taking, who.map(|taken| taken.is_some()));
            }
            Some(())
        });
    }

    /// `dispatcher/call.rs`.
    fn call(&mut self, node: usize, who: usize) {
        let own = self.from.nodes[node];
        let (Some(lease), Some(call)) = (own.lease, own.calls[who]) else { return };
        let at_vendor = self.from.vendor[usize::from(call.request) - 1][who];
        let phase = |to: &mut State, phase| {
            if let Some(call) = &mut to.nodes[node].calls[who] {
                call.phase = phase;
            }
            Some(())
        };
        match call.phase {
            Phase::Waiting if lease.is_trusted || self.protocol.is(Broken::LeaseTrustedForEver) => {
                self.add(Step::Begin(node, who), |to| {
                    if lease.epoch != to.database.epoch {
                        to.flaw = Some(Flaw::CalledWithoutOwning);
                    }
                    if !self.protocol.is(Broken::LeavesUnmarked) {
                        to.nodes[node].marks |= mark(call.request, who);
                    }
                    if self.protocol.is_alone {
                        to.begun |= mark(call.request, who);
                    }
                    phase(to, Phase::Begun)
                });
                self.add(Step::Withdraw(node, who), |to| {
                    spend(&mut to.left.withdrawals)?;
                    phase(to, Phase::Over(Answer::Withdrawn))
                });
            }
            Phase::Waiting => {
                self.add(Step::Withdraw(node, who), |to| phase(to, Phase::Over(Answer::Withdrawn)));
            }
            Phase::Begun => self.add(Step::Leave(node, who), |to| {
                to.vendor[usize::from(call.request) - 1][who] = AtVendor::OnTheWay;
                phase(to, Phase::Left)
            }),
            Phase::Left => {
                match at_vendor {
                    AtVendor::Refused => {
                        self.add(Step::Answer(node, who, false), |to| {
                            phase(to, Phase::Over(Answer::Refused))
                        });
                    }
                    _ if at_vendor.was_accepted() => {
                        self.add(Step::Answer(node, who, true), |to| {
                            phase(to, Phase::Over(Answer::Accepted))
                        });
                    }
                    _ => {}
                }
                self.add(Step::NoAnswer(node, who), |to| {
                    spend(&mut to.left.no_answers)?;
                    phase(to, Phase::Over(Answer::None))
                });
            }
            Phase::Over(_) => {}
        }
    }

    /// `reconciler/apply.rs`.
    fn reconciler(&mut self, node: usize) {
        let Some(lease) = self.from.nodes[node].lease.filter(|lease| !lease.is_lost) else { return };
        let is_fenced = lease.epoch != self.from.database.epoch;
        for report in self.from.database.inbox.iter() {
            self.add(Step::Apply(node, report), |to| {
                if !is_fenced {
                    to.database.inbox.remove(report);
                    to.database.apply(report, self.protocol, &mut to.flaw);
                }
                // Refused, it is only looked at by whoever owns the account.
                (!is_fenced).then_some(())
            });
        }
        for report in self.from.database.early.iter() {
            if !is_fenced && self.from.database.locate(report, self.protocol).is_some() {
                self.add(Step::LookAgain(node, report), |to| {
                    to.database.early.remove(report);
                    to.database.apply(report, self.protocol, &mut to.flaw);
                    Some(())
                });
            }
        }
        if self.protocol.has_records && !is_fenced {
            for who in 0..PEOPLE {
                self.ask_records(node, who);
            }
        }
    }

    /// The vendor's records of a call that is unknown.
    fn ask_records(&mut self, node: usize, who: usize) {
        let row = self.from.database.messages[who].filter(|row| row.state == MessageState::Unknown);
        let Some(row) = row else { return };
        let kind = match self.from.vendor[usize::from(row.request) - 1][who] {
            held if held.was_accepted() => ReportKind::Accepted,
            AtVendor::Refused => ReportKind::Refused,
            _ if self.protocol.is(Broken::AbsenceIsEvidence) => ReportKind::Refused,
            _ => return,
        };
        let report = Report { request: row.request, who, kind };
        self.add(Step::AskRecords(node, report), |to| {
            spend(&mut to.left.reports)?;
            to.database.inbox.insert(report);
            Some(())
        });
    }

    fn vendor(&mut self, request: u8, who: usize) {
        let index = usize::from(request) - 1;
        let at_vendor = self.from.vendor[index][who];
        if at_vendor == AtVendor::OnTheWay {
            self.add(Step::Accepts(request, who), |to| {
                to.vendor[index][who] = AtVendor::Accepted;
                Some(())
            });
            self.add(Step::Refuses(request, who), |to| {
                to.vendor[index][who] = AtVendor::Refused;
                spend(&mut to.left.refusals)
            });
        }
        if !at_vendor.was_accepted() {
            return;
        }
        for kind in [ReportKind::Sent, ReportKind::Delivered, ReportKind::Failed] {
            let report = Report { request, who, kind };
            self.add(Step::Reports(report), |to| {
                spend(&mut to.left.reports)?;
                match (kind, at_vendor) {
                    (ReportKind::Failed, AtVendor::Accepted) => {
                        to.vendor[index][who] = AtVendor::Failed;
                        spend(&mut to.left.failures)?;
                    }
                    (ReportKind::Delivered, AtVendor::Accepted) => {
                        to.vendor[index][who] = AtVendor::Delivered;
                    }
                    (ReportKind::Failed, AtVendor::Delivered) | (ReportKind::Delivered, AtVendor::Failed) => {
                        return None;
                    }
                    _ => {}
                }
                to.database.inbox.insert(report);
                Some(())
            });
        }
    }

    fn operator(&mut self, who: usize) {
        for decision in Decision::ALL {
            self.add(Step::Decide(who, decision), |to| {
                spend(&mut to.left.decisions)?;
                to.database.decide(who, decision, &mut to.flaw).then_some(())?;
                let operator = &mut to.operator[who];
                operator.has_decided = true;
                operator.resends += u8::from(matches!(decision, Decision::TryAgain | Decision::Resend));
                Some(())
            });
        }
    }
}

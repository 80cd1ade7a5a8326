//! The committer (`dispatcher/commit.rs`, `transact.rs`): what a node does with a group, whatever it hears of its commit.

use crate::{
    database::Group,
    protocol::{Broken, Protocol},
    state::{
        Answer, Call, Node, PEOPLE, Phase, Report, ReportKind, Reports, State, Taking, Unanswered, mark,
    },
    step::Heard,
};

impl Node {
    /// `begin`: the calls of those who were taken. What the journal has called off is withdrawn instead.
    pub fn begin(&mut self, taking: &Taking, joined: [bool; PEOPLE]) {
        let phase = if taking.is_withdrawn { Phase::Over(Answer::Withdrawn) } else { Phase::Waiting };
        for (who, taken) in taking.who.iter().enumerate().filter(|(who, _)| joined[*who]) {
            let call = |taken| Call { request: taking.request, taken, phase };
            self.calls[who] = taken.map(call);
        }
    }

    /// `dispatcher/evidence.rs`: what is known of calls, and with `takes` that nobody of the group was called.
    fn known(&self, takes: bool) -> Reports {
        let mut known = Reports::default();
        for (who, outcome) in self.outcomes().into_iter().enumerate() {
            let Some((Call { request, .. }, answer)) = outcome else { continue };
            let kind = match answer {
                Answer::Accepted => ReportKind::Accepted,
                Answer::Refused => ReportKind::Refused,
                Answer::Withdrawn => ReportKind::NeverLeft,
                Answer::None => continue,
            };
            known.insert(Report { request, who, kind });
        }
        for taking in self.taking.iter().filter(|_| takes) {
            for who in (0..PEOPLE).filter(|who| taking.who[*who].is_some()) {
                known.insert(Report { request: taking.request, who, kind: ReportKind::NeverLeft });
            }
        }
        known
    }

    /// The calls whose outcomes can be recorded.
    fn outcomes(&self) -> [Option<(Call, Answer)>; PEOPLE] {
        self.calls.map(|call| match call {
            Some(call @ Call { phase: Phase::Over(answer), .. }) => Some((call, answer)),
            _ => None,
        })
    }

    /// `closed_by`: the requests whose calls are all among these.
    fn closed_by(&self, outcomes: &[Option<(Call, Answer)>; PEOPLE]) -> u16 {
        let bits = |calls: &mut dyn Iterator<Item = Call>| {
            calls.fold(0_u16, |bits, call| bits | 1 << (call.request - 1))
        };
        let open = (0..PEOPLE).filter(|who| outcomes[*who].is_none()).filter_map(|who| self.calls[who]);
        let over = outcomes.iter().filter_map(|outcome| outcome.map(|(call, _)| call));
        bits(&mut over.into_iter()) & !bits(&mut open.into_iter())
    }

    /// The group is there: its outcomes are done with, its calls begin.
    fn done(&mut self, takes: bool, records: [bool; PEOPLE], joined: [bool; PEOPLE], begins: bool) {
        for (who, _) in records.iter().enumerate().filter(|(_, recorded)| **recorded) {
            self.calls[who] = None;
        }
        if takes
            && let Some(taking) = self.taking.take()
            && begins
        {
            self.begin(&taking, joined);
        }
        if let Some(lease) = &mut self.lease {
            lease.number = !lease.number;
        }
        // All that was kept is recorded.
        if self.outcomes() == [None; PEOPLE] {
            self.journal = Reports::default();
        }
    }
}

impl State {
    /// `dispatcher/settle.rs`: what a dead process of this node has marked tells who was never called.
    pub fn settle(&mut self, node: usize, epoch: u8, protocol: &Protocol) {
        let own = self.nodes[node];
        let never_began = |of: u8, request, who| {
            let has_file = own.left_files & (1 << of) != 0 || protocol.is(Broken::BelievesWhatIsNotThere);
            has_file && own.marks & mark(request, who) == 0 && !protocol.is(Broken::NoMarks)
        };
        self.database.settle(epoch, never_began, protocol, &mut self.flaw);
        // The files go, and with them the marks of calls that have ended.
        let own = &mut self.nodes[node];
        (own.left_files, own.files, own.marks) = (0, 1 << epoch, 0);
    }

    /// `dispatcher/late.rs`: what is known goes into the journal, and the calls of the group are called off.
    pub fn keep(&mut self, node: usize, protocol: &Protocol) -> Option<()> {
        let own = &mut self.nodes[node];
        let group = own.unanswered?;
        let known = own.known(group.takes);
        let before = own.journal;
        own.journal.merge(known);
        if group.takes
            && let Some(taking) = &mut own.taking
        {
            taking.is_withdrawn = !protocol.is(Broken::CallsWhatWasCalledOff);
        }
        (own.journal != before).then_some(())
    }

    pub fn commit(&mut self, node: usize, heard: Heard, protocol: &Protocol) -> Option<()> {
        let lease = self.nodes[node].lease?;
        let own = &mut self.nodes[node];
        let outcomes = own.outcomes();
        let mut taking = own.taking;
        let calls_first = protocol.is(Broken::IntentAfterCall);
        if calls_first
            && own.calls.iter().flatten().any(|call| matches!(call.phase, Phase::Waiting | Phase::Begun))
        {
            taking = None;
        }
        if taking.is_none() && outcomes == [None; PEOPLE] {
            return None;
        }
        if lease.epoch != self.database.epoch && !protocol.is(Broken::NoFence) {
            return (heard == Heard::Done).then(|| self.fenced(node));
        }
        if protocol.is(Broken::CursorAheadOfIntent)
            && let Some((_, upto)) = taking.and_then(|taking| taking.fresh).filter(|(from, to)| from < to)
        {
            // The first of its two transactions; the second finds the cursor where it expects it.
            self.database.cursor = upto;
            own.taking.as_mut()?.fresh = Some((upto, upto));
            return (heard == Heard::Done).then_some(());
        }
        let (takes, records) = (taking.is_some(), outcomes.map(|outcome| outcome.is_some()));
        let mut joined = [false; PEOPLE];
        if heard != Heard::NothingAndLost {
            let closed = own.closed_by(&outcomes);
            let group = Group { epoch: lease.epoch, number: lease.number, taking, outcomes, closed };
            joined = self.database.write(&group, &mut self.flaw);
        }
        if heard == Heard::Done {
            own.done(takes, records, joined, !calls_first);
        } else {
            own.unanswered = Some(Unanswered { takes, records, joined });
        }
        Some(())
    }

    /// `store/leases.rs`, `is_committed`: asked before anything is repeated.
    pub fn ask(&mut self, node: usize, protocol: &Protocol) -> Option<()> {
        let (lease, own) = (self.nodes[node].lease?, &mut self.nodes[node]);
        let Unanswered { takes, records, joined } = own.unanswered?;
        if lease.epoch != self.database.epoch && !protocol.is(Broken::NoFence) {
            self.fenced(node);
            return Some(());
        }
        own.unanswered = None;
        if self.database.mark == (lease.epoch, lease.number) && !protocol.is(Broken::NoMark) {
            own.done(takes, records, joined, true);
        }
        Some(())
    }

    /// The account belongs to a newer owner: nobody is taken, and what was learned becomes evidence.
    fn fenced(&mut self, node: usize) {
        let own = &mut self.nodes[node];
        // A group that gave no answer may be there, and what it took was found open.
        self.database.inbox.merge(own.known(own.unanswered.is_some_and(|group| group.takes)));
        for who in 0..PEOPLE {
            own.calls[who] = own.calls[who].filter(|call| !matches!(call.phase, Phase::Over(_)));
        }
        own.journal = Reports::default();
        (own.taking, own.unanswered) = (None, None);
        if let Some(lease) = &mut own.lease {
            lease.is_lost = true;
        }
    }
}

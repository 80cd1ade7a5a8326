//! Failures that callbacks report: their codes judged, their recipients retried or failed, their scopes halted.

use std::collections::BTreeMap;

use chrono::TimeDelta;
use model::{
    campaign::Category,
    decide::{self, Attempt, Fate},
    disposition::{MessageFacts, Rule, Scope},
    message::Message,
    status::MessageState,
    verdict::Failure,
    watch::{Observed, Watch},
};
use store::{
    PgConnection,
    effects::{Effects, Stood},
    leases::Lease,
    outcomes::{Again, Why},
    standings::{self, Found, Standing, TaskFacts},
};
use vendors::codes;

use crate::Shared;

/// What becomes of a message that failed.
pub(crate) struct NewFate {
    pub(crate) state: MessageState,
    pub(crate) why: Why,
    pub(crate) again: Option<Again>,
}

/// What rules must know of a task's message.
pub(crate) fn facts_of_message(facts: &TaskFacts) -> MessageFacts {
    let category = Category::from_i16(facts.category).unwrap_or(Category::Marketing);
    match Message::parse(&facts.message) {
        Ok(message) => message.facts(category == Category::Marketing),
        Err(_) => MessageFacts {
            is_template: facts.template.is_some(),
            is_marketing: category == Category::Marketing,
            media_per_row: true,
            parameters_per_row: true,
        },
    }
}

/// Judges the failures of one step and collects what they bring.
pub(crate) struct Failures<'a> {
    shared: &'a Shared,
    lease: &'a Lease,
    tasks: BTreeMap<i64, (TaskFacts, MessageFacts)>,
    watch: &'a Watch,
    /// The watch with what was observed, to take its place once the step is committed: a step that is rolled back is
    /// applied again, and must not count twice.
    pub(crate) observed: Option<Watch>,
    pub(crate) effects: Effects,
    pub(crate) slow_downs: Vec<(Scope, String)>,
    pub(crate) retried: Vec<i64>,
}

impl<'a> Failures<'a> {
    pub(crate) fn new(shared: &'a Shared, lease: &'a Lease, watch: &'a Watch) -> Self {
        Self {
            shared,
            lease,
            tasks: BTreeMap::new(),
            watch,
            observed: None,
            effects: Effects::default(),
            slow_downs: Vec::new(),
            retried: Vec::new(),
        }
    }

    /// Reads what rules must know of the tasks that were found.
    pub(crate) async fn learn(&mut self, conn: &mut PgConnection, found: &Found) -> store::Result<()> {
        let mut unknown: Vec<i64> = found.by_recipient.keys().map(|(task_id, _)| *task_id).collect();
        unknown.sort_unstable();
        unknown.dedup();
        unknown.retain(|task_id| !self.tasks.contains_key(task_id));
        if unknown.is_empty() {
            return Ok(());
        }
        for (task_id, facts) in standings::task_facts(conn, &unknown).await? {
            let of_message = facts_of_message(&facts);
            self.tasks.insert(task_id, (facts, of_message));
        }
        Ok(())
    }

    /// A message came further: it ends a run of failures.
    pub(crate) fn succeeded(&mut self, of: &Standing) {
        self.observe(of, None);
    }

    /// A message failed after it had been accepted, or while it was unknown.
    pub(crate) fn failed(&mut self, of: &Standing, code: &str, reason: &str) -> NewFate {
        let why = Why { code: code.to_owned(), reason: reason.to_owned() };
        let (Some((task, facts)), Some(vendor)) =
            (self.tasks.get(&of.task_id), self.shared.vendors.get(&self.lease.account))
        else {
            return NewFate { state: MessageState::Failed, why, again: None };
        };
        let rule = codes::judge(*vendor, code, reason, facts);
        let failure = Failure { code: code.to_owned(), reason: reason.to_owned(), rule, retry_after: None };
        let attempt = Attempt {
            number: of.attempt.max(1),
            max_attempts: task.max_attempts,
            slow_downs: 0,
            random: self.shared.random.next(),
        };
        let sender = task.sender.clone();
        let mut decision = decide::decide(&failure, &attempt);
        decision.halt = decision.halt.or_else(|| self.observe(of, Some((code, &failure.rule))));
        if let Some(scope) = decision.slow_down {
            self.slow_downs.push((scope, sender));
        }
        self.collect(of, &failure, &decision);
        let now = self.shared.clock.now();
        let mut again = |after, attempts_used| {
            self.retried.push(of.task_id);
            let due_at = now + TimeDelta::from_std(after).unwrap_or(TimeDelta::MAX);
            Some(Again { due_at, attempts_used, batch_max: i16::MAX })
        };
        let (state, again) = match decision.fate {
            Fate::Fails => (MessageState::Failed, None),
            Fate::Retries { after, attempt_used } => {
                let used = if attempt_used { of.attempt } else { of.attempt - 1 };
                (MessageState::Retrying, again(after, used))
            }
            Fate::WaitsForHalt => (MessageState::Retrying, again(std::time::Duration::ZERO, of.attempt - 1)),
            Fate::Unknown => (MessageState::Unknown, None),
        };
        NewFate { state, why, again }
    }

    fn observe(&mut self, of: &Standing, failure: Option<(&str, &Rule)>) -> Option<decide::Halt> {
        let (task, _) = self.tasks.get(&of.task_id)?;
        let seen =
            Observed { task_id: of.task_id, sender: &task.sender, account: &self.lease.account, failure };
        self.observed.get_or_insert_with(|| self.watch.clone()).observe(&seen, self.shared.clock.now())
    }

    fn collect(&mut self, of: &Standing, failure: &Failure, decision: &decide::Decision) {
        let Some((task, _)) = self.tasks.get(&of.task_id) else { return };
        let stood = Stood {
            account: &self.lease.account,
            task_id: of.task_id,
            sender: &task.sender,
            template: task.template.as_deref(),
            phone: of.phone,
        };
        let vendor = self.shared.vendors.get(&self.lease.account);
        let entry = vendor.and_then(|vendor| codes::find(*vendor, &failure.code));
        let remedy = entry.map_or("", |entry| entry.advice);
        let effects = Effects::of(decision, failure, &stood, remedy, self.shared.clock.now());
        self.effects.halts.extend(effects.halts);
        self.effects.suppressions.extend(effects.suppressions);
    }
}

//! Who is taken next of one sender, and when: round robin between its running tasks, fresh and due ones in turn.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use model::disposition::Scope;
use store::{
    Error,
    database::{LIMIT_HOT, LIMIT_STEP},
    effects::{self, Effects, NewHalt},
    intents::Intent,
    leases,
    runs::{self, Run},
};
use tokio::{
    sync::{Notify, mpsc},
    time::Instant,
};
use vendors::SenderConfig;

use crate::{
    Shared,
    account::{Owner, batch_size},
    breaker::{Gate, Probe},
    choose::{Chosen, choose, render},
    commit::{Job, Queued, Taking},
    pairs::Pairs,
    run::{Spacing, TaskRun},
};

/// Single calls in one intent at the most.
const SINGLES: usize = 64;
/// Due ones read in one statement.
const DUE: usize = 500;
/// Waits for work end after this long, to look again.
const IDLE: Duration = Duration::from_millis(250);

/// A task, and those of its due ones whose intent was committed or dropped.
pub(crate) type Heard = (i64, Vec<i32>);

/// Which tasks of a sender may run: written by the account, read by its pacer.
#[derive(Debug, Default)]
pub(crate) struct Plan {
    runs: Mutex<Option<Vec<Run>>>,
    pub(crate) wake: Arc<Notify>,
}

impl Plan {
    pub(crate) fn set(&self, runs: Vec<Run>) {
        *self.runs.lock().unwrap_or_else(PoisonError::into_inner) = Some(runs);
        self.wake.notify_one();
    }

    fn take(&self) -> Option<Vec<Run>> {
        self.runs.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

/// The pacer of one sender.
pub(crate) struct Pacer {
    shared: Arc<Shared>,
    owner: Arc<Owner>,
    sender: SenderConfig,
    plan: Arc<Plan>,
    jobs: mpsc::Sender<Job>,
    queued: Arc<Queued>,
    pairs: Pairs,
    heard: (mpsc::UnboundedSender<Heard>, mpsc::UnboundedReceiver<Heard>),
    runs: VecDeque<TaskRun>,
    ids: std::ops::Range<i64>,
    batch: usize,
}

impl Pacer {
    pub(crate) fn new(
        shared: Arc<Shared>,
        owner: Arc<Owner>,
        sender: SenderConfig,
        plan: Arc<Plan>,
        jobs: mpsc::Sender<Job>,
    ) -> Self {
        let config = &owner.account.config;
        let most = owner.account.client.max_batch();
        let batch = batch_size(most, sender.messages_per_second, config.requests_per_second) as usize;
        Self {
            shared,
            pairs: owner.account.pairs(&sender.from),
            sender,
            plan,
            jobs,
            queued: Arc::default(),
            // As many entries as there are intents under way, which the jobs' queue bounds.
            heard: mpsc::unbounded_channel(),
            runs: VecDeque::new(),
            ids: 0..0,
            batch,
            owner,
        }
    }

    /// Takes until the account is to stop.
    pub(crate) async fn run(mut self) {
        let stop = self.owner.stop.clone();
        tokio::select! {
            biased;
            () = stop.cancelled() => {}
            () = self.take_forever() => {}
        }
    }

    async fn take_forever(&mut self) {
        loop {
            self.follow_plan().await;
            if !self.owner.trust.covers(self.owner.account.config.timeouts.total) {
                self.idle(Instant::now() + IDLE).await;
                continue;
            }
            let Some(index) = self.next_run() else {
                self.idle(self.ready_at()).await;
                continue;
            };
            let probe = match self.owner.account.breaker.gate() {
                Gate::Open => None,
                Gate::Probe(probe) => Some(probe),
                Gate::Wait(until) => {
                    self.idle(until).await;
                    continue;
                }
            };
            self.take_from(index, probe).await;
        }
    }

    /// When the first task that waits for its campaign's own pace may go on; else when to look again.
    fn ready_at(&self) -> Instant {
        let waiting = self.runs.iter().filter(|run| run.has_work());
        let first = waiting.filter_map(|run| run.spacing.as_ref()).map(Spacing::ready_at).min();
        let look = Instant::now() + IDLE;
        first.map_or(look, |first| first.min(look))
    }

    /// Until something changes, or `until`.
    async fn idle(&self, until: Instant) {
        tokio::select! {
            () = self.plan.wake.notified() => {}
            () = tokio::time::sleep_until(until) => {}
        }
    }

    /// Lets go of tasks that may not run any more, begins those that may now, reads who is due.
    async fn follow_plan(&mut self) {
        while let Ok((task_id, nos)) = self.heard.1.try_recv() {
            for run in self.runs.iter_mut().filter(|run| run.facts.run.task_id == task_id) {
                run.in_hand.retain(|no| !nos.contains(no));
            }
        }
        // One whose window has closed is begun afresh when it opens, however soon that is.
        let now = self.shared.clock.now();
        self.runs.retain(|run| !run.is_stale() && !run.is_closed(now));
        self.read_on_due().await;
        let Some(planned) = self.plan.take() else { return };
        self.runs.retain(|run| planned.iter().any(|planned| planned.task_id == run.facts.run.task_id));
        for planned in planned {
            let has_due = planned.has_due;
            let task_id = planned.task_id;
            if let Some(run) = self.runs.iter_mut().find(|run| run.facts.run.task_id == task_id) {
                run.takes_due_alone = planned.takes_due_alone;
            } else {
                let account = &self.owner.account;
                match TaskRun::start(planned, account, &self.shared, &self.plan.wake, now) {
                    Ok(run) => self.begin(run).await,
                    Err(error) => self.halt(task_id, error).await,
                }
            }
            if has_due {
                self.read_due(task_id, runs::FIRST).await;
            }
        }
    }

    /// One that is more urgent than whose turn it is goes first, and its first recipients are waited for a moment: the turns
    /// before it, of a large batch each at a low rate, would take longer than an urgent message may.
    async fn begin(&mut self, mut run: TaskRun) {
        if self.runs.front().is_none_or(|front| front.weight() >= run.weight()) {
            return self.runs.push_back(run);
        }
        run.first_page().await;
        self.runs.push_front(run);
    }

    /// The message could be put into the vendor's form when the campaign was created, and cannot now.
    async fn halt(&self, task_id: i64, reason: String) {
        tracing::error!(task.id = task_id, reason, "the task's message cannot be sent");
        let halt = NewHalt {
            scope: Scope::Task,
            account: self.owner.account.config.name.clone(),
            value: task_id.to_string(),
            code: "message_refused".to_owned(),
            reason,
            remedy: "Compare the campaign's message and the account's configuration with what has changed since it \
                     was created; create the campaign again, or lift the halt once it is mended."
                .to_owned(),
            lifts_at: None,
        };
        let written = async {
            let mut transaction = store::begin_in(&self.shared.db.background)
                .await
                .map_err(Error::database("halting a task"))?;
            let effects = Effects { halts: vec![halt], suppressions: Vec::new() };
            effects::apply(&mut transaction, &effects, self.shared.clock.now()).await?;
            transaction.commit().await.map_err(Error::database("halting a task"))
        };
        if let Err(error) = self.shared.db.within(LIMIT_STEP, "halting a task", written).await {
            tracing::warn!(task.id = task_id, %error, "the task is not halted yet");
        }
    }

    /// Reads the next page of those who are due where the last one is gone: many windows open at one instant.
    async fn read_on_due(&mut self) {
        let goes_on = |run: &TaskRun| run.due_after.map(|after| (run.facts.run.task_id, after));
        let gone: Vec<_> = self.runs.iter().filter(|run| run.due.is_empty()).filter_map(goes_on).collect();
        for (task_id, after) in gone {
            self.read_due(task_id, after).await;
        }
    }

    async fn read_due(&mut self, task_id: i64, after: runs::After) {
        let Some(run) = self.runs.iter_mut().find(|run| run.facts.run.task_id == task_id) else { return };
        if !run.due.is_empty() {
            return;
        }
        let read = async {
            let mut conn =
                self.shared.db.background.acquire().await.map_err(Error::database("reading who is due"))?;
            let limit = i64::try_from(DUE).unwrap_or(i64::MAX);
            runs::due(&mut conn, task_id, self.shared.clock.now(), after, limit).await
        };
        match self.shared.db.within(LIMIT_STEP, "reading who is due", read).await {
            Ok(due) => {
                run.due_after = due.last().filter(|_| due.len() == DUE).map(|last| (last.due_at, last.no));
                run.due.extend(due.into_iter().filter(|due| !run.in_hand.contains(&due.no)));
            }
            Err(error) => tracing::warn!(task.id = task_id, %error, "cannot read who is due"),
        }
    }

    /// The next task in turn that has somebody to be taken. It keeps its turn as often as its weight says, then goes to
    /// the end of the row.
    fn next_run(&mut self) -> Option<usize> {
        let now = self.shared.clock.now();
        for _ in 0..self.runs.len() {
            let mut run = self.runs.pop_front()?;
            run.refill(self.batch.max(SINGLES));
            let is_ready = run.spacing.as_ref().is_none_or(Spacing::is_ready) && !run.is_closed(now);
            let may_take = run.has_work() && is_ready;
            if may_take && run.keeps_turn() {
                self.runs.push_front(run);
                return Some(0);
            }
            self.runs.push_back(run);
            if may_take {
                return Some(self.runs.len() - 1);
            }
        }
        None
    }

    /// Takes one request's worth of recipients of a task and hands them to the committer.
    async fn take_from(&mut self, index: usize, probe: Option<Probe>) {
        let most = if probe.is_some() { 1 } else { usize::MAX };
        let account = Arc::clone(&self.owner.account);
        let is_batch = account.client.max_batch() > 1;
        let chunk = account.pace(&self.sender.from).map_or(u32::MAX, crate::pace::Pace::chunk) as usize;
        let calls = if is_batch { 1 } else { SINGLES.min(most).min(chunk) };
        if calls > account.slots.free() {
            self.queued.empty().await;
        }
        let Some(mut permits) = account.slots.take(calls).await else { return };
        permits.probe = probe;
        let batch = account.batch_now(self.batch).min(most.saturating_mul(10));
        let wanted = if is_batch { batch } else { permits.num_permits() };
        let run = &mut self.runs[index];
        let wanted = run.spacing.as_ref().map_or(wanted, |spacing| wanted.min(spacing.chunk()));
        let Chosen { source, candidates, deferred } = choose(run, wanted, self.shared.clock.now());
        let who = candidates.iter().map(|candidate| (candidate.taken.no, candidate.taken.phone));
        let (holds, early) = self.pairs.take(who);
        let count = u32::try_from(candidates.len() - early.len()).unwrap_or(u32::MAX);
        if let Some(spacing) = &mut run.spacing {
            spacing.take(count);
        }
        if let Some(requests) = &account.requests {
            for _ in 0..if is_batch { count.min(1) } else { count } {
                requests.until_ready().await;
            }
        }
        if let Some(pace) = account.pace(&self.sender.from) {
            pace.admit(count).await;
        }
        let Some(request_id) = self.next_id().await else { return };
        let facts = Arc::clone(&self.runs[index].facts);
        let (taken, rendered, unfit) = render(&facts, candidates);
        let early = early.into_iter().map(|(no, wait)| (no, self.shared.clock.now() + wait)).collect();
        let intent = Intent {
            request_id,
            task_id: facts.run.task_id,
            source,
            taken,
            unfit,
            deferred,
            is_marketing: facts.is_marketing,
            guards: Arc::clone(&facts.guards),
            early,
        };
        let (jobs, heard) = (self.jobs.clone(), self.heard.0.clone());
        let queued = Arc::clone(&self.queued);
        queued.entered();
        let taking = Taking { intent, facts, rendered, permits, holds, is_batch, jobs, queued, heard };
        // The committer ends only after this pacer.
        let _ = self.jobs.send(Job::Intent(Box::new(taking))).await;
    }

    async fn next_id(&mut self) -> Option<i64> {
        while self.ids.is_empty() {
            let drawn = async {
                let mut conn =
                    self.shared.db.background.acquire().await.map_err(Error::database("drawing ids"))?;
                leases::next_request_ids(&mut conn).await
            };
            match self.shared.db.within(LIMIT_HOT, "drawing ids", drawn).await {
                Ok(first) => self.ids = first..first + leases::REQUEST_ID_BLOCK,
                Err(error) => {
                    tracing::warn!(%error, "cannot draw request ids");
                    tokio::time::sleep(IDLE).await;
                }
            }
        }
        self.ids.next()
    }
}

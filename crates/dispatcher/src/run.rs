//! A running task in memory: its message in the vendor's form, and who of it comes next.

use std::{
    collections::{HashSet, VecDeque},
    sync::{
        Arc, Mutex, PoisonError, Weak,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use chrono::{DateTime, Utc};
use model::{
    campaign::{Category, Sample, Window},
    disposition::Scope,
    message::{Columns, Message},
};
use store::{
    Database,
    database::LIMIT_STEP,
    effects::NewHalt,
    guards::Guards,
    recipients::{self, Recipient},
    reply_windows::ReplyWindow,
    runs::{self, Due, Run},
};
use tokio::{
    sync::{Notify, mpsc},
    time::Instant,
};
use vendors::{AccountConfig, Compiled};

use crate::{Limits, Shared, account::AccountState, clocks::Clocks, daily};

/// Recipients read in one statement: few at first, since many tasks may run at once, and twice as many whenever a page is
/// gone before the next is there.
const PAGE: std::ops::RangeInclusive<i64> = 250..=2000;

/// An urgent task's first recipients are waited for so long.
const FIRST_PAGE: Duration = Duration::from_millis(200);

/// The weights of high, normal and low among the tasks of one sender.
const WEIGHTS: [u8; 3] = [8, 2, 1];

fn weight(priority: i16) -> u8 {
    let index = usize::try_from(priority - 1).unwrap_or(1);
    WEIGHTS.get(index).copied().unwrap_or(WEIGHTS[1])
}

/// A task's sending window; one that cannot be read was checked when the campaign was created, and never opens.
fn window(run: &Run) -> Option<Window> {
    run.sending_window.as_ref().and_then(|window| window.compile().ok())
}

/// Whether a task's sending window lets anybody be taken.
pub(crate) fn is_open(run: &Run, now: DateTime<Utc>) -> bool {
    run.sending_window.is_none()
        || window(run).and_then(|window| window.taking_begins(now)).is_some_and(|begins| begins <= now)
}

/// What stays the same while a task runs.
#[derive(Debug)]
pub(crate) struct RunFacts {
    pub(crate) run: Run,
    pub(crate) compiled: Compiled,
    pub(crate) is_marketing: bool,
    /// The limits that its recipients are held to.
    pub(crate) guards: Arc<Guards>,
    /// What was prefetched no longer joins the cursor: an intent was dropped.
    pub(crate) is_stale: AtomicBool,
    /// It was paused or cancelled, or a halt stands: no call of it begins any more, also where its intent is committed.
    is_stopped: AtomicBool,
}

impl RunFacts {
    /// No call begins any more; the task is begun afresh when it may run again.
    pub(crate) fn stop(&self) {
        self.is_stopped.store(true, Ordering::Release);
        self.is_stale.store(true, Ordering::Release);
    }

    pub(crate) fn is_stopped(&self) -> bool {
        self.is_stopped.load(Ordering::Acquire)
    }

    /// What stands still in this scope concerns it.
    fn is_within(&self, scope: Scope, value: &str) -> bool {
        match scope {
            Scope::Account => true,
            Scope::Sender => self.run.sender == value,
            Scope::Template => self.run.template.as_deref() == Some(value),
            Scope::Task => self.run.task_id.to_string() == value,
        }
    }
}

/// The tasks of one account whose calls may be under way, to be stopped from elsewhere.
#[derive(Debug, Default)]
pub(crate) struct Begun(Mutex<Vec<Weak<RunFacts>>>);

impl Begun {
    fn add(&self, facts: &Arc<RunFacts>) {
        let mut begun = self.lock();
        begun.retain(|facts| facts.strong_count() > 0);
        begun.push(Arc::downgrade(facts));
    }

    /// No call of the task begins from now on.
    pub(crate) fn stop_task(&self, task_id: i64) {
        self.stop(|facts| facts.run.task_id == task_id);
    }

    /// No call of whatever the halt concerns begins from now on.
    pub(crate) fn stop_halted(&self, halt: &NewHalt) {
        self.stop(|facts| facts.is_within(halt.scope, &halt.value));
    }

    fn stop(&self, is_concerned: impl Fn(&RunFacts) -> bool) {
        let begun = self.lock();
        begun
            .iter()
            .filter_map(Weak::upgrade)
            .filter(|facts| is_concerned(facts))
            .for_each(|facts| facts.stop());
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<Weak<RunFacts>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A running task of one sender.
#[derive(Debug)]
pub(crate) struct TaskRun {
    pub(crate) facts: Arc<RunFacts>,
    /// The campaign's own pace.
    pub(crate) spacing: Option<Spacing>,
    /// Where the cursor will stand when all that was handed on is committed.
    pub(crate) cursor: i32,
    /// Who comes next from beyond the cursor.
    pub(crate) fresh: VecDeque<Recipient>,
    pages: mpsc::Receiver<Vec<Recipient>>,
    /// Pages were gone before the next was there.
    is_starved: Arc<AtomicBool>,
    /// Who is due to be tried again.
    pub(crate) due: VecDeque<Due>,
    /// More are due beyond these.
    pub(crate) due_after: Option<runs::After>,
    /// Those of its canary, whom the cursor passes over.
    pub(crate) sample: Option<Sample>,
    /// Only who is due is taken: nothing is decided of the canary, or the sender's day is full.
    pub(crate) takes_due_alone: bool,
    /// Its sending window follows the clocks of each recipient.
    pub(crate) clocks: Option<Clocks>,
    /// Who of them was handed on and not heard of since.
    pub(crate) in_hand: HashSet<i32>,
    /// Fresh and retry alternate.
    pub(crate) retry_next: bool,
    /// When its sending window closes; none: it does not.
    closes_at: Option<DateTime<Utc>>,
    /// Requests that it may take before the next task's turn.
    turns: u8,
}

impl TaskRun {
    /// Puts the message into the vendor's form and begins to read recipients.
    ///
    /// # Errors
    /// The message cannot be put into the vendor's form: it could when the campaign was created.
    pub(crate) fn start(
        run: Run,
        account: &AccountState,
        shared: &Shared,
        wake: &Arc<Notify>,
        now: DateTime<Utc>,
    ) -> Result<Self, String> {
        let complain = |errors: Vec<model::FieldError>| {
            errors.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
        };
        let message = Message::parse(&run.message).map_err(complain)?;
        let mut columns = Columns::new(run.columns.clone());
        if let Some(phone_column) = &run.phone_column {
            columns = columns.with_phone_column(phone_column.clone());
        }
        let category = Category::from_i16(run.category).unwrap_or(Category::Marketing);
        let compiled = account.client.compile(&message, &columns, &run.sender, category).map_err(complain)?;
        let guards = guards(&run, &account.config, &compiled, &shared.limits);
        let is_starved = Arc::new(AtomicBool::new(false));
        let spacing = run.messages_per_second.map(|rate| Spacing::new(rate, account.client.max_batch() > 1));
        let facts = Arc::new(RunFacts {
            is_marketing: category == Category::Marketing,
            compiled,
            guards: Arc::new(guards),
            is_stale: AtomicBool::new(false),
            is_stopped: AtomicBool::new(false),
            run,
        });
        account.begun.add(&facts);
        let run = &facts.run;
        Ok(Self {
            spacing,
            cursor: run.cursor,
            fresh: VecDeque::new(),
            pages: read_pages(shared.db.clone(), run, Arc::clone(wake), Arc::clone(&is_starved)),
            is_starved,
            due: VecDeque::new(),
            due_after: None,
            sample: (run.canary_size > 0).then(|| Sample::new(run.task_id, run.total, run.canary_size)),
            takes_due_alone: run.takes_due_alone,
            clocks: Clocks::of(window(run), &columns),
            in_hand: HashSet::new(),
            retry_next: false,
            closes_at: window(run).and_then(|window| window.taking_ends(now)),
            turns: weight(run.priority),
            facts,
        })
    }

    /// Takes in the pages that have been read until `wanted` recipients are at hand.
    pub(crate) fn refill(&mut self, wanted: usize) {
        while self.fresh.len() < wanted {
            match self.pages.try_recv() {
                Ok(page) => self.fresh.extend(page),
                Err(mpsc::error::TryRecvError::Empty) => {
                    self.is_starved.store(true, Ordering::Relaxed);
                    return;
                }
                Err(mpsc::error::TryRecvError::Disconnected) => return,
            }
        }
    }

    /// How many turns it has in a row.
    pub(crate) fn weight(&self) -> u8 {
        weight(self.facts.run.priority)
    }

    /// Waits a moment until the first recipients are there.
    pub(crate) async fn first_page(&mut self) {
        if let Ok(Some(page)) = tokio::time::timeout(FIRST_PAGE, self.pages.recv()).await {
            self.fresh.extend(page);
        }
    }

    /// Somebody can be taken now.
    pub(crate) fn has_work(&self) -> bool {
        !self.is_stale() && (self.has_fresh() || !self.due.is_empty())
    }

    /// Somebody from beyond the cursor can be taken now.
    pub(crate) fn has_fresh(&self) -> bool {
        !self.takes_due_alone && !self.fresh.is_empty()
    }

    /// Its sending window has closed since it was begun: it is begun afresh when that opens.
    pub(crate) fn is_closed(&self, now: DateTime<Utc>) -> bool {
        self.closes_at.is_some_and(|closes_at| closes_at <= now)
    }

    /// Counts a turn: whether another one follows before the next task's.
    pub(crate) fn keeps_turn(&mut self) -> bool {
        self.turns = self.turns.saturating_sub(1);
        if self.turns == 0 {
            self.turns = self.weight();
            return false;
        }
        true
    }

    pub(crate) fn is_stale(&self) -> bool {
        self.facts.is_stale.load(Ordering::Acquire)
    }
}

/// The limits that a task's recipients are held to. A trial goes to people who expect it: it counts for its sender, and for no
/// cap.
fn guards(run: &Run, account: &AccountConfig, compiled: &Compiled, limits: &Limits) -> Guards {
    let is_capped = compiled.facts.is_marketing && !run.is_trial;
    let reply_window = || ReplyWindow {
        code: account.vendor.closed_window_code().to_owned(),
        sender_digits: (account.senders.len() > 1)
            .then(|| run.sender.chars().filter(char::is_ascii_digit).collect()),
    };
    Guards {
        daily: daily::limit_of(account, &run.sender),
        cap: limits.max_per_recipient.filter(|_| is_capped),
        reply_window: (limits.foresee_closed_window && !compiled.facts.is_template).then(reply_window),
    }
}

/// A campaign's own rate: its next taking is due when the last one has been paid for. It never blocks its sender.
#[derive(Debug)]
pub(crate) struct Spacing {
    rate: f64,
    chunk: usize,
    next: Instant,
}

impl Spacing {
    fn new(rate: f64, is_batch: bool) -> Self {
        // Half a second of the rate in a batch, a thirtieth of a second in single calls.
        let chunk = if is_batch { rate / 2.0 } else { rate / 30.0 };
        Self { rate, chunk: (chunk.ceil() as usize).max(1), next: Instant::now() }
    }

    /// How many one taking may hold.
    pub(crate) fn chunk(&self) -> usize {
        self.chunk
    }

    pub(crate) fn is_ready(&self) -> bool {
        self.next <= Instant::now()
    }

    pub(crate) fn ready_at(&self) -> Instant {
        self.next
    }

    pub(crate) fn take(&mut self, n: u32) {
        let gap = Duration::try_from_secs_f64(f64::from(n) / self.rate).unwrap_or(Duration::from_secs(3600));
        self.next = self.next.max(Instant::now()) + gap;
    }
}

/// Reads the audience from the cursor on, a page ahead, until the receiver is dropped.
fn read_pages(
    db: Database,
    run: &Run,
    wake: Arc<Notify>,
    is_starved: Arc<AtomicBool>,
) -> mpsc::Receiver<Vec<Recipient>> {
    let (sender, receiver) = mpsc::channel(1);
    let (audience_id, total, mut after) = (run.audience_id, run.total, run.cursor);
    tokio::spawn(async move {
        let mut limit = *PAGE.start();
        while after < total {
            let page = async {
                let mut conn =
                    db.background.acquire().await.map_err(store::Error::database("reading recipients"))?;
                recipients::page_after(&mut conn, audience_id, after, limit).await
            };
            match db.within(LIMIT_STEP, "reading recipients", page).await {
                Ok(page) if page.is_empty() => {
                    tracing::error!(
                        audience.id = audience_id,
                        after,
                        total,
                        "the audience ends before its total"
                    );
                    return;
                }
                Ok(page) => {
                    after = page.last().map_or(total, |recipient| recipient.no);
                    if sender.send(page).await.is_err() {
                        return;
                    }
                    wake.notify_one();
                    if is_starved.swap(false, Ordering::Relaxed) {
                        limit = (limit * 2).min(*PAGE.end());
                    }
                }
                Err(error) => {
                    tracing::warn!(audience.id = audience_id, %error, "recipients cannot be read; trying again");
                    tokio::time::sleep(Duration::from_secs(1)).await;
                    if sender.is_closed() {
                        return;
                    }
                }
            }
        }
    });
    receiver
}

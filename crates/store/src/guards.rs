//! The limits that protect people and senders, kept where somebody is taken: in the transaction of the intent, so that what is
//! counted and who is called cannot part. Who must wait goes to `retries`, with no attempt used up.
//!
//! Tasks that no limit concerns cost nothing here.

use std::collections::{HashMap, HashSet};

use chrono::{DateTime, TimeDelta, Utc};
use model::limits::{self, FREQUENCY_CAP, FrequencyCap, PAIR_SECONDS};
use sqlx::PgConnection;

use crate::{
    Result, caps,
    daily::{DailyLimit, Day},
    groups::Group,
    intents::{Intent, Source, Taken},
    outcomes::Why,
    reply_windows::{self, ReplyWindow},
};

/// The limits that a task's recipients are held to, beside the suppression list.
#[derive(Clone, Debug, Default)]
pub struct Guards {
    /// Of its sender.
    pub daily: Option<DailyLimit>,
    /// Of marketing to one person.
    pub cap: Option<FrequencyCap>,
    /// Of messages without a template.
    pub reply_window: Option<ReplyWindow>,
}

impl Guards {
    fn are_any(&self) -> bool {
        self.daily.is_some() || self.cap.is_some() || self.reply_window.is_some()
    }
}

/// Why a recipient is not called now.
#[derive(Clone, Debug)]
pub(crate) enum Hold {
    /// It is tried again then.
    Until(DateTime<Utc>),
    /// It would be refused.
    Failed(Why),
    /// It has had enough.
    Suppressed(Why),
}

/// Who is held, by request and number.
pub(crate) type Held = HashMap<(i64, i32), Hold>;

/// A recipient who would be called.
pub(crate) type Candidate<'a> = (&'a Intent, &'a Taken);

/// Whether any limit concerns the intent.
pub(crate) fn concern(intent: &Intent) -> bool {
    !intent.early.is_empty() || intent.guards.are_any()
}

/// Who of `candidates` is held; all others are counted as called.
pub(crate) async fn hold(
    conn: &mut PgConnection,
    account: &str,
    group: &Group<'_>,
    candidates: Vec<Candidate<'_>>,
) -> Result<Held> {
    let mut taking = Taking { account, group, candidates, held: Held::new() };
    if taking.candidates.is_empty() {
        return Ok(taking.held);
    }
    taking.hold_early();
    taking.hold_outside_windows(conn).await?;
    // What is counted is counted last, when everybody else is out.
    let days = taking.hold_over_daily_limits(conn).await?;
    taking.hold_over_caps(conn).await?;
    for day in &days {
        let leaving = taking.phones(|intent| intent.guards.daily.as_ref() == Some(day.limit()));
        day.count(conn, &leaving).await?;
    }
    Ok(taking.held)
}

/// A group on its way through the limits.
struct Taking<'a> {
    account: &'a str,
    group: &'a Group<'a>,
    /// Who is left.
    candidates: Vec<Candidate<'a>>,
    held: Held,
}

impl<'a> Taking<'a> {
    fn hold_early(&mut self) {
        self.hold_where(|intent, taken| {
            let early = intent.early.iter().find(|(no, _)| *no == taken.no);
            early.map(|(_, until)| Hold::Until(*until))
        });
    }

    async fn hold_outside_windows(&mut self, conn: &mut PgConnection) -> Result<()> {
        let mut windows: Vec<&ReplyWindow> = Vec::new();
        for window in self.candidates.iter().filter_map(|(intent, _)| intent.guards.reply_window.as_ref()) {
            if !windows.contains(&window) {
                windows.push(window);
            }
        }
        for window in windows {
            let concerns = |intent: &Intent| intent.guards.reply_window.as_ref() == Some(window);
            let phones = self.phones(concerns);
            let last = reply_windows::last_written(conn, self.account, window, &phones).await?;
            let now = self.group.now;
            self.hold_where(|intent, taken| {
                let last = last.get(&taken.phone.as_i64()).copied();
                let is_closed = concerns(intent) && !limits::is_window_open(last, now);
                is_closed.then(|| Hold::Failed(window.closed(last)))
            });
        }
        Ok(())
    }

    /// The days in which those who are left are to be counted.
    async fn hold_over_daily_limits(&mut self, conn: &mut PgConnection) -> Result<Vec<Day<'a>>> {
        let mut days = Vec::new();
        for limit in daily_limits(&self.candidates) {
            let concerns = |intent: &Intent| intent.guards.daily.as_ref() == Some(limit);
            let phones = self.phones(concerns);
            let (now, leaves_by) = (self.group.now, self.group.deadline_at);
            let day = Day::look(conn, self.account, limit, &phones, now, leaves_by).await?;
            if let Some((waiting, until)) = day.wait(&phones) {
                self.hold_where(|intent, taken| {
                    let waits = concerns(intent) && waiting.contains(&taken.phone.as_i64());
                    waits.then_some(Hold::Until(until))
                });
            }
            days.push(day);
        }
        Ok(days)
    }

    /// There is one cap for all.
    async fn hold_over_caps(&mut self, conn: &mut PgConnection) -> Result<()> {
        let Some(cap) = self.candidates.iter().find_map(|(intent, _)| intent.guards.cap) else {
            return Ok(());
        };
        let mut first: HashMap<i64, i64> = HashMap::new();
        let soon = self.group.now + TimeDelta::seconds(PAIR_SECONDS);
        // Two senders may write to one person in one transaction: one after the other.
        self.hold_where(|intent, taken| {
            let task_id = intent.task_id;
            let is_second = intent.guards.cap.is_some()
                && *first.entry(taken.phone.as_i64()).or_insert(task_id) != task_id;
            is_second.then_some(Hold::Until(soon))
        });
        let who: Vec<caps::Marketed> = first.into_iter().collect();
        let admitted = caps::admit(conn, &cap, &who, self.group.now).await?;
        self.hold_where(|intent, taken| {
            let is_capped = intent.guards.cap.is_some() && !admitted.contains(&taken.phone.as_i64());
            let why = || Why { code: FREQUENCY_CAP.to_owned(), reason: cap.why() };
            is_capped.then(|| Hold::Suppressed(why()))
        });
        Ok(())
    }

    fn hold_where(&mut self, mut hold: impl FnMut(&Intent, &Taken) -> Option<Hold>) {
        let held = &mut self.held;
        self.candidates.retain(|(intent, taken)| match hold(intent, taken) {
            Some(hold) => {
                held.insert((intent.request_id, taken.no), hold);
                false
            }
            None => true,
        });
    }

    /// The phones of those whose intent is as wanted, in their order.
    fn phones(&self, is_wanted: impl Fn(&Intent) -> bool) -> Vec<i64> {
        let wanted = self.candidates.iter().filter(|(intent, _)| is_wanted(intent));
        wanted.map(|(_, taken)| taken.phone.as_i64()).collect()
    }
}

/// The limits of the senders that the candidates are of, each once.
fn daily_limits<'a>(candidates: &[Candidate<'a>]) -> Vec<&'a DailyLimit> {
    let mut limits: Vec<&DailyLimit> = Vec::new();
    for limit in candidates.iter().filter_map(|(intent, _)| intent.guards.daily.as_ref()) {
        if !limits.contains(&limit) {
            limits.push(limit);
        }
    }
    limits
}

/// The candidates of a group: those of intents that a limit concerns who came, each with its first intent.
pub(crate) fn candidates<'a>(
    group: &Group<'a>,
    retried: &HashSet<(i64, i32)>,
    may_leave: impl Fn(&Intent, &Taken) -> bool,
) -> Vec<Candidate<'a>> {
    let mut named: HashSet<(i64, i32)> = HashSet::new();
    let mut candidates = Vec::new();
    for intent in group.intents.iter().copied().filter(|intent| concern(intent)) {
        for taken in &intent.taken {
            let key = (intent.task_id, taken.no);
            let came = intent.source != Source::Retries || retried.contains(&key);
            if came && may_leave(intent, taken) && named.insert(key) {
                candidates.push((intent, taken));
            }
        }
    }
    candidates
}

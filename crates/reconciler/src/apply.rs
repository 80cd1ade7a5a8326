//! One step of the inbox: read what is next, find the messages it speaks of, move them, remember how far it went.

use std::{sync::Arc, time::Duration};

use chrono::{DateTime, Utc};
use model::{
    report::{Event, Inbound, News, Preference, StatusReport},
    watch::Watch,
};
use store::{
    Error, Kept, PgConnection, PgTransaction,
    database::LIMIT_STEP,
    early, effects,
    inbox::{self, Entry, EntryKind, Limit},
    leases::{self, Lease},
    reports, standings,
};
use tokio::{sync::Notify, time::Instant};
use tokio_util::sync::CancellationToken;

use crate::{
    LOOK, Shared,
    failed::Failures,
    people,
    round::{Received, Round},
    vendor_events,
    waiting::Waiting,
};

/// Read in one step: so that a backlog is applied with few statements a report, and within bounded memory.
const STEP: Limit = Limit { entries: 2_500, bytes: 1 << 20 };
/// Read in one step when entries are applied one by one.
const ONE: Limit = Limit { entries: 1, bytes: 1 };
/// Reports applied in one step, about: an entry may hold a hundred.
const REPORTS: usize = 2_500;
/// Entries read between two chances for others: what answers callbacks waits for the same few threads.
const AT_A_TIME: usize = 100;
/// Between the beginnings of two looks at the least. What comes first is applied at once; what comes behind it is
/// gathered, because a step of many costs a fraction of many steps.
const GATHER: Duration = Duration::from_millis(100);
/// Steps that may fail on their values before their entries are applied one by one, and an entry before it is passed
/// over.
const FAILURES: u32 = 3;

/// Applies one account's inbox while this node owns the account.
pub(crate) struct Applier {
    pub(crate) shared: Arc<Shared>,
    pub(crate) lease: Lease,
    pub(crate) watch: Watch,
    waiting: Waiting,
    /// Steps that failed on their values since the last that did not.
    failures: u32,
    /// Entries that are still to be applied one by one.
    singly: usize,
    /// The entry that the last step began with: writer and number.
    began_with: Option<(i64, i64)>,
}

impl Applier {
    pub(crate) fn new(shared: Arc<Shared>, lease: Lease) -> Self {
        let (watch, waiting) = (Watch::default(), Waiting::default());
        Self { shared, lease, watch, waiting, failures: 0, singly: 0, began_with: None }
    }

    /// Applies what comes until `stop`.
    pub(crate) async fn run(mut self, appended: Arc<Notify>, stop: CancellationToken) {
        while !stop.is_cancelled() {
            // Registered before the look, so that what is appended during it is not missed.
            let mut rung = Box::pin(appended.notified());
            rung.as_mut().enable();
            let next_look = Instant::now() + GATHER;
            let went_well = self.all(&stop).await;
            tokio::select! {
                () = stop.cancelled() => {}
                () = rung, if went_well => {}
                () = tokio::time::sleep(LOOK) => {}
            }
            tokio::select! {
                () = stop.cancelled() => {}
                () = tokio::time::sleep_until(next_look) => {}
            }
        }
    }

    /// Steps until nothing is left, or something goes wrong; whether nothing did.
    async fn all(&mut self, stop: &CancellationToken) -> bool {
        while !stop.is_cancelled() {
            let db = self.shared.db.clone();
            match db.within(LIMIT_STEP, "applying callbacks", self.next()).await {
                Ok(true) => {}
                Ok(false) => return true,
                Err(Error::Fenced) => return false,
                Err(error) => {
                    let account = &self.lease.account;
                    tracing::warn!(account.name = account, %error, "callbacks cannot be applied; trying again");
                    return false;
                }
            }
        }
        true
    }

    /// One step of what waits and one of the inbox; whether there may be more.
    pub(crate) async fn next(&mut self) -> store::Result<bool> {
        // Only so many accounts at once, so that outcomes always find a connection.
        let shared = Arc::clone(&self.shared);
        let Ok(_turn) = shared.steps.acquire().await else { return Ok(false) };
        let is_more_waiting = self.look_at_waiting().await?;
        Ok(self.careful_step().await? || is_more_waiting)
    }

    /// Looks at the reports that wait for their message, when it is time.
    async fn look_at_waiting(&mut self) -> store::Result<bool> {
        if !self.waiting.is_due() {
            return Ok(false);
        }
        let mut database = Kept::of(&self.shared.db.hot);
        let mut transaction = self.begin(&mut database).await?;
        let now = self.shared.clock.now();
        let slice = self.waiting.take(&mut transaction, &self.lease.account, now).await?;
        let known = slice.known.into_iter();
        let received: Vec<Received> = known
            .filter_map(|early| Some((serde_json::from_value(early.body).ok()?, early.received_at)))
            .collect();
        let news = Step { received, ..Step::default() };
        if self.apply(transaction, &news).await? {
            self.waiting.done(slice.goes_on_after);
        }
        Ok(slice.goes_on_after.is_some())
    }

    /// A step of the inbox. Where one fails again and again on what it holds, entries are applied one by one, and the
    /// one that fails is passed over: it must not stop the others for ever.
    pub(crate) async fn careful_step(&mut self) -> store::Result<bool> {
        let limit = if self.singly > 0 { ONE } else { STEP };
        match self.step(limit).await {
            Err(error) if error.is_about_the_values() => {
                self.failures += 1;
                if self.failures < FAILURES {
                    return Err(error);
                }
                self.failures = 0;
                if self.singly == 0 {
                    self.singly = STEP.entries;
                    return Err(error);
                }
                self.pass_over(&error).await?;
                Ok(true)
            }
            Err(error) => Err(error),
            Ok(is_more) => {
                self.failures = 0;
                self.singly = if is_more { self.singly.saturating_sub(1) } else { 0 };
                Ok(is_more)
            }
        }
    }

    /// Applies a bounded amount; whether there may be more.
    async fn step(&mut self, limit: Limit) -> store::Result<bool> {
        let mut database = Kept::of(&self.shared.db.hot);
        let conn = database.connection("looking into the inbox").await?;
        if !inbox::has_unapplied(conn, &self.lease.account).await? {
            return Ok(false);
        }
        let mut transaction = self.begin(&mut database).await?;
        let (entries, is_more) = inbox::unapplied(&mut transaction, &self.lease.account, limit).await?;
        self.began_with = entries.first().map(|entry| (entry.writer, entry.seq));
        if entries.is_empty() {
            return Ok(false);
        }
        let step = self.read(entries).await;
        let is_more = is_more || step.is_full;
        let is_applied = self.apply(transaction, &step).await?;
        Ok(is_more || !is_applied)
    }

    async fn read(&self, mut entries: Vec<Entry>) -> Step {
        let mut step = Step::default();
        let mut read = 0;
        for entry in &entries {
            if step.received.len() >= REPORTS {
                break;
            }
            read += 1;
            if read % AT_A_TIME == 0 {
                tokio::task::yield_now().await;
            }
            for news in news(&self.shared, &self.lease, entry) {
                match news {
                    News::Status(report) => step.received.push((report, entry.received_at)),
                    News::Inbound(message) => step.people.push((message, entry.received_at)),
                    News::Preference(preference) => step.preferences.push((preference, entry.received_at)),
                    News::Event(event) => step.events.push((event, entry.received_at)),
                }
            }
        }
        step.is_full = read < entries.len();
        entries.truncate(read);
        step.entries = entries;
        step
    }

    async fn begin<'a>(&self, database: &'a mut Kept) -> store::Result<PgTransaction<'a>> {
        let mut transaction = database.begin("applying callbacks").await?;
        leases::fence(&mut transaction, &self.lease).await?;
        Ok(transaction)
    }

    /// Applies what was read and commits. False: a row moved under us; all is rolled back and to be read again.
    async fn apply(&mut self, mut transaction: PgTransaction<'_>, step: &Step) -> store::Result<bool> {
        let account = &self.lease.account;
        let mut failures = Failures::new(&self.shared, &self.lease, &self.watch);
        let conn: &mut PgConnection = &mut transaction;
        if !apply_reports(conn, &self.lease, &step.received, &mut failures).await? {
            return Ok(false);
        }
        let now = self.shared.clock.now();
        let fresh = people::keep(conn, account, &step.people, now).await?;
        let is_confirmed = people::obey(conn, &self.shared, account, &fresh, &step.preferences, now).await?;
        let may_run_on = vendor_events::apply(conn, &self.shared, account, &step.events, now).await?;
        effects::apply(conn, &failures.effects, now).await?;
        if !inbox::advance(conn, account, &step.entries).await? {
            return Ok(false);
        }
        hooks::point!("apply.before_commit", if !step.received.is_empty());
        transaction.commit().await.map_err(Error::database("applying callbacks"))?;
        hooks::point!("apply.after_commit", if !step.received.is_empty());
        let Failures { slow_downs, retried, observed, .. } = failures;
        for (scope, sender) in slow_downs {
            (self.shared.slow_down)(account, scope, &sender);
        }
        if may_run_on || is_confirmed || !retried.is_empty() {
            (self.shared.wake_dispatcher)(account);
        }
        if let Some(watch) = observed {
            self.watch = watch;
        }
        Ok(true)
    }

    /// Passes over the entry that the last step began with. It stays in the inbox, to be looked at.
    async fn pass_over(&mut self, error: &Error) -> store::Result<()> {
        let mut database = Kept::of(&self.shared.db.hot);
        let mut transaction = self.begin(&mut database).await?;
        let (entries, _) = inbox::unapplied(&mut transaction, &self.lease.account, ONE).await?;
        let Some(entry) = entries.first().filter(|entry| self.began_with == Some((entry.writer, entry.seq)))
        else {
            return Ok(());
        };
        let (account, writer, seq) = (&self.lease.account, entry.writer, entry.seq);
        inbox::advance(&mut transaction, account, &entries).await?;
        transaction.commit().await.map_err(Error::database("passing over a callback"))?;
        tracing::error!(account.name = account, writer, seq, %error,
            "a callback cannot be applied and is passed over; it stays in the table callbacks");
        Ok(())
    }
}

/// What one step applies.
#[derive(Default)]
struct Step {
    received: Vec<Received>,
    people: Vec<(Inbound, DateTime<Utc>)>,
    preferences: Vec<(Preference, DateTime<Utc>)>,
    events: Vec<(Event, DateTime<Utc>)>,
    entries: Vec<Entry>,
    is_full: bool,
}

/// What an entry says. One that says nothing readable was checked when it came; it is named and passed over.
fn news(shared: &Shared, lease: &Lease, entry: &Entry) -> Vec<News> {
    if entry.kind == EntryKind::Evidence as i16 {
        let reports: Vec<StatusReport> = serde_json::from_str(&entry.body).unwrap_or_default();
        return reports.into_iter().map(News::Status).collect();
    }
    let Some(vendor) = shared.vendors.get(&lease.account) else { return Vec::new() };
    vendors::callback::parse(*vendor, entry.body.as_bytes()).unwrap_or_else(|error| {
        tracing::error!(account.name = lease.account, seq = entry.seq, %error, "a stored callback cannot be read");
        Vec::new()
    })
}

/// Applies the reports in order. False: a row no longer stood as it was read.
pub(crate) async fn apply_reports(
    conn: &mut PgConnection,
    lease: &Lease,
    received: &[Received],
    failures: &mut Failures<'_>,
) -> store::Result<bool> {
    if received.is_empty() {
        return Ok(true);
    }
    standings::look_up_by_index(conn).await?;
    let found = standings::find(conn, &lease.account, received.iter().map(|(report, _)| report)).await?;
    failures.learn(conn, &found).await?;
    let mut round = Round::new(&found);
    for some in received.chunks(AT_A_TIME) {
        for report in some {
            round.apply(report, failures);
        }
        tokio::task::yield_now().await;
    }
    let (changes, early) = round.finish();
    if !reports::write(conn, &changes).await? {
        return Ok(false);
    }
    early::keep(conn, &lease.account, &early).await?;
    Ok(true)
}

//! What a vendor says it has sent, asked about messages of which no answer came.
//!
//! A record proves that a message was sent; the absence of one proves nothing, and moves nobody. When to ask stands in the
//! database, so that a restart forgets nothing. No transaction is open while the vendor is asked.

mod matching;

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    sync::Arc,
    time::Duration,
};

use chrono::{DateTime, TimeDelta, Utc};
use model::{
    Phone,
    report::{Correlation, ReportedOutcome, StatusReport},
    watch::Watch,
};
use store::{
    Error, Kept, PgConnection,
    database::LIMIT_STEP,
    effects,
    leases::{self, Lease},
    standings,
    unknown::{self, NextAsk, Unknown},
};
use tokio_util::sync::CancellationToken;
use vendors::{Account, RecordPage, RecordQuery, RecordsError};

use self::matching::{Known, Match, Told};
use crate::{Shared, apply::apply_reports, failed::Failures, round::Received};

/// Between two looks at what is to be asked.
const LOOK: Duration = Duration::from_secs(1);
/// Messages that are asked about in one step.
const STEP: i64 = 500;
/// So many of one template are asked about one by one, more of them by time.
const FEW: usize = 20;
/// Calls to the vendor in one step.
const CALLS: usize = 150;
/// Of these, pages of all records of a time: enough are left to get on one by one.
const PAGES_BY_TIME: u32 = 75;
/// Between two calls.
const GAP: Duration = Duration::from_millis(200);
/// Pages of one person's records.
const PAGES_OF_ONE: u32 = 3;
/// After the call's end, or after it became unknown, whichever is later: a vendor's records may be late.
const AGAIN_SECONDS: [i64; 8] = [5, 20, 60, 300, 540, 3_600, 6 * 3_600, 24 * 3_600];
/// The longest wait after the vendor could not be asked.
const LONGEST_PAUSE_SECONDS: i64 = 60;
/// How often records must have been asked in vain before a policy may send again: at once, and after the call's end.
pub(crate) const ASKED_BEFORE_RESEND: i16 = 2;

/// Asks one account's vendor while this node owns the account.
pub(crate) struct Asker {
    shared: Arc<Shared>,
    lease: Lease,
    account: Arc<Account>,
    watch: Watch,
    /// The vendor writes senders as the configuration does: seen once, known for good.
    senders_compare: bool,
    /// Steps in a row in which the vendor could not be asked.
    failures: u32,
}

/// What the vendor answered in one step.
#[derive(Default)]
struct Answers {
    told: Vec<Told>,
    /// The messages about which all was told that there is.
    complete: HashSet<(i64, i32)>,
    calls: usize,
    failed: Option<RecordsError>,
}

impl Answers {
    fn must_stop(&self) -> bool {
        self.calls >= CALLS || self.failed.is_some()
    }
}

impl Asker {
    /// None where the account's vendor keeps no records.
    pub(crate) fn new(shared: Arc<Shared>, lease: Lease) -> Option<Self> {
        let account = Arc::clone(shared.records.accounts.get(&lease.account)?);
        let watch = Watch::default();
        account.keeps_records().then_some(Self {
            shared,
            lease,
            account,
            watch,
            senders_compare: false,
            failures: 0,
        })
    }

    /// Asks until `stop`.
    pub(crate) async fn run(mut self, stop: CancellationToken) {
        while !stop.is_cancelled() {
            // A step may last as long as many calls; nothing is lost when it ends in the middle.
            let step = tokio::select! {
                () = stop.cancelled() => return,
                step = self.step() => step,
            };
            match step {
                Ok(true) => continue,
                Ok(false) | Err(Error::Fenced) => {}
                Err(error) => {
                    tracing::warn!(account.name = self.lease.account, %error, "records cannot be compared; trying again");
                }
            }
            tokio::select! {
                () = stop.cancelled() => {}
                () = tokio::time::sleep(LOOK) => {}
            }
        }
    }

    /// Asks about a bounded number of messages and applies what is told; whether there may be more.
    pub(crate) async fn step(&mut self) -> store::Result<bool> {
        let db = self.shared.db.clone();
        let due = db.within(LIMIT_STEP, "looking what is to be asked", self.due()).await?;
        if due.is_empty() {
            return Ok(false);
        }
        let answers = self.ask(&due).await;
        self.failures = if answers.failed.is_some() { self.failures.saturating_add(1) } else { 0 };
        if let Some(error) = &answers.failed {
            tracing::warn!(account.name = self.lease.account, %error, unknown = due.len(),
                "the vendor cannot be asked what it sent; what is unknown stays so meanwhile");
        }
        let applied = self.apply(&due, &answers);
        let is_applied = db.within(LIMIT_STEP, "applying records", applied).await?;
        Ok(is_applied && answers.failed.is_none())
    }

    async fn due(&self) -> store::Result<Vec<Unknown>> {
        let mut database = Kept::of(&self.shared.db.background);
        let mut transaction = database.begin("looking what is to be asked").await?;
        let now = self.shared.clock.now();
        let due = unknown::to_be_asked(&mut transaction, &self.lease.account, now, STEP).await?;
        transaction.commit().await.map_err(Error::database("looking what is to be asked"))?;
        Ok(due)
    }

    /// Asks about all of them, or as many as one step may.
    async fn ask(&self, due: &[Unknown]) -> Answers {
        let mut answers = Answers::default();
        let mut by_template: BTreeMap<&str, Vec<&Unknown>> = BTreeMap::new();
        for one in due {
            by_template.entry(&one.template).or_default().push(one);
        }
        for (template, mut asked) in by_template {
            if asked.len() > FEW {
                self.ask_by_time(template, &asked, &mut answers).await;
                let told: HashSet<Option<Phone>> = answers.told.iter().map(|told| told.record.to).collect();
                let complete = &answers.complete;
                asked.retain(|one| {
                    !complete.contains(&(one.task_id, one.no)) && !told.contains(&Some(one.phone))
                });
            }
            for one in asked {
                self.ask_of_one(one, &mut answers).await;
            }
        }
        answers
    }

    /// Reads all records of the template in the time of the messages; gives up when it costs more than to ask one by one.
    async fn ask_by_time(&self, template: &str, of: &[&Unknown], answers: &mut Answers) {
        let windows = || of.iter().map(|one| matching::window(one));
        let mut query = query(template);
        query.from = windows().map(|(from, _)| from).min();
        query.until = windows().map(|(_, until)| until).max();
        let most = u32::try_from(of.len()).unwrap_or(u32::MAX).min(PAGES_BY_TIME);
        if self.read_pages(template, query, most, answers).await {
            answers.complete.extend(of.iter().map(|one| (one.task_id, one.no)));
        }
    }

    async fn ask_of_one(&self, of: &Unknown, answers: &mut Answers) {
        let (from, until) = matching::window(of);
        let mut query = query(&of.template);
        query.recipient = Some(of.phone);
        // A message whose id is known may have been handled at any time.
        (query.from, query.until) =
            if of.vendor_id.is_some() { (None, None) } else { (Some(from), Some(until)) };
        if self.read_pages(&of.template, query, PAGES_OF_ONE, answers).await {
            answers.complete.insert((of.task_id, of.no));
        }
    }

    /// Reads pages until there are no more; whether that came to be.
    async fn read_pages(
        &self,
        template: &str,
        mut query: RecordQuery,
        most: u32,
        answers: &mut Answers,
    ) -> bool {
        for page in 1..=most {
            if answers.must_stop() {
                return false;
            }
            query.page = page;
            answers.calls += 1;
            match self.call(&query).await {
                Ok(page) => {
                    let told = |record| Told { template: template.to_owned(), record };
                    answers.told.extend(page.records.into_iter().map(told));
                    if !page.has_more {
                        return true;
                    }
                }
                Err(error) => answers.failed = Some(error),
            }
        }
        false
    }

    async fn call(&self, query: &RecordQuery) -> Result<RecordPage, RecordsError> {
        tokio::time::sleep(GAP).await;
        (self.shared.records.call_permit)(&self.lease.account).await;
        self.account.find_records(query).await
    }

    /// Moves what the records speak of, and notes when to ask again of the rest. False: a row moved under us; all is rolled
    /// back and asked again.
    async fn apply(&mut self, due: &[Unknown], answers: &Answers) -> store::Result<bool> {
        let shared = Arc::clone(&self.shared);
        let Ok(_turn) = shared.chores.acquire().await else { return Ok(false) };
        let mut database = Kept::of(&shared.db.background);
        let mut transaction = database.begin("applying records").await?;
        let conn: &mut PgConnection = &mut transaction;
        leases::fence(conn, &self.lease).await?;
        let now = shared.clock.now();
        let said = self.evidence(conn, due, &answers.told, now).await?;
        let healed: HashSet<(i64, i32)> = said.iter().filter_map(|(report, _)| key(report)).collect();
        let mut failures = Failures::new(&shared, &self.lease, &self.watch);
        if !apply_reports(conn, &self.lease, &said, &mut failures).await? {
            return Ok(false);
        }
        effects::apply(conn, &failures.effects, now).await?;
        unknown::ask_again(conn, &self.next_asks(due, answers, now)).await?;
        transaction.commit().await.map_err(Error::database("applying records"))?;
        let Failures { slow_downs, retried, observed, .. } = failures;
        for (scope, sender) in slow_downs {
            (shared.slow_down)(&self.lease.account, scope, &sender);
        }
        if !retried.is_empty() {
            (shared.wake_dispatcher)(&self.lease.account);
        }
        if let Some(watch) = observed {
            self.watch = watch;
        }
        if !healed.is_empty() {
            tracing::info!(
                account.name = self.lease.account,
                messages = healed.len(),
                asked = due.len(),
                "unknown messages were found in the vendor's records"
            );
        }
        Ok(true)
    }

    /// What the records say, as reports. Who is being sent to is asked before whose an id is: a call that is seen in neither
    /// had not begun when the vendor was asked.
    async fn evidence(
        &mut self,
        conn: &mut PgConnection,
        due: &[Unknown],
        told: &[Told],
        now: DateTime<Utc>,
    ) -> store::Result<Vec<Received>> {
        let asked: HashSet<Phone> = due.iter().map(|one| one.phone).collect();
        let told: Vec<Told> = told
            .iter()
            .filter(|told| told.record.to.is_some_and(|to| asked.contains(&to)))
            .cloned()
            .collect();
        let mut people: Vec<Phone> = told.iter().filter_map(|told| told.record.to).collect();
        people.sort_unstable();
        people.dedup();
        if people.is_empty() {
            return Ok(Vec::new());
        }
        standings::look_up_by_index(conn).await?;
        let account = &self.lease.account;
        let busy = unknown::being_sent_to(conn, account, &people).await?;
        let unknown = unknown::to_people(conn, account, &people).await?;
        self.senders_compare |= told
            .iter()
            .filter(|told| told.record.sender.is_some())
            .any(|told| unknown.iter().any(|one| matching::is_sender(&told.record, &one.sender)));
        let known = Known {
            claims: claims(conn, &told).await?,
            busy: busy.into_iter().collect(),
            senders_compare: self.senders_compare,
        };
        let mut said = Vec::new();
        for found in matching::find(&unknown, &told, &known) {
            let (from, until) = matching::window(found.unknown);
            let is_doubtful =
                found.is_refusal() && unknown::has_company(conn, account, found.unknown, from, until).await?;
            if !is_doubtful {
                said.extend(as_reports(&found).map(|report| (report, now)));
            }
        }
        Ok(said)
    }

    /// When records are asked next: later and later for those who were asked about, soon for those who could not be, at
    /// once for those whose turn had not come yet.
    fn next_asks(&self, due: &[Unknown], answers: &Answers, now: DateTime<Utc>) -> Vec<NextAsk> {
        let pause = (1_i64 << self.failures.min(6)).min(LONGEST_PAUSE_SECONDS);
        due.iter()
            .filter_map(|one| {
                let next = |asked, at| {
                    Some(NextAsk { task_id: one.task_id, no: one.no, request_id: one.request_id, asked, at })
                };
                if answers.complete.contains(&(one.task_id, one.no)) || !answers.must_stop() {
                    next(one.asked.saturating_add(1), next_ask(one, now))
                } else if answers.failed.is_some() {
                    next(one.asked, Some(now + TimeDelta::seconds(pause)))
                } else {
                    None
                }
            })
            .collect()
    }
}

/// The query of one template. Senders are compared afterwards: the vendor may write them in another way than it takes them.
fn query(template: &str) -> RecordQuery {
    let (name, language) = template.rsplit_once('/').unwrap_or((template, ""));
    RecordQuery {
        template_name: Some(name.to_owned()),
        template_language: Some(language.to_owned()).filter(|language| !language.is_empty()),
        ..RecordQuery::default()
    }
}

/// The next time in the row that is still to come; none after the last.
fn next_ask(of: &Unknown, now: DateTime<Utc>) -> Option<DateTime<Utc>> {
    let since = of.deadline_at.max(of.since);
    AGAIN_SECONDS.iter().map(|seconds| since + TimeDelta::seconds(*seconds)).find(|at| *at > now)
}

async fn claims(conn: &mut PgConnection, told: &[Told]) -> store::Result<HashMap<String, Vec<(i64, i32)>>> {
    let ids: Vec<&str> = told.iter().filter_map(|told| told.record.vendor_id.as_deref()).collect();
    if ids.is_empty() {
        return Ok(HashMap::new());
    }
    let mut by_hash: HashMap<i64, Vec<(i64, i32)>> = HashMap::new();
    for (hash, task_id, no) in unknown::claims(conn, &ids).await? {
        by_hash.entry(hash).or_default().push((task_id, no));
    }
    let claimed = |id: &str| Some((id.to_owned(), by_hash.get(&store::ids::vendor_hash(id))?.clone()));
    Ok(ids.into_iter().filter_map(claimed).collect())
}

/// The record in the words of reports: that the vendor took it and when, then how far it came.
fn as_reports(found: &Match<'_>) -> impl Iterator<Item = StatusReport> {
    let Match { unknown, record } = found;
    let report = |outcome: ReportedOutcome, at| StatusReport {
        vendor_id: record.vendor_id.clone().unwrap_or_default(),
        correlation: Some(Correlation {
            request_id: unknown.request_id,
            task_id: unknown.task_id,
            no: unknown.no,
        }),
        to: record.to,
        outcome,
        at,
    };
    let taken = record.vendor_id.is_some().then(|| report(ReportedOutcome::Accepted, record.sent_at));
    let came = report(record.outcome.clone(), record.updated_at.or(record.sent_at));
    taken.into_iter().chain([came])
}

fn key(report: &StatusReport) -> Option<(i64, i32)> {
    report.correlation.map(|named| (named.task_id, named.no))
}

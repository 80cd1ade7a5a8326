//! Steps on a real database: what batches of reports come to, and what keeps whom waiting.

use std::{collections::HashMap, sync::Arc, time::Duration};

use chrono::{DateTime, Utc};
use model::{
    Clock, Random,
    report::{Correlation, ReportedOutcome, StatusReport},
};
use sqlx::{Connection as _, PgConnection};
use store::{
    audit,
    inbox::{EntryKind, NewEntries, Writer},
    leases::{self, Lease},
    testing::{self, TestDatabase},
};
use tokio::sync::{Notify, Semaphore, watch};
use uuid::Uuid;
use vendors::Vendor;

use crate::{AT_ONCE, Reconciler, Setup, Shared, apply::Applier, inbox::Inbox};

const REQUEST: i64 = 7;
const RECIPIENTS: i32 = 30;
/// Fails its recipient; 20 in a row halt the sender.
const NUMBER_ERROR: &str = "30005";
/// Is tried again.
const UNKNOWN_ERROR: &str = "30011";

fn now() -> DateTime<Utc> {
    DateTime::from_timestamp(1_795_000_000, 0).unwrap()
}

fn clock() -> Clock {
    Clock::new(now)
}

/// A running task of thirty recipients who were all accepted.
pub(crate) async fn task(conn: &mut PgConnection, account: &str) -> i64 {
    let task_id: i64 = sqlx::query_scalar(
        "WITH a AS (
            INSERT INTO audiences (name, status, rows_accepted, heartbeat_at, created_at)
            VALUES ('people', 2, $3, $2, $2) RETURNING id
         ), c AS (
            INSERT INTO campaigns (name, state, account, sender, audience_id, message, category, priority,
                                   max_attempts, on_unknown, created_at)
            SELECT 'Offer', 2, $1, '+911', id, '{}', 1, 2, 5, 1, $2 FROM a RETURNING id, audience_id
         )
         INSERT INTO tasks (campaign_id, account, sender, audience_id, state, total, cursor, created_at)
         SELECT id, $1, '+911', audience_id, 2, $3, $3, $2 FROM c RETURNING id",
    )
    .bind(account)
    .bind(now())
    .bind(RECIPIENTS)
    .fetch_one(&mut *conn)
    .await
    .unwrap();
    sqlx::query(
        "INSERT INTO messages (task_id, no, state, attempt, request_id, accepted_at)
         SELECT $1, no, 1, 1, $2, $3 FROM generate_series(1, $4) AS i (no)",
    )
    .bind(task_id)
    .bind(REQUEST)
    .bind(now())
    .bind(RECIPIENTS)
    .execute(&mut *conn)
    .await
    .unwrap();
    sqlx::query("INSERT INTO progress VALUES ($1, 5, '', $2)")
        .bind(task_id)
        .bind(RECIPIENTS)
        .execute(conn)
        .await
        .unwrap();
    task_id
}

pub(crate) fn report(task_id: i64, no: i32, outcome: ReportedOutcome) -> StatusReport {
    let correlation = Some(Correlation { request_id: REQUEST, task_id, no });
    StatusReport { vendor_id: format!("v{no}"), correlation, to: None, outcome, at: Some(now()) }
}

fn failed(code: &str) -> ReportedOutcome {
    ReportedOutcome::Failed { code: code.to_owned(), reason: "why".to_owned() }
}

/// Appends one entry for each list of reports.
pub(crate) async fn append(conn: &mut PgConnection, account: &str, entries: &[Vec<StatusReport>]) {
    let writer = Writer { id: leases::next_writer(conn).await.unwrap(), day: now().date_naive() };
    let bodies: Vec<String> = entries.iter().map(|reports| serde_json::to_string(reports).unwrap()).collect();
    let bodies = bodies.iter().map(String::as_str).collect();
    let row = NewEntries { account, kind: EntryKind::Evidence, first: 1, bodies };
    store::inbox::register(conn, writer, &[account]).await.unwrap();
    store::inbox::append(conn, writer, now(), &[row]).await.unwrap();
}

pub(crate) async fn lease(database: &TestDatabase, account: &str) -> Lease {
    leases::acquire(&database.open().general, account, Uuid::from_u128(1)).await.unwrap().unwrap().lease
}

pub(crate) fn shared(database: &TestDatabase, account: &str) -> Shared {
    Shared {
        db: database.open(),
        clock: clock(),
        random: Random::new(|| 0.5),
        vendors: HashMap::from([(account.to_owned(), Vendor::Exotel)]),
        records: crate::Records::default(),
        late_after: Duration::from_secs(3_600),
        reply_words: model::reply_words::ReplyWords::default(),
        opt_out_confirmation: None,
        events: Vec::new(),
        senders: HashMap::new(),
        slow_down: Arc::new(|_, _, _| {}),
        wake_dispatcher: Arc::new(|_| {}),
        steps: Semaphore::new(AT_ONCE),
        chores: Semaphore::new(AT_ONCE),
    }
}

async fn applier(database: &TestDatabase, account: &str) -> Applier {
    Applier::new(Arc::new(shared(database, account)), lease(database, account).await)
}

/// (state, code) of a message.
pub(crate) async fn message(conn: &mut PgConnection, task_id: i64, no: i32) -> (i16, Option<String>) {
    sqlx::query_as("SELECT state, code FROM messages WHERE task_id = $1 AND no = $2")
        .bind(task_id)
        .bind(no)
        .fetch_one(conn)
        .await
        .unwrap()
}

pub(crate) async fn count(conn: &mut PgConnection, statement: &'static str) -> i64 {
    sqlx::query_scalar(statement).fetch_one(conn).await.unwrap()
}

async fn until<F: Future<Output = bool>>(what: &str, mut holds: impl FnMut() -> F) {
    let ends = tokio::time::Instant::now() + Duration::from_secs(30);
    while !holds().await {
        assert!(tokio::time::Instant::now() < ends, "{what}");
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn reports_of_one_batch_about_one_person_come_to_one_change() {
    let database = testing::database().await;
    let mut conn = database.connect().await;
    let task_id = task(&mut conn, "main").await;
    let batch = [
        (1, failed(UNKNOWN_ERROR)),
        (2, failed(UNKNOWN_ERROR)),
        (3, ReportedOutcome::Delivered),
        (1, failed(UNKNOWN_ERROR)), // told twice
        (2, ReportedOutcome::Delivered),
        (3, failed(UNKNOWN_ERROR)), // too late
        (2, ReportedOutcome::Read),
        (4, failed(NUMBER_ERROR)),
        (4, ReportedOutcome::Sent),
    ];
    let batch = batch.map(|(no, outcome)| report(task_id, no, outcome));
    append(&mut conn, "main", &[batch.to_vec()]).await;
    let mut applier = applier(&database, "main").await;
    assert!(!applier.careful_step().await.unwrap());
    assert_eq!(message(&mut conn, task_id, 1).await, (6, Some(UNKNOWN_ERROR.to_owned())));
    assert_eq!(message(&mut conn, task_id, 2).await, (4, None));
    assert_eq!(message(&mut conn, task_id, 3).await, (3, None));
    assert_eq!(message(&mut conn, task_id, 4).await, (5, Some(NUMBER_ERROR.to_owned())));
    assert_eq!(count(&mut conn, "SELECT count(*) FROM retries").await, 1);
    // A retry that waits in the database is withdrawn, and what follows in the batch builds on that.
    let later = [ReportedOutcome::Delivered, failed(UNKNOWN_ERROR), ReportedOutcome::Read];
    append(&mut conn, "main", &[later.map(|outcome| report(task_id, 1, outcome)).to_vec()]).await;
    applier.careful_step().await.unwrap();
    assert_eq!(message(&mut conn, task_id, 1).await, (4, None));
    assert_eq!(count(&mut conn, "SELECT count(*) FROM retries").await, 0);
    let audit = audit::task(&mut conn, task_id).await.unwrap().unwrap();
    assert!(audit.holds(), "{:?}", audit.findings);
}

#[tokio::test]
async fn an_entry_that_cannot_be_applied_is_passed_over_and_the_others_count_once() {
    let database = testing::database().await;
    let mut conn = database.connect().await;
    let task_id = task(&mut conn, "main").await;
    let mut entries: Vec<Vec<StatusReport>> =
        (1..=15).map(|no| vec![report(task_id, no, failed(NUMBER_ERROR))]).collect();
    let reason = "no column keeps this: \0".to_owned();
    let poison = ReportedOutcome::Failed { code: NUMBER_ERROR.to_owned(), reason };
    entries.insert(10, vec![report(task_id, 16, poison)]);
    append(&mut conn, "main", &entries).await;
    let mut applier = applier(&database, "main").await;
    let mut errors = 0;
    for _ in 0..100 {
        match applier.careful_step().await {
            Ok(true) => {}
            Ok(false) => break,
            Err(_) => errors += 1,
        }
    }
    // Three of the batch, and two of the entry before the third passes it over.
    assert_eq!(errors, 5);
    assert!(!store::inbox::has_unapplied(&mut conn, "main").await.unwrap());
    let failed = "SELECT count(*) FROM messages WHERE state = 5";
    assert_eq!(count(&mut conn, failed).await, 15);
    assert_eq!(message(&mut conn, task_id, 16).await, (1, None));
    // 15 failures in a row halt nothing, though the batch was tried again and again; the twentieth does.
    assert_eq!(count(&mut conn, "SELECT count(*) FROM halts").await, 0);
    let five = (17..=21).map(|no| report(task_id, no, self::failed(NUMBER_ERROR))).collect();
    append(&mut conn, "main", &[five]).await;
    applier.careful_step().await.unwrap();
    assert_eq!(count(&mut conn, "SELECT count(*) FROM halts WHERE scope = 3").await, 1);
}

#[tokio::test]
async fn a_report_waits_for_its_message_and_finds_it() {
    let database = testing::database().await;
    let mut conn = database.connect().await;
    let task_id = task(&mut conn, "main").await;
    let delivered = ReportedOutcome::Delivered;
    let mut early = report(task_id, 1, delivered.clone());
    early.correlation = Some(Correlation { request_id: REQUEST + 1, task_id, no: 1 });
    append(&mut conn, "main", &[vec![early]]).await;
    let mut applier = applier(&database, "main").await;
    applier.careful_step().await.unwrap();
    assert_eq!(count(&mut conn, "SELECT count(*) FROM early_reports").await, 1);
    sqlx::query("UPDATE messages SET request_id = $1").bind(REQUEST + 1).execute(&mut conn).await.unwrap();
    assert!(!applier.next().await.unwrap());
    assert_eq!(message(&mut conn, task_id, 1).await.0, 3);
    assert_eq!(count(&mut conn, "SELECT count(*) FROM early_reports").await, 0);
}

#[tokio::test]
async fn an_account_that_stands_still_keeps_no_other_waiting() {
    let database = testing::database().await;
    let mut conn = database.connect().await;
    let (stuck, free) = (task(&mut conn, "stuck").await, task(&mut conn, "free").await);
    for (account, task_id) in [("stuck", stuck), ("free", free)] {
        append(&mut conn, account, &[vec![report(task_id, 1, ReportedOutcome::Delivered)]]).await;
    }
    let mut holder = database.connect().await;
    let mut held = holder.begin().await.unwrap();
    sqlx::query("SELECT FROM messages WHERE task_id = $1 FOR UPDATE")
        .bind(stuck)
        .execute(&mut *held)
        .await
        .unwrap();
    let (of_stuck, of_free) = (lease(&database, "stuck").await, lease(&database, "free").await);
    let (leases, owned) = watch::channel(vec![of_stuck.clone()]);
    let reconciler = Reconciler::start(Setup {
        db: database.open(),
        clock: clock(),
        random: Random::new(|| 0.5),
        vendors: HashMap::new(),
        leases: owned,
        slow_down: Arc::new(|_, _, _| {}),
        wake_dispatcher: Arc::new(|_| {}),
        appended: Arc::new(Notify::new()),
        late_after: Duration::from_secs(3600),
        reply_words: model::reply_words::ReplyWords::default(),
        opt_out_confirmation: None,
        events: Vec::new(),
        senders: HashMap::new(),
    });
    let state = async |task_id| message(&mut database.connect().await, task_id, 1).await.0;
    let is_blocked = async || {
        let waits = "SELECT count(*) FROM pg_stat_activity
                     WHERE datname = current_database() AND wait_event_type = 'Lock'";
        count(&mut database.connect().await, waits).await > 0
    };
    until("the account stands still", is_blocked).await;
    leases.send(vec![of_stuck, of_free]).unwrap();
    until("the other account goes on", || async { state(free).await == 3 }).await;
    assert_eq!(state(stuck).await, 1);
    held.rollback().await.unwrap();
    until("it goes on, too", || async { state(stuck).await == 3 }).await;
    reconciler.shutdown().await;
}

#[tokio::test]
async fn a_writer_whose_commit_failed_is_not_used_again() {
    let database = testing::database().await;
    let mut conn = database.connect().await;
    let inbox = Inbox::start(database.open(), clock());
    inbox.append_callback("main", "{}".to_owned()).await.unwrap();
    inbox.append_callback("main", "{}".to_owned()).await.unwrap();
    sqlx::query("ALTER TABLE callbacks RENAME TO gone").execute(&mut conn).await.unwrap();
    assert!(inbox.append_callback("main", "{}".to_owned()).await.is_err());
    sqlx::query("ALTER TABLE gone RENAME TO callbacks").execute(&mut conn).await.unwrap();
    inbox.append_callback("main", "{}".to_owned()).await.unwrap();
    let writers: Vec<i64> = sqlx::query_scalar("SELECT writer FROM callbacks ORDER BY writer, seq")
        .fetch_all(&mut conn)
        .await
        .unwrap();
    assert_eq!(writers.len(), 3);
    assert!(writers[0] == writers[1] && writers[1] < writers[2], "{writers:?}");
}

#[tokio::test]
async fn the_bytes_that_wait_to_be_stored_are_bounded() {
    let database = testing::database().await;
    let mut holder = database.connect().await;
    let mut held = holder.begin().await.unwrap();
    sqlx::query("LOCK TABLE callbacks").execute(&mut *held).await.unwrap();
    let inbox = Inbox::start(database.open(), clock());
    let large = || "x".repeat(40 << 20);
    let first = tokio::spawn({
        let inbox = inbox.clone();
        async move { inbox.append_callback("main", large()).await }
    });
    until("the place is taken", || async { inbox.free_bytes() < 40 << 20 }).await;
    assert!(inbox.append_callback("main", large()).await.is_err());
    held.rollback().await.unwrap();
    first.await.unwrap().unwrap();
    inbox.append_callback("main", "{}".to_owned()).await.unwrap();
    assert_eq!(inbox.free_bytes(), 64 << 20);
}

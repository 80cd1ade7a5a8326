//! The policy on a real database, by a clock that is moved by hand.

use std::sync::atomic::{AtomicI64, Ordering};

use chrono::{DateTime, TimeDelta, Utc};
use model::{Clock, report::ReportedOutcome, status::MessageState};
use sqlx::PgConnection;
use store::{
    audit,
    outcomes::Why,
    reports::{self, Change, Times},
    standings::Standing,
    testing::{self, TestDatabase},
};

use super::step;
use crate::{
    Shared,
    apply::Applier,
    tests::{append, count, message, report, shared, task},
};

const MINUTE: i64 = 60;

/// A database whose task has one unknown message, number 1, since `start`; its campaign sends again.
struct Stage {
    database: TestDatabase,
    conn: PgConnection,
    task_id: i64,
    shared: std::sync::Arc<Shared>,
    lease: store::leases::Lease,
    seconds: std::sync::Arc<AtomicI64>,
}

fn start() -> DateTime<Utc> {
    DateTime::from_timestamp(1_795_000_000, 0).unwrap()
}

async fn run(conn: &mut PgConnection, statement: &'static str) {
    sqlx::query(statement).execute(conn).await.unwrap();
}

impl Stage {
    async fn set() -> Self {
        let database = testing::database().await;
        let mut conn = database.connect().await;
        let task_id = task(&mut conn, "main").await;
        run(&mut conn, "UPDATE campaigns SET on_unknown = 2").await;
        let seconds = std::sync::Arc::new(AtomicI64::new(0));
        let moved = std::sync::Arc::clone(&seconds);
        let clock = Clock::new(move || start() + TimeDelta::seconds(moved.load(Ordering::Relaxed)));
        let shared = std::sync::Arc::new(Shared { clock, ..shared(&database, "main") });
        let lease = crate::tests::lease(&database, "main").await;
        let mut stage = Self { database, conn, task_id, shared, lease, seconds };
        stage.becomes_unknown().await;
        stage
    }

    /// Number 1 becomes unknown now, as a report would have it.
    async fn becomes_unknown(&mut self) {
        let before = Standing {
            task_id: self.task_id,
            no: 1,
            phone: None,
            state: MessageState::Accepted,
            attempt: 1,
            request_id: 7,
            has_vendor_id: false,
            code: None,
            waits: false,
            is_resent: false,
            has_sent: false,
            has_delivered: false,
            has_read: false,
        };
        let why = Why { code: "999998".to_owned(), reason: "no answer".to_owned() };
        let times = Times { failed_at: Some(self.shared.clock.now()), ..Times::default() };
        let change = Change {
            before,
            state: MessageState::Unknown,
            vendor_id: None,
            why: Some(why),
            again: None,
            withdraw: false,
            times,
        };
        assert!(reports::write(&mut self.conn, &[change]).await.unwrap());
    }

    /// Whether a step at this time sends somebody again.
    async fn sends_at(&self, seconds: i64) -> bool {
        self.seconds.store(seconds, Ordering::Relaxed);
        step(&self.shared, &self.lease).await.unwrap()
    }

    async fn state(&mut self) -> i16 {
        message(&mut self.conn, self.task_id, 1).await.0
    }

    async fn retries(&mut self) -> i64 {
        count(&mut self.conn, "SELECT count(*) FROM retries WHERE attempt = 1").await
    }

    async fn holds(&mut self) {
        let audit = audit::task(&mut self.conn, self.task_id).await.unwrap().unwrap();
        assert!(audit.holds(), "{:?}", audit.findings);
        let unknown = count(&mut self.conn, "SELECT count(*) FROM unknowns").await;
        assert_eq!(unknown, count(&mut self.conn, "SELECT count(*) FROM messages WHERE state = 7").await);
    }
}

#[tokio::test]
async fn it_sends_again_after_ten_minutes_and_once() {
    let mut stage = Stage::set().await;
    assert!(!stage.sends_at(10 * MINUTE - 1).await);
    assert_eq!((stage.state().await, stage.retries().await), (7, 0));
    assert!(stage.sends_at(10 * MINUTE).await);
    assert_eq!((stage.state().await, stage.retries().await), (6, 1));
    assert!(!stage.sends_at(60 * MINUTE).await);
    assert_eq!(stage.retries().await, 1);
    stage.holds().await;
    // The second call gives no answer, either: it is held for good.
    run(&mut stage.conn, "DELETE FROM retries").await;
    run(&mut stage.conn, "DELETE FROM troubles").await;
    run(&mut stage.conn, "DELETE FROM progress WHERE kind <> 5").await;
    run(&mut stage.conn, "UPDATE progress SET delta = 30").await;
    run(&mut stage.conn, "UPDATE messages SET state = 1, request_id = 7, attempt = 2, code = NULL").await;
    stage.becomes_unknown().await;
    assert_eq!(stage.state().await, 7);
    assert!(!stage.sends_at(24 * 60 * MINUTE).await);
    assert_eq!(count(&mut stage.conn, "SELECT count(*) FROM unknowns WHERE resend_at IS NOT NULL").await, 0);
}

#[tokio::test]
async fn it_sends_to_nobody_of_a_task_that_stands_still_or_is_over() {
    let mut stage = Stage::set().await;
    for (stands, goes_on) in [
        ("UPDATE tasks SET paused = true", "UPDATE tasks SET paused = false"),
        ("UPDATE tasks SET state = 4", "UPDATE tasks SET state = 2"),
        ("UPDATE tasks SET state = 5", "UPDATE tasks SET state = 2"),
        ("UPDATE tasks SET expires_at = 'epoch'", "UPDATE tasks SET expires_at = NULL"),
        (
            "INSERT INTO halts (scope, account, value, code, reason, remedy, since)
             SELECT 1, 'main', id::text, '', '', '', now() FROM tasks",
            "DELETE FROM halts",
        ),
        ("UPDATE account_leases SET epoch = epoch + 1", "UPDATE account_leases SET epoch = epoch - 1"),
    ] {
        run(&mut stage.conn, stands).await;
        stage.seconds.store(20 * MINUTE, Ordering::Relaxed);
        let sent = step(&stage.shared, &stage.lease).await;
        assert!(!sent.is_ok_and(|sent| sent), "{stands}");
        assert_eq!((stage.state().await, stage.retries().await), (7, 0), "{stands}");
        run(&mut stage.conn, goes_on).await;
    }
    // One that is completed runs again.
    run(&mut stage.conn, "UPDATE tasks SET state = 3").await;
    assert!(stage.sends_at(20 * MINUTE).await);
    assert_eq!(count(&mut stage.conn, "SELECT count(*) FROM tasks WHERE state = 2").await, 1);
    stage.holds().await;
}

#[tokio::test]
async fn news_of_the_first_call_withdraws_the_second() {
    let mut stage = Stage::set().await;
    assert!(stage.sends_at(10 * MINUTE).await);
    let mut applier = Applier::new(std::sync::Arc::clone(&stage.shared), stage.lease.clone());
    append(&mut stage.conn, "main", &[vec![report(stage.task_id, 1, ReportedOutcome::Sent)]]).await;
    applier.careful_step().await.unwrap();
    assert_eq!((stage.state().await, stage.retries().await), (2, 0));
    stage.holds().await;
    drop(stage.database);
}

#[tokio::test]
async fn a_campaign_that_holds_is_held() {
    let mut stage = Stage::set().await;
    run(&mut stage.conn, "UPDATE campaigns SET on_unknown = 1").await;
    run(&mut stage.conn, "UPDATE messages SET state = 1, code = NULL WHERE no = 1").await;
    run(&mut stage.conn, "DELETE FROM unknowns").await;
    stage.becomes_unknown().await;
    assert!(!stage.sends_at(24 * 60 * MINUTE).await);
    assert_eq!(stage.state().await, 7);
}

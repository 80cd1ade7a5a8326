//! A retry that was read, and written anew before it is taken: its place in the counts is the new one's.
#![expect(clippy::unwrap_used, reason = "a test panics where it stands, and says why")]

use std::sync::Arc;

use chrono::{DateTime, TimeDelta, Utc};
use model::Phone;
use sqlx::PgConnection;
use store::{
    audit,
    groups::{self, Group},
    intents::{ANY_BATCH, Committed, Intent, Prior, Source, Taken},
    leases::{self, Lease},
    outcomes::{Again, CallResult, Outcome, Why},
    testing,
};
use uuid::Uuid;

fn now() -> DateTime<Utc> {
    DateTime::from_timestamp(1_795_000_000, 0).unwrap()
}

/// A running task of one recipient.
async fn running_task(conn: &mut PgConnection) -> i64 {
    sqlx::query_scalar(
        "WITH a AS (
            INSERT INTO audiences (name, status, rows_accepted, heartbeat_at, created_at)
            VALUES ('people', 2, 1, $1, $1) RETURNING id
         ), c AS (
            INSERT INTO campaigns (name, state, account, sender, audience_id, message, category, priority,
                                   max_attempts, on_unknown, created_at)
            SELECT 'Offer', 2, 'main', '+911', id, '{}', 1, 2, 5, 1, $1 FROM a RETURNING id, audience_id
         )
         INSERT INTO tasks (campaign_id, account, sender, audience_id, state, total, created_at)
         SELECT id, 'main', '+911', audience_id, 2, 1, $1 FROM c RETURNING id",
    )
    .bind(now())
    .fetch_one(conn)
    .await
    .unwrap()
}

fn intent(request_id: i64, task_id: i64, source: Source, prior: Prior) -> Intent {
    let phone = Phone::from_digits(919_000_000_001).unwrap();
    let taken = vec![Taken { no: 1, phone, attempt: 1, prior, batch_max: ANY_BATCH }];
    Intent {
        request_id,
        task_id,
        source,
        taken,
        unfit: Vec::new(),
        deferred: Vec::new(),
        is_marketing: true,
        guards: Arc::default(),
        early: Vec::new(),
    }
}

async fn take(conn: &mut PgConnection, lease: &Lease, intent: &Intent) -> Committed {
    let (number, intents) = (intent.request_id, [intent]);
    let deadline_at = now() + TimeDelta::seconds(20);
    let group = Group {
        number,
        intents: &intents,
        outcomes: &[],
        closed: &[],
        now: now(),
        deadline_at,
        is_careful: false,
        counts_marketing: false,
    };
    groups::write(conn, lease, &group).await.unwrap().remove(0)
}

/// The vendor asked to slow down, with this code: no attempt is used up.
async fn throttled(conn: &mut PgConnection, lease: &Lease, of: &Intent, code: &str) {
    let why = Why { code: code.to_owned(), reason: String::new() };
    let again = Again { due_at: now(), attempts_used: 0, batch_max: i16::MAX };
    let outcome = Outcome {
        task_id: of.task_id,
        request_id: of.request_id,
        taken: of.taken[0].clone(),
        result: CallResult::Retry(why, again),
        at: now(),
    };
    let group = Group {
        number: of.request_id,
        intents: &[],
        outcomes: &[&outcome],
        closed: &[of.request_id],
        now: now(),
        deadline_at: now(),
        is_careful: false,
        counts_marketing: false,
    };
    groups::write(conn, lease, &group).await.unwrap();
}

/// A quick pause and resume lets a pacer read somebody again whose first intent still waits for the committer; the second
/// may wait for its sender's rate meanwhile, until that one's call was throttled, for another reason than the last.
#[tokio::test]
async fn a_retry_that_has_another_code_by_now_is_left_to_be_read_again() {
    let database = testing::database().await;
    let mut conn = database.connect().await;
    let task_id = running_task(&mut conn).await;
    let pools = database.open();
    let lease = leases::acquire(&pools.leases, "main", Uuid::from_u128(1)).await.unwrap().unwrap().lease;
    let retry = |request_id, code: &str| {
        intent(request_id, task_id, Source::Retries, Prior::Retrying(code.to_owned()))
    };
    let first = intent(1, task_id, Source::Fresh { from: 0, to: 1 }, Prior::Queued);
    assert_eq!(take(&mut conn, &lease, &first).await, Committed::All);
    throttled(&mut conn, &lease, &first, "slow").await;

    let (read, read_again) = (retry(2, "slow"), retry(3, "slow"));
    assert_eq!(take(&mut conn, &lease, &read).await, Committed::All);
    throttled(&mut conn, &lease, &read, "slower").await;
    let committed = take(&mut conn, &lease, &read_again).await;
    let task = audit::task(&mut conn, task_id).await.unwrap().unwrap();
    assert!(task.holds(), "{:?}", task.findings);
    assert_eq!(committed, Committed::Only([].into()));
    assert_eq!((task.counts.retrying, task.counts.sending), (1, 0));

    assert_eq!(take(&mut conn, &lease, &retry(4, "slower")).await, Committed::All);
    let task = audit::task(&mut conn, task_id).await.unwrap().unwrap();
    assert!(task.holds(), "{:?}", task.findings);
    assert_eq!((task.counts.retrying, task.counts.sending), (0, 1));
    pools.close().await;
}

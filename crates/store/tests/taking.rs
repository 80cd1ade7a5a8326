//! Taking recipients against a real database: nobody is taken twice, whatever was prefetched twice.

use std::collections::HashSet;

use chrono::{DateTime, TimeDelta, Utc};
use model::Phone;
use sqlx::PgConnection;
use store::{
    audit,
    intents::{self, Committed, Intent, Prior, Source, Taken},
    leases::{self, Lease},
    testing,
};
use uuid::Uuid;

const RECIPIENTS: i32 = 10;

fn now() -> DateTime<Utc> {
    DateTime::from_timestamp(1_795_000_000, 0).unwrap()
}

/// A running task of ten recipients.
async fn running_task(conn: &mut PgConnection) -> i64 {
    sqlx::query_scalar(
        "WITH a AS (
            INSERT INTO audiences (name, status, rows_accepted, heartbeat_at, created_at)
            VALUES ('people', 2, $1, $2, $2) RETURNING id
         ), c AS (
            INSERT INTO campaigns (name, state, account, sender, audience_id, message, category, priority,
                                   max_attempts, on_unknown, created_at)
            SELECT 'Offer', 2, 'main', '+911', id, '{}', 1, 2, 5, 1, $2 FROM a RETURNING id, audience_id
         )
         INSERT INTO tasks (campaign_id, account, sender, audience_id, state, total, created_at)
         SELECT id, 'main', '+911', audience_id, 2, $1, $2 FROM c RETURNING id",
    )
    .bind(RECIPIENTS)
    .bind(now())
    .fetch_one(conn)
    .await
    .unwrap()
}

async fn lease(conn: &mut PgConnection) -> Lease {
    leases::acquire(conn, "main", Uuid::from_u128(1)).await.unwrap().unwrap().lease
}

fn intent(request_id: i64, task_id: i64, source: Source, nos: std::ops::RangeInclusive<i32>) -> Intent {
    let prior = if source == Source::Retries { Prior::Waiting } else { Prior::Queued };
    let taken = |no: i32| Taken {
        no,
        phone: Phone::from_digits(919_000_000_000 + u64::try_from(no).unwrap()).unwrap(),
        attempt: 1,
        prior: prior.clone(),
    };
    Intent {
        request_id,
        task_id,
        source,
        taken: nos.map(taken).collect(),
        unfit: Vec::new(),
        is_marketing: true,
    }
}

async fn commit(conn: &mut PgConnection, lease: &Lease, intents: &[Intent]) -> Vec<Committed> {
    intents::commit_intents(conn, lease, intents, now(), now() + TimeDelta::seconds(20)).await.unwrap()
}

fn taken(nos: std::ops::RangeInclusive<i32>) -> Committed {
    Committed::Taken(nos.collect::<HashSet<i32>>())
}

/// A quick pause and resume lets a pacer read the same recipients again while what it read before still waits for the
/// committer: both may come in one group.
#[tokio::test]
async fn recipients_that_were_prefetched_twice_are_taken_once_in_one_group() {
    let database = testing::database().await;
    let mut conn = database.connect().await;
    let task_id = running_task(&mut conn).await;
    let lease = lease(&mut conn).await;
    let fresh = |request_id, from: i32, to: i32| {
        intent(request_id, task_id, Source::Fresh { from, to }, from + 1..=to)
    };
    let group = [fresh(1, 0, 4), fresh(2, 4, 6), fresh(3, 0, 3), fresh(4, 4, 5), fresh(5, 6, 8)];
    let committed = commit(&mut conn, &lease, &group).await;
    let wanted = [taken(1..=4), taken(5..=6), Committed::Dropped, Committed::Dropped, taken(7..=8)];
    assert_eq!(committed, wanted);
    let audit = audit::task(&mut conn, task_id).await.unwrap().unwrap();
    assert!(audit.holds(), "{:?}", audit.findings);
    assert_eq!((audit.counts.sending, audit.counts.queued), (8, 2));
}

#[tokio::test]
async fn a_retry_that_was_read_twice_is_taken_once_in_one_group() {
    let database = testing::database().await;
    let mut conn = database.connect().await;
    let task_id = running_task(&mut conn).await;
    let lease = lease(&mut conn).await;
    // Withdrawn calls: taken, and back to wait for their first call.
    sqlx::query("UPDATE tasks SET cursor = 3 WHERE id = $1").bind(task_id).execute(&mut conn).await.unwrap();
    sqlx::query("INSERT INTO retries SELECT $1, no, $2, 0, 100 FROM generate_series(1, 3) AS i (no)")
        .bind(task_id)
        .bind(now())
        .execute(&mut conn)
        .await
        .unwrap();
    sqlx::query("INSERT INTO progress VALUES ($1, 1, '', 3)").bind(task_id).execute(&mut conn).await.unwrap();
    let group = [intent(1, task_id, Source::Retries, 1..=2), intent(2, task_id, Source::Retries, 2..=3)];
    let committed = commit(&mut conn, &lease, &group).await;
    assert_eq!(committed, [taken(1..=2), taken(3..=3)]);
    let audit = audit::task(&mut conn, task_id).await.unwrap().unwrap();
    assert!(audit.holds(), "{:?}", audit.findings);
    assert_eq!((audit.counts.sending, audit.counts.queued), (3, 7));
}

//! A canary against a real database: who is taken before whom, and what the counts say wherever the cursor stands.

#![expect(clippy::unwrap_used, reason = "a test panics where it stands, and says why")]
use std::sync::Arc;

use chrono::{DateTime, TimeDelta, Utc};
use model::{Phone, campaign::Sample, status::MessageState};
use sqlx::PgConnection;
use store::{
    audit, canaries,
    groups::{self, Group},
    intents::{ANY_BATCH, Committed, Intent, Prior, Source, Taken},
    leases,
    outcomes::{CallResult, Outcome, Why},
    runs,
    tasks::{self, Launched},
    testing,
};
use uuid::Uuid;

const RECIPIENTS: i32 = 20;
const CANARY: i32 = 5;

fn now() -> DateTime<Utc> {
    DateTime::from_timestamp(1_795_000_000, 0).unwrap()
}

/// A launched campaign of twenty recipients, five of whom are sent to first.
async fn launched(conn: &mut PgConnection) -> i64 {
    let campaign_id: i64 = sqlx::query_scalar(
        "WITH a AS (
            INSERT INTO audiences (name, status, rows_accepted, heartbeat_at, created_at)
            VALUES ('people', 2, $1, $2, $2) RETURNING id
         )
         INSERT INTO campaigns (name, state, account, sender, audience_id, message, category, priority,
                                max_attempts, on_unknown, canary, created_at)
         SELECT 'Offer', 1, 'main', '+911', id, '{}', 1, 2, 5, 1, $3, $2 FROM a RETURNING id",
    )
    .bind(RECIPIENTS)
    .bind(now())
    .bind(serde_json::json!({"recipients": CANARY, "wait_seconds": 60, "max_failure_rate": 0.2}))
    .fetch_one(&mut *conn)
    .await
    .unwrap();
    let recipients = "INSERT INTO recipients
        SELECT audience_id, no, 919000000000 + no, '{}' FROM campaigns CROSS JOIN generate_series(1, $1) AS i (no)";
    sqlx::query(recipients).bind(RECIPIENTS).execute(&mut *conn).await.unwrap();
    match tasks::launch(conn, campaign_id, None, now()).await.unwrap() {
        Launched::Task(id) => id,
        other => panic!("{other:?}"),
    }
}

fn intent(request_id: i64, task_id: i64, source: Source, nos: impl IntoIterator<Item = i32>) -> Intent {
    let prior = if source == Source::Retries { Prior::Waiting } else { Prior::Queued };
    let phone = |no: i32| Phone::from_digits(919_000_000_000 + u64::try_from(no).unwrap()).unwrap();
    let taken = nos.into_iter().map(|no| Taken {
        no,
        phone: phone(no),
        attempt: 1,
        prior: prior.clone(),
        batch_max: ANY_BATCH,
    });
    let taken = taken.collect();
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

fn group<'a>(number: i64, intents: &'a [&'a Intent], outcomes: &'a [&'a Outcome]) -> Group<'a> {
    let deadline_at = now() + TimeDelta::seconds(20);
    Group {
        number,
        intents,
        outcomes,
        closed: &[],
        now: now(),
        deadline_at,
        is_careful: false,
        counts_marketing: false,
    }
}

/// Queued ones, when the audit holds.
async fn queued(conn: &mut PgConnection, task_id: i64) -> i64 {
    let audit = audit::task(conn, task_id).await.unwrap().unwrap();
    assert!(audit.holds(), "{:?}", audit.findings);
    let shown = tasks::get(conn, task_id).await.unwrap().unwrap().counts;
    assert_eq!(shown, audit.counts);
    shown.queued
}

#[tokio::test]
async fn everybody_else_waits_for_it_and_is_taken_around_it() {
    let database = testing::database().await;
    let mut conn = database.connect().await;
    let task_id = launched(&mut conn).await;
    let pools = database.open();
    let lease = leases::acquire(&pools.leases, "main", Uuid::from_u128(1)).await.unwrap().unwrap().lease;
    let sample = Sample::new(task_id, RECIPIENTS, CANARY);
    let due = runs::due(&mut conn, task_id, now(), runs::FIRST, 100).await.unwrap();
    assert_eq!(due.iter().map(|due| due.no).collect::<Vec<_>>(), sample.iter().collect::<Vec<_>>());
    assert_eq!(queued(&mut conn, task_id).await, 20);
    // Begun a second time it is what it was.
    canaries::begin(&mut conn, &[task_id], now()).await.unwrap();
    assert_eq!(queued(&mut conn, task_id).await, 20);

    // The canary, and nobody else.
    let first = intent(1, task_id, Source::Retries, sample.iter());
    let other = intent(2, task_id, Source::Fresh { from: 0, to: 1 }, [1]);
    let committed = groups::write(&mut conn, &lease, &group(1, &[&first, &other], &[])).await.unwrap();
    assert_eq!(committed, [Committed::All, Committed::Dropped]);
    assert_eq!(queued(&mut conn, task_id).await, 15);

    // Three are accepted, one fails, and one is still being called.
    let outcome = |index: usize, result| Outcome {
        task_id,
        request_id: 1,
        taken: first.taken[index].clone(),
        result,
        at: now(),
    };
    let why = Why { code: "131026".to_owned(), reason: "not on WhatsApp".to_owned() };
    let mut outcomes: Vec<Outcome> =
        (0..3).map(|n| outcome(n, CallResult::Accepted(format!("wamid.{n}")))).collect();
    outcomes.push(outcome(3, CallResult::Failed(why)));
    let recorded: Vec<&Outcome> = outcomes.iter().collect();
    groups::write(&mut conn, &lease, &group(2, &[], &recorded)).await.unwrap();
    let mut fared = canaries::fared(&mut conn, task_id, &sample).await.unwrap();
    fared.sort_by_key(|fared| fared.n);
    let seen: Vec<_> = fared.iter().map(|fared| (fared.state, fared.code.as_str(), fared.n)).collect();
    assert!(
        seen.contains(&(Some(MessageState::Accepted), "", 3)) && seen.contains(&(None, "", 1)),
        "{seen:?}"
    );
    assert!(seen.contains(&(Some(MessageState::Failed), "131026", 1)), "{seen:?}");

    // What was noted is found again, until it is decided; a paused task decides nothing.
    canaries::note(&mut conn, task_id, Some(now()), 1).await.unwrap();
    let pending = canaries::pending(&mut conn, "main").await.unwrap();
    assert_eq!((pending.len(), pending[0].called_at, pending[0].failed), (1, Some(now()), 1));
    assert!(!pending[0].stands_still && pending[0].sample == sample);
    let shown = tasks::get(&mut conn, task_id).await.unwrap().unwrap().canary.unwrap();
    assert_eq!(
        (shown.recipients, shown.failed, shown.until),
        (CANARY, 1, Some(now() + TimeDelta::seconds(60)))
    );
    sqlx::query("UPDATE tasks SET paused = true").execute(&mut conn).await.unwrap();
    assert!(canaries::pending(&mut conn, "main").await.unwrap()[0].stands_still);
    assert!(!canaries::decide(&mut conn, task_id, canaries::State::Passed, 1).await.unwrap());
    sqlx::query("UPDATE tasks SET paused = false").execute(&mut conn).await.unwrap();
    assert!(canaries::decide(&mut conn, task_id, canaries::State::Passed, 1).await.unwrap());
    assert!(canaries::pending(&mut conn, "main").await.unwrap().is_empty());

    // Now the others, one at a time, and the cursor passes over the canary.
    let mut left = 15;
    for no in 1..=RECIPIENTS {
        let others = (!sample.contains(no)).then_some(no);
        let next = intent(100 + i64::from(no), task_id, Source::Fresh { from: no - 1, to: no }, others);
        let committed = groups::write(&mut conn, &lease, &group(3, &[&next], &[])).await.unwrap();
        assert_eq!(committed, [Committed::All]);
        left -= i64::from(others.is_some());
        assert_eq!(queued(&mut conn, task_id).await, left, "the cursor stands at {no}");
    }
    assert_eq!(left, 0);
    pools.close().await;
}

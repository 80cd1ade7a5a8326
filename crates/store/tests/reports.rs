//! Reports against a real database: which messages they find, what is written, which wait.
#![expect(clippy::unwrap_used, reason = "a test panics where it stands, and says why")]

use chrono::{DateTime, TimeDelta, Utc};
use model::{
    report::{Correlation, ReportedOutcome, StatusReport},
    status::MessageState,
};
use sqlx::PgConnection;
use store::{
    early,
    ids::vendor_hash,
    reports::{self, Change, Times},
    standings::{self, Standing},
    testing,
};

fn now() -> DateTime<Utc> {
    DateTime::from_timestamp(1_795_000_000, 0).unwrap()
}

/// A running task of the account, of ten recipients of whom all were taken.
async fn task(conn: &mut PgConnection, account: &str) -> i64 {
    sqlx::query_scalar(
        "WITH a AS (
            INSERT INTO audiences (name, status, rows_accepted, heartbeat_at, created_at)
            VALUES ('people', 2, 10, $2, $2) RETURNING id
         ), r AS (
            INSERT INTO recipients SELECT id, no, 919000000000 + no, '{}' FROM a, generate_series(1, 10) AS i (no)
         ), c AS (
            INSERT INTO campaigns (name, state, account, sender, audience_id, message, category, priority,
                                   max_attempts, on_unknown, created_at)
            SELECT 'Offer', 2, $1, '+911', id, '{}', 1, 2, 5, 1, $2 FROM a RETURNING id, audience_id
         )
         INSERT INTO tasks (campaign_id, account, sender, audience_id, state, total, cursor, created_at)
         SELECT id, $1, '+911', audience_id, 2, 10, 10, $2 FROM c RETURNING id",
    )
    .bind(account)
    .bind(now())
    .fetch_one(conn)
    .await
    .unwrap()
}

/// A message of request 7 that bears `vendor_id`.
async fn message(conn: &mut PgConnection, task_id: i64, no: i32, vendor_id: &str) {
    sqlx::query(
        "INSERT INTO messages (task_id, no, state, attempt, request_id, vendor_hash, vendor_id)
         VALUES ($1, $2, 1, 1, 7, $3, $4)",
    )
    .bind(task_id)
    .bind(no)
    .bind(vendor_hash(vendor_id))
    .bind(vendor_id)
    .execute(conn)
    .await
    .unwrap();
}

fn report(vendor_id: &str, named: Option<(i64, i64, i32)>) -> StatusReport {
    StatusReport {
        vendor_id: vendor_id.to_owned(),
        correlation: named.map(|(request_id, task_id, no)| Correlation { request_id, task_id, no }),
        to: None,
        outcome: ReportedOutcome::Delivered,
        at: Some(now()),
    }
}

async fn keep_early(conn: &mut PgConnection, account: &str, kept: &[(StatusReport, DateTime<Utc>)]) {
    let rows: Vec<_> = kept
        .iter()
        .map(|(report, at)| (report.clone(), serde_json::to_value(report).unwrap(), *at))
        .collect();
    early::keep(conn, account, &rows).await.unwrap();
}

fn delivered(before: &Standing) -> Change {
    Change {
        before: before.clone(),
        state: MessageState::Delivered,
        vendor_id: None,
        why: None,
        again: None,
        withdraw: false,
        times: Times::default(),
    }
}

#[tokio::test]
async fn only_the_accounts_own_messages_are_found_by_name_by_id_and_by_an_older_id() {
    let database = testing::database().await;
    let mut conn = database.connect().await;
    let (ours, theirs) = (task(&mut conn, "main").await, task(&mut conn, "other").await);
    message(&mut conn, ours, 1, "a").await;
    message(&mut conn, ours, 2, "b").await;
    message(&mut conn, theirs, 1, "c").await;
    for (id, task_id) in [("old", ours), ("their-old", theirs)] {
        sqlx::query("INSERT INTO old_vendor_ids VALUES ($1, $2, 1)")
            .bind(vendor_hash(id))
            .bind(task_id)
            .execute(&mut conn)
            .await
            .unwrap();
    }
    let failed = ReportedOutcome::Failed { code: "131026".to_owned(), reason: String::new() };
    let asked = [
        StatusReport { outcome: failed, ..report("b", None) },
        report("c", None),
        report("old", None),
        report("their-old", None),
        report("a", Some((7, ours, 1))),
        report("c", Some((7, theirs, 1))),
    ];
    let found = standings::find(&mut conn, "main", &asked).await.unwrap();
    let mut keys: Vec<_> = found.by_recipient.keys().copied().collect();
    keys.sort_unstable();
    assert_eq!(keys, [(ours, 1), (ours, 2)]);
    assert_eq!(found.by_vendor_id.get("b"), Some(&(ours, 2)));
    assert_eq!(found.by_vendor_id.get("c"), None);
    assert_eq!(found.by_old_hash.into_iter().collect::<Vec<_>>(), [(vendor_hash("old"), (ours, 1))]);
    let phone = found.by_recipient[&(ours, 2)].phone.unwrap();
    assert_eq!(phone.as_i64(), 919_000_000_002);
    // Only a failure may concern the number.
    assert_eq!(found.by_recipient[&(ours, 1)].phone, None);
}

/// A repeated outcome may change the code and leave state and request alone.
#[tokio::test]
async fn a_message_whose_code_changed_meanwhile_is_not_written() {
    let database = testing::database().await;
    let mut conn = database.connect().await;
    let task_id = task(&mut conn, "main").await;
    message(&mut conn, task_id, 1, "a").await;
    sqlx::query("UPDATE messages SET state = 7, code = 'timeout'").execute(&mut conn).await.unwrap();
    let asked = [report("a", None)];
    let found = standings::find(&mut conn, "main", &asked).await.unwrap();
    let change = delivered(&found.by_recipient[&(task_id, 1)]);
    sqlx::query("UPDATE messages SET code = 'reset'").execute(&mut conn).await.unwrap();
    assert!(!reports::write(&mut conn, &[change]).await.unwrap());
    let found = standings::find(&mut conn, "main", &asked).await.unwrap();
    let change = delivered(&found.by_recipient[&(task_id, 1)]);
    assert!(reports::write(&mut conn, &[change]).await.unwrap());
    let found = standings::find(&mut conn, "main", &asked).await.unwrap();
    assert_eq!(found.by_recipient[&(task_id, 1)].state, MessageState::Delivered);
}

#[tokio::test]
async fn waiting_reports_are_taken_when_the_account_knows_their_message_and_looked_at_in_slices() {
    let database = testing::database().await;
    let mut conn = database.connect().await;
    let (ours, theirs) = (task(&mut conn, "main").await, task(&mut conn, "other").await);
    message(&mut conn, ours, 1, "a").await;
    message(&mut conn, theirs, 1, "c").await;
    sqlx::query("INSERT INTO old_vendor_ids VALUES ($1, $2, 1)")
        .bind(vendor_hash("old"))
        .bind(ours)
        .execute(&mut conn)
        .await
        .unwrap();
    let waiting = [
        report("c", None),                  // another account's
        report("c", Some((7, theirs, 1))),  // another account's
        report("a", Some((8, ours, 1))),    // its outcome is not recorded yet
        report("a", Some((9, theirs, 99))), // named wrongly: what is named counts
        report("x", None),                  // nobody's
        report("a", None),
        report("a", Some((7, ours, 1))),
        report("old", None),
    ]
    .map(|report| (report, now()));
    keep_early(&mut conn, "main", &waiting).await;
    let slice = early::take_known(&mut conn, "main", 0, 6).await.unwrap();
    let taken = |slice: &early::EarlySlice| slice.known.iter().map(|row| row.id).collect::<Vec<_>>();
    assert_eq!((taken(&slice), slice.goes_on_after), (vec![6], Some(6)));
    let slice = early::take_known(&mut conn, "main", 6, 6).await.unwrap();
    assert_eq!((taken(&slice), slice.goes_on_after), (vec![7, 8], None));
    let body: StatusReport = serde_json::from_value(slice.known[0].body.clone()).unwrap();
    assert_eq!(body, report("a", Some((7, ours, 1))));
    let again = early::take_known(&mut conn, "main", 0, 100).await.unwrap();
    assert_eq!((taken(&again), again.goes_on_after), (vec![], None));
}

#[tokio::test]
async fn the_young_among_the_waiting_reports_lie_beyond_a_number() {
    let database = testing::database().await;
    let mut conn = database.connect().await;
    let since = now() - TimeDelta::minutes(5);
    assert_eq!(early::number_since(&mut conn, "main", since).await.unwrap(), 0);
    let aged = |minutes| (report("x", None), now() - TimeDelta::minutes(minutes));
    keep_early(&mut conn, "main", &[aged(60), aged(6)]).await;
    assert_eq!(early::number_since(&mut conn, "main", since).await.unwrap(), 2);
    keep_early(&mut conn, "main", &[aged(4), aged(1)]).await;
    assert_eq!(early::number_since(&mut conn, "main", since).await.unwrap(), 2);
}

//! Ten thousand scheduled tasks: what is looked at four times a second reads those that are due, by an index, and nothing else.

#![expect(clippy::unwrap_used, reason = "a test panics where it stands, and says why")]
use chrono::{DateTime, TimeDelta, Utc};
use sqlx::PgConnection;
use store::{firings, maintenance, runs, testing};

const SCHEDULED: i64 = 10_000;
/// Rows that the planner itself may read: it looks at the ends of an index when a value lies beyond what its statistics know,
/// and fetches them where a vacuum could not mark their pages as seen by all.
const PLANNER: i64 = 8;

fn now() -> DateTime<Utc> {
    DateTime::from_timestamp(1_795_000_000, 0).unwrap()
}

/// As many campaigns as tasks; `due` of them are due, the others in the minutes to come. All expire some day.
async fn schedule(conn: &mut PgConnection, due: i64) {
    let statement = "
        WITH audience AS (
            INSERT INTO audiences (name, status, rows_accepted, heartbeat_at, created_at)
            VALUES ('people', 2, 10, $1, $1) RETURNING id
        ), campaign AS (
            INSERT INTO campaigns (name, state, account, sender, audience_id, message, category, priority, max_attempts,
                                   on_unknown, created_at)
            SELECT 'c' || n, 2, 'main', '+1', a.id, '{}', 1, 2, 5, 1, $1
            FROM audience a, generate_series(1, $2) AS n RETURNING id, audience_id
        )
        INSERT INTO tasks (campaign_id, account, sender, audience_id, state, total, starts_at, expires_at, created_at)
        SELECT id, 'main', '+1', audience_id, 1, 10,
               $1 + make_interval(mins => (row_number() OVER (ORDER BY id) - $3)::integer), $1 + interval '90 days', $1
        FROM campaign";
    sqlx::query(statement).bind(now()).bind(SCHEDULED).bind(due).execute(&mut *conn).await.unwrap();
    sqlx::raw_sql("VACUUM ANALYZE").execute(conn).await.unwrap();
}

/// How often `tasks` was gone through from end to end in this transaction, and how many of its rows were fetched by an index.
async fn reads(conn: &mut PgConnection) -> (i64, i64) {
    sqlx::query_as(
        "SELECT seq_scan, coalesce(idx_tup_fetch, 0) FROM pg_stat_xact_user_tables WHERE relname = 'tasks'",
    )
    .fetch_one(conn)
    .await
    .unwrap()
}

#[tokio::test]
async fn cost_nothing_until_they_are_due() {
    let database = testing::database().await;
    let mut conn = database.connect().await;
    schedule(&mut conn, 3).await;
    let mut tx = sqlx::Connection::begin(&mut conn).await.unwrap();

    // A quarter of a second in which nothing is due any more.
    let quiet = now() - TimeDelta::days(1);
    assert_eq!(firings::due(&mut tx, "main", quiet, 100).await.unwrap(), []);
    assert_eq!(maintenance::expire_tasks(&mut tx, "main", quiet).await.unwrap(), 0);
    assert!(maintenance::complete_tasks(&mut tx, "main", quiet).await.unwrap().is_empty());
    assert!(maintenance::outcome_counts(&mut tx, "main").await.unwrap().is_empty());
    assert!(runs::runnable(&mut tx, "main", quiet).await.unwrap().is_empty());
    let (whole, before) = reads(&mut tx).await;
    assert!(whole == 0 && before <= PLANNER, "gone through {whole} times, {before} rows read");

    // One in which three are: they are read, and started.
    let due = firings::due(&mut tx, "main", now(), 100).await.unwrap();
    assert_eq!(due.len(), 3);
    let ids: Vec<i64> = due.iter().map(|due| due.task_id).collect();
    assert_eq!(firings::start(&mut tx, &ids, now()).await.unwrap(), 3);
    let (whole, rows) = reads(&mut tx).await;
    let rows = rows - before;
    assert!(whole == 0 && rows <= 3 * 4 + PLANNER, "gone through {whole} times, {rows} rows read");

    // One campaign's scheduled task is found as quickly.
    let (campaign, before) = (due[0].campaign_id + 100, reads(&mut tx).await.1);
    let task = firings::hold_scheduled(&mut tx, campaign).await.unwrap().unwrap();
    assert!(firings::reschedule(&mut tx, task, Some(now()), None).await.unwrap());
    assert!(!firings::reschedule(&mut tx, ids[0], Some(now()), None).await.unwrap(), "it has started");
    let (whole, rows) = reads(&mut tx).await;
    assert!(whole == 0 && rows - before <= 8, "gone through {whole} times, {} rows read", rows - before);
}

//! The inbox against a real database: what is read of it is read once, and every day has its place.
#![expect(clippy::unwrap_used, reason = "a test panics where it stands, and says why")]

use std::time::Duration;

use chrono::{DateTime, NaiveDate, Utc};
use sqlx::{Connection as _, PgConnection};
use store::{
    inbox::{self, Entry, EntryKind, Limit, NewEntries, Writer},
    testing,
};

fn now() -> DateTime<Utc> {
    DateTime::from_timestamp(1_795_000_000, 0).unwrap()
}

const ALL: Limit = Limit { entries: 1000, bytes: 1 << 20 };

fn writer(id: i64) -> Writer {
    Writer { id, day: now().date_naive() }
}

/// Appends entries of these numbers for `main` as one row.
async fn append(conn: &mut PgConnection, writer: Writer, numbers: std::ops::RangeInclusive<i64>) {
    let bodies: Vec<String> = numbers.clone().map(|n| format!("{{\"n\":{n}}}")).collect();
    let bodies = bodies.iter().map(String::as_str).collect();
    let row = NewEntries { account: "main", kind: EntryKind::Callback, first: *numbers.start(), bodies };
    inbox::register(conn, writer, &["main"]).await.unwrap();
    inbox::append(conn, writer, now(), &[row]).await.unwrap();
}

async fn unapplied(conn: &mut PgConnection, limit: Limit) -> (Vec<Entry>, bool) {
    inbox::unapplied(conn, "main", limit).await.unwrap()
}

fn places(entries: &[Entry]) -> Vec<(i64, i64)> {
    entries.iter().map(|entry| (entry.writer, entry.seq)).collect()
}

/// Waits until somebody waits for a lock.
async fn until_blocked(conn: &mut PgConnection) {
    let ends = tokio::time::Instant::now() + Duration::from_secs(30);
    loop {
        let is_blocked: bool = sqlx::query_scalar(
            "SELECT EXISTS (SELECT FROM pg_stat_activity
                            WHERE datname = current_database() AND wait_event_type = 'Lock')",
        )
        .fetch_one(&mut *conn)
        .await
        .unwrap();
        if is_blocked {
            return;
        }
        assert!(tokio::time::Instant::now() < ends, "nobody waits for a lock");
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn entries_come_in_order_and_the_position_moves_from_where_it_was_read() {
    let database = testing::database().await;
    let mut conn = database.connect().await;
    append(&mut conn, writer(1), 1..=2).await;
    append(&mut conn, writer(1), 3..=3).await;
    append(&mut conn, writer(2), 1..=1).await;
    let (entries, is_more) = unapplied(&mut conn, ALL).await;
    assert_eq!(places(&entries), [(1, 1), (1, 2), (1, 3), (2, 1)]);
    assert!(!is_more);
    assert_eq!(entries[2].body, "{\"n\":3}");
    assert!(inbox::unapplied(&mut conn, "other", ALL).await.unwrap().0.is_empty());
    // A position may lie within a row.
    assert!(inbox::advance(&mut conn, "main", &entries[..1]).await.unwrap());
    // What was read before the position moved must not move it again.
    assert!(!inbox::advance(&mut conn, "main", &entries[..3]).await.unwrap());
    let (rest, _) = unapplied(&mut conn, ALL).await;
    assert_eq!(places(&rest), [(1, 2), (1, 3), (2, 1)]);
    assert!(inbox::advance(&mut conn, "main", &rest).await.unwrap());
    assert!(!inbox::has_unapplied(&mut conn, "main").await.unwrap());
}

#[tokio::test]
async fn no_more_is_read_than_the_limit_says() {
    let database = testing::database().await;
    let mut conn = database.connect().await;
    append(&mut conn, writer(1), 1..=10).await;
    append(&mut conn, writer(1), 11..=20).await;
    let (few, is_more) = unapplied(&mut conn, Limit { entries: 3, ..ALL }).await;
    assert_eq!((few.len(), is_more), (3, true));
    // A row that begins below the limit is read whole, the next is not.
    let (bytes, is_more) = unapplied(&mut conn, Limit { bytes: 10, ..ALL }).await;
    assert_eq!((places(&bytes).len(), is_more), (10, true));
    let (one, _) = unapplied(&mut conn, Limit { entries: 1, bytes: 1 }).await;
    assert_eq!(places(&one), [(1, 1)]);
}

/// The step before was committed, or is still being committed, and its connection broke before it could say so.
#[tokio::test]
async fn a_repeated_step_waits_for_a_commit_that_is_under_way_and_reads_beyond_it() {
    let database = testing::database().await;
    let (mut first, mut second, mut watch) =
        (database.connect().await, database.connect().await, database.connect().await);
    append(&mut watch, writer(1), 1..=2).await;
    let mut under_way = first.begin().await.unwrap();
    let (entries, _) = unapplied(&mut under_way, Limit { entries: 1, ..ALL }).await;
    assert!(inbox::advance(&mut under_way, "main", &entries).await.unwrap());
    let repeated = tokio::spawn(async move { unapplied(&mut second, ALL).await.0 });
    until_blocked(&mut watch).await;
    under_way.commit().await.unwrap();
    assert_eq!(places(&repeated.await.unwrap()), [(1, 2)]);
}

#[tokio::test]
async fn a_position_is_forgotten_when_its_day_is_long_over_and_all_was_applied() {
    let database = testing::database().await;
    let mut conn = database.connect().await;
    append(&mut conn, writer(1), 1..=2).await;
    append(&mut conn, writer(2), 1..=2).await;
    let (entries, _) = unapplied(&mut conn, ALL).await;
    assert!(inbox::advance(&mut conn, "main", &entries[..2]).await.unwrap());
    let today = now().date_naive();
    assert_eq!(inbox::forget_positions(&mut conn, "main", today).await.unwrap(), 0);
    let later = today + chrono::TimeDelta::days(4);
    assert_eq!(inbox::forget_positions(&mut conn, "main", later).await.unwrap(), 1);
    assert_eq!(places(&unapplied(&mut conn, ALL).await.0), [(2, 1), (2, 2)]);
}

#[tokio::test]
async fn a_day_that_has_begun_in_the_rest_stays_there_and_the_next_gets_its_partition() {
    let database = testing::database().await;
    let mut conn = database.connect().await;
    append(&mut conn, writer(1), 1..=1).await;
    let today = now().date_naive();
    let partitions = async |conn: &mut PgConnection| -> Vec<String> {
        sqlx::query_scalar("SELECT inhrelid::regclass::text FROM pg_inherits ORDER BY 1")
            .fetch_all(conn)
            .await
            .unwrap()
    };
    let before = partitions(&mut conn).await;
    inbox::ensure_partition(&mut conn, today).await.unwrap();
    assert_eq!(partitions(&mut conn).await, before);
    let tomorrow: NaiveDate = today.succ_opt().unwrap();
    inbox::ensure_partition(&mut conn, tomorrow).await.unwrap();
    inbox::ensure_partition(&mut conn, tomorrow).await.unwrap();
    let name = format!("callbacks_{}", tomorrow.format("%Y%m%d"));
    assert!(partitions(&mut conn).await.contains(&name));
    append(&mut conn, Writer { id: 2, day: tomorrow }, 1..=1).await;
    assert_eq!(places(&unapplied(&mut conn, ALL).await.0), [(1, 1), (2, 1)]);
}

/// Bodies that resemble each other, as callbacks do, are kept in a fraction of their size, whatever day they are of.
#[tokio::test]
async fn what_comes_together_is_kept_compressed() {
    let database = testing::database().await;
    let mut conn = database.connect().await;
    inbox::ensure_partition(&mut conn, now().date_naive()).await.unwrap();
    append(&mut conn, writer(1), 1..=2000).await;
    let (kept, size): (i32, i32) = sqlx::query_as("SELECT pg_column_size(bodies), size_bytes FROM callbacks")
        .fetch_one(&mut conn)
        .await
        .unwrap();
    assert!(kept < size, "{kept} of {size} bytes");
    let method: Option<String> = sqlx::query_scalar("SELECT pg_column_compression(bodies) FROM callbacks")
        .fetch_one(&mut conn)
        .await
        .unwrap();
    assert!(method.is_some(), "not compressed");
    assert_eq!(unapplied(&mut conn, Limit { entries: 5000, bytes: 1 << 20 }).await.0.len(), 2000);
}

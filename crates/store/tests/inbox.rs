//! The inbox against a real database: what is read of it is read once, and every day has its place.
#![expect(clippy::unwrap_used, reason = "a test panics where it stands, and says why")]

use std::time::Duration;

use chrono::{DateTime, NaiveDate, Utc};
use sqlx::{Connection as _, PgConnection};
use store::{
    inbox::{self, Entry, EntryKind, NewEntry},
    testing,
};

fn now() -> DateTime<Utc> {
    DateTime::from_timestamp(1_795_000_000, 0).unwrap()
}

fn entry(seq: i64) -> NewEntry {
    NewEntry {
        account: "main".to_owned(),
        seq,
        kind: EntryKind::Callback,
        body: format!("{{\"n\":{seq}}}"),
        received_at: now(),
    }
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
    inbox::append(&mut conn, 1, &[entry(1), entry(2)]).await.unwrap();
    inbox::append(&mut conn, 2, &[entry(3)]).await.unwrap();
    let entries = inbox::unapplied(&mut conn, "main", 10).await.unwrap();
    assert_eq!(places(&entries), [(1, 1), (1, 2), (2, 3)]);
    assert!(inbox::unapplied(&mut conn, "other", 10).await.unwrap().is_empty());
    assert!(inbox::advance(&mut conn, "main", &entries[..1]).await.unwrap());
    // What was read before the position moved must not move it again.
    assert!(!inbox::advance(&mut conn, "main", &entries).await.unwrap());
    let rest = inbox::unapplied(&mut conn, "main", 10).await.unwrap();
    assert_eq!(places(&rest), [(1, 2)]);
}

/// The step before was committed, or is still being committed, and its connection broke before it could say so.
#[tokio::test]
async fn a_repeated_step_waits_for_a_commit_that_is_under_way_and_reads_beyond_it() {
    let database = testing::database().await;
    let (mut first, mut second, mut watch) =
        (database.connect().await, database.connect().await, database.connect().await);
    inbox::append(&mut watch, 1, &[entry(1), entry(2)]).await.unwrap();
    let mut under_way = first.begin().await.unwrap();
    let entries = inbox::unapplied(&mut under_way, "main", 1).await.unwrap();
    assert!(inbox::advance(&mut under_way, "main", &entries).await.unwrap());
    let repeated = tokio::spawn(async move { inbox::unapplied(&mut second, "main", 10).await.unwrap() });
    until_blocked(&mut watch).await;
    under_way.commit().await.unwrap();
    assert_eq!(places(&repeated.await.unwrap()), [(1, 2)]);
}

#[tokio::test]
async fn a_day_that_has_begun_in_the_rest_stays_there_and_the_next_gets_its_partition() {
    let database = testing::database().await;
    let mut conn = database.connect().await;
    inbox::append(&mut conn, 1, &[entry(1)]).await.unwrap();
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
    let later = NewEntry { received_at: now() + chrono::TimeDelta::days(1), ..entry(2) };
    inbox::append(&mut conn, 1, &[later]).await.unwrap();
    assert_eq!(places(&inbox::unapplied(&mut conn, "main", 10).await.unwrap()), [(1, 1), (1, 2)]);
}

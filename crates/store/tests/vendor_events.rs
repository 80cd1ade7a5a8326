//! What vendors tell is kept once and in bounds, and the smaller limit of a number counts.

#![expect(clippy::unwrap_used, reason = "what a test prepares must be there")]

use chrono::{DateTime, TimeDelta, Utc};
use store::{
    sender_limits::{self, SenderLimit},
    testing,
    vendor_events::{self, EventKind, Kept, LIMIT_EVENTS, NewEvent},
};

fn at(second: i64) -> DateTime<Utc> {
    DateTime::from_timestamp(1_800_000_000, 0).unwrap() + TimeDelta::seconds(second)
}

fn event(word: &str, told_at: Option<DateTime<Utc>>) -> NewEvent {
    let (subject, event) = ("sale/en".to_owned(), word.to_owned());
    NewEvent { kind: EventKind::Template, subject, event, detail: None, told_at, received_at: at(100) }
}

#[tokio::test]
async fn the_same_is_kept_once_and_what_is_older_is_known_as_older() {
    let database = testing::database().await;
    let mut conn = database.connect().await;
    let paused = event("PAUSED", Some(at(10)));
    assert!(matches!(vendor_events::keep(&mut conn, "a", &paused).await.unwrap(), Kept::New(_)));
    assert_eq!(vendor_events::keep(&mut conn, "a", &paused).await.unwrap(), Kept::Repeated);
    assert!(matches!(vendor_events::keep(&mut conn, "b", &paused).await.unwrap(), Kept::New(_)));
    let older = event("APPROVED", Some(at(5)));
    assert_eq!(vendor_events::keep(&mut conn, "a", &older).await.unwrap(), Kept::Older);
    // Without a time the same is told once a day.
    let untimed = event("REJECTED", None);
    assert!(matches!(vendor_events::keep(&mut conn, "a", &untimed).await.unwrap(), Kept::New(_)));
    assert_eq!(vendor_events::keep(&mut conn, "a", &untimed).await.unwrap(), Kept::Repeated);
    let next_day = NewEvent { received_at: at(100 + 86_400), ..untimed };
    assert!(matches!(vendor_events::keep(&mut conn, "a", &next_day).await.unwrap(), Kept::New(_)));
    assert_eq!(vendor_events::list(&mut conn, Some("a"), None, None, 10).await.unwrap().len(), 4);
}

#[tokio::test]
async fn the_newest_events_of_an_account_are_kept() {
    let database = testing::database().await;
    let mut conn = database.connect().await;
    sqlx::query(
        "INSERT INTO vendor_events (account, kind, subject, event, fingerprint, received_at)
         SELECT 'a', 5, '', 'e', n::text, now() FROM generate_series(1, $1) n",
    )
    .bind(LIMIT_EVENTS)
    .execute(&mut conn)
    .await
    .unwrap();
    vendor_events::keep(&mut conn, "a", &event("PAUSED", None)).await.unwrap();
    let kept: i64 =
        sqlx::query_scalar("SELECT count(*) FROM vendor_events").fetch_one(&mut conn).await.unwrap();
    assert_eq!(kept, LIMIT_EVENTS);
    assert_eq!(vendor_events::list(&mut conn, Some("a"), None, None, 1).await.unwrap()[0].event, "PAUSED");
}

#[tokio::test]
async fn the_smaller_limit_of_a_number_counts() {
    let database = testing::database().await;
    let mut conn = database.connect().await;
    let told = |tier: Option<&str>, daily: Option<i32>, second: i64| SenderLimit {
        sender: "1".to_owned(),
        daily_recipients: daily,
        tier: tier.map(str::to_owned),
        quality: None,
        told_at: at(second),
    };
    let effective = async |conn: &mut store::PgConnection, configured| {
        let told = sender_limits::of_account(conn, "a").await.unwrap();
        sender_limits::smaller(configured, told.get("1").and_then(|told| told.daily_recipients))
    };
    assert_eq!(effective(&mut conn, Some(500)).await, Some(500));
    assert_eq!(effective(&mut conn, None).await, None);
    assert!(sender_limits::keep(&mut conn, "a", &told(Some("TIER_1K"), Some(1_000), 10)).await.unwrap());
    // What says nothing of the limit leaves it, and what is older is not taken.
    assert!(sender_limits::keep(&mut conn, "a", &told(None, None, 20)).await.unwrap());
    assert!(!sender_limits::keep(&mut conn, "a", &told(Some("TIER_10K"), Some(10_000), 15)).await.unwrap());
    for (configured, expected) in [(Some(500), 500), (Some(5_000), 1_000), (None, 1_000)] {
        assert_eq!(effective(&mut conn, configured).await, Some(expected));
    }
    assert!(sender_limits::keep(&mut conn, "a", &told(Some("TIER_UNLIMITED"), None, 30)).await.unwrap());
    assert_eq!(effective(&mut conn, Some(5_000)).await, Some(5_000));
}

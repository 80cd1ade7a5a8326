//! The fence against a real database: every transaction of an owner meets the same one.
#![expect(clippy::unwrap_used, reason = "a test panics where it stands, and says why")]

use chrono::{DateTime, Utc};
use sqlx::PgConnection;
use store::{
    Error,
    groups::{self, Group},
    leases, testing,
};
use uuid::Uuid;

/// A standby that was promoted lacks what the old server committed last: who was sent to then stands beyond its cursor
/// again. A committer that finds it at the old address must take nobody, and not only learn of it with the next renewal.
#[tokio::test]
async fn nobody_is_taken_and_nothing_recorded_on_a_server_that_was_promoted_since() {
    let database = testing::database().await;
    let pools = database.open();
    let lease = leases::acquire(&pools.leases, "main", Uuid::from_u128(1)).await.unwrap().unwrap().lease;
    let mut conn = database.connect().await;
    let now: DateTime<Utc> = DateTime::from_timestamp(1_795_000_000, 0).unwrap();
    let group = Group {
        number: 1,
        intents: &[],
        outcomes: &[],
        closed: &[],
        now,
        deadline_at: now,
        is_careful: false,
        counts_marketing: false,
    };
    groups::write(&mut conn, &lease, &group).await.unwrap();
    leases::fence(&mut conn, &lease).await.unwrap();

    // As the new server finds the row: acquired on the timeline before its own. And as a dump brings it: acquired in a table
    // that is not there any more.
    for (part, by) in [("/\\d+/(\\d+)$", "/4711/\\1"), ("/\\d+$", "/4711")] {
        let before: String = sqlx::query_scalar("SELECT database_identity FROM account_leases")
            .fetch_one(&mut conn)
            .await
            .unwrap();
        set_identity(&mut conn, "regexp_replace(database_identity, $1, $2)", part, by).await;
        assert!(matches!(leases::fence(&mut conn, &lease).await, Err(Error::Fenced)), "{part}");
        let written = groups::write(&mut conn, &lease, &group).await;
        assert!(matches!(written, Err(Error::Fenced)), "{part}: {written:?}");
        set_identity(&mut conn, "coalesce($1, $2)", &before, "").await;
        leases::fence(&mut conn, &lease).await.unwrap();
    }
    pools.close().await;
}

async fn set_identity(conn: &mut PgConnection, to: &str, one: &str, two: &str) {
    sqlx::query(sqlx::AssertSqlSafe(format!("UPDATE account_leases SET database_identity = {to}")))
        .bind(one)
        .bind(two)
        .execute(conn)
        .await
        .unwrap();
}

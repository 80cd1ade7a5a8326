//! Halts and suppressions against a real database: each once, and no two accounts in each other's way.
#![expect(clippy::unwrap_used, reason = "a test panics where it stands, and says why")]

use chrono::{DateTime, TimeDelta, Utc};
use model::{Phone, decide::Suppression, disposition::Scope};
use sqlx::{Connection as _, PgConnection};
use store::{
    effects::{self, Effects, NewHalt, NewSuppression},
    testing,
};

fn now() -> DateTime<Utc> {
    DateTime::from_timestamp(1_795_000_000, 0).unwrap()
}

fn halt(scope: Scope, value: &str, code: &str) -> NewHalt {
    NewHalt {
        scope,
        account: "main".to_owned(),
        value: value.to_owned(),
        code: code.to_owned(),
        reason: "why".to_owned(),
        remedy: "what to do".to_owned(),
        lifts_at: None,
    }
}

fn suppression(no: u64, suppression: Suppression, code: &str) -> NewSuppression {
    let phone = Phone::from_digits(919_000_000_000 + no).unwrap();
    NewSuppression { phone, suppression, code: code.to_owned() }
}

fn invalid(no: u64, days: u16, from_time: u8) -> NewSuppression {
    suppression(no, Suppression::Invalid { days, from_time }, "30013")
}

/// (the last digits, reason, source, days) of every suppression of somebody.
async fn suppressed(conn: &mut PgConnection) -> Vec<(i64, i16, String, Option<i64>)> {
    let rows: Vec<(i64, i16, String, Option<DateTime<Utc>>)> = sqlx::query_as(
        "SELECT phone, reason, source, expires_at FROM suppressions WHERE source <> 'erased' ORDER BY phone",
    )
    .fetch_all(conn)
    .await
    .unwrap();
    let days = |until: DateTime<Utc>| (until - now()).num_days();
    rows.into_iter()
        .map(|(phone, reason, source, until)| (phone - 919_000_000_000, reason, source, until.map(days)))
        .collect()
}

#[tokio::test]
async fn a_halt_is_written_once_and_the_first_code_names_it() {
    let database = testing::database().await;
    let mut conn = database.connect().await;
    let halts = vec![
        halt(Scope::Task, "1", "first"),
        halt(Scope::Sender, "+911", "sender"),
        halt(Scope::Task, "1", "second"),
        halt(Scope::Task, "2", "other"),
    ];
    let effects = Effects { halts, suppressions: Vec::new() };
    assert_eq!(effects::apply_all(&mut conn, &[&effects, &effects], now()).await.unwrap(), 3);
    assert_eq!(effects::apply(&mut conn, &effects, now()).await.unwrap(), 0);
    let codes: Vec<String> = sqlx::query_scalar("SELECT code FROM halts ORDER BY scope, value")
        .fetch_all(&mut conn)
        .await
        .unwrap();
    assert_eq!(codes, ["first", "other", "sender"]);
}

#[tokio::test]
async fn a_number_is_suppressed_at_the_time_its_code_says_and_what_lasts_longer_stands() {
    let database = testing::database().await;
    let mut conn = database.connect().await;
    let apply = async |conn: &mut PgConnection, suppressions: Vec<NewSuppression>| {
        let effects = Effects { halts: Vec::new(), suppressions };
        effects::apply(conn, &effects, now()).await.unwrap();
    };
    let opt_out = |no| suppression(no, Suppression::OptOut, "131050");
    apply(&mut conn, vec![invalid(3, 30, 2), invalid(1, 30, 1), invalid(2, 30, 2), invalid(2, 30, 2)]).await;
    let invalid_row = |no: i64, days| (no, 2, "code 30013".to_owned(), Some(days));
    assert_eq!(suppressed(&mut conn).await, [invalid_row(1, 30), invalid_row(2, 30)]);
    apply(&mut conn, vec![invalid(3, 30, 2), opt_out(2), invalid(2, 60, 1), invalid(1, 7, 1)]).await;
    let opted_out = (2, 1, "code 131050".to_owned(), None);
    assert_eq!(suppressed(&mut conn).await, [invalid_row(1, 30), opted_out, invalid_row(3, 30)]);
}

#[tokio::test]
async fn two_accounts_that_suppress_the_same_numbers_do_not_stop_each_other() {
    let database = testing::database().await;
    let work = |is_reversed: bool| {
        let connected = database.connect();
        async move {
            let mut conn = connected.await;
            for round in 0..20 {
                let mut numbers: Vec<_> = (0..200).map(|no| invalid(no, 30 + round, 1)).collect();
                if is_reversed {
                    numbers.reverse();
                }
                let effects = Effects { halts: Vec::new(), suppressions: numbers };
                let at = now() + TimeDelta::days(i64::from(round));
                let mut transaction = conn.begin().await.unwrap();
                effects::apply(&mut transaction, &effects, at).await.unwrap();
                transaction.commit().await.unwrap();
            }
        }
    };
    tokio::join!(work(false), work(true));
    let mut conn = database.connect().await;
    let strikes: i64 =
        sqlx::query_scalar("SELECT sum(times) FROM strikes").fetch_one(&mut conn).await.unwrap();
    assert_eq!(strikes, 2 * 20 * 200);
}

//! Partitions, retention and erasure against a real database: what is dropped is old as a whole, and nothing else goes.

#![expect(clippy::unwrap_used, reason = "a test panics where it stands, and says why")]
use chrono::{DateTime, NaiveDate, TimeDelta, Utc};
use model::Phone;
use sqlx::PgConnection;
use store::{
    audit,
    messages::{self, Filter},
    people::{self, Erasure},
    retention, suppressions, tasks,
    testing::{self, TestDatabase},
};

fn now() -> DateTime<Utc> {
    DateTime::from_timestamp(1_795_000_000, 0).unwrap()
}

async fn run(conn: &mut PgConnection, statements: &'static str) {
    sqlx::raw_sql(statements).execute(conn).await.unwrap_or_else(|error| panic!("{statements}: {error}"));
}

async fn count(conn: &mut PgConnection, statement: &'static str) -> i64 {
    sqlx::query_scalar(statement).fetch_one(conn).await.unwrap_or_else(|error| panic!("{statement}: {error}"))
}

const BEFORE: &str = include_str!("../../../migrations/0001_foundation.sql");
const PARTITIONS: &str = include_str!("../../../migrations/0002_partitions.sql");
const SINCE: [&str; 4] = [
    include_str!("../../../migrations/0003_inbox.sql"),
    include_str!("../../../migrations/0004_retention.sql"),
    include_str!("../../../migrations/0005_message_columns.sql"),
    include_str!("../../../migrations/0006_vacuum.sql"),
];

/// Rows of every table that is partitioned now, up to ids beyond the size of one partition.
const ROWS_OF_BEFORE: &str = "
    INSERT INTO audiences (id, name, status, rows_accepted, heartbeat_at, created_at) OVERRIDING SYSTEM VALUE
        VALUES (1, 'a', 2, 2, now(), now()), (3, 'b', 2, 2, now(), now());
    INSERT INTO campaigns (name, state, account, sender, audience_id, message, category, priority, max_attempts,
                           on_unknown, created_at) VALUES ('c', 2, 'main', '+1', 1, '{}', 1, 1, 5, 1, now());
    INSERT INTO tasks (id, campaign_id, account, sender, audience_id, state, total, cursor, ended_at, created_at)
        OVERRIDING SYSTEM VALUE
        SELECT n, 1, 'main', '+1', 1, 3, 2, 2, now(), now() FROM unnest(ARRAY[1, 9999, 10000, 10001, 20500]) n;
    SELECT setval('tasks_id_seq', 20500);
    INSERT INTO recipients SELECT a, no, 919000000000 + no, '{x}' FROM unnest(ARRAY[1, 3]) a, generate_series(1, 2) no;
    INSERT INTO rejects VALUES (1, 7, 0, 'no number', 'abc', 'abc,def');
    INSERT INTO messages (task_id, no, state, attempt, request_id, vendor_hash, vendor_id)
        SELECT id, no, 1, 1, 1, id * 10 + no, 'v' || id || no FROM tasks, generate_series(1, 2) no;
    INSERT INTO troubles SELECT id, 5, '470', 1 FROM tasks;
    INSERT INTO old_vendor_ids SELECT id, id, 1 FROM tasks;
";

#[tokio::test]
async fn the_migration_to_partitions_keeps_every_row() {
    let test = testing::empty_database().await;
    let mut conn = test.connect().await;
    run(&mut conn, BEFORE).await;
    run(&mut conn, ROWS_OF_BEFORE).await;
    let all = "SELECT string_agg(t::text, E'\\n' ORDER BY t::text) FROM (
        SELECT ROW (task_id, no, state, vendor_hash, vendor_id)::text AS t FROM messages UNION ALL SELECT m::text FROM troubles m
        UNION ALL SELECT m::text FROM old_vendor_ids m UNION ALL SELECT m::text FROM recipients m
        UNION ALL SELECT m::text FROM rejects m) s";
    let before: String = sqlx::query_scalar(all).fetch_one(&mut conn).await.unwrap();
    run(&mut conn, PARTITIONS).await;
    for migration in SINCE {
        run(&mut conn, migration).await;
    }
    let after: String = sqlx::query_scalar(all).fetch_one(&mut conn).await.unwrap();
    assert_eq!(before, after);
    assert_eq!(before.lines().count(), 10 + 5 + 5 + 4 + 1);
    // The next tasks have a partition, and the net is empty.
    run(
        &mut conn,
        "INSERT INTO messages (task_id, no, state, attempt, request_id) VALUES (30001, 1, 1, 1, 1)",
    )
    .await;
    assert_eq!(count(&mut conn, "SELECT count(*) FROM messages_rest").await, 0);
    assert_eq!(count(&mut conn, "SELECT count(*) FROM messages_30001").await, 1);
}

/// Now, by the clock that the filler writes by.
async fn at(conn: &mut PgConnection) -> DateTime<Utc> {
    sqlx::query_scalar("SELECT now()").fetch_one(conn).await.unwrap()
}

async fn leaves(conn: &mut PgConnection, parent: &str) -> Vec<String> {
    sqlx::query_scalar("SELECT leaf FROM partition_ranges($1)").bind(parent).fetch_all(conn).await.unwrap()
}

async fn next_task_id(conn: &mut PgConnection) -> i64 {
    count(conn, "SELECT nextval('tasks_id_seq')").await
}

async fn filled() -> (TestDatabase, PgConnection, i64) {
    let test = testing::database().await;
    let database = test.open();
    let filled = testing::fill(&database, "main", 12, 100).await;
    database.close().await;
    let conn = test.connect().await;
    (test, conn, filled.first_task)
}

#[tokio::test]
async fn ids_go_on_to_the_next_partition_when_the_present_one_is_old_and_never_back() {
    let (_test, mut conn, first) = filled().await;
    assert_eq!(first, 1);
    let at = at(&mut conn).await;
    // The audiences of the filler are three months old, its tasks are not.
    assert_eq!(retention::rotate(&mut conn, at).await.unwrap(), 3);
    let made = retention::rotate(&mut conn, at).await.unwrap();
    assert_eq!((made, next_task_id(&mut conn).await), (0, 13));
    let later = at + TimeDelta::days(31);
    assert!(retention::rotate(&mut conn, later).await.unwrap() > 0);
    assert_eq!(next_task_id(&mut conn).await, 10_001);
    assert_eq!(leaves(&mut conn, "messages").await, ["messages_1", "messages_10001", "messages_20001"]);
    assert_eq!(retention::rotate(&mut conn, later).await.unwrap(), 0);
    assert_eq!(next_task_id(&mut conn).await, 10_002);
    // Nearly full: the next one is made, and ids come to it by themselves.
    run(&mut conn, "SELECT setval('tasks_id_seq', 19990)").await;
    retention::rotate(&mut conn, later).await.unwrap();
    assert_eq!(next_task_id(&mut conn).await, 19_991);
    run(&mut conn, "SELECT setval('tasks_id_seq', 20001)").await;
    retention::rotate(&mut conn, later).await.unwrap();
    assert_eq!(leaves(&mut conn, "troubles").await.last().unwrap(), "troubles_30001");
}

#[tokio::test]
async fn what_fell_into_the_net_is_moved_to_its_partition() {
    let test = testing::database().await;
    let mut conn = test.connect().await;
    run(
        &mut conn,
        "INSERT INTO messages (task_id, no, state, attempt, request_id) VALUES (20005, 1, 1, 1, 1);
                    SELECT setval('tasks_id_seq', 10001)",
    )
    .await;
    assert_eq!(count(&mut conn, "SELECT count(*) FROM messages_rest").await, 1);
    retention::rotate(&mut conn, now()).await.unwrap();
    assert_eq!(count(&mut conn, "SELECT count(*) FROM messages_rest").await, 0);
    assert_eq!(count(&mut conn, "SELECT count(*) FROM messages_20001").await, 1);
}

#[tokio::test]
async fn messages_go_by_whole_partitions_once_all_their_tasks_ended_long_ago() {
    let (_test, mut conn, first) = filled().await;
    let later = at(&mut conn).await + TimeDelta::days(200);
    // The present partition stays, however old.
    assert!(retention::remove_messages(&mut conn, later, 180).await.unwrap().tables.is_empty());
    retention::rotate(&mut conn, later).await.unwrap();
    run(&mut conn, "SELECT nextval('tasks_id_seq')").await;
    // A task that is paused half-way holds its partition.
    let removed = retention::remove_messages(&mut conn, later, 180).await.unwrap();
    assert!(removed.tables.is_empty());
    assert_eq!(removed.kept, ["messages_1: task 8 has not ended for long"]);
    run(&mut conn, "UPDATE tasks SET state = 4, paused = false, ended_at = now() WHERE state = 2").await;
    let before = tasks::get(&mut conn, first).await.unwrap().unwrap();
    assert!(retention::remove_messages(&mut conn, later, 300).await.unwrap().tables.is_empty());

    let removed = retention::remove_messages(&mut conn, later, 180).await.unwrap();
    assert_eq!(
        removed.tables,
        ["messages_1", "old_vendor_ids_1", "replies_1", "task_minutes_1", "troubles_1"]
    );
    assert_eq!(leaves(&mut conn, "messages").await, ["messages_10001", "messages_20001"]);
    let after = tasks::get(&mut conn, first).await.unwrap().unwrap();
    assert_eq!((after.counts, after.errors), (before.counts, before.errors));
    assert!(after.details_removed_at.is_some());
    let page = messages::list(&mut conn, first, &Filter::default(), 0, 50).await.unwrap();
    assert_eq!(page, messages::Page::default());
    let audit = audit::task(&mut conn, first).await.unwrap().unwrap();
    assert!(audit.holds() && audit.details_removed_at.is_some(), "{audit:?}");
    // Recipients go with the last who could speak of them, when their audience was deleted.
    assert_eq!(leaves(&mut conn, "recipients").await.first().unwrap(), "recipients_1");
    run(&mut conn, "UPDATE audiences SET status = 4; SELECT nextval('audiences_id_seq')").await;
    let removed = retention::remove_messages(&mut conn, later, 180).await.unwrap();
    assert_eq!(removed.tables, ["recipient_phones_1", "recipients_1", "rejects_1"]);
}

#[tokio::test]
async fn a_day_of_the_inbox_goes_when_it_is_old_and_applied() {
    let test = testing::database().await;
    let mut conn = test.connect().await;
    let day = |day| NaiveDate::from_ymd_opt(2026, 11, day).unwrap();
    for of in [1, 2, 20] {
        store::inbox::ensure_partition(&mut conn, day(of)).await.unwrap();
    }
    run(
        &mut conn,
        "INSERT INTO callbacks (day, account, writer, seq, received_at, kind, size_bytes, bodies)
        SELECT day::date, 'main', extract(day FROM day::date), 5, day::date, 1, 2, ARRAY['{}']
        FROM unnest(ARRAY['2026-11-01', '2026-11-02', '2026-11-20', '2026-10-01']) day;
        INSERT INTO inbox_positions (account, writer, day, seq) VALUES ('main', 2, '2026-11-02', 4)",
    )
    .await;
    let removed = retention::remove_callbacks(&mut conn, day(21), 10).await.unwrap();
    assert_eq!(removed.tables, ["callbacks_20261101"]);
    assert_eq!(removed.kept, ["callbacks_20261102: not all of it has been applied"]);
    assert_eq!(count(&mut conn, "SELECT count(*) FROM callbacks").await, 2);
    run(&mut conn, "UPDATE inbox_positions SET seq = 5").await;
    let removed = retention::remove_callbacks(&mut conn, day(21), 10).await.unwrap();
    assert_eq!(removed.tables, ["callbacks_20261102"]);
}

async fn phone_of(conn: &mut PgConnection, audience_id: i64, no: i32) -> Phone {
    let digits: i64 = sqlx::query_scalar("SELECT phone FROM recipients WHERE audience_id = $1 AND no = $2")
        .bind(audience_id)
        .bind(no)
        .fetch_one(conn)
        .await
        .unwrap();
    Phone::from_digits(digits.cast_unsigned()).unwrap()
}

#[tokio::test]
async fn a_phone_is_found_before_and_after_phones_are_listed() {
    let (_test, mut conn, _) = filled().await;
    for is_listed in [true, false] {
        if !is_listed {
            run(&mut conn, "UPDATE audiences SET phones_listed = false; TRUNCATE recipient_phones").await;
        }
        for no in [1, 50, 100] {
            let phone = phone_of(&mut conn, 1, no).await;
            assert_eq!(people::no_of(&mut conn, 1, phone).await.unwrap(), Some(no), "listed: {is_listed}");
        }
        for digits in [1_000_000, 999_999_999_999_999] {
            let nobody = Phone::from_digits(digits).unwrap();
            assert_eq!(people::no_of(&mut conn, 1, nobody).await.unwrap(), None);
        }
    }
}

#[tokio::test]
async fn a_person_is_erased_everywhere_but_from_the_counts() {
    let (_test, mut conn, first) = filled().await;
    let phone = phone_of(&mut conn, 1, 3).await;
    let digits = phone.digits();
    let statement = format!(
        "INSERT INTO inbound (account, sender, phone, kind, text, is_click, received_at)
             VALUES ('main', '+1', {digits}, 'text', 'please stop', false, now());
         INSERT INTO rejects VALUES (1, 9, 0, 'duplicate of line 3', '0{local}', '0{local},Asha'),
                                    (1, 10, 0, 'too short', '12', '12,Ravi');
         INSERT INTO strikes VALUES ({digits}, '131026', 1, now());
         INSERT INTO callbacks (day, account, writer, seq, received_at, kind, size_bytes, bodies)
             VALUES ('2026-11-20', 'main', 1, 2, now(), 1, 9, ARRAY['{{\"to\":\"{digits}\"}}', '{{\"to\":\"1\"}}'])",
        local = &digits.to_string()[2..]
    );
    sqlx::raw_sql(sqlx::AssertSqlSafe(statement)).execute(&mut conn).await.unwrap();
    let before = tasks::get(&mut conn, first).await.unwrap().unwrap();
    let Erasure::Done(erased) = people::erase(&mut conn, phone, now()).await.unwrap() else {
        panic!("in flight")
    };
    assert_eq!((erased.recipients, erased.inbound, erased.callbacks, erased.rejects), (1, 1, 1, 1));
    assert!(
        erased.messages >= 1 && !erased.suppression_kept && erased.withheld_until.is_some(),
        "{erased:?}"
    );

    assert_eq!(people::no_of(&mut conn, 1, phone).await.unwrap(), None);
    let everything = "SELECT count(*) FROM (
        SELECT r::text AS t FROM recipients r UNION ALL SELECT r::text FROM recipient_phones r
        UNION ALL SELECT r::text FROM inbound r UNION ALL SELECT r::text FROM callbacks r
        UNION ALL SELECT r::text FROM rejects r UNION ALL SELECT r::text FROM strikes r
        UNION ALL SELECT r::text FROM messages r) s WHERE t LIKE '%' || $1 || '%'";
    let left: i64 =
        sqlx::query_scalar(everything).bind(&digits.to_string()[2..]).fetch_one(&mut conn).await.unwrap();
    assert_eq!(left, 0);
    let after = tasks::get(&mut conn, first).await.unwrap().unwrap();
    assert_eq!(after.counts, before.counts);
    let audit = audit::task(&mut conn, first).await.unwrap().unwrap();
    assert_eq!(audit.findings, Vec::<String>::new());
    // A neighbour in the same block is still found.
    let neighbour = phone_of(&mut conn, 1, 4).await;
    assert_eq!(people::no_of(&mut conn, 1, neighbour).await.unwrap(), Some(4));
    // What stands in its place is on no list that is shown, and can be taken off none.
    let erased = Phone::from_digits(people::ERASED_DIGITS.cast_unsigned()).unwrap();
    assert!(!suppressions::remove(&mut conn, erased).await.unwrap());
    let shown =
        suppressions::list(&mut conn, &suppressions::Filter::default(), now(), None, 10).await.unwrap();
    assert_eq!(shown.iter().map(|row| row.phone).collect::<Vec<_>>(), [phone]);
    assert_eq!(people::forget_withheld(&mut conn, now() + TimeDelta::days(2)).await.unwrap(), 1);
}

#[tokio::test]
async fn nobody_is_erased_while_being_sent_to_and_an_opt_out_stays() {
    let (_test, mut conn, first) = filled().await;
    let phone = phone_of(&mut conn, 2, 60).await;
    // The last tasks have been paused halfway; one of them is sending to number 60.
    run(
        &mut conn,
        "INSERT INTO requests
        SELECT 5, 'main', max(id), 1, '{60}', '{1}', now(), now() FROM tasks",
    )
    .await;
    let erasure = people::erase(&mut conn, phone, now()).await.unwrap();
    assert_eq!(erasure, Erasure::InFlight { task_id: first + 11 });
    assert_eq!(phone_of(&mut conn, 2, 60).await, phone);
    run(&mut conn, "DELETE FROM requests").await;
    suppressions::add(&mut conn, &[phone], suppressions::Reason::OptOut, "test", None, now()).await.unwrap();
    let Erasure::Done(erased) = people::erase(&mut conn, phone, now()).await.unwrap() else {
        panic!("in flight")
    };
    assert!(erased.suppression_kept && erased.withheld_until.is_none());
    assert_eq!(phone_of(&mut conn, 2, 60).await.as_i64(), people::ERASED_DIGITS);
}

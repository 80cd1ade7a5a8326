//! Each step called by itself on a database as it is after months; time is what the test says.

use std::sync::{
    Arc,
    atomic::{AtomicI64, Ordering},
};

use chrono::{DateTime, TimeDelta, Utc};
use sqlx::{Connection as _, PgConnection};
use store::{
    audits::{self, Last},
    testing::{self, TestDatabase},
};

use super::*;

const TASKS: i64 = 12;

/// A database with twelve tasks, of which the last five are paused half-way, and a clock that the test moves.
struct Bench {
    database: Database,
    clock: Clock,
    seconds: Arc<AtomicI64>,
    conn: PgConnection,
    // Dropped last: its drop removes the database.
    _test: TestDatabase,
}

impl Bench {
    async fn new() -> Self {
        let test = testing::database().await;
        let database = test.open();
        testing::fill(&database, "main", TASKS, 100).await;
        let mut conn = test.connect().await;
        // The filler writes by the database's clock.
        let now: DateTime<Utc> = sqlx::query_scalar("SELECT now()").fetch_one(&mut conn).await.unwrap();
        let seconds = Arc::new(AtomicI64::new(now.timestamp()));
        let told = Arc::clone(&seconds);
        let clock = Clock::new(move || DateTime::from_timestamp(told.load(Ordering::SeqCst), 0).unwrap());
        Self { database, clock, seconds, conn, _test: test }
    }

    fn pass(&self, time: TimeDelta) {
        self.seconds.fetch_add(time.num_seconds(), Ordering::SeqCst);
    }

    /// What a node does, for so long.
    fn upkeep(&self, node: u128, messages_days: Option<u32>) -> Upkeep {
        let retention = Retention { messages_days, callbacks_days: 30 };
        let stop = CancellationToken::new();
        Upkeep::new(self.database.clone(), self.clock.clone(), retention, Uuid::from_u128(node), stop)
    }

    async fn run(&mut self, statements: &'static str) {
        sqlx::raw_sql(statements).execute(&mut self.conn).await.unwrap();
    }

    async fn count(&mut self, statement: &'static str) -> i64 {
        sqlx::query_scalar(statement).fetch_one(&mut self.conn).await.unwrap()
    }

    async fn partitions(&mut self, parent: &str) -> Vec<String> {
        sqlx::query_scalar("SELECT leaf FROM partition_ranges($1)")
            .bind(parent)
            .fetch_all(&mut self.conn)
            .await
            .unwrap()
    }

    async fn last(&mut self) -> Last {
        audits::last(&mut self.conn).await.unwrap()
    }

    /// Tasks that the last night's audit looked at.
    async fn audited(&mut self) -> i64 {
        self.count("SELECT coalesce((SELECT tasks FROM audits ORDER BY night DESC LIMIT 1), 0)::bigint").await
    }
}

#[tokio::test]
async fn the_next_partitions_are_there_as_soon_as_it_starts_and_ids_go_on_to_them() {
    let mut bench = Bench::new().await;
    let upkeep = bench.upkeep(1, None);
    let jobs = Jobs::start().await.unwrap();
    upkeep.clone().start(&jobs).await.unwrap();
    jobs.stop().await;
    assert_eq!(bench.partitions("messages").await, ["messages_1", "messages_10001"]);
    assert_eq!(bench.count("SELECT nextval('tasks_id_seq')").await, TASKS + 1);

    bench.pass(TimeDelta::days(31));
    upkeep.rotate().await;
    assert_eq!(bench.count("SELECT nextval('tasks_id_seq')").await, 10_001);
    upkeep.rotate().await;
    assert_eq!(bench.count("SELECT nextval('tasks_id_seq')").await, 10_002);
    assert_eq!(bench.partitions("messages").await, ["messages_1", "messages_10001", "messages_20001"]);
}

#[tokio::test]
async fn an_erased_persons_number_is_withheld_for_a_day_only() {
    let mut bench = Bench::new().await;
    let phone = bench.count("SELECT phone FROM recipients WHERE audience_id = 1 AND no = 3").await;
    let phone = model::Phone::from_digits(phone.cast_unsigned()).unwrap();
    store::people::erase(&mut bench.conn, phone, bench.clock.now()).await.unwrap();
    let listed = "SELECT count(*) FROM suppressions WHERE expires_at IS NOT NULL";
    let withheld = bench.count(listed).await;
    let upkeep = bench.upkeep(1, None);
    upkeep.rotate().await;
    assert_eq!((withheld, bench.count(listed).await), (1, 1));
    bench.pass(TimeDelta::days(2));
    upkeep.rotate().await;
    assert_eq!(bench.count(listed).await, 0);
}

#[tokio::test]
async fn old_messages_go_when_retention_says_so_and_their_counts_stay() {
    let mut bench = Bench::new().await;
    bench.run("UPDATE tasks SET state = 4, paused = false, ended_at = now() WHERE state = 2").await;
    bench.pass(TimeDelta::days(200));
    bench.upkeep(1, None).rotate().await;
    bench.run("SELECT nextval('tasks_id_seq')").await;
    let counted = bench.count("SELECT sum(n)::bigint FROM task_counts").await;
    for (keeps_days, is_kept) in [(None, true), (Some(300), true), (Some(180), false)] {
        bench.upkeep(1, keeps_days).remove().await;
        let is_there = bench.partitions("messages").await.contains(&"messages_1".to_owned());
        assert_eq!(is_there, is_kept, "kept for {keeps_days:?} days");
    }
    assert_eq!(bench.count("SELECT sum(n)::bigint FROM task_counts").await, counted);
    // Nothing is left to be recomputed, so nothing is found to be missing.
    bench.upkeep(1, None).audit().await;
    let last = bench.last().await;
    assert_eq!((last.wrong, last.tasks), (0, Some(0)));
}

#[tokio::test]
async fn old_callbacks_go_by_days() {
    let mut bench = Bench::new().await;
    let today = bench.clock.now().date_naive();
    for days in [0, 29, 31] {
        let day = today - TimeDelta::days(days);
        store::inbox::ensure_partition(&mut bench.conn, day).await.unwrap();
    }
    let days = "SELECT count(*) FROM pg_inherits WHERE inhparent = 'callbacks'::regclass";
    let before = bench.count(days).await;
    bench.upkeep(1, None).remove().await;
    assert_eq!(bench.count(days).await, before - 1);
}

#[tokio::test]
async fn a_busy_table_stays_as_it_is_and_a_stop_does_not_wait_for_the_next_try() {
    let mut bench = Bench::new().await;
    let old = bench.clock.now().date_naive() - TimeDelta::days(31);
    store::inbox::ensure_partition(&mut bench.conn, old).await.unwrap();
    let mut held = bench.conn.begin().await.unwrap();
    sqlx::raw_sql("SELECT count(*) FROM callbacks").execute(&mut *held).await.unwrap();
    let retention = Retention { messages_days: None, callbacks_days: 30 };
    let stop = CancellationToken::new();
    let upkeep =
        Upkeep::new(bench.database.clone(), bench.clock.clone(), retention, Uuid::from_u128(1), stop.clone());
    stop.cancel();
    tokio::time::timeout(PAUSE, upkeep.remove()).await.expect("it waits for its next try");
    held.rollback().await.unwrap();
    let day = "SELECT count(*) FROM pg_class WHERE relname ~ '^callbacks_[0-9]+$'";
    assert_eq!(bench.count(day).await, 1);
}

#[tokio::test]
async fn phones_are_listed_once() {
    let mut bench = Bench::new().await;
    bench.run("UPDATE audiences SET phones_listed = false; TRUNCATE recipient_phones").await;
    bench.upkeep(1, None).list_phones().await;
    assert_eq!(bench.count("SELECT count(*) FROM audiences WHERE NOT phones_listed").await, 0);
    let listed = "SELECT sum(cardinality(nos))::bigint FROM recipient_phones";
    let recipients = bench.count("SELECT count(*) FROM recipients").await;
    assert_eq!(bench.count(listed).await, recipients);
    bench.upkeep(2, None).list_phones().await;
    assert_eq!(bench.count(listed).await, recipients);
}

#[tokio::test]
async fn each_night_one_node_audits_what_may_have_changed() {
    let mut bench = Bench::new().await;
    assert_eq!(bench.last().await, Last { finished_at: None, tasks: None, wrong: 0 });
    let [one, two] = [1, 2].map(|node| bench.upkeep(node, None));
    one.audit().await;
    two.audit().await;
    let first = bench.last().await;
    assert_eq!((first.tasks, first.wrong), (Some(12), 0));
    assert_eq!(first.finished_at.map(|at| at.timestamp()), Some(bench.clock.now().timestamp()));
    // The next night: all of them have ended lately.
    bench.pass(TimeDelta::days(1));
    two.audit().await;
    assert_eq!(bench.audited().await, TASKS);
    // Eight days later the seven that ended have settled, the others are still under way.
    bench.pass(TimeDelta::days(8));
    one.audit().await;
    assert_eq!(bench.audited().await, TASKS);
    bench.pass(TimeDelta::days(1));
    one.audit().await;
    assert_eq!(bench.audited().await, 5);
    // Now and then everything is looked at, for what no report has changed may change all the same.
    bench.pass(TimeDelta::days(32));
    two.audit().await;
    assert_eq!((bench.audited().await, bench.last().await.wrong), (TASKS, 0));
}

#[tokio::test]
async fn what_is_wrong_stays_known_until_it_is_mended() {
    let mut bench = Bench::new().await;
    bench.run("CREATE TABLE lost AS SELECT * FROM messages WHERE task_id = 3 AND no = 5").await;
    bench.run("DELETE FROM messages WHERE task_id = 3 AND no = 5").await;
    bench.run("INSERT INTO progress VALUES (4, 6, '', 1)").await;
    let upkeep = bench.upkeep(1, None);
    upkeep.audit().await;
    assert_eq!(bench.last().await.wrong, 2);
    let found: Vec<(i64, Vec<String>)> =
        sqlx::query_as("SELECT task_id, findings FROM task_audits WHERE findings <> '{}' ORDER BY task_id")
            .fetch_all(&mut bench.conn)
            .await
            .unwrap();
    let [(3, lost), (4, counted)] = found.as_slice() else { panic!("{found:?}") };
    assert!(lost.iter().any(|line| line.contains("in no place") && line.contains('5')), "{lost:?}");
    assert!(counted.iter().any(|line| line.starts_with("Sent") && line.contains("rows")), "{counted:?}");
    // Long after both have settled.
    bench.run("INSERT INTO messages SELECT * FROM lost").await;
    bench.pass(TimeDelta::days(20));
    upkeep.audit().await;
    bench.pass(TimeDelta::days(1));
    upkeep.audit().await;
    assert_eq!(bench.last().await.wrong, 1);
    bench.run("INSERT INTO progress VALUES (4, 6, '', -1)").await;
    bench.pass(TimeDelta::days(1));
    upkeep.audit().await;
    assert_eq!(bench.last().await.wrong, 0);
}

#[tokio::test]
async fn another_node_goes_on_with_the_night_of_one_that_died() {
    let mut bench = Bench::new().await;
    let night = |node: u128| (bench.clock.now().date_naive(), Uuid::from_u128(node), bench.clock.now());
    let (date, node, now) = night(1);
    // It looks at two tasks and dies.
    let dead = audits::begin(&mut bench.conn, super::nightly_audit::night_of(now), node, now).await.unwrap();
    let dead = dead.unwrap_or_else(|| panic!("the night of {date} is taken"));
    for task_id in audits::due(&mut bench.conn, &dead, 0, 2).await.unwrap() {
        let found = store::audit::task(&mut bench.conn, task_id).await.unwrap().unwrap();
        assert!(audits::record(&mut bench.conn, &dead, &found, now).await.unwrap());
    }
    let two = bench.upkeep(2, None);
    two.audit().await;
    assert_eq!((bench.audited().await, bench.last().await.finished_at), (2, None));
    bench.run("UPDATE audits SET alive_at = now() - interval '2 hours'").await;
    two.audit().await;
    assert_eq!(bench.last().await.tasks, Some(12));
    // Should the first one have stood still only: it learns that the night is not its own any more.
    let late = store::audit::task(&mut bench.conn, 1).await.unwrap().unwrap();
    assert!(!audits::record(&mut bench.conn, &dead, &late, now).await.unwrap());
}

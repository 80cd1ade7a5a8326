//! SIGKILL while an audience is imported, a campaign launched, an account taken over or counts folded: it is done whole or not
//! at all, what is not done says so, and doing it again does it once.

use std::collections::{BTreeMap, HashSet};

use api::{Audience, AudienceStatus, MessageState, Task, TaskState, client};
use simulator::{RangeMs, SimulatorOptions, Vendor};
use sqlx::PgConnection;

use crate::harness::{
    Account, People, World, assert_nobody_twice, campaign, csv_of, people::digits, places, wait_until, within,
};

async fn connect(world: &World) -> PgConnection {
    world.database.as_ref().expect("the tests' database").connect().await
}

async fn count(connection: &mut PgConnection, sql: &'static str) -> i64 {
    sqlx::query_scalar(sql).fetch_one(connection).await.unwrap()
}

async fn imported(world: &World, csv: String, key: &str) -> Result<Audience, client::ClientError> {
    let how = client::ImportAudience {
        name: "People".to_owned(),
        default_region: Some("IN".to_owned()),
        phone_column: None,
        wait: true,
    };
    world.api().import_audience(&how, csv, None, Some(key)).await
}

#[tokio::test(flavor = "multi_thread")]
async fn an_import_is_whole_or_nothing() {
    let people = People(900);
    let mut world = World::new().account(Account::sobot_in()).start().await;
    let mut database = connect(&world).await;
    let tables = "SELECT count(*) FROM pg_class WHERE relkind IN ('r', 'p')";
    let tables_before = count(&mut database, tables).await;
    // A row that is rejected on top, so that there is something to be left over.
    let csv = people.csv().replacen('\n', "\n12,Nobody,Nowhere\n", 1);
    for (nth, point) in ["import.copying", "import.before_commit"].into_iter().enumerate() {
        world.kill_at(point, 1);
        assert!(
            imported(&world, csv.clone(), point).await.is_err(),
            "{point}: the process died before its answer"
        );
        world.died_at(point, within(20)).await;
        world.restart().await;
        // It says that it failed and why, at once, and nothing of it is left.
        let audiences = world.api().audiences(&client::Page::default()).await.unwrap().items;
        assert_eq!(audiences.len(), nth + 1);
        let error = audiences[0].error.clone().unwrap_or_default();
        assert_eq!(audiences[0].status, AudienceStatus::Failed, "{point}: {:?}", audiences[0]);
        assert!(error.contains("import the file again"), "{point}: {error}");
        assert_eq!(audiences[0].rows.accepted, 0, "{point}");
        assert_eq!(count(&mut database, "SELECT count(*) FROM recipients").await, 0, "{point}");
        assert_eq!(count(&mut database, "SELECT count(*) FROM recipient_phones").await, 0, "{point}");
    }
    // What was committed is there, though nobody was told.
    world.kill_at("import.after_commit", 1);
    assert!(imported(&world, csv.clone(), "third").await.is_err());
    world.died_at("import.after_commit", within(20)).await;
    world.restart().await;
    let audience = world.api().audiences(&client::Page::default()).await.unwrap().items.remove(0);
    assert_eq!(audience.status, AudienceStatus::Ready, "{audience:?}");
    assert_eq!(audience.rows.accepted, 900);
    assert_eq!(count(&mut database, "SELECT count(*) FROM recipients").await, 900);
    assert_eq!(count(&mut database, tables).await, tables_before, "a partition is left over");

    let task = world.launch(&campaign(world.account(0), audience.id)).await;
    world.wait_for_completion(task, within(30)).await;
    people.assert_each_accepted_once(&world.simulator.accepted_by_recipient());
    world.audit().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_launch_is_done_once_however_often_it_is_asked_for() {
    let mut world = World::new().account(Account::sobot_in()).start().await;
    for (number, (point, is_there)) in
        [("launch.before_commit", 0), ("launch.after_commit", 1)].into_iter().enumerate()
    {
        let people = number * 100..(number + 1) * 100;
        let audience = world.import(csv_of(people)).await.id;
        let wanted = campaign(world.account(0), audience);
        world.kill_at(point, 1);
        assert!(world.api().create_campaign(&wanted, Some(point)).await.is_err(), "{point}: it answered");
        world.died_at(point, within(20)).await;
        world.restart().await;
        let campaigns = world.api().campaigns(&client::Page::default()).await.unwrap().items;
        assert_eq!(campaigns.len(), number + is_there, "{point}: {campaigns:?}");
        let again = world.api().create_campaign(&wanted, Some(point)).await.unwrap();
        let once_more = world.api().create_campaign(&wanted, Some(point)).await.unwrap();
        assert_eq!((again.id, again.task_id), (once_more.id, once_more.task_id), "{point}");
        world.wait_for_completion(again.task_id.unwrap(), within(30)).await;
    }
    assert_eq!(world.api().tasks(&client::TaskFilter::default()).await.unwrap().items.len(), 2);
    People(200).assert_each_accepted_once(&world.simulator.accepted_by_recipient());
    world.audit().await;
}

/// Who had called is not known after so many deaths, unless it was kept.
#[tokio::test(flavor = "multi_thread")]
async fn a_take_over_that_dies_is_taken_up_by_the_next() {
    let unknown = dies_again_and_again_after("call.written", 50).await;
    assert!(unknown > 0, "no call was open");
}

/// Intents are committed for many before the first of them is called: they are called by whoever comes next.
#[tokio::test(flavor = "multi_thread")]
async fn whoever_was_only_taken_is_sent_to_after_all() {
    assert_eq!(dies_again_and_again_after("intent.after_commit", 1).await, 0);
}

/// Dies at the point while it sends, and then while it takes up what was left, four times; how many are unknown in the end.
async fn dies_again_and_again_after(first: &str, passing: u32) -> i64 {
    let latency_ms: BTreeMap<Vendor, RangeMs> = [(Vendor::SobotIn, RangeMs { min: 20, max: 60 })].into();
    let options = SimulatorOptions { latency_ms, ..SimulatorOptions::default() };
    let account = Account::sobot_in().set("max_in_flight", 20).sender("messages_per_second", 400);
    let mut world = World::new().simulator(options).account(account).start().await;
    let people = People(400);
    let audience = world.import_people(people).await;
    world.kill_at(first, passing);
    let wanted = campaign(world.account(0), audience);
    let _ = world.api().create_campaign(&wanted, Some("take-over")).await;
    world.died_at(first, within(20)).await;
    let mut database = connect(&world).await;
    // A request stays until its last outcome: those who have theirs are not open any more.
    let open = "SELECT i.no FROM requests q CROSS JOIN UNNEST(q.nos) AS i (no)
                WHERE NOT EXISTS (SELECT FROM messages m
                                  WHERE m.task_id = q.task_id AND m.no = i.no AND m.request_id >= q.id)
                  AND NOT EXISTS (SELECT FROM retries r WHERE r.task_id = q.task_id AND r.no = i.no)";
    let open: Vec<i32> = sqlx::query_scalar(open).fetch_all(&mut database).await.unwrap();
    assert!(!open.is_empty(), "no call was open");
    let reached = world.simulator.accepted_total();
    // Each start dies a little later than the one before, and sends nothing.
    for point in ["lease.before_commit", "lease.after_commit", "settle.before_commit", "settle.after_commit"]
    {
        world.kill_at(point, 1);
        world.daemon().start();
        world.died_at(point, within(20)).await;
        assert_eq!(world.simulator.accepted_total(), reached, "{point}: it sent before it had settled");
    }
    world.restart().await;
    let task = world.api().create_campaign(&wanted, Some("take-over")).await.unwrap().task_id.unwrap();
    let task = world.wait_for_completion(task, within(30)).await;
    assert_eq!(places(&task.counts), task.counts.total, "{:?}", task.counts);
    let ledger = world.simulator.accepted_by_recipient();
    assert_nobody_twice(&ledger);
    let unknown: HashSet<u64> = world.phones(task.id, MessageState::Unknown).await.into_iter().collect();
    for number in 0..people.0 {
        let phone = digits(number);
        assert!(ledger.contains_key(&phone) || unknown.contains(&phone), "recipient {number} is lost");
    }
    let was_open = |phone: &u64| open.iter().any(|no| digits(usize::try_from(*no - 1).unwrap()) == *phone);
    assert!(unknown.iter().all(was_open), "unknown without having been open");
    world.audit().await;
    task.counts.unknown
}

/// The server is held in the middle of folding, while the daemon dies; then it ends what it was told, or is ended itself.
#[tokio::test(flavor = "multi_thread")]
async fn counts_are_right_when_the_process_dies_while_they_are_folded() {
    for is_ended_too in [false, true] {
        let people = People(300);
        let account = Account::sobot_in().sender("messages_per_second", 300);
        let mut world = World::new().account(account).start().await;
        let audience = world.import_people(people).await;
        let mut database = connect(&world).await;
        let mut holder = connect(&world).await;
        sqlx::raw_sql("BEGIN; LOCK TABLE task_counts IN SHARE ROW EXCLUSIVE MODE")
            .execute(&mut holder)
            .await
            .unwrap();
        let task = world.launch(&campaign(world.account(0), audience)).await;
        let folding = "SELECT pid FROM pg_stat_activity WHERE datname = current_database()
                       AND wait_event_type = 'Lock' AND query LIKE '%DELETE FROM progress%'";
        let pid: i32 = wait_until("counts are being folded", within(20), async || {
            sqlx::query_scalar(folding).fetch_optional(&mut database).await.unwrap()
        })
        .await;
        world.kill9();
        if is_ended_too {
            sqlx::query("SELECT pg_terminate_backend($1)").bind(pid).execute(&mut database).await.unwrap();
        }
        sqlx::raw_sql("ROLLBACK").execute(&mut holder).await.unwrap();
        world.restart().await;
        let done = |task: &Task| {
            task.state == TaskState::Completed
                && task.counts.accepted + task.counts.unknown == task.counts.total
        };
        let task = world.wait_for_task(task, "everybody is accounted for", within(30), done).await;
        assert_eq!(places(&task.counts), task.counts.total, "{:?}", task.counts);
        assert_nobody_twice(&world.simulator.accepted_by_recipient());
        world.audit().await;
    }
}

//! `campaignd audit` holds at every instant of a run at full speed, and whatever is changed behind the daemon's back is found,
//! with its task and its place.

use std::{collections::BTreeMap, process::Output};

use api::TaskState;
use simulator::{CallbackOptions, RangeMs, SimulatorOptions, Vendor};
use sqlx::PgConnection;

use crate::harness::{Account, People, World, campaign, within};

const PEOPLE: People = People(4_000);

/// Some fail, some are tried again, reports come early, twice and in the wrong order.
fn lively() -> SimulatorOptions {
    let latency_ms: BTreeMap<Vendor, RangeMs> =
        Vendor::ALL.map(|vendor| (vendor, RangeMs { min: 0, max: 20 })).into();
    let callbacks = CallbackOptions {
        read: 0.5,
        failed: 0.1,
        duplicates: 0.3,
        reordered: 0.3,
        early: 0.3,
        delay_ms: RangeMs { min: 0, max: 50 },
        ..CallbackOptions::default()
    };
    SimulatorOptions { callbacks, latency_ms, ..SimulatorOptions::default() }
}

async fn audit(world: &mut World, arguments: &[&str]) -> (Output, String) {
    let output = tokio::task::block_in_place(|| world.daemon().run(&[&["audit"], arguments].concat()));
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    (output, text)
}

#[tokio::test(flavor = "multi_thread")]
async fn and_holds_while_everything_is_sending() {
    let fast = |account: Account| account.sender("messages_per_second", 600).set("max_in_flight", 60);
    let mut world = World::new()
        .simulator(lively())
        .account(fast(Account::exotel()).set("batch_size", 40))
        .account(fast(Account::sobot_in()))
        .start()
        .await;
    let audience = world.import_people(PEOPLE).await;
    let mut tasks = Vec::new();
    for number in 0..2 {
        tasks.push(world.launch(&campaign(world.account(number), audience)).await);
    }
    let (mut audits, mut in_the_middle) = (0, 0);
    loop {
        let (output, text) = audit(&mut world, &[]).await;
        assert!(output.status.success(), "the audit number {audits} says:\n{text}");
        assert_eq!(text.matches("exactly one place").count(), tasks.len(), "{text}");
        audits += 1;
        let mut is_running = false;
        for id in &tasks {
            let task = world.task(*id).await;
            is_running |= task.state == TaskState::Running;
            in_the_middle += usize::from(task.counts.queued > 0 && task.counts.accepted > 0);
        }
        if !is_running {
            break;
        }
    }
    assert!(in_the_middle >= 3, "{audits} audits, {in_the_middle} of a task in the middle");
    for id in tasks {
        world.all_reports_are_applied(id).await;
    }
    world.audit().await;
    assert!(world.simulator.duplicates().is_empty());
}

async fn run(conn: &mut PgConnection, statements: &str) {
    sqlx::raw_sql(sqlx::AssertSqlSafe(statements)).execute(conn).await.unwrap();
}

/// What may go wrong with rows, how it is put right again, and what the audit says of it. `T` stands for the task.
const WRONG: [(&str, &str, &str); 9] = [
    (
        "CREATE TABLE kept AS SELECT * FROM messages WHERE task_id = T AND no = 7;
         DELETE FROM messages WHERE task_id = T AND no = 7",
        "INSERT INTO messages SELECT * FROM kept",
        "1 recipients are in no place, or beyond the cursor; the first is number 7",
    ),
    (
        "INSERT INTO progress VALUES (T, 7, '', 1)",
        "INSERT INTO progress VALUES (T, 7, '', -1)",
        "Delivered: the counts say 301, the rows 300",
    ),
    (
        "UPDATE task_counts SET n = n - 1 WHERE task_id = T AND kind = 5",
        "UPDATE task_counts SET n = n + 1 WHERE task_id = T AND kind = 5",
        "Accepted: the counts say 299, the rows 300",
    ),
    (
        "UPDATE messages SET state = 5, code = '470' WHERE task_id = T AND no = 9",
        "UPDATE messages SET state = 3, code = NULL WHERE task_id = T AND no = 9",
        "Failed: the counts say 0, the rows 1",
    ),
    (
        "INSERT INTO retries VALUES (T, 11, now() + interval '1 day', 1, 100)",
        "DELETE FROM retries WHERE task_id = T AND no = 11",
        "1 recipients are both waiting and settled",
    ),
    (
        "INSERT INTO troubles VALUES (T, 5, '470', 12)",
        "DELETE FROM troubles WHERE task_id = T AND no = 12",
        "1 messages are not listed once among the troubles, or should not be",
    ),
    (
        "UPDATE tasks SET total = total + 1, cursor = cursor + 1 WHERE id = T",
        "UPDATE tasks SET total = total - 1, cursor = cursor - 1 WHERE id = T",
        "not to the total 301",
    ),
    (
        "INSERT INTO messages (task_id, no, state, attempt, request_id) VALUES (T, 4000, 1, 1, 1)",
        "DELETE FROM messages WHERE task_id = T AND no = 4000",
        "beyond the cursor; the first is number 4000",
    ),
    (
        "INSERT INTO progress VALUES (T, 1, '', 1), (T, 5, '', -1)",
        "INSERT INTO progress VALUES (T, 1, '', -1), (T, 5, '', 1)",
        "the counts say",
    ),
];

#[tokio::test(flavor = "multi_thread")]
async fn and_names_the_task_and_the_place() {
    let account = Account::exotel().set("batch_size", 100).sender("messages_per_second", 2_000);
    let mut world = World::new().account(account).start().await;
    let audience = world.import_people(People(300)).await;
    let mut tasks = Vec::new();
    for name in ["one", "two"] {
        let mut campaign = campaign(world.account(0), audience);
        name.clone_into(&mut campaign.name);
        tasks.push(world.launch(&campaign).await);
    }
    for id in &tasks {
        let all = |task: &api::Task| task.counts.delivered == 300 && task.state == TaskState::Completed;
        world.wait_for_task(*id, "all are delivered", within(30), all).await;
    }
    world.audit().await;
    let mut conn = world.database.as_ref().unwrap().connect().await;
    let (good, bad) = (tasks[0], tasks[1]);
    // Until it is folded, a count may stand in either table.
    let folded = "SELECT count(*) FROM progress";
    crate::harness::wait_until("counts are folded", within(20), async || {
        let left: i64 = sqlx::query_scalar(folded).fetch_one(&mut conn).await.unwrap();
        (left == 0).then_some(())
    })
    .await;
    for (wrong, right, says) in WRONG {
        let of_task = |statements: &str| {
            statements.replace("(T,", &format!("({bad},")).replace("= T", &format!("= {bad}"))
        };
        run(&mut conn, &of_task(wrong)).await;
        let (output, text) = audit(&mut world, &[]).await;
        assert_eq!(output.status.code(), Some(1), "not found: {wrong}\n{text}");
        assert!(text.contains(&format!("task {bad}: WRONG")) && text.contains(says), "{wrong}\n{text}");
        assert!(text.contains(&format!("task {good}: each of 300")), "{wrong}\n{text}");
        assert!(audit(&mut world, &[&good.to_string()]).await.0.status.success());
        let (output, text) = audit(&mut world, &[&bad.to_string(), "--output", "json"]).await;
        assert!(!output.status.success());
        let found: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!((&found[0]["task_id"], &found[0]["holds"]), (&bad.into(), &false.into()), "{text}");
        run(&mut conn, &of_task(right)).await;
        world.audit().await;
    }
    // What the nightly audit has found is told to those who watch.
    let told = async |world: &World| {
        let metrics = reqwest::get(world.url("/metrics")).await.unwrap().text().await.unwrap();
        let line = metrics.lines().find_map(|line| line.strip_prefix("campaignd_audit_mismatches "));
        line.map(str::to_owned)
    };
    assert_eq!(told(&world).await.as_deref(), Some("0"));
    run(&mut conn, &format!("INSERT INTO task_audits VALUES ({bad}, now(), ARRAY['somebody is lost'])"))
        .await;
    assert_eq!(told(&world).await.as_deref(), Some("1"));
}

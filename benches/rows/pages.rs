//! What a person waits for when there is much: lists, a task, its messages by filter, with months of tasks in the database.

use anyhow::{Result, ensure};
use api::client::{MessageFilter, Page, TaskFilter};
use serde_json::json;
use store::{Database, private_cluster, testing};

use crate::{
    bench::Bench,
    machine::now_us,
    process::NullVendor,
    report::{Row, short},
    world::{Account, World},
};

const CALLS: i64 = 200;
const MESSAGES_PER_TASK: i32 = 10_000;
/// Rows that were read without an index, in all tables that grow with messages.
const SCANNED: &str = "SELECT coalesce(sum(seq_tup_read), 0) FROM pg_stat_user_tables
    WHERE relname ~ '^(messages|recipients|troubles|callbacks)'";

/// The 99th percentile of each page.
pub async fn latencies(bench: &mut Bench, name: &str) -> Result<Vec<Row>> {
    let vendor = NullVendor::start()?;
    let accounts = vec![Account::batch("main", &vendor, 100, 16)];
    let world = World::start_cold(vendor, accounts).await?;
    let options = private_cluster::running(&world.file("data"));
    let database = Database::open(&options.ok_or_else(|| anyhow::anyhow!("the cluster is gone"))?);
    let filled = testing::fill(&database, "main", bench.sizes.tasks, MESSAGES_PER_TASK).await;
    database.close().await;
    let scanned = world.psql.ask(SCANNED)?.parse::<f64>()?;
    let mut rows = Vec::new();
    for page in PAGES {
        let mut taken = Vec::new();
        for number in 0..CALLS {
            // Spread over all tasks, in no order.
            let task = filled.first_task + number * 7_919 % filled.tasks;
            taken.push(call(&world, page, task, number).await?);
        }
        rows.push(row(name, page, taken));
    }
    // A backend tells what it has read when it is done, now and then.
    tokio::time::sleep(std::time::Duration::from_secs(3)).await;
    let scanned = world.psql.ask(SCANNED)?.parse::<f64>()? - scanned;
    let note = format!(
        "{} tasks, {} messages; {} rows read without an index in all calls",
        filled.tasks,
        short(filled.messages as f64),
        short(scanned)
    );
    if let Some(first) = rows.first_mut() {
        first.notes.push(note);
    }
    Ok(rows)
}

#[derive(Clone, Copy, Debug)]
enum Which {
    Tasks,
    TasksByState,
    Task,
    Messages,
    MessagesByState,
    MessagesByCode,
    MessagesByPhone,
}

const PAGES: [Which; 7] = [
    Which::Tasks,
    Which::TasksByState,
    Which::Task,
    Which::Messages,
    Which::MessagesByState,
    Which::MessagesByCode,
    Which::MessagesByPhone,
];

/// Milliseconds of a call.
async fn call(world: &World, which: Which, task: i64, number: i64) -> Result<f64> {
    let mut filter = MessageFilter::default();
    let mut tasks = TaskFilter::default();
    match which {
        Which::MessagesByState => {
            filter.state = Some(["failed", "unknown", "read"][number as usize % 3].to_owned());
        }
        Which::MessagesByCode => filter.code = Some("131026".to_owned()),
        Which::MessagesByPhone => {
            let page =
                MessageFilter { page: Page { limit: Some(1), after: None }, ..MessageFilter::default() };
            let found = world.api.messages(task, &page).await?;
            filter.to = found.items.first().map(|message| message.to.clone());
        }
        Which::TasksByState => tasks.state = Some("completed".to_owned()),
        Which::Tasks | Which::Task | Which::Messages => {}
    }
    let begun = now_us();
    match which {
        Which::Tasks | Which::TasksByState => {
            ensure!(!world.api.tasks(&tasks).await?.items.is_empty(), "no task is listed");
        }
        Which::Task => drop(world.api.task(task).await?),
        _ => ensure!(!world.api.messages(task, &filter).await?.items.is_empty(), "no message: {filter:?}"),
    }
    Ok((now_us() - begun) as f64 / 1e3)
}

fn row(name: &str, which: Which, mut taken: Vec<f64>) -> Row {
    const MOST_MS: f64 = 50.0;
    taken.sort_by(f64::total_cmp);
    let at = |percent: usize| taken[(taken.len() - 1) * percent / 100];
    let what = match which {
        Which::Tasks => "GET /tasks",
        Which::TasksByState => "GET /tasks?state=",
        Which::Task => "GET /tasks/{id}",
        Which::Messages => "GET /tasks/{id}/messages",
        Which::MessagesByState => "… ?state=",
        Which::MessagesByCode => "… ?code=",
        Which::MessagesByPhone => "… ?to=",
    };
    let mut row = Row::at_most(&format!("{name} {what}"), at(99), "ms", MOST_MS);
    row.figure = format!("p99 {:.1} ms, median {:.1} ms", at(99), at(50));
    row.numbers(json!({"p99_ms": at(99), "p50_ms": at(50), "most_ms": at(100)}))
}

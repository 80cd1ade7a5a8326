//! What a person waits for on a full database: each statement behind lists and pages, timed, with the rows it read.
//!
//! `CAMPAIGND_SCALE_DATABASE_URL` names a database of its own to fill (it is left filled); without it, one is made in the
//! temporary directory. `TASKS` and `MESSAGES` (per task) are 1,000 and 10,000 unless told. Prints; fails nothing.
//! Any speed's build will do, since nearly all the work is the server's.
#![expect(clippy::expect_used, reason = "a benchmark that cannot go on should panic and say why")]

use std::time::Instant;

use model::{Phone, status::MessageState};
use sqlx::PgConnection;
use store::{
    Database, halts, inbound,
    messages::{self, Filter, Place},
    suppressions, tasks,
    testing::{self, Filled},
};

/// Calls of each kind.
const CALLS: usize = 200;

fn main() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        match std::env::var("CAMPAIGND_SCALE_DATABASE_URL") {
            Ok(url) => run(&Database::open(&url.parse().expect("a URL of PostgreSQL"))).await,
            Err(_) => {
                let cluster = testing::durable_cluster().await;
                run(&Database::open(&cluster.cluster.connect_options())).await;
                cluster.stop().await;
            }
        }
    });
}

fn number(name: &str, default: i64) -> i64 {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}

async fn run(database: &Database) {
    database.migrate().await.expect("the schema is current");
    let mut conn = database.general.acquire().await.expect("a connection");
    let known: Option<(i64, i64)> = sqlx::query_as("SELECT min(id), count(*) FROM tasks HAVING count(*) > 0")
        .fetch_optional(&mut *conn)
        .await
        .expect("tasks are counted");
    let filled = match known {
        Some((first_task, tasks)) => Filled { first_task, tasks, messages: 0 },
        None => {
            let size = i32::try_from(number("MESSAGES", 10_000)).expect("a number of messages");
            let begun = Instant::now();
            let filled = testing::fill(database, "main", number("TASKS", 1_000), size).await;
            println!("filled {} messages in {:.0?}", filled.messages, begun.elapsed());
            filled
        }
    };
    measure(&mut conn, filled).await;
    drop(conn);
    database.close().await;
}

/// Times one kind of call, and counts the blocks that it touched.
macro_rules! time {
    ($conn:ident, $name:expr, |$i:ident| $call:expr) => {{
        let before = blocks($conn).await;
        let mut taken = Vec::with_capacity(CALLS);
        for $i in 0..CALLS {
            let begun = Instant::now();
            $call.await.expect($name);
            taken.push(begun.elapsed());
        }
        let blocks = (blocks($conn).await - before) / CALLS as i64;
        taken.sort_unstable();
        println!(
            "{:44} median {:>8.2?}  p99 {:>8.2?}  blocks a call {:>6}",
            $name,
            taken[CALLS / 2],
            taken[CALLS * 99 / 100],
            blocks
        );
    }};
}

async fn measure(conn: &mut PgConnection, filled: Filled) {
    let task = |i: usize| filled.first_task + i64::try_from(i).unwrap_or(0) * 7 % filled.tasks;
    let all = tasks::Filter::default();
    let live = tasks::Filter { states: vec![model::task::TaskState::Paused], ..all.clone() };
    time!(conn, "tasks", |i| tasks::list(conn, &all, Some(task(i)), 51));
    time!(conn, "tasks?state=paused", |_i| tasks::list(conn, &live, None, 51));
    let named = tasks::Filter { q: Some("campaign 77".to_owned()), ..all.clone() };
    time!(conn, "tasks?q=", |_i| tasks::list(conn, &named, None, 51));
    time!(conn, "tasks/{id}", |i| tasks::get(conn, task(i)));
    time!(conn, "metrics: tasks by state", |_i| tasks::count_by_state(conn));
    time!(conn, "halts", |_i| halts::list(conn, None, None, 51));
    let anybody = suppressions::Filter::default();
    let now = chrono::DateTime::UNIX_EPOCH;
    time!(conn, "suppressions", |_i| suppressions::list(conn, &anybody, now, None, 51));
    time!(conn, "inbound?account=", |_i| inbound::list(conn, Some("other"), None, None, 51));
    let after = |i: usize| i32::try_from(i * 37 % 9_000).unwrap_or(0);
    time!(conn, "messages", |i| messages::list(conn, task(i), &Filter::default(), after(i), 50));
    for (name, state) in [
        ("messages?state=read", MessageState::Read),
        ("messages?state=accepted", MessageState::Accepted),
        ("messages?state=failed", MessageState::Failed),
        ("messages?state=unknown", MessageState::Unknown),
        ("messages?state=retrying (nobody)", MessageState::Retrying),
    ] {
        let filter = Filter { place: Some(Place::Message(state)), ..Filter::default() };
        time!(conn, name, |i| messages::list(conn, task(i), &filter, after(i), 50));
    }
    let filter = Filter { place: Some(Place::Queued), ..Filter::default() };
    time!(conn, "messages?state=queued", |i| messages::list(conn, task(i), &filter, after(i), 50));
    let filter = Filter { code: Some("470".to_owned()), ..Filter::default() };
    time!(conn, "messages?code=", |i| messages::list(conn, task(i), &filter, after(i), 50));
    let to: Vec<Filter> = phones(conn).await.into_iter().map(to_phone).collect();
    time!(conn, "messages?to=", |i| messages::list(conn, task(i), &to[i % to.len()], 0, 50));
    time!(conn, "messages.csv: a page of 5,000", |i| messages::list(
        conn,
        task(i),
        &Filter::default(),
        after(i),
        5_000
    ));
    time!(conn, "audit of one task", |i| store::audit::task(conn, task(i)));
}

fn to_phone(phone: Phone) -> Filter {
    Filter { to: Some(phone), ..Filter::default() }
}

async fn phones(conn: &mut PgConnection) -> Vec<Phone> {
    let digits: Vec<i64> =
        sqlx::query_scalar("SELECT phone FROM recipients ORDER BY audience_id, no LIMIT 100")
            .fetch_all(conn)
            .await
            .expect("phones are read");
    digits.into_iter().filter_map(|digits| Phone::from_digits(digits.cast_unsigned())).collect()
}

/// Blocks of tables and indexes that this session has read so far.
async fn blocks(conn: &mut PgConnection) -> i64 {
    sqlx::raw_sql("SELECT pg_stat_force_next_flush()")
        .execute(&mut *conn)
        .await
        .expect("statistics are kept");
    sqlx::query_scalar(
        "SELECT (sum(heap_blks_read + heap_blks_hit) + sum(coalesce(idx_blks_read + idx_blks_hit, 0)))::bigint
         FROM pg_statio_user_tables",
    )
    .fetch_one(conn)
    .await
    .expect("statistics are read")
}

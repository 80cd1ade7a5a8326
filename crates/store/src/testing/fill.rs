//! A database as it is after months: finished tasks with their messages, troubles and counts, and a few that are paused halfway.
//!
//! Made by the server itself, some 100,000 messages a second. What stands in it agrees with itself, so that the audit
//! holds; only the vendors' ids are made up, and their hashes are not those of [`crate::ids::vendor_hash`].

use std::collections::BTreeMap;

use model::{
    counts::{Deltas, Place},
    status::MessageState,
};
use sqlx::PgConnection;

use crate::Database;

/// Tasks that share an audience, as a recurring campaign's do.
const TASKS_PER_AUDIENCE: i64 = 10;
/// So many tasks, the newest, have been paused halfway.
const RUNNING: i64 = 5;
/// Tasks written by one statement.
const SLICE: i64 = 20;

/// What has been written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Filled {
    /// The first task's id; the others follow it.
    pub first_task: i64,
    /// Tasks.
    pub tasks: i64,
    /// Message rows.
    pub messages: i64,
}

/// Of each hundred: where a message stands, and with which code.
fn place(no: i32) -> (MessageState, &'static str) {
    match no % 100 {
        0..40 => (MessageState::Read, ""),
        40..70 => (MessageState::Delivered, ""),
        70..85 => (MessageState::Sent, ""),
        85..90 => (MessageState::Accepted, ""),
        90..94 => (MessageState::Failed, "131026"),
        94..97 => (MessageState::Failed, "131049"),
        97 => (MessageState::Failed, "470"),
        98 => (MessageState::Unknown, "no_answer"),
        _ => (MessageState::Suppressed, ""),
    }
}

/// Fills an empty database (schema current, nothing in it) with `tasks` tasks of the account `account`, each of
/// `messages_per_task` recipients. Ends with VACUUM and ANALYZE, so that plans are those of a database that has been
/// running. For benchmarks: `fill(&database, "main", 1_000, 10_000)` is the 10 million of the goals; takes some minutes and
/// 5 GB.
pub async fn fill(database: &Database, account: &str, tasks: i64, messages_per_task: i32) -> Filled {
    let mut conn = database.general.acquire().await.expect("the database takes a connection");
    let conn: &mut PgConnection = &mut conn;
    run(conn, "SET synchronous_commit = off").await;
    audiences(conn, tasks, messages_per_task).await;
    let (first_task, running) = tasks_of(conn, account, tasks, messages_per_task).await;
    let mut since = first_task;
    while since < first_task + tasks {
        messages(conn, since, (since + SLICE).min(first_task + tasks)).await;
        since += SLICE;
    }
    let half = messages_per_task / 2;
    counts(conn, first_task, first_task + tasks - running, messages_per_task).await;
    counts(conn, first_task + tasks - running, first_task + tasks, half).await;
    run(conn, "RESET synchronous_commit").await;
    run(conn, "VACUUM ANALYZE").await;
    let messages = i64::from(messages_per_task) * (tasks - running) + i64::from(half) * running;
    Filled { first_task, tasks, messages }
}

async fn run(conn: &mut PgConnection, statement: &'static str) {
    sqlx::raw_sql(statement).execute(conn).await.unwrap_or_else(|error| panic!("`{statement}`: {error}"));
}

async fn audiences(conn: &mut PgConnection, tasks: i64, size: i32) {
    let audiences = tasks.div_euclid(TASKS_PER_AUDIENCE) + 1;
    sqlx::query(
        "WITH made AS (
            INSERT INTO audiences (name, status, phone_column, columns, rows_read, rows_accepted, heartbeat_at,
                                   created_at)
            SELECT 'customers ' || n, 2, 'phone', ARRAY['name', 'city'], $2, $2, now(), now() - interval '90 days'
            FROM generate_series(1, $1) n RETURNING id
         )
         INSERT INTO recipients (audience_id, no, phone, vars)
         SELECT id, no, 910000000000 + (id * 7919 + no::bigint * 6700417) % 9999999999, ARRAY['Asha ' || no, 'Pune']
         FROM made CROSS JOIN generate_series(1, $2) no",
    )
    .bind(audiences)
    .bind(size)
    .execute(&mut *conn)
    .await
    .expect("audiences are filled");
    while crate::people::list_phones(conn).await.expect("phones are listed") {}
}

async fn tasks_of(conn: &mut PgConnection, account: &str, tasks: i64, size: i32) -> (i64, i64) {
    let running = RUNNING.min(tasks);
    let first = sqlx::query_scalar(
        "WITH made AS (
            INSERT INTO campaigns (name, state, account, sender, audience_id, message, template, category, priority,
                                   max_attempts, on_unknown, created_at)
            SELECT 'campaign ' || n, 2, $1, '+919999000001',
                   (SELECT min(id) FROM audiences) + n / $4,
                   '{\"type\":\"text\",\"text\":{\"body\":\"Hello {{name}}\"}}', NULL, 1, 2, 5, 1, now()
            FROM generate_series(0, $2 - 1) n RETURNING id, account, sender, audience_id
         ), aged AS (
            SELECT *, row_number() OVER (ORDER BY id DESC) AS age FROM made
         ), begun AS (
            INSERT INTO tasks (campaign_id, account, sender, audience_id, state, paused, total, cursor, starts_at,
                               started_at, ended_at, created_at)
            SELECT id, account, sender, audience_id, CASE WHEN age > $5 THEN 3 ELSE 2 END, age <= $5, $3,
                   CASE WHEN age > $5 THEN $3 ELSE $3 / 2 END, at, at,
                   CASE WHEN age > $5 THEN at + interval '1 hour' END, at
            FROM aged CROSS JOIN LATERAL (SELECT now() - age * interval '1 hour' AS at) t
            ORDER BY id RETURNING id
         )
         SELECT min(id) FROM begun",
    )
    .bind(account)
    .bind(tasks)
    .bind(size)
    .bind(TASKS_PER_AUDIENCE)
    .bind(running)
    .fetch_one(conn)
    .await
    .expect("tasks are filled");
    (first, running)
}

/// As `place` says, in SQL by arrays of a hundred.
async fn messages(conn: &mut PgConnection, since: i64, upto: i64) {
    let places: Vec<_> = (0..100).map(place).collect();
    sqlx::query(
        "INSERT INTO messages (task_id, no, state, attempt, request_id, vendor_hash, vendor_id, code, reason,
                               accepted_at, sent_at, delivered_at, read_at, failed_at)
         SELECT id, no, state, CASE WHEN state = 8 THEN 0 ELSE 1 END, id * 1000000 + no,
                CASE WHEN state <= 4 THEN hashint8extended(no, id) END,
                CASE WHEN state <= 4 THEN 'wamid.' || md5(id || '/' || no) END,
                CASE WHEN state IN (5, 7) THEN code END, CASE WHEN state > 4 THEN 'as the vendor says' END,
                CASE WHEN state <= 4 THEN at END, CASE WHEN state BETWEEN 2 AND 4 THEN at END,
                CASE WHEN state BETWEEN 3 AND 4 THEN at END, CASE WHEN state = 4 THEN at END,
                CASE WHEN state = 5 THEN at END
         FROM (SELECT t.id, no, t.started_at + no * interval '0.02 s' AS at,
                      ($3::smallint[])[no % 100 + 1] AS state, ($4::text[])[no % 100 + 1] AS code
               FROM tasks t CROSS JOIN generate_series(1, t.cursor) no
               WHERE t.id >= $1 AND t.id < $2) AS placed",
    )
    .bind(since)
    .bind(upto)
    .bind(places.iter().map(|(state, _)| *state as i16).collect::<Vec<_>>())
    .bind(places.iter().map(|(_, code)| *code).collect::<Vec<_>>())
    .execute(&mut *conn)
    .await
    .expect("messages are filled");
    sqlx::query(
        "INSERT INTO troubles (task_id, state, code, no)
         SELECT task_id, state, coalesce(code, ''), no FROM messages
         WHERE task_id >= $1 AND task_id < $2 AND state >= 5",
    )
    .bind(since)
    .bind(upto)
    .execute(conn)
    .await
    .expect("troubles are filled");
}

/// The counts that the moves of `cursor` recipients have left.
async fn counts(conn: &mut PgConnection, since: i64, upto: i64, cursor: i32) {
    let mut deltas = Deltas::default();
    for no in 1..=cursor {
        let (state, code) = place(no);
        deltas.moved(0, Place::Queued, Place::Message(state, code));
    }
    let mut sums: BTreeMap<(i16, String), i32> = BTreeMap::new();
    for (_, kind, code, n) in deltas.iter() {
        *sums.entry((kind as i16, code.to_owned())).or_default() += n;
    }
    sqlx::query(
        "INSERT INTO task_counts (task_id, kind, code, n)
         SELECT t.id, c.kind, c.code, c.n
         FROM tasks t CROSS JOIN UNNEST($3::smallint[], $4::text[], $5::integer[]) AS c (kind, code, n)
         WHERE t.id >= $1 AND t.id < $2",
    )
    .bind(since)
    .bind(upto)
    .bind(sums.keys().map(|(kind, _)| *kind).collect::<Vec<_>>())
    .bind(sums.keys().map(|(_, code)| code.as_str()).collect::<Vec<_>>())
    .bind(sums.values().copied().collect::<Vec<_>>())
    .execute(conn)
    .await
    .expect("counts are filled");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_was_filled_agrees_with_itself() {
        let test = crate::testing::database().await;
        let database = test.open();
        let filled = fill(&database, "main", 12, 250).await;
        assert_eq!(filled.messages, 7 * 250 + 5 * 125);
        let mut conn = database.general.acquire().await.unwrap();
        for task_id in filled.first_task..filled.first_task + filled.tasks {
            let audit = crate::audit::task(&mut conn, task_id).await.unwrap().unwrap();
            assert_eq!(audit.findings, Vec::<String>::new());
            assert_eq!(audit.counts.total, 250);
        }
    }
}

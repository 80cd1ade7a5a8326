//! Two shapes for the results of messages, on a real PostgreSQL with fsync on: which one shall filters by state read?
//!
//! `split`: messages without an index on the state, and a row in `troubles` only while something is wrong with one.
//! `wide`: messages with an index on (task, state, code). Each run takes the same messages from accepted to read, 2 in
//! 100 of them failing, 500 to a transaction as the applier does, the two shapes in turn; medians are printed.

use std::time::{Duration, Instant};

use sqlx::{Connection as _, PgConnection};
use store::testing;

const MESSAGES: i32 = 50_000;
const GROUP: i32 = 500;
const ROUNDS: usize = 5;

const COLUMNS: &str = "task_id bigint NOT NULL, no integer NOT NULL, state smallint NOT NULL,
    attempt smallint NOT NULL, request_id bigint NOT NULL, vendor_hash bigint, vendor_id text, code text,
    accepted_at timestamptz, sent_at timestamptz, delivered_at timestamptz, read_at timestamptz,
    failed_at timestamptz, PRIMARY KEY (task_id, no)";

struct Shape {
    name: &'static str,
    tables: &'static [&'static str],
    is_split: bool,
}

const SHAPES: [Shape; 2] = [
    Shape {
        name: "split",
        is_split: true,
        tables: &["CREATE TABLE troubles (task_id bigint, state smallint, code text, no integer,
                   PRIMARY KEY (task_id, state, code, no))"],
    },
    Shape {
        name: "wide",
        is_split: false,
        tables: &["CREATE INDEX messages_state ON messages (task_id, state, code)"],
    },
];

struct Figures {
    elapsed: Duration,
    wal_bytes: f64,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), sqlx::Error> {
    let cluster = testing::durable_cluster().await;
    let mut conn = PgConnection::connect_with(&cluster.cluster.connect_options()).await?;
    let mut figures: [Vec<Figures>; 2] = [Vec::new(), Vec::new()];
    for round in 0..=ROUNDS {
        for (shape, figures) in SHAPES.iter().zip(&mut figures) {
            let measured = life(&mut conn, shape).await?;
            // The first round warms the server up.
            if round > 0 {
                figures.push(measured);
            }
        }
    }
    println!(
        "{MESSAGES} messages from accepted to read, {GROUP} to a transaction, medians of {ROUNDS} rounds:"
    );
    let [split, wide] = figures.map(|figures| (median(&figures, |f| f.wal_bytes), median(&figures, rate)));
    for (shape, (wal, rate)) in SHAPES.iter().zip([split, wide]) {
        let name = shape.name;
        println!("  {name:<6} {wal:>7.0} B of WAL a message   {rate:>9.0} status changes a second");
    }
    println!("  split / wide: WAL {:.2}, speed {:.2}", split.0 / wide.0, split.1 / wide.1);
    conn.close().await?;
    cluster.stop().await;
    Ok(())
}

fn rate(figures: &Figures) -> f64 {
    f64::from(MESSAGES) * 4.0 / figures.elapsed.as_secs_f64()
}

fn median(figures: &[Figures], of: impl Fn(&Figures) -> f64) -> f64 {
    let mut values: Vec<f64> = figures.iter().map(of).collect();
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

async fn life(conn: &mut PgConnection, shape: &Shape) -> Result<Figures, sqlx::Error> {
    let fillfactor = if shape.is_split { 50 } else { 90 };
    run(conn, "DROP TABLE IF EXISTS messages; DROP TABLE IF EXISTS troubles").await?;
    run(conn, &format!("CREATE TABLE messages ({COLUMNS}) WITH (fillfactor = {fillfactor})")).await?;
    run(conn, "CREATE INDEX messages_vendor_hash ON messages (vendor_hash)").await?;
    for table in shape.tables {
        run(conn, table).await?;
    }
    run(conn, "CHECKPOINT").await?;
    let before: String =
        sqlx::query_scalar("SELECT pg_current_wal_lsn()::text").fetch_one(&mut *conn).await?;
    let began = Instant::now();
    for first in (1..=MESSAGES).step_by(GROUP as usize) {
        let last = first + GROUP - 1;
        let range = format!("FROM generate_series({first}, {last}) AS g (no)");
        run(
            conn,
            &format!(
                "INSERT INTO messages (task_id, no, state, attempt, request_id, vendor_hash, vendor_id, accepted_at)
                 SELECT 1, no, 1, 1, 1, hashint8extended(no, 7), 'wamid.HBgMOTE5OTcw' || md5(no::text), now() {range}"
            ),
        )
        .await?;
    }
    for (state, time) in [(2, "sent_at"), (3, "delivered_at"), (4, "read_at")] {
        for first in (1..=MESSAGES).step_by(GROUP as usize) {
            let last = first + GROUP - 1;
            status(conn, shape, state, time, first, last).await?;
        }
    }
    let elapsed = began.elapsed();
    let wal: f64 = sqlx::query_scalar("SELECT pg_wal_lsn_diff(pg_current_wal_lsn(), $1::pg_lsn)::float8")
        .bind(before)
        .fetch_one(conn)
        .await?;
    Ok(Figures { elapsed, wal_bytes: wal / f64::from(MESSAGES) })
}

/// One group of reports: 2 in 100 messages fail at the second one.
async fn status(
    conn: &mut PgConnection,
    shape: &Shape,
    state: i32,
    time: &str,
    first: i32,
    last: i32,
) -> Result<(), sqlx::Error> {
    run(conn, "BEGIN").await?;
    run(
        conn,
        &format!(
            "UPDATE messages SET state = {state}, {time} = now()
             WHERE task_id = 1 AND no BETWEEN {first} AND {last} AND no % 50 <> 0"
        ),
    )
    .await?;
    if state == 3 {
        run(
            conn,
            &format!(
                "UPDATE messages SET state = 5, code = '131026', failed_at = now()
                 WHERE task_id = 1 AND no BETWEEN {first} AND {last} AND no % 50 = 0"
            ),
        )
        .await?;
        if shape.is_split {
            run(
                conn,
                &format!(
                    "INSERT INTO troubles SELECT 1, 5, '131026', no
                     FROM generate_series({first}, {last}) AS g (no) WHERE no % 50 = 0"
                ),
            )
            .await?;
        }
    }
    run(conn, "COMMIT").await
}

async fn run(conn: &mut PgConnection, sql: &str) -> Result<(), sqlx::Error> {
    sqlx::raw_sql(sqlx::AssertSqlSafe(sql.to_owned())).execute(conn).await.map(drop)
}

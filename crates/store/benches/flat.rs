//! Whether tables stay as large as their rows need: their sizes and dead rows, each minute, while something else works.
//!
//! `CAMPAIGND_FLAT_DATABASE_URL` names the database of a daemon under load; `MINUTES` is 20 unless told. Without the URL
//! there is nothing to be watched, and it ends at once. Prints; fails nothing.
#![expect(clippy::expect_used, reason = "a benchmark that cannot go on should panic and say why")]

use std::time::Duration;

use store::{Database, testing};

/// Smaller ones are not shown.
const SHOWN_BYTES: i64 = 200_000;

fn main() {
    let Ok(url) = std::env::var("CAMPAIGND_FLAT_DATABASE_URL") else {
        println!("CAMPAIGND_FLAT_DATABASE_URL names the database to be watched");
        return;
    };
    let minutes = std::env::var("MINUTES").ok().and_then(|text| text.parse().ok()).unwrap_or(20);
    let database = url.parse().expect("a URL of PostgreSQL");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let database = Database::open(&database);
        for minute in 0..=minutes {
            let mut conn = database.general.acquire().await.expect("a connection");
            for size in testing::sizes(&mut conn).await.iter().filter(|size| size.bytes >= SHOWN_BYTES) {
                println!(
                    "minute {minute:2}  {:20} {:>9.1} MB  {:>10} rows  {:>8} dead  {:>4} vacuums  {:>6} bytes a row",
                    size.name,
                    megabytes(size.bytes),
                    size.live,
                    size.dead,
                    size.vacuums,
                    size.bytes / size.live.max(1)
                );
            }
            drop(conn);
            if minute < minutes {
                tokio::time::sleep(Duration::from_secs(60)).await;
            }
        }
        database.close().await;
    });
}

#[expect(clippy::cast_precision_loss, reason = "shown with one decimal")]
fn megabytes(bytes: i64) -> f64 {
    bytes as f64 / 1e6
}

//! The rows by name, each of which can be run alone.

mod callbacks;
mod import;
mod memory;
mod pacing;
mod pages;
mod peers;
mod sending;
mod start;

pub use sending::{Mode, Runs, accounts, runs};

use anyhow::{Result, bail};

use crate::{bench::Bench, report::Row};

/// The names, in the order of the table.
pub const NAMES: [&str; 17] = [
    "import",
    "single-0ms",
    "single-20ms",
    "batch-100",
    "callbacks-64",
    "callbacks-256",
    "callbacks-100-per-post",
    "wal-single",
    "wal-batch",
    "wal-life",
    "cpu-single",
    "cpu-batch",
    "start",
    "memory",
    "pacing",
    "pages",
    "peers",
];

/// Measures a row; some give several lines.
pub async fn measure(bench: &mut Bench, name: &str) -> Result<Vec<Row>> {
    use Mode::{Batch, Single, Slow};
    let row = match name {
        "import" => import::rate(bench, name).await?,
        "single-0ms" => return sending::rate(bench, name, Single, 0.6).await,
        "single-20ms" => return sending::rate(bench, name, Slow, 0.95).await,
        "batch-100" => return sending::rate(bench, name, Batch, 0.1).await,
        "callbacks-64" => return callbacks::single(bench, name, 64).await,
        "callbacks-256" => return callbacks::single(bench, name, 256).await,
        "callbacks-100-per-post" => callbacks::batch(bench, name).await?,
        "wal-single" => sending::wal(bench, name, Single).await?,
        "wal-batch" => sending::wal(bench, name, Batch).await?,
        "wal-life" => callbacks::wal_of_life(bench, name).await?,
        "cpu-single" => sending::cpu(bench, name, Single, 24.0).await?,
        "cpu-batch" => sending::cpu(bench, name, Batch, 8.0).await?,
        "start" => start::first_call(bench, name).await?,
        "memory" => return memory::peak(bench, name).await,
        "pacing" => return pacing::windows(bench, name).await,
        "pages" => return pages::latencies(bench, name).await,
        "peers" => return peers::ratios(bench, name).await,
        _ => bail!("there is no row `{name}`; the rows are {}", NAMES.join(", ")),
    };
    Ok(vec![row])
}

//! The most memory that the daemon ever has: a large campaign from its import to its end, in a daemon of its own.

use anyhow::Result;
use serde_json::json;

use crate::{
    bench::Bench,
    machine::peak_rss_bytes,
    process::NullVendor,
    report::Row,
    world::{Account, World},
};

/// Calls at once of each account: what an account has that says nothing.
const IN_FLIGHT: u64 = 16;

/// Growing campaigns, one after the other: the peak of each is the peak of all before it.
pub async fn peak(bench: &mut Bench, name: &str) -> Result<Vec<Row>> {
    const MOST_MB: f64 = 57.0;
    const MODES: [&str; 2] = ["batch", "single"];
    let (in_flight, sizes) = (bench.args.in_flight.unwrap_or(IN_FLIGHT), bench.sizes.memory);
    let vendor = NullVendor::start()?;
    let accounts = vec![
        Account::single("single", &vendor, 0, in_flight),
        Account::batch("batch", &vendor, 100, in_flight),
    ];
    let world = World::start_cold(vendor, accounts).await?;
    let megabytes = |pid| peak_rss_bytes(pid).map(|bytes| bytes as f64 / 1e6);
    let (mut rows, mut smallest) = (vec![], None);
    let mut notes = vec![format!("{:.1} MB after the start", megabytes(world.pid())?)];
    for recipients in sizes {
        let audience = world.import(*recipients).await?;
        notes.push(format!("{:.1} MB after the import of {recipients}", megabytes(world.pid())?));
        for mode in MODES {
            // One per call takes a minute for each million.
            if mode == "single" && *recipients > 100_000 && !bench.args.is_full {
                continue;
            }
            world.rest().await;
            world.vendor.reset(false)?;
            let task = world.launch(world.account(mode)?, audience, json!({})).await?;
            world.accepted(task, *recipients).await?;
            notes.push(format!("{:.1} MB after sending {recipients}, {mode}", megabytes(world.pid())?));
        }
        let peak = megabytes(world.pid())?;
        let mut row = Row::at_most(&format!("{name} {recipients}"), peak, "MB", MOST_MB)
            .note(std::mem::take(&mut notes).join("; "))
            .numbers(json!({"peak_mb": peak, "recipients": recipients}));
        if let Some(smallest) = smallest {
            row.reference = format!("{smallest:.1} MB, {} recipients", sizes[0]);
            row.ratio = Some(peak / smallest);
        }
        smallest = smallest.or(Some(peak));
        rows.push(row);
    }
    Ok(rows)
}

//! From "send it" to the first call at the vendor: on a large audience and on a small one in turn.

use anyhow::{Result, ensure};
use serde_json::json;

use crate::{
    bench::Bench,
    machine::now_us,
    report::{Row, median},
    world::World,
};

/// How much longer the large one takes.
pub async fn first_call(bench: &mut Bench, name: &str) -> Result<Row> {
    const MOST_MS: f64 = 100.0;
    const SMALL: u64 = 1_000;
    let (large, rounds) = (bench.sizes.import, 2 * bench.sizes.rounds + 1);
    let (small_audience, large_audience) = (bench.audience(SMALL).await?, bench.audience(large).await?);
    let world = bench.world().await?;
    let (mut small, mut larger) = (Vec::new(), Vec::new());
    for _ in 0..rounds {
        small.push(start(world, small_audience).await?);
        larger.push(start(world, large_audience).await?);
    }
    let (of_small, of_large) = (median(&small), median(&larger));
    let mut row = Row::at_most(name, of_large - of_small, "ms", MOST_MS);
    row.reference = format!("{of_small:.1} ms on 1,000");
    Ok(row
        .note(format!(
            "{of_large:.1} ms on {large} rows, medians of {rounds}; all {larger:.0?}, small {small:.0?}"
        ))
        .numbers(json!({"large_ms": larger, "small_ms": small})))
}

async fn start(world: &World, audience: i64) -> Result<f64> {
    world.rest().await;
    world.vendor.reset(false)?;
    let begun = now_us();
    let task = world.launch(world.account("single")?, audience, json!({})).await?;
    let counted = loop {
        let counted = world.vendor.counted()?;
        if counted.requests > 0 {
            break counted;
        }
        ensure!(now_us() - begun < 60_000_000, "no call within a minute");
        tokio::time::sleep(std::time::Duration::from_millis(1)).await;
    };
    // A small one may have ended by itself: then it cannot be cancelled, and need not be.
    let _ = world.api.cancel_task(task).await;
    world.wait(task, |task| task.counts.sending == 0 && task.counts.queued == 0).await?;
    Ok((counted.first_us - begun) as f64 / 1e3)
}

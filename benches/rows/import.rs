//! A CSV to a ready audience, against psql's `\copy` of the same file.

use anyhow::{Result, ensure};
use serde_json::json;

use crate::{
    bench::Bench,
    machine::now_us,
    people,
    report::{Row, median, short},
    world::World,
};

const TABLE: &str = "DROP TABLE IF EXISTS bench_copy; CREATE TABLE bench_copy
    (phone bigint PRIMARY KEY, name text, city text, order_id text, amount text)";

/// The two in turn.
pub async fn rate(bench: &mut Bench, name: &str) -> Result<Row> {
    const LEAST: f64 = 0.5;
    let (rows, rounds) = (bench.sizes.import, bench.sizes.rounds);
    let world = bench.world().await?;
    let path = world.file(&format!("{rows}.csv"));
    if !path.exists() {
        people::write_csv(&path, 0, rows)?;
    }
    let (mut ours, mut copies, mut cpu) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..rounds {
        let (begun, before) = (now_us(), world.cpu_us()?);
        let audience = world.import_file(&path).await?;
        ours.push((now_us() - begun) as f64);
        let after = world.cpu_us()?;
        cpu.push(((after.0 - before.0) / rows as f64, (after.1 - before.1) / rows as f64));
        ensure!(audience.rows.accepted == rows as i64, "imported {:?}", audience.rows);
        world.api.delete_audience(audience.id).await?;
        copies.push(copy(world, &path)?);
    }
    world.psql.ask("DROP TABLE bench_copy")?;
    let per_second = |elapsed: &[f64]| rows as f64 / median(elapsed) * 1e6;
    let (ours, reference) = (per_second(&ours), per_second(&copies));
    let daemon = median(&cpu.iter().map(|cpu| cpu.0).collect::<Vec<_>>());
    let database = median(&cpu.iter().map(|cpu| cpu.1).collect::<Vec<_>>());
    let rate = |figure: f64| format!("{} rows/s", short(figure));
    Ok(Row::ratio(name, rate(ours), rate(reference), ours / reference, LEAST)
        .note(format!("CPU a row: campaignd {daemon:.2} us, PostgreSQL {database:.2} us"))
        .numbers(json!({
            "rows_per_second": ours, "copy_rows_per_second": reference,
            "daemon_us": daemon, "database_us": database,
        })))
}

fn copy(world: &World, path: &std::path::Path) -> Result<f64> {
    world.psql.ask(TABLE)?;
    let begun = now_us();
    let command = format!("\\copy bench_copy FROM '{}' WITH (FORMAT csv, HEADER)", path.display());
    let output = world.psql.command().args(["-c", &command]).output()?;
    ensure!(output.status.success(), "\\copy: {}", String::from_utf8_lossy(&output.stderr));
    Ok((now_us() - begun) as f64)
}

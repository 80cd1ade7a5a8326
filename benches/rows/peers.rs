//! What somebody would pick instead: a job queue over the same PostgreSQL, tuned, each job making the same HTTP call.
//!
//! Only with `--peers`, because it downloads one into a temporary folder. Published figures would be no ratio of one run.

use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::{
    bench::Bench,
    report::{Row, median, short},
    world::World,
};

use super::sending::{self, Mode};

const SCRIPT: &str = include_str!("../peers/graphile_worker.mjs");
const DATABASE: &str = "bench_peer";

#[derive(Deserialize)]
struct Ran {
    elapsed_us: f64,
}

/// Both delays.
pub async fn ratios(bench: &mut Bench, name: &str) -> Result<Vec<Row>> {
    let goals = [(Mode::Single, "0ms", 3.0), (Mode::Slow, "20ms", 1.6)];
    if !bench.args.peers {
        let not_run = |(_, delay, least): &(Mode, &str, f64)| Row {
            name: format!("{name} {delay}"),
            figure: "not run: --peers".to_owned(),
            goal: format!(">= {least:.2}"),
            ..Row::default()
        };
        return Ok(goals.iter().map(not_run).collect());
    }
    let (count, rounds) = (bench.sizes.peers, bench.sizes.rounds.min(2));
    let audience = bench.audience(count).await?;
    let world = bench.world().await?;
    install(world)?;
    let mut rows = Vec::new();
    for (mode, delay, least) in goals {
        let account = world.account(mode.account())?;
        let (mut ours, mut theirs) = (Vec::new(), Vec::new());
        for _ in 0..rounds {
            ours.push(sending::send(world, account, audience, count).await?.elapsed_us);
            let sample = world.vendor.counted()?.sample;
            theirs.push(ran(world, &sample, count, account.in_flight())?.elapsed_us);
        }
        let per_second = |elapsed: &[f64]| count as f64 / median(elapsed) * 1e6;
        let (ours, theirs) = (per_second(&ours), per_second(&theirs));
        let text = |rate: f64| format!("{}/s", short(rate));
        rows.push(
            Row::ratio(&format!("{name} {delay}"), text(ours), text(theirs), ours / theirs, least)
                .note(format!(
                    "graphile-worker with {} jobs at once; {count} messages a run",
                    account.in_flight()
                ))
                .numbers(json!({"per_second": ours, "graphile_worker_per_second": theirs})),
        );
    }
    Ok(rows)
}

fn install(world: &World) -> Result<()> {
    let folder = world.file("peers");
    std::fs::create_dir(&folder)?;
    std::fs::write(folder.join("package.json"), r#"{"private": true, "type": "module"}"#)?;
    std::fs::write(folder.join("graphile_worker.mjs"), SCRIPT)?;
    let mut npm = Command::new("npm");
    npm.args(["install", "--silent", "--no-audit", "--no-fund", "graphile-worker@0.17", "pg@8", "undici@7"]);
    let output = npm.current_dir(&folder).output().context("npm is missing")?;
    ensure!(output.status.success(), "npm: {}", String::from_utf8_lossy(&output.stderr));
    Ok(())
}

fn ran(world: &World, sample: &str, messages: u64, in_flight: u64) -> Result<Ran> {
    world.psql.ask(&format!("DROP DATABASE IF EXISTS {DATABASE} WITH (FORCE)"))?;
    world.psql.ask(&format!("CREATE DATABASE {DATABASE}"))?;
    let folder = world.file("peers");
    std::fs::write(folder.join("how.json"), how(world, sample, messages, in_flight)?.to_string())?;
    let mut node = Command::new("node");
    let output = node.args(["graphile_worker.mjs", "how.json"]).current_dir(&folder).output()?;
    ensure!(output.status.success(), "graphile-worker: {}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout)?;
    let last = text.lines().rfind(|line| line.starts_with('{')).context("graphile-worker printed nothing")?;
    Ok(serde_json::from_str(last)?)
}

/// The same call as ours, taken from one of ours.
fn how(world: &World, sample: &str, messages: u64, in_flight: u64) -> Result<Value> {
    let (head, body) = sample.split_once("\r\n\r\n").context("a sample of a call")?;
    let mut lines = head.lines();
    let path = lines.next().and_then(|line| line.split(' ').nth(1)).context("a path")?;
    let left_out = ["host", "content-length", "connection"];
    let headers: serde_json::Map<String, Value> = lines
        .filter_map(|line| line.split_once(": "))
        .filter(|(name, _)| !left_out.contains(&name.to_lowercase().as_str()))
        .map(|(name, value)| (name.to_owned(), Value::from(value)))
        .collect();
    Ok(json!({
        "socket_dir": world.psql.socket_dir, "database": DATABASE, "messages": messages, "in_flight": in_flight,
        "origin": world.vendor.0.url(), "path": path, "headers": headers, "body": body,
    }))
}

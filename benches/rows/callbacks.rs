//! Callbacks: statuses per second and the time until 200, against a trivial server that commits the same row; and what a
//! message's whole life costs in write-ahead log.

use std::net::SocketAddr;

use anyhow::{Context as _, Result, ensure};
use serde_json::json;

use crate::{
    bench::Bench,
    callback_load::{Posted, Posts},
    group_commit::Database,
    machine::now_us,
    process,
    report::{Row, median, short},
    world::World,
};

const STATUSES: [&str; 3] = ["sent", "delivered", "read"];

/// Messages that were accepted, about which there will be statuses.
struct Accepted {
    task: i64,
    first: u64,
    count: u64,
}

async fn accept(bench: &mut Bench, account: &str, count: u64, log: bool) -> Result<Accepted> {
    let audience = bench.audience(count).await?;
    let world = bench.world().await?;
    world.vendor.reset(log)?;
    let first = world.vendor.counted()?.last_number + 1;
    world.rest().await;
    let task = world.launch(world.account(account)?, audience, json!({})).await?;
    world.accepted(task, count).await?;
    Ok(Accepted { task, first, count })
}

fn posts(world: &World, account: &str, of: &Accepted, status: &str, connections: usize) -> Result<Posts> {
    Ok(Posts {
        address: world.url.trim_start_matches("http://").parse::<SocketAddr>()?,
        path: format!("/webhooks/{account}/token"),
        connections,
        statuses: of.count,
        per_post: 1,
        first: of.first,
        status: status.to_owned(),
        echoes: None,
    })
}

/// Waits until a status has been applied to all, and says how long that took.
async fn applied(world: &World, of: &Accepted, status: &str) -> Result<f64> {
    let begun = now_us();
    let all = of.count as i64;
    world
        .wait(of.task, |task| match status {
            "sent" => task.counts.sent >= all,
            "delivered" => task.counts.delivered >= all,
            _ => task.counts.read >= all,
        })
        .await?;
    Ok((now_us() - begun) as f64 / 1e6)
}

/// The medians of some runs.
struct Figures {
    per_second: f64,
    p50_us: f64,
    p99_us: f64,
}

fn figures(statuses: u64, runs: &[Posted]) -> Figures {
    let of = |what: fn(&Posted) -> f64| median(&runs.iter().map(what).collect::<Vec<_>>());
    Figures {
        per_second: statuses as f64 / of(|run| run.elapsed_us) * 1e6,
        p50_us: of(|run| run.p50_us),
        p99_us: of(|run| run.p99_us),
    }
}

/// One status per post, over so many connections.
pub async fn single(bench: &mut Bench, name: &str, connections: usize) -> Result<Vec<Row>> {
    const LEAST: f64 = 0.8;
    const MOST_P99: f64 = 1.5;
    let messages = accept(bench, "single", bench.sizes.callbacks, false).await?;
    let world = bench.world().await?;
    let database = Database { socket_dir: world.psql.socket_dir.clone() };
    let trivial = process::Server::start("group-commit", &database)?;
    let (mut ours, mut reference, mut behind) = (Vec::new(), Vec::new(), Vec::new());
    for status in STATUSES {
        let posts = posts(world, "single", &messages, status, connections)?;
        ours.push(process::played("callbacks", &posts)?);
        behind.push(applied(world, &messages, status).await?);
        reference.push(process::played("callbacks", &Posts { address: trivial.address, ..posts })?);
    }
    let (ours, reference) = (figures(messages.count, &ours), figures(messages.count, &reference));
    let rate = |figures: &Figures| format!("{}/s", short(figures.per_second));
    let ratio = ours.per_second / reference.per_second;
    bench.callbacks_per_second = Some(ours.per_second);
    let latency = |figures: &Figures| format!("{:.2} ms", figures.p99_us / 1e3);
    let p99 = ours.p99_us / reference.p99_us;
    Ok(vec![
        Row::ratio(name, rate(&ours), rate(&reference), ratio, LEAST)
            .note(format!(
                "median answer {:.2} ms, reference {:.2} ms; all applied {:.1} s after the last answer",
                ours.p50_us / 1e3,
                reference.p50_us / 1e3,
                median(&behind),
            ))
            .numbers(json!({
                "per_second": ours.per_second, "reference_per_second": reference.per_second,
                "p50_us": ours.p50_us, "p99_us": ours.p99_us, "behind_s": behind,
            })),
        Row {
            name: format!("{name} p99"),
            figure: latency(&ours),
            reference: latency(&reference),
            ratio: Some(p99),
            goal: format!("<= {MOST_P99}"),
            is_met: Some(p99 <= MOST_P99),
            numbers: json!({"p99_us": ours.p99_us, "reference_p99_us": reference.p99_us}),
            ..Row::default()
        },
    ])
}

/// 100 statuses per post, against one per post.
pub async fn batch(bench: &mut Bench, name: &str) -> Result<Row> {
    const CONNECTIONS: usize = 64;
    const PER_POST: u64 = 100;
    const LEAST: f64 = 3.0;
    if bench.callbacks_per_second.is_none() {
        single(bench, "reference", CONNECTIONS).await?;
    }
    let reference = bench.callbacks_per_second.context("just measured")?;
    let messages = accept(bench, "batch", bench.sizes.batch_callbacks, true).await?;
    let world = bench.world().await?;
    let file = world.file("echoes.txt");
    std::fs::write(&file, world.vendor.0.get("/echoes")?)?;
    let (mut ours, mut behind) = (Vec::new(), Vec::new());
    for status in STATUSES {
        let posts = posts(world, "batch", &messages, status, CONNECTIONS)?;
        let posts = Posts { per_post: PER_POST, echoes: Some(file.clone()), ..posts };
        ours.push(process::played("callbacks", &posts)?);
        behind.push(applied(world, &messages, status).await?);
    }
    let ours = figures(messages.count, &ours);
    let ratio = ours.per_second / reference;
    Ok(Row::ratio(
        name,
        format!("{}/s", short(ours.per_second)),
        format!("{}/s", short(reference)),
        ratio,
        LEAST,
    )
    .note(format!(
        "p99 of a post {:.1} ms; all applied {:.1} s after the last answer",
        ours.p99_us / 1e3,
        median(&behind)
    ))
    .numbers(json!({"per_second": ours.per_second, "p99_us": ours.p99_us, "behind_s": behind})))
}

/// The write-ahead log of a message's whole life, one recipient per call and one status per post.
pub async fn wal_of_life(bench: &mut Bench, name: &str) -> Result<Row> {
    const MOST: f64 = 1400.0;
    const CONNECTIONS: usize = 64;
    let count = bench.sizes.single;
    let world = bench.world().await?;
    let idle = super::sending::idle_wal_per_us(world).await?;
    let mut parts = Vec::new();
    let mut last = (world.psql.wal_bytes()?, now_us());
    let mut part = |world: &World, what: &str| -> Result<()> {
        let now = (world.psql.wal_bytes()?, now_us());
        let bytes = now.0 - last.0 - idle * (now.1 - last.1) as f64;
        parts.push((what.to_owned(), bytes.max(0.0) / count as f64));
        last = now;
        Ok(())
    };
    let audience = world.import(count).await?;
    part(world, "import")?;
    world.vendor.reset(false)?;
    let first = world.vendor.counted()?.last_number + 1;
    world.rest().await;
    let task = world.launch(world.account("single")?, audience, json!({})).await?;
    world.accepted(task, count).await?;
    part(world, "accepted")?;
    let messages = Accepted { task, first, count };
    for status in STATUSES {
        let posts = posts(world, "single", &messages, status, CONNECTIONS)?;
        process::played::<Posted>("callbacks", &posts)?;
        applied(world, &messages, status).await?;
        part(world, status)?;
    }
    let total: f64 = parts.iter().map(|(_, bytes)| bytes).sum();
    ensure!(total > 0.0, "the log did not grow");
    let listed: Vec<String> = parts.iter().map(|(what, bytes)| format!("{what} {bytes:.0}")).collect();
    Ok(Row::at_most(name, total, "B", MOST).note(listed.join(", ")).numbers(json!(parts)))
}

//! Sending: rates against the same calls without a database, and what a message costs from queued to accepted.

use anyhow::{Context as _, Result};
use serde_json::json;

use crate::{
    bench::Bench,
    machine::{cpu_us, now_us},
    process,
    reference::{BareCalls, Calls, Taken},
    report::{Row, median, short},
    world::{Account, World},
};

/// How a message travels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// One recipient per call, a vendor that answers at once.
    Single,
    /// One recipient per call, a vendor that takes 20 ms.
    Slow,
    /// 100 recipients per call.
    Batch,
}

impl Mode {
    /// The account that sends so.
    pub fn account(self) -> &'static str {
        match self {
            Self::Single => "single",
            Self::Slow => "slow",
            Self::Batch => "batch",
        }
    }
}

/// The accounts of these rows.
pub fn accounts(vendor: &process::NullVendor, in_flight: Option<u64>) -> Vec<Account> {
    vec![
        Account::single("single", vendor, 0, in_flight.unwrap_or(128)),
        // What the reference of the goals had in flight: 20 ms allow 50 calls a second each.
        Account::single("slow", vendor, 20, in_flight.unwrap_or(512)),
        Account::batch("batch", vendor, 100, in_flight.unwrap_or(32)),
    ]
}

/// What one campaign took, per message but for the times.
#[derive(Clone, Copy, Debug, Default)]
pub struct Sent {
    /// From the vendor's first call to the last message recorded.
    pub elapsed_us: f64,
    /// Bytes of write-ahead log, what an idle daemon writes left out.
    pub wal_bytes: f64,
    /// CPU of the daemon.
    pub daemon_us: f64,
    /// CPU of the database.
    pub database_us: f64,
    /// CPU of the vendor's stand-in.
    pub vendor_us: f64,
}

/// Sends one campaign and measures all of it.
pub async fn send(world: &World, account: &Account, audience: i64, count: u64) -> Result<Sent> {
    world.rest().await;
    let idle_wal = idle_wal_per_us(world).await?;
    world.vendor.reset(false)?;
    let vendor_before = cpu_us(world.vendor.0.pid())?;
    let (daemon_before, database_before) = world.cpu_us()?;
    let (wal_before, begun) = (world.psql.wal_bytes()?, now_us());
    let task = world.launch(account, audience, json!({})).await?;
    let ended = world.accepted(task, count).await?;
    let (wal_after, whole_us) = (world.psql.wal_bytes()?, (now_us() - begun) as f64);
    let (daemon_after, database_after) = world.cpu_us()?;
    let counted = world.vendor.counted()?;
    let per_message = 1.0 / count as f64;
    Ok(Sent {
        elapsed_us: ended.saturating_sub(counted.first_us) as f64,
        wal_bytes: (wal_after - wal_before - idle_wal * whole_us).max(0.0) * per_message,
        daemon_us: (daemon_after - daemon_before) * per_message,
        database_us: (database_after - database_before) * per_message,
        vendor_us: (cpu_us(world.vendor.0.pid())? - vendor_before) * per_message,
    })
}

/// What an idle daemon writes to the log, in bytes per microsecond.
pub async fn idle_wal_per_us(world: &World) -> Result<f64> {
    const LOOK: std::time::Duration = std::time::Duration::from_millis(1_000);
    let (before, begun) = (world.psql.wal_bytes()?, now_us());
    tokio::time::sleep(LOOK).await;
    Ok((world.psql.wal_bytes()? - before) / (now_us() - begun) as f64)
}

/// All runs of a mode.
#[derive(Clone, Debug, Default)]
pub struct Runs {
    /// How many messages each had.
    pub count: u64,
    /// Ours.
    pub ours: Vec<Sent>,
    /// The same calls by the project's own client.
    pub client: Vec<Taken>,
    /// The same calls by the cheapest client.
    pub bare: Vec<Taken>,
}

/// Ours and both references in turn.
pub async fn runs(bench: &mut Bench, mode: Mode, with_reference: bool) -> Result<Runs> {
    let count = match mode {
        Mode::Single | Mode::Slow => bench.sizes.single,
        Mode::Batch => bench.sizes.batch,
    };
    let rounds = bench.sizes.rounds;
    let audience = bench.audience(count).await?;
    let world = bench.world().await?;
    let account = world.account(mode.account())?;
    let mut runs = Runs { count, ..Runs::default() };
    for _ in 0..rounds {
        runs.ours.push(send(world, account, audience, count).await?);
        if with_reference {
            let head = head_of(&world.vendor.counted()?.sample);
            let calls = calls(world, account, count);
            runs.client.push(process::played("vendors-client", &calls)?);
            let bare = BareCalls { calls, address: world.vendor.0.address, head };
            runs.bare.push(process::played("bare-client", &bare)?);
        }
    }
    Ok(runs)
}

fn calls(world: &World, account: &Account, messages: u64) -> Calls {
    let callback_url = Some(format!("{}/webhooks/{}/token", world.url, account.name));
    let (batch, in_flight) = (account.batch_size(), account.in_flight());
    Calls { account: account.keys.clone(), callback_url, messages, batch, in_flight }
}

fn head_of(sample: &str) -> String {
    sample.split_once("\r\n\r\n").map_or_else(String::new, |(head, _)| head.to_owned())
}

fn of(numbers: &[Sent], what: impl Fn(&Sent) -> f64) -> f64 {
    median(&numbers.iter().map(what).collect::<Vec<_>>())
}

/// The rate of a mode.
pub async fn rate(bench: &mut Bench, name: &str, mode: Mode, least: f64) -> Result<Vec<Row>> {
    let runs = bench.runs(mode, true).await?;
    let per_second = |elapsed_us: f64| runs.count as f64 / elapsed_us * 1e6;
    let taken = |all: &[Taken], what: fn(&Taken) -> f64| median(&all.iter().map(what).collect::<Vec<_>>());
    let ours = per_second(of(&runs.ours, |sent| sent.elapsed_us));
    let client = per_second(taken(&runs.client, |taken| taken.elapsed_us));
    let bare = per_second(taken(&runs.bare, |taken| taken.elapsed_us));
    let per_message = 1.0 / runs.count as f64;
    let all: Vec<String> =
        runs.ours.iter().map(|sent| format!("{:.1} k", per_second(sent.elapsed_us) / 1e3)).collect();
    let client_cpu = taken(&runs.client, |taken| taken.cpu_us) * per_message;
    let bare_cpu = taken(&runs.bare, |taken| taken.cpu_us) * per_message;
    let vendor_cpu = of(&runs.ours, |sent| sent.vendor_us);
    let text = |rate: f64| format!("{}/s", short(rate));
    let strict = format!("{name} to the bare client");
    Ok(vec![
        Row::ratio(name, text(ours), text(client), ours / client, least)
            .note(format!("{} messages a run, ours {}/s", runs.count, all.join(", ")))
            .note(format!(
                "CPU a message: reference client {client_cpu:.1} us, null vendor {vendor_cpu:.1} us"
            ))
            .numbers(json!({
                "per_second": ours, "client_per_second": client, "client_cpu_us": client_cpu,
                "vendor_cpu_us": vendor_cpu, "messages": runs.count,
            })),
        Row::ratio(&strict, text(ours), text(bare), ours / bare, least)
            .note(format!("CPU a message: bare client {bare_cpu:.1} us"))
            .numbers(json!({"per_second": ours, "bare_per_second": bare, "bare_cpu_us": bare_cpu})),
    ])
}

/// The write-ahead log of a message, queued to accepted.
pub async fn wal(bench: &mut Bench, name: &str, mode: Mode) -> Result<Row> {
    const MOST: f64 = 400.0;
    let runs = bench.runs(mode, false).await?;
    let bytes = of(&runs.ours, |sent| sent.wal_bytes);
    let all: Vec<f64> = runs.ours.iter().map(|sent| sent.wal_bytes.round()).collect();
    Ok(Row::at_most(name, bytes, "B", MOST)
        .note(format!("each run: {all:?}"))
        .numbers(json!({"bytes": bytes})))
}

/// The CPU of a message, queued to accepted, of the daemon and its database.
pub async fn cpu(bench: &mut Bench, name: &str, mode: Mode, most: f64) -> Result<Row> {
    let runs = bench.runs(mode, false).await?;
    let daemon = of(&runs.ours, |sent| sent.daemon_us);
    let database = of(&runs.ours, |sent| sent.database_us);
    let first = runs.ours.first().context("a run")?;
    Ok(Row::at_most(name, of(&runs.ours, |sent| sent.daemon_us + sent.database_us), "us", most)
        .note(format!(
            "campaignd {daemon:.1} us, PostgreSQL {database:.1} us; the null vendor beside them {:.1} us",
            first.vendor_us
        ))
        .numbers(json!({"daemon_us": daemon, "database_us": database})))
}

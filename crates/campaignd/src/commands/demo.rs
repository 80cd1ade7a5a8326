//! `demo`: all of it at once, without any vendor: a private PostgreSQL, stand-ins, the daemon, a campaign per vendor.
//!
//! Everything lives in a fresh folder of the system's temporary directory and on free ports of 127.0.0.1, and is gone
//! afterwards, also when it is interrupted.

mod campaigns;
mod recipients;
mod summary;
mod world;

use std::path::PathBuf;

use clap::Args;
use tokio_util::sync::CancellationToken;

use self::world::World;
use super::serve::stop_on_signal;
use crate::context::Outcome;

/// Arguments of `demo`.
#[derive(Debug, Args)]
pub struct DemoArgs {
    /// Send to the numbers of this CSV file instead of made-up ones
    #[arg(long, value_name = "FILE")]
    csv: Option<PathBuf>,
    /// How many made-up recipients each vendor gets
    #[arg(long, default_value_t = 10_000, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    recipients: u32,
    /// Messages a second of each sender
    #[arg(long, value_name = "RATE", default_value_t = 1_000)]
    messages_per_second: u32,
    /// Go on running when all is done, to look around; ends with Ctrl-C
    #[arg(long)]
    stay: bool,
}

pub async fn run(args: &DemoArgs) -> anyhow::Result<Outcome> {
    let stop = stop_on_signal()?;
    println!("starting a private PostgreSQL, stand-ins for three vendors and campaignd …");
    let world = World::start(args.messages_per_second, &stop).await?;
    let shown = tokio::select! {
        shown = show(&world, args, &stop) => shown,
        () = stop.cancelled() => Ok(Outcome::Failed),
    };
    if stop.is_cancelled() && !args.stay {
        println!("interrupted: cleaning up");
    }
    world.end().await?;
    shown
}

async fn show(world: &World, args: &DemoArgs, stop: &CancellationToken) -> anyhow::Result<Outcome> {
    println!("campaignd answers at {}", world.client.base());
    let runs = campaigns::launch(world, args.csv.as_deref(), args.recipients).await?;
    let tasks = campaigns::follow(world, &runs).await?;
    let outcome = summary::print(world, &runs, &tasks).await?;
    if args.stay {
        println!();
        println!("it goes on running; in another terminal:");
        println!("  export CAMPAIGND_URL={} CAMPAIGND_TOKEN={}", world.client.base(), world.token());
        println!("  campaignd task list");
        println!("Ctrl-C ends it and removes everything");
        stop.cancelled().await;
    }
    Ok(outcome)
}

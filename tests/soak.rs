//! `make soak`: campaigns through misbehaving vendors while daemons are killed and the database restarts, for as long as one
//! likes; then a table of where everybody is. It fails when anybody was sent to twice or lost, or the audit disagrees.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test that cannot go on should panic and say why"
)]

#[expect(dead_code, unused_imports, reason = "most of it is for the promises")]
mod harness;

use std::{process::ExitCode, time::Duration};

use clap::Parser;

use harness::soak::{self, Plan};

#[derive(Debug, Parser)]
#[command(
    name = "make soak ARGS='…' --",
    about = "Campaigns, faults and kills, and where everybody is in the end"
)]
struct Arguments {
    /// For how long campaigns are launched
    #[arg(long, default_value_t = 2.0)]
    minutes: f64,
    /// Daemons that are killed; one more lives on, for its memory
    #[arg(long, default_value_t = 5)]
    daemons: usize,
    /// Ends early when so many recipients have been sent to, in all
    #[arg(long, default_value_t = 4_000_000)]
    recipients: usize,
    /// Recipients of one campaign, at the most
    #[arg(long, default_value_t = 800)]
    campaign: usize,
    /// A daemon is killed so many milliseconds after its start, at the most
    #[arg(long, default_value_t = 6_000)]
    alive_ms: u64,
    /// Seconds between two restarts of the database; 0: none
    #[arg(long, default_value_t = 33)]
    database_restarts: u64,
    /// Another seed is another run
    #[arg(long)]
    seed: Option<u64>,
}

#[tokio::main]
async fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let restarts = Duration::from_secs(arguments.database_restarts);
    let plan = Plan {
        lasting: Duration::from_secs_f64(arguments.minutes * 60.0),
        recipients: arguments.recipients,
        daemons: arguments.daemons,
        has_steady_one: true,
        of_a_campaign: arguments.campaign,
        alive_ms: 50..arguments.alive_ms,
        database_restarts: (!restarts.is_zero()).then_some(restarts),
        seed: arguments.seed.unwrap_or_else(|| u64::from(std::process::id())),
        is_told: true,
    };
    println!("{plan:?}");
    let report = soak::run(plan).await;
    println!("\n{report}");
    if report.is_clean() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

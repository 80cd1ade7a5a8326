//! `demo`: all of it at once, without any vendor.

use std::path::PathBuf;

use clap::Args;

use crate::context::Outcome;

/// Arguments of `demo`.
#[derive(Debug, Args)]
pub struct DemoArgs {
    /// Send to the numbers of this CSV file instead of made-up ones
    #[arg(long, value_name = "FILE")]
    csv: Option<PathBuf>,
    /// How many made-up recipients each vendor gets
    #[arg(long, default_value_t = 10_000)]
    recipients: u32,
}

#[expect(clippy::unused_async, reason = "it will serve")]
pub async fn run(args: &DemoArgs) -> anyhow::Result<Outcome> {
    let _ = (&args.csv, args.recipients);
    anyhow::bail!("the demo is not part of this build yet")
}

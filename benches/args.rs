//! The command line of the benchmark.

use std::path::PathBuf;

use clap::Parser;

/// Every row of the project's goals, as a ratio to a reference taken in the same run.
#[derive(Debug, Parser)]
#[command(name = "goals", bin_name = "make bench ARGS=…", disable_version_flag = true)]
pub struct Args {
    /// Rows to measure; none: all. `--list` names them.
    pub rows: Vec<String>,
    /// Names the rows and measures nothing.
    #[arg(long)]
    pub list: bool,
    /// Writes the figures here too, for programs.
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,
    /// `full` takes more recipients and more rounds: an hour instead of minutes.
    #[arg(long, default_value = "small", value_parser = ["small", "full"])]
    pub scale: String,
    /// Rounds of each comparison.
    #[arg(long)]
    pub rounds: Option<usize>,
    /// Messages of a run with one recipient per call.
    #[arg(long)]
    pub messages: Option<u64>,
    /// Calls at once, of every account.
    #[arg(long)]
    pub in_flight: Option<u64>,
    /// Also measures other job queues; downloads them.
    #[arg(long)]
    pub peers: bool,
    /// Cargo says so to every benchmark; it means nothing here.
    #[arg(long, hide = true)]
    pub bench: bool,
    /// Set from `scale`.
    #[arg(skip)]
    pub is_full: bool,
}

impl Args {
    /// Reads the command line; ends the process where it is wrong.
    pub fn read() -> Self {
        let args = Self::parse();
        Self { is_full: args.scale == "full", ..args }
    }
}

//! campaignd: the daemon and its command line.
//!
//! Here stand only the start and the end of the process: arguments, log, runtime, exit status.

mod cli;
mod commands;
mod config;
mod context;
mod daemon;
mod logging;
mod output;
mod system;
mod watch;

use std::process::ExitCode;

use clap::Parser;

use cli::Cli;
use context::Outcome;

/// Chosen by measurement (BENCHMARKS.md, "What was tried"); its settings stand in `.cargo/config.toml`.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    let cli = Cli::parse();
    logging::start(&cli);
    // TLS for the vendors and for https addresses. It fails only where one is installed already, which then serves.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("error: cannot start the runtime's threads: {error}");
            return ExitCode::FAILURE;
        }
    };
    match runtime.block_on(commands::run(cli)) {
        Ok(Outcome::Done) => ExitCode::SUCCESS,
        Ok(Outcome::Failed) => ExitCode::FAILURE,
        Err(error) if context::is_closed_pipe(&error) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {}", output::harmless(&format!("{error:#}")));
            ExitCode::from(if error.is::<context::Usage>() { 2 } else { 1 })
        }
    }
}

//! The log, on standard error: quiet for commands that talk to a person, `info` for the daemon.

use std::io::IsTerminal;

use tracing_subscriber::{EnvFilter, fmt};

use crate::cli::{Cli, Command, LogFormat};

fn concat_filter(level: &str, but: &str) -> String {
    format!("{level},{but}")
}

/// Starts the log. `RUST_LOG` decides where it is set.
pub fn start(cli: &Cli) {
    let usual = match cli.command {
        Command::Serve(_) | Command::Simulate(_) => concat_filter("info", store::database::WITHOUT_NOTICES),
        // Its screen is a table that a log would tear apart.
        Command::Demo(_) => "error".to_owned(),
        // An audit's statement may take seconds; its whole text is no answer to a person.
        _ => concat_filter("warn", store::database::WITHOUT_SLOW_STATEMENTS),
    };
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(usual));
    let log = fmt().with_env_filter(filter).with_writer(std::io::stderr);
    // A log that is started already (in tests) stays.
    let _ = match cli.global.log_format {
        LogFormat::Json => log.json().flatten_event(true).try_init(),
        LogFormat::Text => log.with_ansi(std::io::stderr().is_terminal()).try_init(),
    };
}

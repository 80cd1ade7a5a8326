//! `completions`: the script that makes a shell complete our commands.

use std::io;

use clap::{Args, CommandFactory};
use clap_complete::Shell;

use crate::{cli::Cli, context::Outcome};

/// Arguments of `completions`.
#[derive(Debug, Args)]
#[command(after_help = "For bash: campaignd completions bash > /etc/bash_completion.d/campaignd")]
pub struct CompletionsArgs {
    /// The shell
    shell: Shell,
}

pub fn run(args: &CompletionsArgs) -> anyhow::Result<Outcome> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "campaignd", &mut script);
    io::Write::write_all(&mut io::stdout(), &script)?;
    Ok(Outcome::Done)
}

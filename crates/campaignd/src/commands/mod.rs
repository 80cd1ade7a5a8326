//! The commands, one file per noun or verb of the command line.

pub mod account;
pub mod audience;
pub mod audit;
pub mod campaign;
pub mod check;
pub mod codes;
pub mod completions;
pub mod database;
pub mod demo;
pub mod event;
pub mod halt;
pub mod message;
pub mod migrate;
pub mod person;
pub mod report;
pub mod send;
pub mod serve;
pub mod simulate;
pub mod suppression;
pub mod task;
pub mod template;

use crate::{
    cli::{Cli, Command},
    context::{Context, Outcome},
};

/// Does what was asked for.
pub async fn run(cli: Cli) -> anyhow::Result<Outcome> {
    let context = Context::new(cli.global);
    match cli.command {
        Command::Serve(args) => serve::run(&context, &args).await,
        Command::Demo(args) => demo::run(&args).await,
        Command::Send(args) => send::run(&context, *args).await,
        Command::Audience(command) => audience::run(&context, command).await,
        Command::Template(command) => template::run(&context, command).await,
        Command::Campaign(command) => campaign::run(&context, command).await,
        Command::Task(command) => task::run(&context, command).await,
        Command::Halt(command) => halt::run(&context, command).await,
        Command::Event(command) => event::run(&context, command).await,
        Command::Suppression(command) => suppression::run(&context, command).await,
        Command::Person(command) => person::run(&context, command).await,
        Command::Codes(args) => codes::run(&context, &args).await,
        Command::Account(command) => account::run(&context, command).await,
        Command::Check(args) => check::run(&context, &args).await,
        Command::Audit(args) => audit::run(&context, &args).await,
        Command::Migrate(args) => migrate::run(&context, &args).await,
        Command::Simulate(args) => simulate::run(&args).await,
        Command::Completions(args) => completions::run(&args),
    }
}

//! The command line: what may be asked for, and the options that all commands share.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::commands::{
    account, audience, audit, campaign, check, codes, completions, demo, event, halt, migrate, person, send,
    serve, simulate, suppression, task, template,
};

/// Where the daemon listens unless told otherwise.
pub const DEFAULT_URL: &str = "http://127.0.0.1:8080";

/// Sends WhatsApp campaigns to large audiences, each recipient accounted for.
#[derive(Debug, Parser)]
#[command(name = "campaignd", version, propagate_version = true, disable_help_subcommand = true)]
#[command(after_help = "Exit status: 0 done, 1 failed, 2 wrong usage.")]
pub struct Cli {
    #[command(flatten)]
    pub global: Global,
    #[command(subcommand)]
    pub command: Command,
}

/// Options of every command.
#[derive(Clone, Debug, Args)]
pub struct Global {
    /// The configuration file [default: ./campaignd.toml, else /etc/campaignd/campaignd.toml]
    #[arg(long, global = true, value_name = "FILE", help_heading = "Common options")]
    pub config: Option<PathBuf>,
    /// The daemon's address
    #[arg(
        long,
        global = true,
        env = "CAMPAIGND_URL",
        default_value = DEFAULT_URL,
        help_heading = "Common options"
    )]
    pub url: String,
    /// The API token [default: CAMPAIGND_ADMIN_TOKEN]
    #[arg(
        long,
        global = true,
        env = "CAMPAIGND_TOKEN",
        hide_env_values = true,
        help_heading = "Common options"
    )]
    pub token: Option<String>,
    /// How results are printed
    #[arg(long, global = true, value_enum, default_value = "table", help_heading = "Common options")]
    pub output: OutputFormat,
    /// How the log on standard error is written; RUST_LOG says how much of it
    #[arg(
        long,
        global = true,
        value_enum,
        env = "CAMPAIGND_LOG_FORMAT",
        default_value = "text",
        help_heading = "Common options"
    )]
    pub log_format: LogFormat,
}

/// How results are printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum OutputFormat {
    /// For people.
    Table,
    /// For programs: an object, or an array of objects.
    Json,
    /// For spreadsheets: a header and one line each.
    Csv,
}

/// How the log is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// One JSON object a line.
    Json,
    /// Lines for people.
    Text,
}

/// What may be asked for.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run the daemon
    Serve(serve::ServeArgs),
    /// See it all work: a private PostgreSQL, stand-ins for the vendors, the daemon and one campaign per vendor
    Demo(demo::DemoArgs),
    /// Send a campaign to the numbers of a CSV file
    Send(Box<send::SendArgs>),
    /// Imported CSV files
    #[command(subcommand)]
    Audience(audience::AudienceCommand),
    /// The vendors' templates, as they are known here
    #[command(subcommand)]
    Template(template::TemplateCommand),
    /// What to send to whom and when
    #[command(subcommand)]
    Campaign(campaign::CampaignCommand),
    /// Runs of campaigns, their progress and results
    #[command(subcommand)]
    Task(task::TaskCommand),
    /// What stands still, and why
    #[command(subcommand)]
    Halt(halt::HaltCommand),
    /// Webhooks that are told what happens, and what could not be told them
    #[command(subcommand)]
    Event(event::EventCommand),
    /// Numbers that get nothing
    #[command(subcommand)]
    Suppression(suppression::SuppressionCommand),
    /// What is known of one person
    #[command(subcommand)]
    Person(person::PersonCommand),
    /// Explain a vendor's code: meaning, what is done about it, advice
    Codes(codes::CodesArgs),
    /// The configured vendor accounts
    #[command(subcommand)]
    Account(account::AccountCommand),
    /// Check the configuration, the database and the vendors' credentials
    Check(check::CheckArgs),
    /// Prove that every recipient is in exactly one place
    Audit(audit::AuditArgs),
    /// Bring the database's schema up to date
    Migrate(migrate::MigrateArgs),
    /// Run the stand-ins for the vendors alone
    Simulate(simulate::SimulateArgs),
    /// Print a completion script for a shell
    Completions(completions::CompletionsArgs),
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_definition_holds_together() {
        Cli::command().debug_assert();
    }

    #[test]
    fn secrets_are_not_in_the_help() {
        let help = Cli::command().render_long_help().to_string();
        assert!(help.contains("CAMPAIGND_TOKEN"), "{help}");
        assert!(!help.contains("CAMPAIGND_TOKEN="), "{help}");
    }
}

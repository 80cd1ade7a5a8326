//! `suppression`: the numbers that get nothing.

use std::{
    io::Read,
    path::{Path, PathBuf},
};

use anyhow::Context as _;
use api::{
    NewSuppression, Suppression, SuppressionReason,
    client::{Client, ImportSuppressions, Page, SuppressionFilter},
};
use chrono::{DateTime, Utc};
use clap::{Args, Subcommand, ValueEnum};

use crate::{
    context::{Context, Outcome, new_idempotency_key, pages},
    output::{Record, thousands, time, time_or_blank},
};

/// No list of numbers is longer; the server has a limit of its own.
const MAX_FILE_BYTES: u64 = 256 * 1024 * 1024;

/// What may be asked of suppressions.
#[derive(Debug, Subcommand)]
pub enum SuppressionCommand {
    /// List the numbers that get nothing, in their order
    List {
        #[command(flatten)]
        which: WhichArgs,
        /// How many; 0: all
        #[arg(long, default_value_t = 50)]
        limit: u32,
    },
    /// List a number: from now on it gets nothing
    Add {
        /// The number in international form, such as +919876543210
        phone: String,
        /// Why
        #[arg(long, value_enum, default_value = "manual")]
        reason: Reason,
        /// When it ends by itself, such as 2026-12-31T00:00:00Z [default: never]
        #[arg(long, value_name = "TIME")]
        expires_at: Option<DateTime<Utc>>,
    },
    /// Take a number off the list: it may be sent to again
    Remove {
        /// The number in international form
        phone: String,
    },
    /// List the numbers of a CSV file; its columns `reason` and `expires_at` hold for their rows
    Import {
        /// The CSV file; `-` reads standard input
        file: PathBuf,
        /// Why, where the file does not say
        #[arg(long, value_enum, default_value = "manual")]
        reason: Reason,
        /// Who lists them
        #[arg(long)]
        source: Option<String>,
        /// Whose country code a number without one gets, such as IN
        #[arg(long, value_name = "REGION")]
        default_region: Option<String>,
        /// When they end by themselves, where the file does not say [default: never]
        #[arg(long, value_name = "TIME")]
        expires_at: Option<DateTime<Utc>>,
    },
    /// Print the list as CSV, streamed: what `suppression import` reads
    Export {
        #[command(flatten)]
        which: WhichArgs,
    },
}

/// Which numbers.
#[derive(Debug, Args)]
pub struct WhichArgs {
    /// Listed for this reason only; may be given again
    #[arg(long = "reason", value_enum)]
    reasons: Vec<Reason>,
    /// Listed by this source only, such as reply
    #[arg(long)]
    source: Option<String>,
    /// This number only
    #[arg(long)]
    phone: Option<String>,
}

impl WhichArgs {
    fn filter(&self, page: Page) -> SuppressionFilter {
        let words = self.reasons.iter().map(|reason| SuppressionReason::from(*reason).as_str());
        let reason = words.collect::<Vec<_>>().join(",");
        SuppressionFilter {
            reason: Some(reason).filter(|reason| !reason.is_empty()),
            source: self.source.clone(),
            phone: self.phone.clone(),
            page,
        }
    }
}

/// Why a number is listed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Reason {
    #[value(name = "opt_out")]
    OptOut,
    Invalid,
    Manual,
    Complaint,
}

impl From<Reason> for SuppressionReason {
    fn from(reason: Reason) -> Self {
        match reason {
            Reason::OptOut => Self::OptOut,
            Reason::Invalid => Self::Invalid,
            Reason::Manual => Self::Manual,
            Reason::Complaint => Self::Complaint,
        }
    }
}

impl Record for Suppression {
    const COLUMNS: &'static [&'static str] = &["phone", "reason", "source", "created_at", "expires_at"];

    fn cells(&self) -> Vec<String> {
        vec![
            self.phone.clone(),
            self.reason.as_str().to_owned(),
            self.source.clone(),
            time(self.created_at),
            time_or_blank(self.expires_at),
        ]
    }
}

pub async fn run(context: &Context, command: SuppressionCommand) -> anyhow::Result<Outcome> {
    let (client, output) = (context.client()?, context.output());
    match command {
        SuppressionCommand::List { which, limit } => {
            let page = |page: Page| async { client.suppressions_of(&which.filter(page)).await };
            output.list(&pages(limit, page).await?)?;
        }
        SuppressionCommand::Export { which } => export(&client, &which).await?,
        SuppressionCommand::Add { phone, reason, expires_at } => {
            let source = Some("command line".to_owned());
            let new = NewSuppression { phone, reason: Some(reason.into()), source, expires_at };
            output.one(&client.add_suppression(&new, Some(&new_idempotency_key())).await?)?;
        }
        SuppressionCommand::Remove { phone } => {
            client.remove_suppression(&phone).await?;
            output.say(&format!("{phone} is no longer listed"))?;
        }
        SuppressionCommand::Import { file, reason, source, default_region, expires_at } => {
            let text = read(&file)?;
            let bytes = u64::try_from(text.len())?;
            let how = ImportSuppressions { reason: Some(reason.into()), source, default_region, expires_at };
            let key = new_idempotency_key();
            let done = client.import_suppressions_as(&how, text, Some(bytes), Some(&key)).await?;
            let mut lines = vec![format!(
                "{} rows: {} added, {} listed already, {} refused",
                thousands(done.read),
                thousands(done.added),
                thousands(done.known),
                thousands(done.rejected)
            )];
            lines
                .extend(done.rejects.iter().map(|reject| format!("line {}: {}", reject.line, reject.reason)));
            output.lines_or_json(&lines, &done)?;
        }
    }
    Ok(Outcome::Done)
}

async fn export(client: &Client, which: &WhichArgs) -> anyhow::Result<()> {
    let filter = which.filter(Page::default());
    crate::output::copy(client.suppressions_csv(&filter).await?).await
}

fn read(file: &Path) -> anyhow::Result<Vec<u8>> {
    let mut text = Vec::new();
    let read = if file == Path::new("-") {
        std::io::stdin().take(MAX_FILE_BYTES + 1).read_to_end(&mut text)
    } else {
        std::fs::File::open(file).and_then(|file| file.take(MAX_FILE_BYTES + 1).read_to_end(&mut text))
    };
    read.with_context(|| format!("reading {}", file.display()))?;
    anyhow::ensure!(
        u64::try_from(text.len())? <= MAX_FILE_BYTES,
        "{} is longer than {MAX_FILE_BYTES} bytes: split it",
        file.display()
    );
    Ok(text)
}

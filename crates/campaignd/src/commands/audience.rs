//! `audience`: CSV files and what became of their rows.

use std::{
    io::{IsTerminal, Write},
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::Context as _;
use api::{
    Audience, AudienceStatus,
    client::{Client, ImportAudience},
};
use clap::{Args, Subcommand};
use futures::{StreamExt, TryStreamExt};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::{
    context::{Context, Outcome, confirm, new_idempotency_key, pages},
    output::{Record, thousands, time},
};

/// How often an import that goes on by itself is asked about.
const POLL: Duration = Duration::from_millis(500);

/// What may be asked of audiences.
#[derive(Debug, Subcommand)]
pub enum AudienceCommand {
    /// Upload a CSV file
    Import(ImportArgs),
    /// List the audiences, newest first
    List {
        /// How many; 0: all
        #[arg(long, default_value_t = 50)]
        limit: u32,
    },
    /// Show one audience
    Show {
        /// The audience's id
        id: i64,
    },
    /// Print the rows that were not taken, as CSV: line, reason, phone, raw
    Rejects {
        /// The audience's id
        id: i64,
    },
    /// Delete an audience that no draft or unfinished campaign uses
    Delete {
        /// The audience's id
        id: i64,
        /// Do not ask
        #[arg(long)]
        yes: bool,
    },
}

/// Arguments of `audience import`.
#[derive(Debug, Args)]
pub struct ImportArgs {
    /// The CSV file; `-` reads standard input
    file: PathBuf,
    /// A name for people [default: the file's name]
    #[arg(long)]
    name: Option<String>,
    #[command(flatten)]
    reading: ReadingArgs,
}

/// How a CSV file is read.
#[derive(Clone, Debug, Args)]
pub struct ReadingArgs {
    /// The region of numbers that lack their country code
    #[arg(long, value_name = "REGION", default_value = "IN")]
    pub default_region: String,
    /// The column of the phone [default: the first of phone, mobile, msisdn, whatsapp, number …]
    #[arg(long, value_name = "COLUMN")]
    pub phone_column: Option<String>,
}

impl Record for Audience {
    const COLUMNS: &'static [&'static str] = &[
        "id",
        "name",
        "status",
        "read",
        "accepted",
        "rejected",
        "duplicate",
        "columns",
        "created_at",
        "error",
    ];

    fn cells(&self) -> Vec<String> {
        vec![
            self.id.to_string(),
            self.name.clone(),
            self.status.as_str().to_owned(),
            self.rows.read.to_string(),
            self.rows.accepted.to_string(),
            self.rows.rejected.to_string(),
            self.rows.duplicate.to_string(),
            self.columns.join(" "),
            time(self.created_at),
            self.error.clone().unwrap_or_default(),
        ]
    }
}

pub async fn run(context: &Context, command: AudienceCommand) -> anyhow::Result<Outcome> {
    let (client, output) = (context.client()?, context.output());
    match command {
        AudienceCommand::Import(args) => {
            let name = args.name.unwrap_or_else(|| name_of(&args.file));
            let audience = import(&client, &args.file, name, &args.reading, &new_idempotency_key()).await?;
            output.one(&audience)?;
            return Ok(report(&audience));
        }
        AudienceCommand::List { limit } => {
            let client = &client;
            output.list(&pages(limit, |page| async move { client.audiences(&page).await }).await?)?;
        }
        AudienceCommand::Show { id } => output.one(&client.audience(id).await?)?,
        AudienceCommand::Rejects { id } => {
            let mut chunks = std::pin::pin!(client.audience_rejects(id).await?);
            let mut out = std::io::stdout();
            while let Some(chunk) = chunks.try_next().await? {
                out.write_all(&chunk)?;
            }
            out.flush()?;
        }
        AudienceCommand::Delete { id, yes } => {
            if !confirm(&format!("Delete audience {id} with its recipients?"), yes)? {
                return Ok(Outcome::Failed);
            }
            client.delete_audience(id).await?;
            output.say(&format!("audience {id} is deleted"))?;
        }
    }
    Ok(Outcome::Done)
}

/// The file's name without its ending.
pub fn name_of(file: &Path) -> String {
    match file.file_stem() {
        Some(name) if file != Path::new("-") => name.to_string_lossy().into_owned(),
        _ => "standard input".to_owned(),
    }
}

/// Says on standard error what a person should look at.
pub fn report(audience: &Audience) -> Outcome {
    if audience.status == AudienceStatus::Failed {
        let reason = audience.error.as_deref().unwrap_or("no reason is given");
        eprintln!("error: the import failed: {reason}");
        return Outcome::Failed;
    }
    let (rejected, duplicate) = (audience.rows.rejected, audience.rows.duplicate);
    if rejected + duplicate > 0 {
        eprintln!(
            "{} of {} rows were not taken ({} rejected, {} duplicate): `campaignd audience rejects {}` lists them with their reasons",
            thousands(rejected + duplicate),
            thousands(audience.rows.read),
            thousands(rejected),
            thousands(duplicate),
            audience.id
        );
    }
    Outcome::Done
}

/// Uploads the file, streamed from disk, and waits until the audience is ready or has failed.
pub async fn import(
    client: &Client,
    file: &Path,
    name: String,
    reading: &ReadingArgs,
    idempotency_key: &str,
) -> anyhow::Result<Audience> {
    // A wrong token is better found out before a gigabyte has been sent than after.
    client.audiences(&api::client::Page { limit: Some(1), after: None }).await?;
    let import = ImportAudience {
        name,
        default_region: Some(reading.default_region.clone()),
        phone_column: reading.phone_column.clone(),
        wait: true,
    };
    let (body, bytes, bar) = open(file).await?;
    let answer = client.import_audience(&import, body, bytes, Some(idempotency_key)).await;
    bar.finish_and_clear();
    let mut audience = answer.with_context(|| format!("importing {}", file.display()))?;
    while audience.status == AudienceStatus::Importing {
        tokio::time::sleep(POLL).await;
        audience = client.audience(audience.id).await?;
    }
    Ok(audience)
}

/// The file as a body, its length where it is known, and a bar that follows its reading.
async fn open(file: &Path) -> anyhow::Result<(reqwest::Body, Option<u64>, ProgressBar)> {
    let is_stdin = file == Path::new("-");
    let (reader, bytes): (Box<dyn tokio::io::AsyncRead + Send + Unpin>, Option<u64>) = if is_stdin {
        (Box::new(tokio::io::stdin()), None)
    } else {
        let opened =
            tokio::fs::File::open(file).await.with_context(|| format!("opening {}", file.display()))?;
        let metadata = opened.metadata().await.with_context(|| format!("reading {}", file.display()))?;
        anyhow::ensure!(!metadata.is_dir(), "{} is a folder: name a CSV file", file.display());
        // A pipe or device has no length that could be announced.
        (Box::new(opened), metadata.is_file().then_some(metadata.len()))
    };
    let bar = bar(bytes);
    let counting = bar.clone();
    let stream = tokio_util::io::ReaderStream::with_capacity(reader, 256 * 1024).inspect(move |chunk| {
        if let Ok(chunk) = chunk {
            counting.inc(u64::try_from(chunk.len()).unwrap_or(0));
            if bytes.is_some_and(|bytes| counting.position() >= bytes) {
                counting.set_message("the last rows are being read");
            }
        }
    });
    Ok((reqwest::Body::wrap_stream(stream), bytes, bar))
}

fn bar(bytes: Option<u64>) -> ProgressBar {
    let bar = match bytes {
        Some(bytes) => ProgressBar::new(bytes),
        None => ProgressBar::new_spinner(),
    };
    if !std::io::stderr().is_terminal() {
        bar.set_draw_target(ProgressDrawTarget::hidden());
    }
    let template = match bytes {
        Some(_) => "{wide_bar} {bytes} of {total_bytes}  {bytes_per_sec}  {eta} left  {msg}",
        None => "{spinner} {bytes}  {bytes_per_sec}  {msg}",
    };
    if let Ok(style) = ProgressStyle::with_template(template) {
        bar.set_style(style);
    }
    bar.enable_steady_tick(Duration::from_millis(200));
    bar
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_names_its_audience() {
        assert_eq!(name_of(Path::new("/data/diwali.csv")), "diwali");
        assert_eq!(name_of(Path::new("-")), "standard input");
    }

    #[tokio::test]
    async fn a_folder_or_a_missing_file_is_refused_by_name() {
        let folder = tempfile::tempdir().unwrap();
        let error = open(folder.path()).await.unwrap_err().to_string();
        assert!(error.ends_with("is a folder: name a CSV file"), "{error}");
        let error = open(&folder.path().join("none.csv")).await.unwrap_err().to_string();
        assert!(error.contains("none.csv"), "{error}");
    }
}

//! `campaign`: what to send to whom and when.

use std::{io::Read, path::Path, path::PathBuf};

use anyhow::Context as _;
use api::{Campaign, CampaignChange, NewCampaign, Preview, PreviewRequest, TestRequest, client::Client};
use clap::{Args, Subcommand};

use super::{
    message::{MessageArgs, TimingArgs},
    report,
};
use crate::{
    context::{Context, Outcome, Usage, new_idempotency_key, pages},
    output::{Output, Record, or_blank, thousands, time},
    watch,
};

/// A campaign's description is a page of text, not more.
const MAX_FILE_BYTES: u64 = 4 * 1024 * 1024;
/// How often a campaign is asked for while the daemon is away; the key makes it one.
const ATTEMPTS: u32 = 5;

/// What may be asked of campaigns.
#[derive(Debug, Subcommand)]
pub enum CampaignCommand {
    /// Create a campaign for an imported audience
    Create(Box<CreateArgs>),
    /// Launch a draft
    Launch {
        /// The campaign's id
        id: i64,
        /// Follow its task
        #[arg(long)]
        watch: bool,
    },
    /// Change a draft, or when and how fast a campaign is sent whose task is still scheduled
    Change {
        /// The campaign's id
        id: i64,
        /// The changed fields as JSON, as the HTTP interface takes them; `-` reads standard input
        #[arg(long, value_name = "FILE")]
        file: PathBuf,
    },
    /// List the campaigns, newest first
    List {
        /// How many; 0: all
        #[arg(long, default_value_t = 50)]
        limit: u32,
    },
    /// Show a campaign
    Show {
        /// The campaign's id
        id: i64,
    },
    /// Show what the first recipients would get
    Preview {
        /// The campaign's id
        id: i64,
        /// How many
        #[arg(long, default_value_t = 3)]
        rows: i32,
        /// The recipient of this number in the audience instead; may be given again
        #[arg(long, value_name = "NUMBER")]
        no: Vec<i32>,
    },
    /// Send the message to a few numbers now, with the values of one recipient
    Test {
        /// The campaign's id
        id: i64,
        /// A number in international form; may be given again
        #[arg(long, required = true, value_name = "PHONE")]
        to: Vec<String>,
        /// The recipient's number in the audience whose values are used
        #[arg(long)]
        row: Option<i32>,
    },
    /// Compare the tasks of a campaign: a line for each, newest first
    Report {
        /// The campaign's id
        id: i64,
        /// How many; 0: all
        #[arg(long, default_value_t = 50)]
        limit: u32,
    },
    /// Delete a draft
    Delete {
        /// The campaign's id
        id: i64,
    },
}

/// Arguments of `campaign create`.
#[derive(Debug, Args)]
pub struct CreateArgs {
    /// The whole campaign as JSON, as the HTTP interface takes it; `-` reads standard input
    #[arg(long, value_name = "FILE", conflicts_with_all = ["name", "account", "from", "audience", "template", "message"])]
    file: Option<PathBuf>,
    /// A name for people
    #[arg(long, required_unless_present = "file")]
    name: Option<String>,
    /// The account that sends
    #[arg(long, required_unless_present = "file")]
    account: Option<String>,
    /// The sender, as the configuration writes it
    #[arg(long, required_unless_present = "file")]
    from: Option<String>,
    /// The audience's id
    #[arg(long, required_unless_present = "file", value_name = "ID")]
    audience: Option<i64>,
    #[command(flatten)]
    message: MessageArgs,
    #[command(flatten)]
    timing: TimingArgs,
    /// Launch it at once
    #[arg(long)]
    launch: bool,
    /// Launch it at once and follow its task
    #[arg(long)]
    watch: bool,
    /// Asking again with the same key creates nothing new
    #[arg(long, value_name = "KEY")]
    idempotency_key: Option<String>,
}

/// Runs ahead that a table has room for.
const SHOWN_RUNS: usize = 3;

impl Record for Campaign {
    const COLUMNS: &'static [&'static str] = &[
        "id",
        "name",
        "state",
        "account",
        "from",
        "audience_id",
        "template",
        "schedule",
        "next_runs",
        "task_id",
        "created_at",
    ];

    fn cells(&self) -> Vec<String> {
        let schedule = self.schedule.as_ref().map(|schedule| {
            let when = schedule.at.as_deref().or(schedule.cron.as_deref()).unwrap_or_default();
            format!("{when} {}", schedule.time_zone.as_deref().unwrap_or_default()).trim().to_owned()
        });
        vec![
            self.id.to_string(),
            self.name.clone(),
            self.state.as_str().to_owned(),
            self.account.clone(),
            self.from.clone(),
            self.audience_id.to_string(),
            or_blank(self.template.as_ref()),
            or_blank(schedule),
            self.upcoming.iter().take(SHOWN_RUNS).map(|at| time(*at)).collect::<Vec<_>>().join(", "),
            or_blank(self.task_id),
            time(self.created_at),
        ]
    }
}

pub async fn run(context: &Context, command: CampaignCommand) -> anyhow::Result<Outcome> {
    let (client, output) = (context.client()?, context.output());
    match command {
        CampaignCommand::Create(args) => return create(&client, *args, output).await,
        CampaignCommand::Launch { id, watch } => {
            let started = client.launch_campaign(id, Some(&new_idempotency_key())).await?;
            if watch {
                return watch::task(&client, started.task_id, output).await;
            }
            output.lines_or_json(
                &[format!("campaign {id} is launched as task {}", started.task_id)],
                &started,
            )?;
        }
        CampaignCommand::Change { id, file } => {
            let change: CampaignChange = serde_json::from_str(&read(&file)?)
                .with_context(|| format!("{} is no change of a campaign", file.display()))?;
            output.one(&client.change_campaign(id, &change).await?)?;
        }
        CampaignCommand::List { limit } => {
            let client = &client;
            output.list(&pages(limit, |page| async move { client.campaigns(&page).await }).await?)?;
        }
        CampaignCommand::Show { id } => output.one(&client.campaign(id).await?)?,
        CampaignCommand::Preview { id, rows, no } => {
            let request = PreviewRequest { rows, nos: (!no.is_empty()).then_some(no) };
            let preview = client.preview_campaign(id, &request).await?;
            output.lines_or_json(&preview_lines(&preview)?, &preview)?;
        }
        CampaignCommand::Test { id, to, row } => {
            let request = TestRequest { to, row };
            let started = client.test_campaign(id, &request, Some(&new_idempotency_key())).await?;
            let line =
                format!("sent as task {}: `campaignd task report {}`", started.task_id, started.task_id);
            output.lines_or_json(&[line], &started)?;
        }
        CampaignCommand::Report { id, limit } => report::campaign(&client, id, limit, output).await?,
        CampaignCommand::Delete { id } => {
            client.delete_campaign(id).await?;
            output.say(&format!("campaign {id} is deleted"))?;
        }
    }
    Ok(Outcome::Done)
}

async fn create(client: &Client, args: CreateArgs, output: Output) -> anyhow::Result<Outcome> {
    let key = args.idempotency_key.clone().unwrap_or_else(new_idempotency_key);
    let watch = args.watch;
    let campaign = create_once(client, &described(args)?, &key).await?;
    match campaign.task_id {
        Some(task) if watch => return watch::task(client, task, output).await,
        _ => output.one(&campaign)?,
    }
    Ok(Outcome::Done)
}

/// Creates the campaign, asking again while the daemon is away: the key makes it one.
pub async fn create_once(client: &Client, new: &NewCampaign, key: &str) -> anyhow::Result<Campaign> {
    let mut attempt = 1;
    loop {
        match client.create_campaign(new, Some(key)).await {
            Err(error) if error.is_passing() && attempt < ATTEMPTS => {
                attempt += 1;
                tokio::time::sleep(std::time::Duration::from_secs(1)).await;
            }
            answer => return answer.context("creating the campaign"),
        }
    }
}

fn described(args: CreateArgs) -> anyhow::Result<NewCampaign> {
    let launch = args.launch || args.watch;
    if let Some(file) = &args.file {
        let text = read(file)?;
        let mut campaign: NewCampaign =
            serde_json::from_str(&text).with_context(|| format!("{} is not a campaign", file.display()))?;
        campaign.launch |= launch;
        return Ok(campaign);
    }
    let (Some(name), Some(account), Some(from), Some(audience_id)) =
        (args.name, args.account, args.from, args.audience)
    else {
        return Err(Usage("give --name, --account, --from and --audience, or --file".to_owned()).into());
    };
    let message = args.message.message()?;
    Ok(args.timing.campaign(NewCampaign {
        name,
        account,
        from,
        audience_id,
        message,
        schedule: None,
        sending_window: None,
        messages_per_second: None,
        canary: None,
        max_attempts: None,
        expires_at: None,
        on_unknown: None,
        category: None,
        priority: None,
        launch,
    })?)
}

/// A small file of text; `-` is standard input.
pub fn read(file: &Path) -> anyhow::Result<String> {
    let mut text = String::new();
    let read = if file == Path::new("-") {
        std::io::stdin().take(MAX_FILE_BYTES).read_to_string(&mut text)
    } else {
        std::fs::File::open(file).and_then(|file| file.take(MAX_FILE_BYTES).read_to_string(&mut text))
    };
    read.with_context(|| format!("reading {}", file.display()))?;
    Ok(text)
}

fn preview_lines(preview: &Preview) -> anyhow::Result<Vec<String>> {
    let mut lines = Vec::new();
    for item in &preview.items {
        lines.push(format!("{} {}", item.no, item.to));
        if let Some(message) = &item.message {
            lines.push(serde_json::to_string_pretty(message)?);
        }
        lines.extend(item.warnings.iter().map(|warning| format!("warning: {warning}")));
    }
    lines.extend(preview.warnings.iter().map(|warning| format!("warning: {warning}")));
    let estimate = &preview.estimate;
    let recipients = thousands(estimate.recipients);
    lines.push(match (estimate.messages_per_second, estimate.seconds) {
        (Some(rate), Some(seconds)) => {
            format!("{recipients} recipients at {rate} a second: about {}", watch::span(seconds))
        }
        (Some(rate), None) => format!("{recipients} recipients at {rate} a second"),
        (None, Some(seconds)) => format!("{recipients} recipients: about {}", watch::span(seconds)),
        (None, None) => format!("{recipients} recipients; no rate is configured"),
    });
    if let (Some(starts_at), Some(ends_at)) = (estimate.starts_at, estimate.ends_at) {
        lines.push(format!("from {} to {}", time(starts_at), time(ends_at)));
    }
    if let Some(cost) = &estimate.cost {
        let about = if cost.is_exact { "" } else { "about " };
        lines.push(format!("{about}{:.2} {}", cost.amount, cost.currency));
    }
    Ok(lines)
}

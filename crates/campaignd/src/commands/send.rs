//! `send`: audience, campaign and launch in one command.

use std::path::PathBuf;

use anyhow::{Context as _, bail};
use api::{Audience, Campaign, NewCampaign, client::Client};
use clap::Args;

use super::{
    account, audience,
    audience::ReadingArgs,
    campaign::create_once,
    message::{MessageArgs, TimingArgs},
};
use crate::{
    context::{Context, Outcome, new_idempotency_key},
    output::thousands,
    watch,
};

/// Arguments of `send`.
#[derive(Debug, Args)]
#[command(after_help = "Example: campaignd send --account main --from +919999000001 --csv diwali.csv \\
    --template diwali_offer --language en --param 1=name --param 2=code --watch")]
pub struct SendArgs {
    /// The account that sends
    #[arg(long)]
    account: String,
    /// The sender, as the configuration writes it
    #[arg(long)]
    from: String,
    /// The CSV file with the numbers; `-` reads standard input
    #[arg(long, value_name = "FILE")]
    csv: PathBuf,
    /// A name for people [default: the template's and the file's name]
    #[arg(long)]
    name: Option<String>,
    #[command(flatten)]
    reading: ReadingArgs,
    #[command(flatten)]
    message: MessageArgs,
    #[command(flatten)]
    timing: TimingArgs,
    /// Follow the task: 0 when nothing is left to send now, 1 when it is halted or cancelled
    #[arg(long)]
    watch: bool,
    /// Sending again with the same key sends nothing twice [default: a new one]
    #[arg(long, value_name = "KEY")]
    idempotency_key: Option<String>,
}

pub async fn run(context: &Context, args: SendArgs) -> anyhow::Result<Outcome> {
    let (client, output) = (context.client()?, context.output());
    let watch = args.watch;
    // Before the upload: what is wrong with the command should not come out after a gigabyte.
    let message = args.message.message()?;
    check_sender(&client, &args.account, &args.from).await?;
    let key = args.idempotency_key.clone().unwrap_or_else(new_idempotency_key);
    let name = args.name.clone().unwrap_or_else(|| audience::name_of(&args.csv));
    let imported =
        audience::import(&client, &args.csv, name.clone(), &args.reading, &format!("{key}-audience")).await?;
    if audience::report(&imported) == Outcome::Failed {
        return Ok(Outcome::Failed);
    }
    output.say(&format!(
        "audience {} is ready: {} recipients",
        imported.id,
        thousands(imported.rows.accepted)
    ))?;
    if imported.rows.accepted == 0 {
        bail!(
            "the file has no row that can be sent to; `campaignd audience rejects {}` says why",
            imported.id
        );
    }
    let campaign = campaign(args, name, message, &imported)?;
    let created = create_once(&client, &campaign, &format!("{key}-campaign")).await.with_context(|| {
        format!(
            "audience {} is imported and stays (`campaignd campaign create --audience {}`)",
            imported.id, imported.id
        )
    })?;
    let Some(task) = created.task_id else {
        bail!(
            "campaign {} was created but not launched: `campaignd campaign launch {}`",
            created.id,
            created.id
        );
    };
    if !watch && output.is_for_programs() {
        output.one::<Campaign>(&created)?;
        return Ok(Outcome::Done);
    }
    output.say(&format!("campaign {} is launched as task {task}", created.id))?;
    if watch {
        return watch::task(&client, task, output).await;
    }
    output.say(&format!("`campaignd task watch {task}` follows it"))?;
    Ok(Outcome::Done)
}

fn campaign(
    args: SendArgs,
    name: String,
    message: serde_json::Value,
    audience: &Audience,
) -> anyhow::Result<NewCampaign> {
    Ok(args.timing.campaign(NewCampaign {
        name,
        account: args.account,
        from: args.from,
        audience_id: audience.id,
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
        launch: true,
    })?)
}

/// Names the accounts or senders that there are when the one asked for is not among them.
async fn check_sender(client: &Client, account: &str, from: &str) -> anyhow::Result<()> {
    let accounts = account::all(client).await?;
    let Some(found) = accounts.iter().find(|known| known.name == account) else {
        let names: Vec<&str> = accounts.iter().map(|known| known.name.as_str()).collect();
        bail!("there is no account `{account}`; there are: {}", names.join(", "));
    };
    if !found.senders.iter().any(|sender| sender.from == from) {
        let senders: Vec<&str> = found.senders.iter().map(|sender| sender.from.as_str()).collect();
        bail!("account `{account}` has no sender `{from}`; it has: {}", senders.join(", "));
    }
    Ok(())
}

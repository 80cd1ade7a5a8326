//! `task`: runs of campaigns, what becomes of them, and what an operator decides.

use std::io::{IsTerminal, Write};

use api::{
    Message, MessageState, Problem, Resolution, ResolveRequest, Task,
    client::{Client, ClientError, MessageFilter, Page, RetryFailed, TaskFilter},
};
use clap::{Args, Subcommand, ValueEnum, builder::PossibleValuesParser};

use super::report::{self as numbers, TimelineArgs};
use crate::{
    cli::OutputFormat,
    context::{Context, Outcome, confirm, pages},
    output::{Output, Record, copy, or_blank, thousands, time, time_or_blank},
    watch::{self, View},
};

/// What may be asked of tasks.
#[derive(Debug, Subcommand)]
pub enum TaskCommand {
    /// List the tasks, newest first
    List(ListArgs),
    /// Show a task with its counts and errors
    Show {
        /// The task's id
        id: i64,
    },
    /// Follow a task: 0 when nothing is left to send now, 1 when it is halted or cancelled
    Watch {
        /// The task's id
        id: i64,
    },
    /// Take nobody more, for a while; open requests end normally
    Pause {
        /// The task's id
        id: i64,
    },
    /// Go on
    Resume {
        /// The task's id
        id: i64,
        /// Lift the halts that hold it
        #[arg(long)]
        lift: bool,
    },
    /// Take nobody more, for good; open requests end normally
    Cancel {
        /// The task's id
        id: i64,
        /// Of a recurring campaign: go on with the firing after this one, or end it all [default: cancel this task alone; a
        /// scheduled firing is then the last]
        #[arg(long, value_enum)]
        recurrence: Option<Recurrence>,
    },
    /// Send again to those who failed, except invalid numbers, opt-outs, suppressed ones and bad data
    RetryFailed {
        /// The task's id
        id: i64,
        /// Only those whose last code is this
        #[arg(long)]
        code: Option<String>,
        /// Only count them
        #[arg(long)]
        dry_run: bool,
        /// Do not ask first; on a terminal it is said how many they are, and asked
        #[arg(long)]
        yes: bool,
    },
    /// Decide what messages are that may or may not have reached the vendor
    Resolve(ResolveArgs),
    /// Print what became of each recipient; with --output csv the whole task, streamed
    Report(ReportArgs),
    /// What came of a task: counts, rates, each error with what to do about it
    Summary {
        /// The task's id
        id: i64,
    },
    /// How a task went, minute by minute or hour by hour
    Timeline(TimelineArgs),
}

/// What becomes of the recurring campaign whose task is cancelled.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Recurrence {
    /// The firing after the cancelled one is scheduled.
    Continue,
    /// The scheduled firing is cancelled too.
    End,
}

/// Arguments of `task list`.
#[derive(Debug, Args)]
pub struct ListArgs {
    /// In this state only
    #[arg(long, value_parser = PossibleValuesParser::new(["scheduled", "running", "paused", "halted", "completed", "cancelled"]))]
    state: Option<String>,
    /// Of this campaign only
    #[arg(long, value_name = "ID")]
    campaign: Option<i64>,
    /// Whose name holds this
    #[arg(short, long, value_name = "TEXT")]
    query: Option<String>,
    /// How many; 0: all
    #[arg(long, default_value_t = 50)]
    limit: u32,
}

/// Arguments of `task resolve`.
#[derive(Debug, Args)]
pub struct ResolveArgs {
    /// The task's id
    id: i64,
    /// What they are from now on; `resend` may reach people twice
    #[arg(long = "as", value_enum, value_name = "DECISION")]
    decision: Decision,
    /// Only this number; may be given again [default: all that are unknown]
    #[arg(long, value_name = "PHONE")]
    to: Vec<String>,
}

/// What an unknown message is decided to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Decision {
    /// It reached the vendor.
    Sent,
    /// It did not, and is not sent again.
    Failed,
    /// It is sent again.
    Resend,
}

/// Arguments of `task report`.
#[derive(Debug, Args)]
pub struct ReportArgs {
    /// The task's id
    id: i64,
    /// In this state only
    #[arg(long, value_parser = PossibleValuesParser::new(MessageState::ALL.map(MessageState::as_str)))]
    state: Option<String>,
    /// With this last code only
    #[arg(long)]
    code: Option<String>,
    /// To this number only
    #[arg(long, value_name = "PHONE")]
    to: Option<String>,
    /// How many; 0: all [default: 50 in a table, all otherwise]
    #[arg(long)]
    limit: Option<u32>,
}

impl Record for Task {
    const COLUMNS: &'static [&'static str] = &[
        "id",
        "name",
        "account",
        "from",
        "state",
        "total",
        "queued",
        "sending",
        "retrying",
        "unknown",
        "accepted",
        "sent",
        "delivered",
        "read",
        "failed",
        "suppressed",
        "expired",
        "cancelled",
        "started_at",
        "ended_at",
    ];

    fn cells(&self) -> Vec<String> {
        let counts = &self.counts;
        let texts = [self.id.to_string(), self.name.clone(), self.account.clone(), self.from.clone()];
        let numbers = [
            counts.total,
            counts.queued,
            counts.sending,
            counts.retrying,
            counts.unknown,
            counts.accepted,
            counts.sent,
            counts.delivered,
            counts.read,
            counts.failed,
            counts.suppressed,
            counts.expired,
            counts.cancelled,
        ];
        texts
            .into_iter()
            .chain([self.state.as_str().to_owned()])
            .chain(numbers.map(|number| number.to_string()))
            .chain([time_or_blank(self.started_at), time_or_blank(self.ended_at)])
            .collect()
    }
}

impl Record for Message {
    const COLUMNS: &'static [&'static str] = &[
        "no",
        "to",
        "state",
        "attempts",
        "vendor_id",
        "code",
        "code_name",
        "reason",
        "retry_at",
        "accepted_at",
        "sent_at",
        "delivered_at",
        "read_at",
        "failed_at",
        "unknown_since",
    ];

    fn cells(&self) -> Vec<String> {
        vec![
            self.no.to_string(),
            self.to.clone(),
            self.state.as_str().to_owned(),
            self.attempts.to_string(),
            or_blank(self.vendor_id.as_ref()),
            or_blank(self.code.as_ref()),
            or_blank(self.code_name.as_ref()),
            or_blank(self.reason.as_ref()),
            time_or_blank(self.retry_at),
            time_or_blank(self.accepted_at),
            time_or_blank(self.sent_at),
            time_or_blank(self.delivered_at),
            time_or_blank(self.read_at),
            time_or_blank(self.failed_at),
            time_or_blank(self.unknown_since),
        ]
    }
}

/// The tasks of a list on a terminal: what fits a line.
#[derive(serde::Serialize)]
struct Row<'a>(&'a Task);

impl Record for Row<'_> {
    const COLUMNS: &'static [&'static str] = &[
        "id",
        "name",
        "state",
        "total",
        "left",
        "accepted",
        "delivered",
        "read",
        "failed",
        "unknown",
        "per s",
    ];

    fn cells(&self) -> Vec<String> {
        let Self(task) = self;
        let counts = &task.counts;
        let numbers = [
            counts.total,
            counts.queued + counts.sending + counts.retrying,
            counts.accepted,
            counts.delivered,
            counts.read,
            counts.failed,
            counts.unknown,
        ];
        [task.id.to_string(), task.name.clone(), task.state.as_str().to_owned()]
            .into_iter()
            .chain(numbers.map(thousands))
            .chain([format!("{:.0}", task.messages_per_second)])
            .collect()
    }
}

pub async fn run(context: &Context, command: TaskCommand) -> anyhow::Result<Outcome> {
    let (client, output) = (context.client()?, context.output());
    match command {
        TaskCommand::List(args) => list(&client, args, output).await?,
        TaskCommand::Show { id } => show(&client.task(id).await?, output)?,
        TaskCommand::Watch { id } => return watch::task(&client, id, output).await,
        TaskCommand::Pause { id } => show(&client.pause_task(id).await?, output)?,
        TaskCommand::Resume { id, lift } => match client.resume_task(id, lift).await {
            Err(ClientError::Refused(problem)) if !lift && names_halts(&problem) => {
                let hint = format!("`campaignd task resume {id} --lift` lifts what holds the task");
                return Err(anyhow::Error::from(ClientError::Refused(problem)).context(hint));
            }
            answer => show(&answer?, output)?,
        },
        TaskCommand::Cancel { id, recurrence } => cancel(&client, id, recurrence, output).await?,
        TaskCommand::RetryFailed { id, code, dry_run, yes } => {
            let which = RetryFailed { dry_run, code };
            if !dry_run && !yes && !is_agreed(&client, id, &which).await? {
                return Ok(Outcome::Failed);
            }
            let done = client.retry_failed(id, &which).await?;
            let verb = if dry_run { "would be sent to again" } else { "are sent to again" };
            output.lines_or_json(&[format!("{} recipients {verb}", thousands(done.retried))], &done)?;
        }
        TaskCommand::Resolve(args) => {
            let resolution = match args.decision {
                Decision::Sent => Resolution::Sent,
                Decision::Failed => Resolution::Failed,
                Decision::Resend => Resolution::Resend,
            };
            let to = (!args.to.is_empty()).then_some(args.to);
            let done = client.resolve(args.id, &ResolveRequest { resolution, to }).await?;
            output.lines_or_json(&[format!("{} messages are decided", thousands(done.resolved))], &done)?;
        }
        TaskCommand::Report(args) => report(&client, args, output).await?,
        TaskCommand::Summary { id } => numbers::summary(&client, id, output).await?,
        TaskCommand::Timeline(args) => numbers::timeline(&client, args, output).await?,
    }
    Ok(Outcome::Done)
}

/// Cancels, and says what follows where the campaign is a recurring one.
async fn cancel(
    client: &Client,
    id: i64,
    recurrence: Option<Recurrence>,
    output: Output,
) -> anyhow::Result<()> {
    let task = match recurrence {
        Some(recurrence) => client.cancel_firing(id, recurrence == Recurrence::Continue).await?,
        None => client.cancel_task(id).await?,
    };
    show(&task, output)?;
    if output.is_for_programs() {
        return Ok(());
    }
    let campaign = client.campaign(task.campaign_id).await?;
    if campaign.schedule.is_some_and(|schedule| schedule.cron.is_some()) {
        output.say(&match campaign.next_run_at {
            Some(next) => format!("campaign {} goes on: its next task starts at {}", campaign.id, time(next)),
            None => format!("campaign {} has ended: nothing of it is scheduled any more", campaign.id),
        })?;
    }
    Ok(())
}

/// Whether a person agrees to send again, once it is said to how many. Programs are not asked.
async fn is_agreed(client: &Client, id: i64, which: &RetryFailed) -> anyhow::Result<bool> {
    if !std::io::stdin().is_terminal() {
        return Ok(true);
    }
    let counted = client.retry_failed(id, &RetryFailed { dry_run: true, ..which.clone() }).await?;
    confirm(&format!("Send again to {} recipients?", thousands(counted.retried)), false)
}

fn names_halts(problem: &Problem) -> bool {
    problem.errors.iter().any(|error| error.field.starts_with("halts/"))
}

async fn list(client: &Client, args: ListArgs, output: Output) -> anyhow::Result<()> {
    let filter = |page: Page| TaskFilter {
        state: args.state.clone(),
        campaign_id: args.campaign,
        q: args.query.clone(),
        page,
    };
    let tasks = pages(args.limit, |page| async { client.tasks(&filter(page)).await }).await?;
    if output.is_for_programs() {
        return output.list(&tasks);
    }
    output.list(&tasks.iter().map(Row).collect::<Vec<_>>())
}

fn show(task: &Task, output: Output) -> anyhow::Result<()> {
    if output.is_for_programs() {
        return output.one(task);
    }
    let mut out = std::io::stdout().lock();
    for line in View::of_terminal().task(task) {
        writeln!(out, "{line}")?;
    }
    Ok(())
}

async fn report(client: &Client, args: ReportArgs, output: Output) -> anyhow::Result<()> {
    let filter = |page: Page| MessageFilter {
        state: args.state.clone(),
        code: args.code.clone(),
        to: args.to.clone(),
        page,
    };
    if output.format() == OutputFormat::Csv && args.limit.is_none() {
        return copy(client.messages_csv(args.id, &filter(Page::default())).await?).await;
    }
    let limit = args.limit.unwrap_or(if output.is_for_programs() { 0 } else { 50 });
    let messages = pages(limit, |page| async { client.messages(args.id, &filter(page)).await }).await?;
    output.list(&messages)
}

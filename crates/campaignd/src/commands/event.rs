//! `event`: the webhooks that are told what happens, and what could not be told them.

use api::{EventDeadLetter, EventWebhook, RedriveRequest};
use clap::Subcommand;

use crate::{
    context::{Context, Outcome, pages},
    output::{Record, thousands, time, time_or_blank},
};

/// What may be asked of event webhooks.
#[derive(Debug, Subcommand)]
pub enum EventCommand {
    /// List the webhooks of the configuration, and how they fare
    List,
    /// List the batches of events that a webhook was given up on
    DeadLetters {
        /// The webhook's name
        webhook: String,
    },
    /// Post batches again that were given up, before later events of their tasks
    Redrive {
        /// The webhook's name
        webhook: String,
        /// The batches' ids, as `dead-letters` lists them
        #[arg(required_unless_present = "all")]
        ids: Vec<String>,
        /// All of them, the oldest 10,000 at a time
        #[arg(long, conflicts_with = "ids")]
        all: bool,
    },
    /// Post an event of type `ping` now, and say what came of it
    Test {
        /// The webhook's name
        webhook: String,
    },
}

impl Record for EventWebhook {
    const COLUMNS: &'static [&'static str] = &[
        "name",
        "url",
        "events",
        "delivered",
        "failed",
        "backlog",
        "oldest_at",
        "dead_letters",
        "last_success_at",
        "last_failure_at",
        "last_error",
    ];

    fn cells(&self) -> Vec<String> {
        vec![
            self.name.clone(),
            self.url.clone(),
            self.events.join(" "),
            thousands(self.delivered),
            thousands(self.failed),
            thousands(self.backlog),
            time_or_blank(self.oldest_at),
            thousands(self.dead_letters),
            time_or_blank(self.last_success_at),
            time_or_blank(self.last_failure_at),
            self.last_error.clone().unwrap_or_default(),
        ]
    }
}

impl Record for EventDeadLetter {
    const COLUMNS: &'static [&'static str] = &[
        "id",
        "type",
        "task_id",
        "first_sequence",
        "last_sequence",
        "tries",
        "created_at",
        "failed_at",
        "error",
    ];

    fn cells(&self) -> Vec<String> {
        vec![
            self.id.clone(),
            self.kind.clone(),
            self.task_id.to_string(),
            self.first_sequence.to_string(),
            self.last_sequence.to_string(),
            self.tries.to_string(),
            time(self.created_at),
            time(self.failed_at),
            self.error.clone(),
        ]
    }
}

pub async fn run(context: &Context, command: EventCommand) -> anyhow::Result<Outcome> {
    let (client, output) = (context.client()?, context.output());
    match command {
        EventCommand::List => output.list(&client.event_webhooks().await?.items)?,
        EventCommand::DeadLetters { webhook } => {
            let (client, webhook) = (&client, &webhook);
            let page = |page| async move { client.event_dead_letters(webhook, &page).await };
            output.list(&pages(0, page).await?)?;
        }
        EventCommand::Redrive { webhook, ids, all } => {
            let request = RedriveRequest { ids: (!all).then_some(ids) };
            let done = client.redrive_events(&webhook, &request).await?;
            let line = format!("{} batches are posted again", thousands(done.redriven));
            output.lines_or_json(&[line], &done)?;
        }
        EventCommand::Test { webhook } => {
            let tried = client.test_event_webhook(&webhook).await?;
            let line = match &tried.error {
                None => format!("{webhook} took it: {}", tried.id),
                Some(error) => format!("{webhook} did not take it: {error}"),
            };
            output.lines_or_json(&[line], &tried)?;
            if !tried.delivered {
                return Ok(Outcome::Failed);
            }
        }
    }
    Ok(Outcome::Done)
}

//! `account`: the configured vendor accounts and how they fare.

use anyhow::bail;
use api::{
    Account, AccountHealth, Breaker, Halt, Sender, VendorEvent,
    client::{Client, EventFilter},
};
use clap::Subcommand;

use crate::{
    context::{Context, Outcome, pages},
    output::{Record, or_blank, time, time_or_blank},
};

/// What may be asked of accounts.
#[derive(Debug, Subcommand)]
pub enum AccountCommand {
    /// List the accounts
    List,
    /// Show one account, with the callback URL to register with its vendor
    Show {
        /// The account's name in the configuration
        name: String,
        /// Show the callback URL's token; it is read from the configuration file of this machine
        #[arg(long)]
        reveal: bool,
    },
    /// List what vendors told of templates, numbers and accounts, newest first
    Events {
        /// Of this account; else of all
        name: Option<String>,
        /// How many; 0: all
        #[arg(long, default_value_t = 50)]
        limit: u32,
    },
}

impl Record for Account {
    const COLUMNS: &'static [&'static str] = &[
        "name",
        "vendor",
        "health",
        "rate_per_second",
        "in_flight",
        "breaker",
        "requests_per_second",
        "max_in_flight",
        "senders",
        "halts",
        "last_event",
        "owned",
        "base_url",
        "webhook_url",
    ];

    fn cells(&self) -> Vec<String> {
        vec![
            self.name.clone(),
            self.vendor.clone(),
            health(self.health).to_owned(),
            format!("{:.1}", self.rate_per_second),
            self.in_flight.to_string(),
            breaker(self.breaker).to_owned(),
            or_blank(self.requests_per_second),
            self.max_in_flight.to_string(),
            self.senders.iter().map(sender).collect::<Vec<_>>().join(", "),
            self.halts.iter().map(halt).collect::<Vec<_>>().join("; "),
            self.last_event.as_ref().map(event).unwrap_or_default(),
            if self.owned { "yes" } else { "no" }.to_owned(),
            self.base_url.clone().unwrap_or_default(),
            self.webhook_url.clone().unwrap_or_default(),
        ]
    }
}

fn health(health: AccountHealth) -> &'static str {
    match health {
        AccountHealth::Ok => "ok",
        AccountHealth::Failing => "failing",
        AccountHealth::Halted => "halted",
    }
}

fn breaker(breaker: Breaker) -> &'static str {
    match breaker {
        Breaker::Closed => "closed",
        Breaker::Open => "open",
        Breaker::Probing => "probing",
    }
}

/// A sender with its rate, its limit of recipients a day and its quality, as far as they are known.
fn sender(sender: &Sender) -> String {
    let rate = sender.messages_per_second.map(|rate| format!("{rate}/s"));
    let daily = sender.effective_daily_recipients.map(|daily| format!("{daily} a day"));
    let told = [rate, daily, sender.tier.clone(), sender.quality.clone()];
    let told: Vec<String> = told.into_iter().flatten().collect();
    if told.is_empty() { sender.from.clone() } else { format!("{} ({})", sender.from, told.join(", ")) }
}

fn event(event: &VendorEvent) -> String {
    let what =
        [event.kind.as_str(), &event.subject, &event.event, event.detail.as_deref().unwrap_or_default()];
    let what: Vec<&str> = what.into_iter().filter(|part| !part.is_empty()).collect();
    format!("{} {}", time(event.told_at.unwrap_or(event.received_at)), what.join(" "))
}

impl Record for VendorEvent {
    const COLUMNS: &'static [&'static str] =
        &["id", "account", "kind", "subject", "event", "detail", "told_at", "received_at", "outcome"];

    fn cells(&self) -> Vec<String> {
        vec![
            self.id.to_string(),
            self.account.clone(),
            self.kind.as_str().to_owned(),
            self.subject.clone(),
            self.event.clone(),
            self.detail.clone().unwrap_or_default(),
            time_or_blank(self.told_at),
            time(self.received_at),
            self.outcome.clone().unwrap_or_default(),
        ]
    }
}

fn halt(halt: &Halt) -> String {
    format!("{} {}: {} {}", halt.scope.as_str(), halt.value, halt.code, halt.meaning)
}

pub async fn all(client: &Client) -> anyhow::Result<Vec<Account>> {
    pages(0, |page| async move { client.accounts(&page).await }).await
}

pub async fn run(context: &Context, command: AccountCommand) -> anyhow::Result<Outcome> {
    let (client, output) = (context.client()?, context.output());
    if let AccountCommand::Events { name, limit } = command {
        let (client, name) = (&client, &name);
        let events = pages(limit, |page| async move {
            client.vendor_events(&EventFilter { account: name.clone(), kind: None, page }).await
        });
        output.list(&events.await?)?;
        return Ok(Outcome::Done);
    }
    let accounts = all(&client).await?;
    match command {
        AccountCommand::Events { .. } => {}
        AccountCommand::List => output.list(&accounts)?,
        AccountCommand::Show { name, reveal } => {
            let Some(account) = accounts.iter().find(|account| account.name == name) else {
                let names: Vec<&str> = accounts.iter().map(|account| account.name.as_str()).collect();
                bail!("there is no account `{name}`; there are: {}", names.join(", "));
            };
            let mut account = account.clone();
            if reveal {
                account.webhook_url = Some(revealed(context, &name)?);
            }
            output.one(&account)?;
        }
    }
    Ok(Outcome::Done)
}

/// The interface never shows a token: only who may read the configuration may see it.
fn revealed(context: &Context, name: &str) -> anyhow::Result<String> {
    let config = context.config()?;
    let Some(account) = config.accounts.iter().find(|account| account.name == name) else {
        bail!(
            "the configuration of this machine has no account `{name}`: ask on the daemon's own, or name its file with --config"
        );
    };
    let Some(public_url) = &config.server.public_url else {
        bail!("server.public_url is not set: without it there is no callback URL");
    };
    match account.callback_url(public_url) {
        Some(url) => Ok(url),
        None => bail!("account `{name}` has no webhook_token: without it there is no callback URL"),
    }
}

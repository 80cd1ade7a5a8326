//! `account`: the configured vendor accounts and how they fare.

use anyhow::bail;
use api::{Account, AccountHealth, Breaker, Halt, client::Client};
use clap::Subcommand;

use crate::{
    context::{Context, Outcome, pages},
    output::{Record, or_blank},
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
        "owned",
        "base_url",
        "webhook_url",
    ];

    fn cells(&self) -> Vec<String> {
        let senders: Vec<String> = self
            .senders
            .iter()
            .map(|sender| match sender.messages_per_second {
                Some(rate) => format!("{} ({rate}/s)", sender.from),
                None => sender.from.clone(),
            })
            .collect();
        vec![
            self.name.clone(),
            self.vendor.clone(),
            health(self.health).to_owned(),
            format!("{:.1}", self.rate_per_second),
            self.in_flight.to_string(),
            breaker(self.breaker).to_owned(),
            or_blank(self.requests_per_second),
            self.max_in_flight.to_string(),
            senders.join(", "),
            self.halts.iter().map(halt).collect::<Vec<_>>().join("; "),
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

fn halt(halt: &Halt) -> String {
    format!("{} {}: {} {}", halt.scope.as_str(), halt.value, halt.code, halt.meaning)
}

pub async fn all(client: &Client) -> anyhow::Result<Vec<Account>> {
    pages(0, |page| async move { client.accounts(&page).await }).await
}

pub async fn run(context: &Context, command: AccountCommand) -> anyhow::Result<Outcome> {
    let (client, output) = (context.client()?, context.output());
    let accounts = all(&client).await?;
    match command {
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

//! What commands share: the way to the daemon, the way to print, and how they end.

use std::io::{self, IsTerminal};

use anyhow::Context as _;
use api::client::{Client, Page};

use crate::{
    cli::Global,
    config::{Config, ConfigError, Environment},
    output::Output,
    system,
};

/// How a command ended, where it ended in order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// What was asked for is done.
    Done,
    /// It is not, and the reason has been printed.
    Failed,
}

/// Wrong usage that the argument parser cannot see.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct Usage(pub String);

/// What commands share.
#[derive(Debug)]
pub struct Context {
    global: Global,
    environment: Environment,
}

impl Context {
    pub fn new(global: Global) -> Self {
        // A variable that is no UTF-8 is none of ours.
        let environment = std::env::vars_os()
            .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
            .collect();
        Self { global, environment }
    }

    /// The way to print.
    pub fn output(&self) -> Output {
        Output::new(self.global.output)
    }

    /// The configuration, for the commands that work without a daemon.
    pub fn config(&self) -> Result<Config, ConfigError> {
        Config::load(self.global.config.as_deref(), &self.environment)
    }

    /// The way to the daemon.
    pub fn client(&self) -> anyhow::Result<Client> {
        let admin = self.environment.get("CAMPAIGND_ADMIN_TOKEN").map(String::as_str);
        let token = self.global.token.as_deref().filter(|token| !token.is_empty());
        let token = token.or(admin.filter(|token| !token.is_empty()));
        // Set but empty, as compose files write it, counts as not set.
        let url = if self.global.url.is_empty() { crate::cli::DEFAULT_URL } else { &self.global.url };
        Ok(Client::new(url, token)?)
    }
}

/// A name for one thing to be made, so that asking for it twice makes it once.
pub fn new_idempotency_key() -> String {
    system::new_uuid().to_string()
}

/// Whether whoever read our output has read enough: `campaignd codes | head`.
pub fn is_closed_pipe(error: &anyhow::Error) -> bool {
    error.chain().any(|cause| {
        cause.downcast_ref::<io::Error>().is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe)
    })
}

/// The items of a list, page by page, until there are `limit` (0: all).
pub async fn pages<T, F, Fut>(limit: u32, fetch: F) -> anyhow::Result<Vec<T>>
where
    F: Fn(Page) -> Fut,
    Fut: Future<Output = Result<api::List<T>, api::client::ClientError>>,
{
    let mut items = Vec::new();
    let mut after = None;
    loop {
        let missing = if limit == 0 { 500 } else { limit.saturating_sub(u32::try_from(items.len())?) };
        if missing == 0 {
            return Ok(items);
        }
        let page = fetch(Page { limit: Some(missing.min(500)), after: after.take() }).await?;
        items.extend(page.items);
        after = page.next;
        if after.is_none() {
            if limit != 0 {
                items.truncate(usize::try_from(limit)?);
            }
            return Ok(items);
        }
    }
}

/// Asks before something that cannot be undone. Without a terminal nobody can answer: `--yes` must have been given.
pub fn confirm(question: &str, is_agreed: bool) -> anyhow::Result<bool> {
    if is_agreed {
        return Ok(true);
    }
    if !io::stdin().is_terminal() {
        return Err(Usage(format!("{question} Say so with --yes")).into());
    }
    eprint!("{question} [y/N] ");
    let mut answer = String::new();
    io::stdin().read_line(&mut answer).context("reading the answer")?;
    Ok(matches!(answer.trim(), "y" | "Y" | "yes"))
}

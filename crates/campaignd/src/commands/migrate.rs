//! `migrate`: the schema up to date.

use anyhow::Context as _;
use clap::Args;

use super::database::Opened;
use crate::context::{Context, Outcome};

/// Arguments of `migrate`.
#[derive(Debug, Args)]
pub struct MigrateArgs {
    /// Only say whether the schema is current: exit status 1 when it is not
    #[arg(long)]
    check: bool,
}

pub async fn run(context: &Context, args: &MigrateArgs) -> anyhow::Result<Outcome> {
    let config = context.config()?;
    let opened = Opened::open(&config).await?;
    let outcome = migrate(&opened, args, context).await;
    opened.close().await;
    outcome
}

async fn migrate(opened: &Opened, args: &MigrateArgs, context: &Context) -> anyhow::Result<Outcome> {
    if args.check {
        let is_current = opened.database.schema_is_current().await.unwrap_or(false);
        let sentence = if is_current {
            "the schema is current"
        } else {
            "the schema is not current: run `campaignd migrate`"
        };
        context.output().say(sentence)?;
        return Ok(if is_current { Outcome::Done } else { Outcome::Failed });
    }
    opened.database.migrate().await.context("bringing the database's schema up to date")?;
    context.output().say("the schema is current")?;
    Ok(Outcome::Done)
}

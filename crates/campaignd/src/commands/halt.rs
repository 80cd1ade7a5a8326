//! `halt`: what stands still, and setting it going again.

use api::Halt;
use clap::Subcommand;

use crate::{
    context::{Context, Outcome, pages},
    output::{Record, time, time_or_blank},
};

/// What may be asked of halts.
#[derive(Debug, Subcommand)]
pub enum HaltCommand {
    /// List what stands still, why, and what to do about it
    List,
    /// Lift halts; the tasks that they held run on by themselves
    Lift {
        /// The halts' ids
        #[arg(required = true)]
        ids: Vec<i64>,
    },
}

impl Record for Halt {
    const COLUMNS: &'static [&'static str] =
        &["id", "scope", "value", "account", "code", "meaning", "remedy", "since", "lifts_at"];

    fn cells(&self) -> Vec<String> {
        vec![
            self.id.to_string(),
            self.scope.as_str().to_owned(),
            self.value.clone(),
            self.account.clone(),
            self.code.clone(),
            self.meaning.clone(),
            self.remedy.clone(),
            time(self.since),
            time_or_blank(self.lifts_at),
        ]
    }
}

pub async fn run(context: &Context, command: HaltCommand) -> anyhow::Result<Outcome> {
    let (client, output) = (context.client()?, context.output());
    match command {
        HaltCommand::List => {
            let client = &client;
            output.list(&pages(0, |page| async move { client.halts(&page).await }).await?)?;
        }
        HaltCommand::Lift { ids } => {
            for id in ids {
                client.lift_halt(id).await?;
                output.say(&format!("halt {id} is lifted"))?;
            }
        }
    }
    Ok(Outcome::Done)
}

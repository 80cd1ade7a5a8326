//! `person`: what is known of one person.

use clap::Subcommand;

use crate::{
    context::{Context, Outcome},
    output::{thousands, time},
};

/// What may be asked of people.
#[derive(Debug, Subcommand)]
pub enum PersonCommand {
    /// Erase what names a person, in all audiences and tasks; cannot be undone
    ///
    /// Counts stay, and so does an entry on the suppression list: it keeps the promise not to write again. Refused while
    /// the person is being sent to. What has been exported or backed up before is not reached.
    Erase {
        /// The number in international form, such as +919876543210
        phone: String,
    },
}

pub async fn run(context: &Context, command: PersonCommand) -> anyhow::Result<Outcome> {
    let (client, output) = (context.client()?, context.output());
    let PersonCommand::Erase { phone } = command;
    let erased = client.erase_person(&phone).await?;
    let withheld = match erased.withheld_until {
        _ if erased.suppression_kept => {
            "the number stays on the suppression list: that keeps the promise not to write again".to_owned()
        }
        Some(until) => format!(
            "the number is withheld from all senders until {}, for what was read before, and then forgotten",
            time(until)
        ),
        None => "the number is on no list".to_owned(),
    };
    let lines = [
        format!("{} rows of audiences: number and variables", thousands(erased.recipients)),
        format!(
            "{} messages: the vendor's id and texts; their states and counts stay",
            thousands(erased.messages)
        ),
        format!("{} replies and clicks", thousands(erased.inbound)),
        format!("{} raw callbacks that named the number", thousands(erased.callbacks)),
        format!("{} rows of files that had not been taken", thousands(erased.rejects)),
        withheld,
    ];
    output.lines_or_json(&lines, &erased)?;
    Ok(Outcome::Done)
}

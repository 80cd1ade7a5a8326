//! The demo's campaigns: one per vendor, launched together and followed in one table.

use std::{path::Path, time::Duration};

use anyhow::{Context as _, ensure};
use api::{Audience, AudienceStatus, Counts, NewCampaign, Task, TaskState};
use serde_json::{Value, json};
use simulator::Vendor;
use tokio::time::Instant;

use super::{recipients, world::World};
use crate::{
    commands::{
        audience::{self, ReadingArgs},
        campaign::create_once,
    },
    context::new_idempotency_key,
    output::thousands,
    watch::{Contact, Screen, View, plain},
};

/// Between two looks.
const PERIOD: Duration = Duration::from_millis(500);
/// When nothing has moved for so long after the last message left, no more reports are coming.
const STILL: Duration = Duration::from_secs(4);
/// When nothing has moved for so long, something is wrong.
const STUCK: Duration = Duration::from_secs(120);

/// A campaign under way.
pub struct Run {
    pub vendor: Vendor,
    pub audience: Audience,
    pub task: i64,
}

/// Imports an audience per vendor and launches a campaign to each.
pub async fn launch(world: &World, csv: Option<&Path>, recipients: u32) -> anyhow::Result<Vec<Run>> {
    let mut runs = Vec::new();
    for (number, vendor) in (0_u64..).zip(Vendor::ALL) {
        let made = world.folder.path().join(format!("{vendor}.csv"));
        let file = match csv {
            Some(file) => file,
            None => {
                recipients::write(&made, number, recipients)
                    .with_context(|| format!("writing {}", made.display()))?;
                &made
            }
        };
        let reading = ReadingArgs { default_region: "IN".to_owned(), phone_column: None };
        let name = format!("{vendor} demo");
        let audience = audience::import(&world.client, file, name, &reading, &new_idempotency_key()).await?;
        let reason = audience.error.as_deref().unwrap_or_default();
        ensure!(audience.status == AudienceStatus::Ready, "{} cannot be used: {reason}", file.display());
        println!(
            "{vendor}: {} rows read, {} recipients, {} rejected, {} duplicate",
            thousands(audience.rows.read),
            thousands(audience.rows.accepted),
            thousands(audience.rows.rejected),
            thousands(audience.rows.duplicate)
        );
        runs.push((vendor, audience));
    }
    let mut launched = Vec::new();
    for ((vendor, audience), account) in runs.into_iter().zip(&world.config.accounts) {
        let from = account.senders.first().map(|sender| sender.from.clone()).unwrap_or_default();
        let campaign = campaign(vendor, &audience, account.name.clone(), from);
        let created = create_once(&world.client, &campaign, &new_idempotency_key()).await?;
        let task = created.task_id.context("the campaign has no task")?;
        launched.push(Run { vendor, audience, task });
    }
    Ok(launched)
}

fn campaign(vendor: Vendor, audience: &Audience, account: String, from: String) -> NewCampaign {
    NewCampaign {
        name: format!("{vendor} demo"),
        account,
        from,
        audience_id: audience.id,
        message: message(&audience.columns),
        schedule: None,
        sending_window: None,
        messages_per_second: None,
        canary: None,
        max_attempts: None,
        expires_at: None,
        on_unknown: None,
        category: Some(api::Category::Utility),
        priority: None,
        launch: true,
    }
}

/// A template with two variables, filled from the file's first two columns where it has any.
fn message(columns: &[String]) -> Value {
    let text = |index: usize, otherwise: &str| match columns.get(index) {
        Some(column) if !column.contains(['{', '}', '|']) => format!("{{{{{column}|{otherwise}}}}}"),
        _ => otherwise.to_owned(),
    };
    let parameters =
        json!([{"type": "text", "text": text(0, "friend")}, {"type": "text", "text": text(1, "A-1")}]);
    json!({"type": "template", "template": {"name": "order_update", "language": {"code": "en"},
        "components": [{"type": "body", "parameters": parameters}]}})
}

/// Shows all tasks until they have ended and the last reports are in.
pub async fn follow(world: &World, runs: &[Run]) -> anyhow::Result<Vec<Task>> {
    println!();
    let mut screen = Screen::new(false);
    let mut contact = Contact::default();
    let mut moved: Option<(Vec<Counts>, Instant)> = None;
    let mut ticks = tokio::time::interval(PERIOD);
    let mut is_odd = false;
    loop {
        ticks.tick().await;
        let asked = futures::future::try_join_all(runs.iter().map(|run| world.client.task(run.task))).await;
        let Some(tasks) = contact.taken(asked, &mut screen)? else { continue };
        is_odd = !is_odd;
        if screen.is_live() {
            screen.draw(&View::of_terminal().tasks(&tasks))?;
        } else if is_odd {
            for task in &tasks {
                screen.line(&plain(task))?;
            }
        }
        let counts: Vec<Counts> = tasks.iter().map(|task| task.counts).collect();
        let since = match &moved {
            Some((before, since)) if *before == counts => *since,
            _ => {
                moved = Some((counts, Instant::now()));
                continue;
            }
        };
        let has_ended = |task: &Task| matches!(task.state, TaskState::Completed | TaskState::Halted);
        let is_over = tasks.iter().all(has_ended) && since.elapsed() >= STILL;
        if is_over || since.elapsed() >= STUCK {
            return Ok(tasks);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_message_takes_what_columns_there_are() {
        let texts = |columns: &[&str]| {
            let columns: Vec<String> = columns.iter().map(|column| (*column).to_owned()).collect();
            let message = message(&columns);
            let parameters = &message["template"]["components"][0]["parameters"];
            [0, 1].map(|index| parameters[index]["text"].as_str().unwrap().to_owned())
        };
        assert_eq!(texts(&["name", "order"]), ["{{name|friend}}", "{{order|A-1}}"]);
        assert_eq!(texts(&["odd|name"]), ["friend", "A-1"]);
    }
}

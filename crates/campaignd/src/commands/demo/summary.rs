//! The demo's end: every recipient is accounted for, and the stand-ins' own ledger agrees.

use api::{Counts, Task, TaskState};
use serde::Serialize;

use super::{campaigns::Run, world::World};
use crate::{
    cli::OutputFormat,
    commands::{audit, database::Opened},
    context::Outcome,
    output::{Output, Record, thousands},
};

/// One vendor's line.
#[derive(Serialize)]
struct Line {
    vendor: &'static str,
    rows: i64,
    not_taken: i64,
    counts: Counts,
    reached_vendor: u64,
    sent_twice: usize,
    audit: &'static str,
}

impl Record for Line {
    const COLUMNS: &'static [&'static str] = &[
        "vendor",
        "rows",
        "not taken",
        "recipients",
        "accepted",
        "sent",
        "delivered",
        "read",
        "failed",
        "suppressed",
        "retrying",
        "unknown",
        "at vendor",
        "twice",
        "audit",
    ];

    fn cells(&self) -> Vec<String> {
        let counts = &self.counts;
        let numbers = [
            self.rows,
            self.not_taken,
            counts.total,
            counts.accepted,
            counts.sent,
            counts.delivered,
            counts.read,
            counts.failed,
            counts.suppressed,
            counts.retrying,
            counts.unknown,
        ];
        [self.vendor.to_owned()]
            .into_iter()
            .chain(numbers.map(thousands))
            .chain([
                thousands(i64::try_from(self.reached_vendor).unwrap_or(i64::MAX)),
                self.sent_twice.to_string(),
                self.audit.to_owned(),
            ])
            .collect()
    }
}

/// Prints the summary; done when all tasks have ended, the audit holds and nobody was sent anything twice.
pub async fn print(world: &World, runs: &[Run], tasks: &[Task]) -> anyhow::Result<Outcome> {
    let opened = Opened::open(&world.config).await?;
    let audits = audit::audit(&opened.database, None).await;
    opened.close().await;
    let audits = audits?;
    let duplicates = world.simulator.duplicates();
    let holds = |id: i64| audits.iter().any(|audit| audit.task_id == id && audit.holds());
    let lines: Vec<Line> = runs
        .iter()
        .zip(tasks)
        .map(|(run, task)| Line {
            vendor: run.vendor.name(),
            rows: run.audience.rows.read,
            not_taken: run.audience.rows.rejected + run.audience.rows.duplicate,
            counts: task.counts,
            reached_vendor: world.simulator.accepted_total_of(run.vendor),
            sent_twice: duplicates.iter().filter(|duplicate| duplicate.vendor == run.vendor).count(),
            audit: if holds(task.id) { "holds" } else { "FAILS" },
        })
        .collect();
    println!();
    Output::new(OutputFormat::Table).list(&lines)?;
    for line in audit::lines(&audits) {
        println!("{line}");
    }
    for task in tasks.iter().filter(|task| task.state != TaskState::Completed) {
        let reason = task.halt_reason.as_deref().unwrap_or("it stands still");
        println!("task {} ({}) is {}: {reason}", task.id, task.name, task.state.as_str());
    }
    let is_right = |line: &Line| line.audit == "holds" && line.sent_twice == 0 && line.counts.unknown == 0;
    let has_ended = tasks.iter().all(|task| task.state == TaskState::Completed);
    if has_ended && lines.iter().all(is_right) {
        println!("every message is accounted for");
        return Ok(Outcome::Done);
    }
    println!("NOT every message is accounted for");
    Ok(Outcome::Failed)
}

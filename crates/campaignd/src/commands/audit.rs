//! `audit`: the proof that every recipient is in exactly one place.
//!
//! It reads the rows, one snapshot per task, and never writes; it may run while the daemon sends.

use chrono::{DateTime, Utc};
use clap::Args;
use serde::Serialize;
use store::audit::TaskAudit;

use super::database::{Opened, connection, explained};
use crate::{
    context::{Context, Outcome},
    output::{Output, thousands, time},
};

/// Arguments of `audit`.
#[derive(Debug, Args)]
pub struct AuditArgs {
    /// One task only
    task: Option<i64>,
}

/// What is printed for programs.
#[derive(Debug, Serialize)]
struct Finding {
    task_id: i64,
    holds: bool,
    total: i64,
    places: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    details_removed_at: Option<DateTime<Utc>>,
    findings: Vec<String>,
}

pub async fn run(context: &Context, args: &AuditArgs) -> anyhow::Result<Outcome> {
    let config = context.config()?;
    let opened = Opened::open(&config).await?;
    let audits = audit(&opened.database, args.task).await;
    opened.close().await;
    report(&audits?, context.output())
}

/// Audits one task, or all.
pub async fn audit(database: &store::Database, task: Option<i64>) -> anyhow::Result<Vec<TaskAudit>> {
    let mut connection = connection(database).await?;
    let ids = match task {
        Some(id) => vec![id],
        None => store::audit::task_ids(&mut connection).await.map_err(explained)?,
    };
    let mut audits = Vec::new();
    for id in ids {
        match store::audit::task(&mut connection, id).await.map_err(explained)? {
            Some(audit) => audits.push(audit),
            None if task.is_some() => {
                anyhow::bail!("there is no task {id}; `campaignd task list` names them")
            }
            None => {} // deleted since it was listed
        }
    }
    Ok(audits)
}

/// Prints what was found; failed when anything does not hold.
pub fn report(audits: &[TaskAudit], output: Output) -> anyhow::Result<Outcome> {
    let lines = lines(audits);
    let found: Vec<Finding> = audits
        .iter()
        .map(|audit| Finding {
            task_id: audit.task_id,
            holds: audit.holds(),
            total: audit.counts.total,
            places: audit.counts.places(),
            details_removed_at: audit.details_removed_at,
            findings: audit.findings.clone(),
        })
        .collect();
    output.lines_or_json(&lines, &found)?;
    Ok(if audits.iter().all(TaskAudit::holds) { Outcome::Done } else { Outcome::Failed })
}

/// One line a task, and one for each thing that does not hold.
pub fn lines(audits: &[TaskAudit]) -> Vec<String> {
    let mut lines = Vec::new();
    for audit in audits {
        let total = thousands(audit.counts.total);
        if audit.holds()
            && let Some(at) = audit.details_removed_at
        {
            lines.push(format!(
                "task {}: skipped, retention removed its messages at {}; the kept counts add up to {total}",
                audit.task_id,
                time(at)
            ));
        } else if audit.holds() {
            lines.push(format!(
                "task {}: each of {total} recipients is in exactly one place, and the counts agree",
                audit.task_id
            ));
        } else {
            lines.push(format!("task {}: WRONG for some of {total} recipients", audit.task_id));
            lines.extend(audit.findings.iter().map(|finding| format!("  {finding}")));
        }
    }
    if audits.is_empty() {
        lines.push("there are no tasks".to_owned());
    }
    lines
}

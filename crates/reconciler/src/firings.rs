//! Timed tasks at their time: what is due starts, what is due since too long waits for a person, and a recurring campaign gets
//! the task of its next firing.

use std::time::Duration;

use chrono::{DateTime, Utc};
use model::{
    campaign::{Schedule, Timeliness, timeliness},
    disposition::Scope,
};
use store::{
    PgConnection,
    effects::{self, Effects, NewHalt},
    firings::{self, Due},
};

/// Started in one step: a step holds the account's fence.
const AT_ONCE: i64 = 100;
/// The code of a halt for a start that was missed.
const LATE: &str = "late";

/// Starts what is due; whether anybody may be sent to because of it.
pub(crate) async fn step(
    conn: &mut PgConnection,
    account: &str,
    now: DateTime<Utc>,
    late_after: Duration,
) -> store::Result<bool> {
    let due = firings::due(conn, account, now, AT_ONCE).await?;
    if due.is_empty() {
        return Ok(false);
    }
    let late = |due: &&Due| matches!(timeliness(due.starts_at, now, late_after), Timeliness::Late { .. });
    // Who resumes a paused one decides the same.
    let halts = due.iter().filter(|due| !due.is_paused).filter(late).map(|due| halt(account, due));
    let effects = Effects { halts: halts.collect(), suppressions: Vec::new() };
    effects::apply(conn, &effects, now).await?;
    let ids: Vec<i64> = due.iter().map(|due| due.task_id).collect();
    let started = firings::start(conn, &ids, now).await?;
    for due in &due {
        if let Some(next) = due.schedule.as_ref().and_then(|schedule| next_firing(due, schedule, now)) {
            let task_id = firings::schedule(conn, due.campaign_id, next, now).await?;
            tracing::info!(campaign.id = due.campaign_id, task.id = task_id, %next, "the next firing");
        }
    }
    Ok(started > 0)
}

/// When a recurring campaign fires next. What was missed meanwhile is not made up for: the firing that is due stands for it.
fn next_firing(due: &Due, schedule: &Schedule, now: DateTime<Utc>) -> Option<DateTime<Utc>> {
    schedule.next_firing(due.starts_at.max(now)).unwrap_or_else(|error| {
        tracing::error!(campaign.id = due.campaign_id, %error, "the schedule cannot be read: it ends here");
        None
    })
}

fn halt(account: &str, due: &Due) -> NewHalt {
    NewHalt {
        scope: Scope::Task,
        account: account.to_owned(),
        value: due.task_id.to_string(),
        code: LATE.to_owned(),
        reason: format!("it was to start at {}, and nothing ran then", due.starts_at.to_rfc3339()),
        remedy: "Resume the task, lifting the halt, if the message is still wanted now; else cancel it."
            .to_owned(),
        lifts_at: None,
    }
}

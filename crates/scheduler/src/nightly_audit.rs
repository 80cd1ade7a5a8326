//! The nightly proof that everybody is in exactly one place: one task at a time, by one node, with pauses.
//!
//! It reads only; what it finds goes into the log, into the book that metrics show, and nowhere else. It never mends.

use std::time::Duration;

use chrono::{DateTime, NaiveDate, TimeDelta, Utc};
use model::Clock;
use store::{
    Database, Error, PoolConnection, Postgres,
    audit::{self, TaskAudit},
    audits::{self, Night},
};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

/// A night begins at this time, in UTC: when most of the places that campaigns are sent from sleep.
const BEGINS_MINUTES: i64 = 20 * 60 + 30;
/// Tasks that are listed at once.
const LIST: i64 = 100;
/// After each task it rests for as long as the task took, but no longer than this.
const LONGEST_REST: Duration = Duration::from_secs(10);

/// What a night's audit came to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Audited {
    /// Tasks that were looked at.
    pub tasks: u64,
    /// Those of which something is wrong.
    pub wrong: u64,
}

/// The night that `now` belongs to, by the day on which it began.
pub(crate) fn night_of(now: DateTime<Utc>) -> NaiveDate {
    (now - TimeDelta::minutes(BEGINS_MINUTES)).date_naive()
}

/// Audits what the present night still has to look at. None: it is done, or another node does it.
///
/// # Errors
/// The database did not do it; what was found until then is noted, and the next turn goes on behind it.
pub(crate) async fn run(
    database: &Database,
    clock: &Clock,
    node: Uuid,
    stop: &CancellationToken,
) -> store::Result<Option<Audited>> {
    let now = clock.now();
    let begun = audits::begin(&mut *connection(database).await?, night_of(now), node, now).await?;
    let Some(night) = begun else { return Ok(None) };
    let (mut audited, mut after) = (Audited::default(), 0);
    loop {
        let tasks = audits::due(&mut *connection(database).await?, &night, after, LIST).await?;
        let Some(last) = tasks.last() else { break };
        after = *last;
        for task_id in tasks {
            if stop.is_cancelled() {
                return Ok(Some(audited));
            }
            let began = Instant::now();
            let mut conn = connection(database).await?;
            let Some(found) = audit::task(&mut conn, task_id).await? else { continue };
            if !note(&mut conn, &night, &found, clock.now()).await? {
                return Ok(Some(audited));
            }
            // Others may have it during the rest.
            drop(conn);
            audited.tasks += 1;
            audited.wrong += u64::from(!found.holds());
            rest(began.elapsed(), stop).await;
        }
    }
    audits::finish(&mut *connection(database).await?, &night, clock.now()).await?;
    Ok(Some(audited))
}

async fn connection(database: &Database) -> store::Result<PoolConnection<Postgres>> {
    database.general.acquire().await.map_err(Error::database("auditing"))
}

/// Notes what was found, and says loudly what does not hold. False: the night is another node's by now.
async fn note(
    conn: &mut store::PgConnection,
    night: &Night,
    found: &TaskAudit,
    now: DateTime<Utc>,
) -> store::Result<bool> {
    if !found.holds() {
        tracing::error!(
            task.id = found.task_id,
            findings = found.findings.join("; "),
            "the rows and counts of a task do not agree. Pause the task and keep a dump of the database; `campaignd audit {}` \
            shows it again, and docs/OPERATIONS.md says how to go on",
            found.task_id
        );
    }
    audits::record(conn, night, found, now).await
}

async fn rest(took: Duration, stop: &CancellationToken) {
    tokio::select! {
        () = tokio::time::sleep(took.min(LONGEST_REST)) => {}
        () = stop.cancelled() => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_night_bears_the_day_on_which_it_began() {
        let night = |time: &str| night_of(time.parse().unwrap()).to_string();
        assert_eq!(night("2026-11-21T20:29:59Z"), "2026-11-20");
        assert_eq!(night("2026-11-21T20:30:00Z"), "2026-11-21");
        assert_eq!(night("2026-11-22T12:00:00Z"), "2026-11-21");
    }
}

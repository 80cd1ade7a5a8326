//! The small steps that keep tasks true to the clock, and counts short: each bounded, each safe to repeat.

use std::{sync::Arc, time::Duration};

use chrono::TimeDelta;
use store::{
    Error, PgConnection,
    database::LIMIT_STEP,
    early,
    effects::{self, Effects},
    idempotency, inbox,
    leases::{self, Lease},
    maintenance, progress,
};
use tokio_util::sync::CancellationToken;

use crate::{Shared, blame, canary, events, firings, share::Shares};

/// Between two rounds.
const ROUND: Duration = Duration::from_millis(250);
/// Rounds between the slower steps.
const SLOW: u64 = 4;
/// Rounds between the daily steps: an hour.
const RARE: u64 = 4 * 3600;
/// After this long nobody will claim an early report.
const FOREIGN_HOURS: i64 = 72;

/// Does what is no account's, until `stop`.
pub(crate) async fn run(shared: Arc<Shared>, stop: CancellationToken) {
    let mut round = 0_u64;
    while !stop.is_cancelled() {
        let chores = general(&shared, round);
        if let Err(error) = shared.db.within(LIMIT_STEP, "doing chores", chores).await {
            tracing::warn!(%error, "the chores of every node cannot be done; trying again");
        }
        round += 1;
        pause(&stop).await;
    }
}

/// Does what is the account's, until `stop`.
pub(crate) async fn run_account(shared: Arc<Shared>, lease: Lease, stop: CancellationToken) {
    let mut shares = Shares::default();
    let mut round = 0_u64;
    while !stop.is_cancelled() {
        if let Ok(_turn) = shared.chores.acquire().await {
            let chores = of_account(&shared, &lease, &mut shares, round);
            match shared.db.within(LIMIT_STEP, "doing chores", chores).await {
                Ok(()) | Err(Error::Fenced) => {}
                Err(error) => {
                    tracing::warn!(account.name = lease.account, %error, "the account's chores cannot be done");
                }
            }
        }
        round += 1;
        pause(&stop).await;
    }
}

async fn pause(stop: &CancellationToken) {
    tokio::select! {
        () = stop.cancelled() => {}
        () = tokio::time::sleep(ROUND) => {}
    }
}

/// What any node may do.
async fn general(shared: &Shared, round: u64) -> store::Result<()> {
    let mut conn = shared.db.background.acquire().await.map_err(Error::database("doing chores"))?;
    let now = shared.clock.now();
    if round.is_multiple_of(RARE) {
        // Tomorrow first, and each on its own: a day without a partition lands in the rest, and is no loss.
        for days in [1, 2, 0] {
            let day = now.date_naive() + TimeDelta::days(days);
            if let Err(error) = inbox::ensure_partition(&mut conn, day).await {
                tracing::error!(%error, %day, "the inbox has no partition for a day; its callbacks go to the rest");
            }
        }
        idempotency::forget(&mut conn, now - TimeDelta::days(1)).await?;
        events::forget(shared).await?;
    }
    if round.is_multiple_of(SLOW) {
        while progress::fold(&mut conn, now).await? {}
    }
    Ok(())
}

/// What the account's owner does.
async fn of_account(shared: &Shared, lease: &Lease, shares: &mut Shares, round: u64) -> store::Result<()> {
    let mut transaction =
        store::begin_in(&shared.db.background).await.map_err(Error::database("doing chores"))?;
    let conn: &mut PgConnection = &mut transaction;
    let now = shared.clock.now();
    leases::fence(conn, lease).await?;
    let mut may_send = firings::step(conn, &lease.account, now, shared.late_after).await?;
    maintenance::complete_tasks(conn, &lease.account, now).await?;
    if round.is_multiple_of(SLOW) {
        maintenance::expire_tasks(conn, &lease.account, now).await?;
        may_send |= maintenance::lift_due_halts(conn, &lease.account, now).await? > 0;
        // Before the share of failures, which knows less of why.
        may_send |= canary::step(conn, shared, &lease.account, now).await?;
        let counts = maintenance::outcome_counts(conn, &lease.account).await?;
        let failing = shares.observe(&counts, now);
        let mut halts = Vec::with_capacity(failing.len());
        for task_id in &failing {
            let codes = maintenance::error_codes(conn, *task_id).await?;
            let vendor = shared.vendors.get(&lease.account).copied();
            halts.push(blame::halt(&lease.account, *task_id, vendor, &codes));
        }
        effects::apply(conn, &Effects { halts, suppressions: Vec::new() }, now).await?;
        for count in counts.iter().filter(|count| failing.contains(&count.task_id)) {
            shares.forget(count.task_id, count);
        }
    }
    if round.is_multiple_of(RARE) {
        early::drop_foreign(conn, &lease.account, now - TimeDelta::hours(FOREIGN_HOURS)).await?;
        inbox::forget_positions(conn, &lease.account, now.date_naive()).await?;
    }
    transaction.commit().await.map_err(Error::database("doing chores"))?;
    if may_send {
        (shared.wake_dispatcher)(&lease.account);
    }
    Ok(())
}

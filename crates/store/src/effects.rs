//! What a failure does beyond its recipient: halts and suppressions, written in the transaction that records it.

use chrono::{DateTime, TimeDelta, Utc};
use model::{Phone, decide::Suppression, disposition::Scope};
use sqlx::PgConnection;

use crate::{Error, Result, outcomes};

/// A halt to be written, unless one holds that scope already.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewHalt {
    /// What stands still.
    pub scope: Scope,
    /// The account.
    pub account: String,
    /// The task's id, `name/language`, the sender, or the account, by the scope.
    pub value: String,
    /// The code that brought it.
    pub code: String,
    /// What the vendor said.
    pub reason: String,
    /// What to do about it.
    pub remedy: String,
    /// When it is lifted by itself.
    pub lifts_at: Option<DateTime<Utc>>,
}

/// A number to be suppressed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewSuppression {
    /// The number.
    pub phone: Phone,
    /// Why.
    pub suppression: Suppression,
    /// The code that brought it.
    pub code: String,
}

/// Halts and suppressions of one transaction.
#[derive(Clone, Debug, Default)]
pub struct Effects {
    /// Halts.
    pub halts: Vec<NewHalt>,
    /// Suppressions.
    pub suppressions: Vec<NewSuppression>,
}

/// The number that the database keeps for a halt's scope.
#[must_use]
pub fn scope_number(scope: Scope) -> i16 {
    match scope {
        Scope::Task => 1,
        Scope::Template => 2,
        Scope::Sender => 3,
        Scope::Account => 4,
    }
}

/// Writes the effects; how many halts are new.
///
/// # Errors
/// The database did not do it.
pub async fn apply(conn: &mut PgConnection, effects: &Effects, now: DateTime<Utc>) -> Result<u64> {
    let mut new_halts = 0;
    for halt in &effects.halts {
        new_halts += insert_halt(conn, halt, now).await?;
    }
    for suppression in &effects.suppressions {
        insert_suppression(conn, suppression, now).await?;
    }
    Ok(new_halts)
}

async fn insert_halt(conn: &mut PgConnection, halt: &NewHalt, now: DateTime<Utc>) -> Result<u64> {
    let inserted = sqlx::query(
        "INSERT INTO halts (scope, account, value, code, reason, remedy, since, lifts_at)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8)
         ON CONFLICT (account, scope, value) DO NOTHING",
    )
    .bind(scope_number(halt.scope))
    .bind(&halt.account)
    .bind(&halt.value)
    .bind(&halt.code)
    .bind(&halt.reason)
    .bind(&halt.remedy)
    .bind(now)
    .bind(halt.lifts_at)
    .execute(&mut *conn)
    .await
    .map_err(Error::database("writing a halt"))?;
    // A halt shows even when nothing is queued any more: a completed task is halted by a late report.
    if halt.scope == Scope::Task
        && let Ok(task_id) = halt.value.parse::<i64>()
    {
        outcomes::wake_tasks(conn, &[task_id]).await?;
    }
    Ok(inserted.rows_affected())
}

async fn insert_suppression(conn: &mut PgConnection, new: &NewSuppression, now: DateTime<Utc>) -> Result<()> {
    let (reason, expires_at) = match new.suppression {
        Suppression::OptOut => (1_i16, None),
        Suppression::Invalid { days, from_time } => {
            if strike(conn, new, now).await? < i32::from(from_time) {
                return Ok(());
            }
            (2, Some(now + TimeDelta::days(i64::from(days))))
        }
    };
    sqlx::query(
        "INSERT INTO suppressions AS s (phone, reason, source, created_at, expires_at)
         VALUES ($1, $2, $3, $4, $5)
         ON CONFLICT (phone) DO UPDATE
         SET reason = excluded.reason, source = excluded.source, created_at = excluded.created_at,
             expires_at = excluded.expires_at
         WHERE s.expires_at IS NOT NULL
           AND (excluded.expires_at IS NULL OR excluded.expires_at > s.expires_at)",
    )
    .bind(new.phone.as_i64())
    .bind(reason)
    .bind(format!("code {}", new.code))
    .bind(now)
    .bind(expires_at)
    .execute(conn)
    .await
    .map_err(Error::database("suppressing a number"))?;
    Ok(())
}

/// Counts that a number has had a code; how often it has by now.
async fn strike(conn: &mut PgConnection, new: &NewSuppression, now: DateTime<Utc>) -> Result<i32> {
    sqlx::query_scalar(
        "INSERT INTO strikes AS s (phone, code, times, last_at) VALUES ($1, $2, 1, $3)
         ON CONFLICT (phone, code) DO UPDATE SET times = s.times + 1, last_at = excluded.last_at
         RETURNING times",
    )
    .bind(new.phone.as_i64())
    .bind(&new.code)
    .bind(now)
    .fetch_one(conn)
    .await
    .map_err(Error::database("counting a strike"))
}

/// Lifts the halt of a template: the vendor approved it again. A template that was disabled stays halted.
///
/// # Errors
/// The database did not do it.
pub async fn lift_template(
    conn: &mut PgConnection,
    account: &str,
    template: &str,
    but_code: &str,
) -> Result<u64> {
    let lifted =
        sqlx::query("DELETE FROM halts WHERE account = $1 AND scope = 2 AND value = $2 AND code <> $3")
            .bind(account)
            .bind(template)
            .bind(but_code)
            .execute(conn)
            .await
            .map_err(Error::database("lifting a template's halt"))?;
    Ok(lifted.rows_affected())
}

//! What stands still and why. A task runs while no halt holds it; lifting deletes the row, and its tasks run on by
//! themselves. Halts are written with the failure that brings them (see `effects`).

use chrono::{DateTime, Utc};
use model::disposition::Scope;
use sqlx::{FromRow, PgConnection};

use crate::{
    Error, Result,
    effects::{NewHalt, scope_number},
    events, sql,
};

/// Something that stands still.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Halt {
    /// Its id.
    pub id: i64,
    /// What kind of thing.
    pub scope: Scope,
    /// The account that it belongs to.
    pub account: String,
    /// Which: the task's id, `name/language`, the sender, the account.
    pub value: String,
    /// The code that halted it.
    pub code: String,
    /// What the code means, or the vendor's text.
    pub reason: String,
    /// What to do before it is lifted.
    pub remedy: String,
    /// Since when.
    pub since: DateTime<Utc>,
    /// When it lifts by itself.
    pub lifts_at: Option<DateTime<Utc>>,
}

#[derive(FromRow)]
struct HaltRow {
    id: i64,
    scope: i16,
    account: String,
    value: String,
    code: String,
    reason: String,
    remedy: String,
    since: DateTime<Utc>,
    lifts_at: Option<DateTime<Utc>>,
}

impl TryFrom<HaltRow> for Halt {
    type Error = Error;

    fn try_from(row: HaltRow) -> Result<Self> {
        let scope = [Scope::Task, Scope::Template, Scope::Sender, Scope::Account]
            .into_iter()
            .find(|scope| scope_number(*scope) == row.scope)
            .ok_or_else(|| Error::contradiction("halts", "scope", row.id, row.scope))?;
        Ok(Self {
            id: row.id,
            scope,
            account: row.account,
            value: row.value,
            code: row.code,
            reason: row.reason,
            remedy: row.remedy,
            since: row.since,
            lifts_at: row.lifts_at,
        })
    }
}

/// A page of halts, the newest first; `account` narrows.
///
/// # Errors
/// The database did not do it.
pub async fn list(
    conn: &mut PgConnection,
    account: Option<&str>,
    before: Option<i64>,
    limit: i64,
) -> Result<Vec<Halt>> {
    let rows: Vec<HaltRow> = sql::query_as(
        "SELECT id, scope, account, value, code, reason, remedy, since, lifts_at FROM halts
         WHERE ($1::text IS NULL OR account = $1) AND ($2::bigint IS NULL OR id < $2)
         ORDER BY id DESC LIMIT $3",
    )
    .bind(account)
    .bind(before)
    .bind(limit)
    .fetch_all(conn)
    .await
    .map_err(Error::database("listing halts"))?;
    rows.into_iter().map(Halt::try_from).collect()
}

/// The halts that hold the task, the widest first.
///
/// # Errors
/// The database did not do it.
pub async fn holding(conn: &mut PgConnection, task_id: i64) -> Result<Vec<Halt>> {
    Ok(holding_any(conn, &[task_id]).await?.into_iter().map(|(_, halt)| halt).collect())
}

#[derive(FromRow)]
struct HoldingRow {
    task_id: i64,
    #[sqlx(flatten)]
    halt: HaltRow,
}

/// The halts that hold any of the tasks, with the task; the widest first.
///
/// # Errors
/// The database did not do it.
pub async fn holding_any(conn: &mut PgConnection, task_ids: &[i64]) -> Result<Vec<(i64, Halt)>> {
    let rows: Vec<HoldingRow> = sql::query_as(
        "SELECT t.id AS task_id,
                h.id, h.scope, h.account, h.value, h.code, h.reason, h.remedy, h.since, h.lifts_at
         FROM tasks t JOIN halts h ON h.account = t.account
          AND (h.scope = 4
               OR (h.scope = 3 AND h.value = t.sender)
               OR (h.scope = 2 AND h.value = t.template)
               OR (h.scope = 1 AND h.value = t.id::text))
         WHERE t.id = ANY ($1) ORDER BY h.scope DESC, h.id",
    )
    .bind(task_ids)
    .fetch_all(conn)
    .await
    .map_err(Error::database("reading what holds tasks"))?;
    rows.into_iter().map(|row| Ok((row.task_id, row.halt.try_into()?))).collect()
}

/// Lifts a halt, in the caller's transaction; what was lifted, or none when there is no such halt.
///
/// # Errors
/// The database did not do it.
pub async fn lift(conn: &mut PgConnection, id: i64) -> Result<Option<Halt>> {
    let row: Option<HaltRow> = sql::query_as(
        "DELETE FROM halts WHERE id = $1
         RETURNING id, scope, account, value, code, reason, remedy, since, lifts_at",
    )
    .bind(id)
    .fetch_optional(&mut *conn)
    .await
    .map_err(Error::database("lifting a halt"))?;
    if let Some(row) = &row {
        events::tasks_of(conn, &row.account, None).await?;
    }
    row.map(Halt::try_from).transpose()
}

/// Lifts the halt of one thing; whether there was one.
///
/// # Errors
/// The database did not do it.
pub async fn lift_of(conn: &mut PgConnection, scope: Scope, account: &str, value: &str) -> Result<bool> {
    let rows = sql::query("DELETE FROM halts WHERE account = $1 AND scope = $2 AND value = $3")
        .bind(account)
        .bind(scope_number(scope))
        .bind(value)
        .execute(&mut *conn)
        .await
        .map_err(Error::database("lifting a halt"))?
        .rows_affected();
    if rows > 0 {
        events::tasks_of(conn, account, None).await?;
    }
    Ok(rows == 1)
}

/// Halts a template by what its vendor told. A halt that stands says from now on what is told, unless its code is
/// `stronger`; whether anything is new.
///
/// # Errors
/// The database did not do it.
pub async fn halt_template(
    conn: &mut PgConnection,
    halt: &NewHalt,
    stronger: &str,
    now: DateTime<Utc>,
) -> Result<u64> {
    let rows = sql::query(
        "INSERT INTO halts AS h (scope, account, value, code, reason, remedy, since, lifts_at)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8)
         ON CONFLICT (account, scope, value) DO UPDATE
         SET code = excluded.code, reason = excluded.reason, remedy = excluded.remedy, lifts_at = excluded.lifts_at
         WHERE h.code <> $9",
    )
    .bind(scope_number(Scope::Template))
    .bind(&halt.account)
    .bind(&halt.value)
    .bind(&halt.code)
    .bind(&halt.reason)
    .bind(&halt.remedy)
    .bind(now)
    .bind(halt.lifts_at)
    .bind(stronger)
    .execute(&mut *conn)
    .await
    .map_err(Error::database("halting a template"))?
    .rows_affected();
    if rows > 0 {
        events::tasks_of(conn, &halt.account, Some(now)).await?;
    }
    Ok(rows)
}

/// Lifts an account's own halt when this code brought it; whether it did.
///
/// # Errors
/// The database did not do it.
pub async fn lift_account(conn: &mut PgConnection, account: &str, code: &str) -> Result<bool> {
    let rows = sql::query("DELETE FROM halts WHERE account = $1 AND scope = $2 AND code = $3")
        .bind(account)
        .bind(scope_number(Scope::Account))
        .bind(code)
        .execute(&mut *conn)
        .await
        .map_err(Error::database("lifting an account's halt"))?
        .rows_affected();
    if rows > 0 {
        events::tasks_of(conn, account, None).await?;
    }
    Ok(rows > 0)
}

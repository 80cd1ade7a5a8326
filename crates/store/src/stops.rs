//! Calls that are to begin no more, asked of the node that owns their account by the node that was told so.

use sqlx::PgConnection;
use uuid::Uuid;

use crate::{Error, Result, sql};

/// Asks whoever owns the account to begin no call of these tasks any more; what was asked. Nothing where `node` itself owns
/// it, or nobody does.
///
/// # Errors
/// The database did not do it, or may have.
pub async fn ask(conn: &mut PgConnection, account: &str, task_ids: &[i64], node: Uuid) -> Result<Vec<i64>> {
    sql::query_scalar(
        "INSERT INTO stop_requests (account, task_id)
         SELECT l.account, i.task_id FROM account_leases l CROSS JOIN UNNEST($2::bigint[]) AS i (task_id)
         WHERE l.account = $1 AND l.owner <> $3 AND l.expires_at >= clock_timestamp()
         RETURNING id",
    )
    .bind(account)
    .bind(task_ids)
    .bind(node)
    .fetch_all(conn)
    .await
    .map_err(Error::database("asking the owner of an account to stop calls"))
}

/// Whether none of what was asked waits for its answer any more: it was given, or the owner is gone, who begins nothing
/// either.
///
/// # Errors
/// The database did not do it.
pub async fn are_answered(conn: &mut PgConnection, asked: &[i64]) -> Result<bool> {
    sql::query_scalar(
        "SELECT NOT EXISTS (SELECT FROM stop_requests s JOIN account_leases l ON l.account = s.account
                            WHERE s.id = ANY ($1) AND l.owner IS NOT NULL AND l.expires_at >= clock_timestamp())",
    )
    .bind(asked)
    .fetch_one(conn)
    .await
    .map_err(Error::database("looking whether calls were stopped"))
}

/// What the account's owner is asked to stop: each with its task.
///
/// # Errors
/// The database did not do it.
pub async fn asked_of(conn: &mut PgConnection, account: &str) -> Result<Vec<(i64, i64)>> {
    sql::query_as("SELECT id, task_id FROM stop_requests WHERE account = $1")
        .bind(account)
        .fetch_all(conn)
        .await
        .map_err(Error::database("reading which calls are to be stopped"))
}

/// Says that it is done, or that nobody waits for it any more.
///
/// # Errors
/// The database did not do it.
pub async fn answer(conn: &mut PgConnection, asked: &[i64]) -> Result<()> {
    sql::query("DELETE FROM stop_requests WHERE id = ANY ($1)")
        .bind(asked)
        .execute(conn)
        .await
        .map_err(Error::database("saying that calls were stopped"))?;
    Ok(())
}

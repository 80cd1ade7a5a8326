//! The answers of POSTs that bore an Idempotency-Key: the same key and request get the same resource again.

use chrono::{DateTime, Utc};
use sqlx::PgConnection;

use crate::{Error, Result, sql};

/// What a key stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Claim {
    /// It was free and is ours now.
    New,
    /// It made this resource, by the same request.
    Done(i64),
    /// The same request is under way, or broke off.
    UnderWay,
    /// It was used for another request.
    OtherRequest,
}

/// Claims `key` for a request, in the caller's transaction. Waits for another transaction that is claiming it.
///
/// # Errors
/// The database did not do it.
pub async fn claim(
    conn: &mut PgConnection,
    key: &str,
    operation: &str,
    fingerprint: &str,
    now: DateTime<Utc>,
) -> Result<Claim> {
    let inserted = sql::query(
        "INSERT INTO idempotency_keys (key, operation, fingerprint, created_at) VALUES ($1, $2, $3, $4)
         ON CONFLICT DO NOTHING",
    )
    .bind(key)
    .bind(operation)
    .bind(fingerprint)
    .bind(now)
    .execute(&mut *conn)
    .await
    .map_err(Error::database("claiming an idempotency key"))?
    .rows_affected();
    if inserted == 1 {
        return Ok(Claim::New);
    }
    let row: Option<(String, Option<i64>)> = sql::query_as(
        "SELECT fingerprint, resource_id FROM idempotency_keys WHERE key = $1 AND operation = $2",
    )
    .bind(key)
    .bind(operation)
    .fetch_optional(conn)
    .await
    .map_err(Error::database("reading an idempotency key"))?;
    Ok(match row {
        Some((known, _)) if known != fingerprint => Claim::OtherRequest,
        Some((_, Some(resource_id))) => Claim::Done(resource_id),
        // Released between the two statements: the caller's next try claims it.
        Some((_, None)) | None => Claim::UnderWay,
    })
}

/// Says which resource the key's request made.
///
/// # Errors
/// The database did not do it.
pub async fn complete(conn: &mut PgConnection, key: &str, operation: &str, resource_id: i64) -> Result<()> {
    sql::query("UPDATE idempotency_keys SET resource_id = $3 WHERE key = $1 AND operation = $2")
        .bind(key)
        .bind(operation)
        .bind(resource_id)
        .execute(conn)
        .await
        .map_err(Error::database("completing an idempotency key"))?;
    Ok(())
}

/// Gives a key back whose request made nothing.
///
/// # Errors
/// The database did not do it.
pub async fn release(conn: &mut PgConnection, key: &str, operation: &str) -> Result<()> {
    sql::query("DELETE FROM idempotency_keys WHERE key = $1 AND operation = $2 AND resource_id IS NULL")
        .bind(key)
        .bind(operation)
        .execute(conn)
        .await
        .map_err(Error::database("releasing an idempotency key"))?;
    Ok(())
}

/// Forgets keys older than `before`; how many.
///
/// # Errors
/// The database did not do it.
pub async fn forget(conn: &mut PgConnection, before: DateTime<Utc>) -> Result<u64> {
    Ok(sql::query("DELETE FROM idempotency_keys WHERE created_at < $1")
        .bind(before)
        .execute(conn)
        .await
        .map_err(Error::database("forgetting idempotency keys"))?
        .rows_affected())
}

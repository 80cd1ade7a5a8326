//! What vendors last told of business numbers: their quality, and to how many people they may write in a day.

use std::collections::HashMap;

use chrono::{DateTime, Utc};
use sqlx::{FromRow, PgConnection};

use crate::{Error, Result, sql};

/// What is known of a business number.
#[derive(Clone, Debug, PartialEq, Eq, FromRow)]
pub struct SenderLimit {
    /// The number, as the configuration writes it.
    pub sender: String,
    /// Distinct recipients in 24 hours; none: without limit, or not told.
    pub daily_recipients: Option<i32>,
    /// The vendor's word for that.
    pub tier: Option<String>,
    /// The vendor's word for what people think of it.
    pub quality: Option<String>,
    /// When it was told.
    pub told_at: DateTime<Utc>,
}

/// Keeps what a vendor tells of a number; what it does not tell this time stays. Older news than is known changes nothing.
///
/// # Errors
/// The database did not do it.
pub async fn keep(conn: &mut PgConnection, account: &str, told: &SenderLimit) -> Result<bool> {
    let rows = sql::query(
        "INSERT INTO sender_limits AS s (account, sender, daily_recipients, tier, quality, told_at)
         VALUES ($1, $2, $3, $4, $5, $6)
         ON CONFLICT (account, sender) DO UPDATE
         SET daily_recipients = CASE WHEN excluded.tier IS NULL THEN s.daily_recipients
                                     ELSE excluded.daily_recipients END,
             tier = COALESCE(excluded.tier, s.tier), quality = COALESCE(excluded.quality, s.quality),
             told_at = excluded.told_at
         WHERE s.told_at <= excluded.told_at",
    )
    .bind(account)
    .bind(&told.sender)
    .bind(told.daily_recipients)
    .bind(&told.tier)
    .bind(&told.quality)
    .bind(told.told_at)
    .execute(conn)
    .await
    .map_err(Error::database("keeping a number's limit"))?
    .rows_affected();
    Ok(rows == 1)
}

/// What is known of an account's numbers, by number.
///
/// # Errors
/// The database did not do it.
pub async fn of_account(conn: &mut PgConnection, account: &str) -> Result<HashMap<String, SenderLimit>> {
    let rows: Vec<SenderLimit> = sql::query_as(
        "SELECT sender, daily_recipients, tier, quality, told_at FROM sender_limits WHERE account = $1",
    )
    .bind(account)
    .fetch_all(conn)
    .await
    .map_err(Error::database("reading the numbers' limits"))?;
    Ok(rows.into_iter().map(|row| (row.sender.clone(), row)).collect())
}

/// The smaller of two limits, either of which may be missing.
#[must_use]
pub fn smaller(configured: Option<u32>, told: Option<i32>) -> Option<u32> {
    let told = told.and_then(|told| u32::try_from(told).ok());
    [configured, told].into_iter().flatten().min()
}

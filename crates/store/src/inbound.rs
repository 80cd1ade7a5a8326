//! What people sent to business numbers, kept as it came.

use chrono::{DateTime, Utc};
use model::report::Inbound;
use sqlx::PgConnection;

use crate::{Error, Result};

/// Keeps inbound messages. Someone who writes has a number that works: its suppression as invalid is lifted.
///
/// # Errors
/// The database did not do it.
pub async fn keep(
    conn: &mut PgConnection,
    account: &str,
    messages: &[(Inbound, DateTime<Utc>)],
) -> Result<()> {
    if messages.is_empty() {
        return Ok(());
    }
    let phones: Vec<i64> = messages.iter().map(|(message, _)| message.from.as_i64()).collect();
    sqlx::query(
        "INSERT INTO inbound (account, sender, phone, kind, text, is_click, vendor_id, in_reply_to, received_at)
         SELECT $1, * FROM UNNEST($2::text[], $3::bigint[], $4::text[], $5::text[], $6::boolean[], $7::text[],
                                  $8::text[], $9::timestamptz[])",
    )
    .bind(account)
    .bind(messages.iter().map(|(message, _)| message.to.as_str()).collect::<Vec<_>>())
    .bind(&phones)
    .bind(messages.iter().map(|(message, _)| message.kind.as_str()).collect::<Vec<_>>())
    .bind(messages.iter().map(|(message, _)| message.text.as_deref()).collect::<Vec<_>>())
    .bind(messages.iter().map(|(message, _)| message.is_click).collect::<Vec<_>>())
    .bind(messages.iter().map(|(message, _)| message.vendor_id.as_deref()).collect::<Vec<_>>())
    .bind(messages.iter().map(|(message, _)| message.in_reply_to.as_deref()).collect::<Vec<_>>())
    .bind(messages.iter().map(|(message, at)| message.at.unwrap_or(*at)).collect::<Vec<_>>())
    .execute(&mut *conn)
    .await
    .map_err(Error::database("keeping inbound messages"))?;
    sqlx::query("DELETE FROM suppressions WHERE phone = ANY ($1) AND reason = 2")
        .bind(phones)
        .execute(conn)
        .await
        .map_err(Error::database("lifting suppressions"))?;
    Ok(())
}

//! What people wrote and pressed, to be read. Rows are written where reports are applied.

use chrono::{DateTime, Utc};
use model::Phone;
use sqlx::{FromRow, PgConnection};

use crate::{Error, Result, sql};

/// Something that a person sent to a business number.
#[derive(Clone, Debug, PartialEq, Eq, FromRow)]
pub struct Inbound {
    /// Its id.
    pub id: i64,
    /// The account.
    pub account: String,
    /// The business number, as the vendor names it.
    pub sender: String,
    /// The person's phone, its digits.
    pub phone: i64,
    /// `text`, `button` …
    pub kind: String,
    /// The text, the button's text, or the caption.
    pub text: Option<String>,
    /// The press of a button.
    pub is_click: bool,
    /// The vendor's id of it.
    pub vendor_id: Option<String>,
    /// The vendor's id of the message that it answers.
    pub in_reply_to: Option<String>,
    /// When.
    pub received_at: DateTime<Utc>,
}

/// A page, the newest first; account and phone narrow.
///
/// # Errors
/// The database did not do it.
pub async fn list(
    conn: &mut PgConnection,
    account: Option<&str>,
    phone: Option<Phone>,
    before: Option<i64>,
    limit: i64,
) -> Result<Vec<Inbound>> {
    sql::query_as(
        "SELECT id, account, sender, phone, kind, text, is_click, vendor_id, in_reply_to, received_at
         FROM inbound
         WHERE ($1::text IS NULL OR account = $1) AND ($2::bigint IS NULL OR phone = $2)
           AND ($3::bigint IS NULL OR id < $3)
         ORDER BY id DESC LIMIT $4",
    )
    .bind(account)
    .bind(phone.map(Phone::as_i64))
    .bind(before)
    .bind(limit)
    .fetch_all(conn)
    .await
    .map_err(Error::database("listing inbound messages"))
}

/// Keeps inbound messages. Someone who writes has a number that works: its suppression as invalid is lifted.
///
/// # Errors
/// The database did not do it.
pub async fn keep(
    conn: &mut PgConnection,
    account: &str,
    messages: &[(model::report::Inbound, DateTime<Utc>)],
) -> Result<()> {
    if messages.is_empty() {
        return Ok(());
    }
    let phones: Vec<i64> = messages.iter().map(|(message, _)| message.from.as_i64()).collect();
    sql::query(
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
    // Locked in the order in which numbers are suppressed: two accounts must not wait for each other.
    sql::query(
        "WITH lifted AS MATERIALIZED (
            SELECT phone FROM suppressions WHERE phone = ANY ($1) AND reason = 2 ORDER BY phone FOR UPDATE
         )
         DELETE FROM suppressions WHERE phone = ANY (ARRAY(SELECT phone FROM lifted))",
    )
    .bind(phones)
    .execute(conn)
    .await
    .map_err(Error::database("lifting suppressions"))?;
    Ok(())
}

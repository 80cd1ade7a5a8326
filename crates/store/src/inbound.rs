//! What people wrote and pressed, to be read. Rows are written where reports are applied.

use chrono::{DateTime, Utc};
use model::Phone;
use sqlx::{FromRow, PgConnection};

use crate::{Error, Result};

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
    sqlx::query_as(
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

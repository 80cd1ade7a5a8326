//! What people wrote and pressed, to be read. Rows are written where reports are applied.

use std::collections::HashSet;

use chrono::{DateTime, Utc};
use model::Phone;
use sqlx::{FromRow, PgConnection};

use crate::{Error, Result, replies::Recipient, sql};

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
    /// The task of the message that it answers, where one was found.
    pub task_id: Option<i64>,
    /// The person's number in that task.
    pub no: Option<i32>,
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
        "SELECT id, account, sender, phone, kind, text, is_click, vendor_id, in_reply_to, received_at,
                task_id, no
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

/// What came in, and when.
pub type Received<'a> = (&'a model::report::Inbound, DateTime<Utc>);

/// Those that have not been kept before: vendors repeat callbacks. What has no id cannot be told apart and counts as new.
///
/// # Errors
/// The database did not do it.
pub async fn new_ones<'a>(
    conn: &mut PgConnection,
    account: &str,
    messages: &[Received<'a>],
) -> Result<Vec<Received<'a>>> {
    let ids: Vec<&str> = messages.iter().filter_map(|(message, _)| message.vendor_id.as_deref()).collect();
    if ids.is_empty() {
        return Ok(messages.to_vec());
    }
    let known: Vec<String> =
        sql::query_scalar("SELECT vendor_id FROM inbound WHERE account = $1 AND vendor_id = ANY ($2)")
            .bind(account)
            .bind(ids)
            .fetch_all(conn)
            .await
            .map_err(Error::database("looking up inbound messages"))?;
    let mut known: HashSet<&str> = known.iter().map(String::as_str).collect();
    let is_new = |(message, _): &&Received<'a>| match message.vendor_id.as_deref() {
        Some(id) => known.insert(id),
        None => true,
    };
    Ok(messages.iter().filter(is_new).copied().collect())
}

/// Keeps inbound messages, each with whom it answers. Someone who writes has a number that works: its suppression as invalid
/// is lifted.
///
/// # Errors
/// The database did not do it.
pub async fn keep(
    conn: &mut PgConnection,
    account: &str,
    messages: &[Received<'_>],
    answered: &[Option<Recipient>],
) -> Result<()> {
    if messages.is_empty() {
        return Ok(());
    }
    let phones: Vec<i64> = messages.iter().map(|(message, _)| message.from.as_i64()).collect();
    sql::query(
        "INSERT INTO inbound (account, sender, phone, kind, text, is_click, vendor_id, in_reply_to, received_at,
                              task_id, no)
         SELECT $1, * FROM UNNEST($2::text[], $3::bigint[], $4::text[], $5::text[], $6::boolean[], $7::text[],
                                  $8::text[], $9::timestamptz[], $10::bigint[], $11::integer[])",
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
    .bind(answered.iter().map(|answered| answered.map(|(task_id, _)| task_id)).collect::<Vec<_>>())
    .bind(answered.iter().map(|answered| answered.map(|(_, no)| no)).collect::<Vec<_>>())
    .execute(&mut *conn)
    .await
    .map_err(Error::database("keeping inbound messages"))?;
    lift_invalid(conn, phones).await
}

/// Locks in the order in which numbers are suppressed: two accounts must not wait for each other.
async fn lift_invalid(conn: &mut PgConnection, phones: Vec<i64>) -> Result<()> {
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

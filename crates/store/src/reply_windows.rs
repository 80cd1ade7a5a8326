//! Who wrote to a sender in the last 24 hours: to nobody else does WhatsApp deliver a message that is no template.

use std::collections::HashMap;

use chrono::{DateTime, Utc};
use sqlx::PgConnection;

use crate::{Error, Result, outcomes::Why, sql};

/// How a closed window is foreseen for the tasks of a sender.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReplyWindow {
    /// The vendor's code for it.
    pub code: String,
    /// The digits of the sender, by which what people wrote is found; none: the account has no other sender, and vendors do
    /// not all name it by what it is configured as.
    pub sender_digits: Option<String>,
}

impl ReplyWindow {
    /// Why nobody is called who wrote `last`.
    pub(crate) fn closed(&self, last: Option<DateTime<Utc>>) -> Why {
        let last = match last {
            Some(at) => format!("this person wrote last at {} UTC", at.format("%Y-%m-%d %H:%M")),
            None => "this person has not written to this number".to_owned(),
        };
        Why {
            code: self.code.clone(),
            reason: format!("not sent: the 24-hour window for messages without a template is closed; {last}"),
        }
    }
}

/// When each of the phones wrote last, for those who did.
pub(crate) async fn last_written(
    conn: &mut PgConnection,
    account: &str,
    window: &ReplyWindow,
    phones: &[i64],
) -> Result<HashMap<i64, DateTime<Utc>>> {
    let rows: Vec<(i64, DateTime<Utc>)> = sql::query_as(
        "SELECT phone, max(received_at) FROM inbound
         WHERE phone = ANY ($2) AND account = $1
           AND ($3::text IS NULL OR regexp_replace(sender, '\\D', '', 'g') = $3)
         GROUP BY phone",
    )
    .bind(account)
    .bind(phones)
    .bind(window.sender_digits.as_deref())
    .fetch_all(conn)
    .await
    .map_err(Error::database("looking who wrote lately"))?;
    Ok(rows.into_iter().collect())
}

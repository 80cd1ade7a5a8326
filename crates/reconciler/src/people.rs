//! What people write and press: kept once, joined to the message that it answers, counted there.

use chrono::{DateTime, Utc};
use model::report::Inbound;
use store::{
    PgConnection, inbound,
    replies::{self, Answer, Asked},
};

/// Keeps and counts what is new of it, in the transaction that moves the inbox on.
pub(crate) async fn apply(
    conn: &mut PgConnection,
    account: &str,
    messages: &[(Inbound, DateTime<Utc>)],
    now: DateTime<Utc>,
) -> store::Result<()> {
    if messages.is_empty() {
        return Ok(());
    }
    let received: Vec<_> = messages.iter().map(|(message, at)| (message, *at)).collect();
    let fresh = inbound::new_ones(conn, account, &received).await?;
    let asked: Vec<Asked<'_>> = fresh
        .iter()
        .map(|(message, at)| Asked {
            in_reply_to: message.in_reply_to.as_deref(),
            phone: message.from,
            at: message.at.unwrap_or(*at),
        })
        .collect();
    let answered = replies::find(conn, account, &asked, now).await?;
    inbound::keep(conn, account, &fresh, &answered).await?;
    let answers: Vec<Answer> = answered
        .iter()
        .zip(&asked)
        .zip(&fresh)
        .filter_map(|((recipient, asked), (message, _))| {
            Some(Answer { recipient: (*recipient)?, is_click: message.is_click, at: asked.at })
        })
        .collect();
    replies::count(conn, &answers).await
}

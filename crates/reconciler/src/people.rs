//! What people write and press: kept once, joined to the message that it answers, counted there; and obeyed, when they want
//! nothing more or something again.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use model::{
    Phone,
    reply_words::{ReplyWords, Wish},
    report::{Inbound, Preference},
};
use store::{
    PgConnection,
    inbound::{self, Received},
    replies::{self, Answer, Asked},
    suppressions::{self, Reason},
};

/// Who listed a number that asked for it in a message.
const REPLY: &str = "reply";
/// Who listed a number that asked for it by WhatsApp's own switch.
const PREFERENCE: &str = "user_preferences";

/// Keeps and counts what is new of it, in the transaction that moves the inbox on; returns what is new.
pub(crate) async fn keep<'a>(
    conn: &mut PgConnection,
    account: &str,
    messages: &'a [(Inbound, DateTime<Utc>)],
    now: DateTime<Utc>,
) -> store::Result<Vec<Received<'a>>> {
    if messages.is_empty() {
        return Ok(Vec::new());
    }
    let received: Vec<Received<'_>> = messages.iter().map(|(message, at)| (message, *at)).collect();
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
    replies::count(conn, &answers).await?;
    Ok(fresh)
}

/// Lists who asked for nothing more, and takes off the list who asked for something again. Of several wishes of one person the
/// last holds.
pub(crate) async fn obey(
    conn: &mut PgConnection,
    words: &ReplyWords,
    messages: &[Received<'_>],
    preferences: &[(Preference, DateTime<Utc>)],
    now: DateTime<Utc>,
) -> store::Result<()> {
    let mut wishes: BTreeMap<Phone, (Wish, DateTime<Utc>, &str)> = BTreeMap::new();
    for (message, received_at) in messages {
        if let Some(wish) = message.text.as_deref().and_then(|text| words.wish(text)) {
            wishes.insert(message.from, (wish, message.at.unwrap_or(*received_at), REPLY));
        }
    }
    for (preference, received_at) in preferences {
        let wish = if preference.stops { Wish::OptOut } else { Wish::OptIn };
        wishes.insert(preference.from, (wish, preference.at.unwrap_or(*received_at), PREFERENCE));
    }
    for source in [REPLY, PREFERENCE] {
        let of_source = wishes.iter().filter(|(_, (wish, _, by))| *wish == Wish::OptOut && *by == source);
        let phones: Vec<Phone> = of_source.map(|(phone, _)| *phone).collect();
        if !phones.is_empty() {
            suppressions::add(conn, &phones, Reason::OptOut, source, None, now).await?;
        }
    }
    let again = wishes.iter().filter(|(_, (wish, ..))| *wish == Wish::OptIn);
    let again: Vec<(Phone, DateTime<Utc>)> = again.map(|(phone, (_, at, _))| (*phone, *at)).collect();
    suppressions::lift_opt_outs(conn, &again).await?;
    Ok(())
}

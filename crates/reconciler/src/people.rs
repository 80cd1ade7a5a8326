//! What people write and press: kept once, joined to the message that it answers, counted there; and obeyed, when they want
//! nothing more or something again.

use std::collections::{BTreeMap, HashMap};

use chrono::{DateTime, Utc};
use model::{
    Phone,
    reply_words::Wish,
    report::{Inbound, Preference},
};
use store::{
    PgConnection, confirmations,
    inbound::{self, Received},
    replies::{self, Answer, Asked},
    suppressions::{self, Reason},
};

use crate::Shared;

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
/// last holds. Whether there is something to send now: who asked by a reply is told so, where a text is set for it.
pub(crate) async fn obey(
    conn: &mut PgConnection,
    shared: &Shared,
    account: &str,
    messages: &[Received<'_>],
    preferences: &[(Preference, DateTime<Utc>)],
    now: DateTime<Utc>,
) -> store::Result<bool> {
    let mut wishes: BTreeMap<Phone, (Wish, DateTime<Utc>, &str)> = BTreeMap::new();
    for (message, received_at) in messages {
        if let Some(wish) = message.text.as_deref().and_then(|text| shared.reply_words.wish(text)) {
            wishes.insert(message.from, (wish, message.at.unwrap_or(*received_at), REPLY));
        }
    }
    for (preference, received_at) in preferences {
        let wish = if preference.stops { Wish::OptOut } else { Wish::OptIn };
        wishes.insert(preference.from, (wish, preference.at.unwrap_or(*received_at), PREFERENCE));
    }
    let mut replied = Vec::new();
    for source in [REPLY, PREFERENCE] {
        let of_source = wishes.iter().filter(|(_, (wish, _, by))| *wish == Wish::OptOut && *by == source);
        let phones: Vec<Phone> = of_source.map(|(phone, _)| *phone).collect();
        if !phones.is_empty() {
            let listed = suppressions::add(conn, &phones, Reason::OptOut, source, None, now).await?;
            if source == REPLY {
                replied = listed;
            }
        }
    }
    let again = wishes.iter().filter(|(_, (wish, ..))| *wish == Wish::OptIn);
    let again: Vec<(Phone, DateTime<Utc>)> = again.map(|(phone, (_, at, _))| (*phone, *at)).collect();
    suppressions::lift_opt_outs(conn, &again).await?;
    confirm(conn, shared, account, messages, &replied, now).await
}

/// Tells those who were not listed before that they are now, from the number that they wrote to last. Whether there is anybody.
async fn confirm(
    conn: &mut PgConnection,
    shared: &Shared,
    account: &str,
    messages: &[Received<'_>],
    listed: &[Phone],
    now: DateTime<Utc>,
) -> store::Result<bool> {
    let Some(text) = shared.opt_out_confirmation.as_deref().filter(|_| !listed.is_empty()) else {
        return Ok(false);
    };
    let wrote_to: HashMap<Phone, &str> =
        messages.iter().map(|(message, _)| (message.from, message.to.as_str())).collect();
    let mut by_sender: BTreeMap<&str, Vec<Phone>> = BTreeMap::new();
    for phone in listed {
        let number = wrote_to.get(phone).copied().unwrap_or_default();
        match shared.sender(account, number) {
            Some(sender) => by_sender.entry(sender).or_default().push(*phone),
            None => tracing::warn!(
                account.name = account,
                number,
                "an opt-out is not confirmed: the number that it was sent to is no sender of the account"
            ),
        }
    }
    for (sender, phones) in &by_sender {
        confirmations::start(conn, account, sender, text, phones, now).await?;
    }
    Ok(!by_sender.is_empty())
}

//! The notification forms of WhatsApp's Cloud API, which both Sobots pass on in parts.
//!
//! `{entry:[{changes:[{value,field}]}]}` (sobot-io.txt, "Template message status notification"), an array of
//! `{value,field}` (sobot-in.txt, "Text Message Payload") and bare status objects (there, "Message Status Updates").

use chrono::{DateTime, Utc};
use model::report::{Inbound, News, Preference, StatusReport};
use serde_json::{Map, Value};

use super::{cloud_events, inbound_or_other, inbound_text, is_click, other, outcome, phone, unrecognised};
use crate::read;

/// The news in `entry`, where the document has one.
pub fn entries(object: &Map<String, Value>) -> Option<Vec<News>> {
    let entries = object.get("entry")?.as_array()?;
    let news = entries.iter().flat_map(|entry| {
        let at = read::time(entry.get("time"));
        let changes = entry.get("changes").and_then(Value::as_array).into_iter().flatten();
        changes.flat_map(move |one| change(one, at))
    });
    Some(news.collect())
}

/// The news in one `{value, field}`, told at this time.
pub fn change(change: &Value, at: Option<DateTime<Utc>>) -> Vec<News> {
    let Some(object) = change.as_object() else { return Vec::new() };
    let Some(value) = object.get("value") else { return vec![unrecognised(object)] };
    let field = read::text(object.get("field")).unwrap_or_default();
    let list = |key: &str| value.get(key).and_then(Value::as_array).into_iter().flatten();
    let mut news: Vec<News> = list("messages").map(|message| inbound(message, value)).collect();
    news.extend(list("statuses").filter_map(Value::as_object).map(status));
    news.extend(list("user_preferences").map(preference));
    if news.is_empty() && field != "messages" {
        news.push(cloud_events::event(&field, value, at));
    }
    news
}

/// The news in a bare status object: `{id, status, timestamp}` and what else there may be.
pub fn status(object: &Map<String, Value>) -> News {
    let word = read::text(object.get("status")).unwrap_or_default();
    let Some(vendor_id) = read::first_text(object, &["id", "messageId", "messageid", "message_id"]) else {
        return other("status", format!("{word} without an id"));
    };
    let Some(outcome) = outcome(&word, || failure(object)) else { return other("status", word) };
    News::Status(StatusReport {
        vendor_id,
        correlation: None,
        to: phone(read::first_text(object, &["recipient_id", "to", "customer_number"])),
        outcome,
        at: read::time(object.get("timestamp")),
    })
}

/// The code and the text of a failure: `errors: [{code, title}]`, `error: {…}`, `error_code` or `errorCode`.
fn failure(object: &Map<String, Value>) -> (Option<String>, String) {
    let error = object.get("errors").and_then(|errors| errors.get(0)).or_else(|| object.get("error"));
    let of_error = error.and_then(Value::as_object).map(|error| {
        let reason = read::first_text(error, &["title", "message"]).unwrap_or_default();
        let details = read::text_at(&Value::Object(error.clone()), &["error_data", "details"]);
        (
            read::first_text(error, &["code", "error_code"]),
            details.map_or(reason.clone(), |d| format!("{reason}: {d}")),
        )
    });
    let (code, reason) = of_error.unwrap_or_default();
    let code = code.or_else(|| read::first_text(object, &["errorCode", "error_code", "code"]));
    let own =
        || read::first_text(object, &["errorTitle", "error_title", "error_message", "reason", "message"]);
    let reason = if reason.is_empty() { own().unwrap_or_default() } else { reason };
    // A failure whose code says success has no code.
    (code.filter(|code| code != "000000"), reason)
}

fn inbound(message: &Value, value: &Value) -> News {
    let kind = read::text_at(message, &["type"]).unwrap_or_else(|| "unknown".to_owned());
    let from =
        read::text_at(message, &["from"]).or_else(|| read::text_at(value, &["contacts", "0", "wa_id"]));
    let to = read::text_at(value, &["metadata", "display_phone_number"])
        .or_else(|| read::text_at(value, &["metadata", "phone_number_id"]));
    inbound_or_other(from, |from| Inbound {
        from,
        to: to.unwrap_or_default(),
        vendor_id: read::text_at(message, &["id"]),
        in_reply_to: read::text_at(message, &["context", "id"]),
        is_click: is_click(&kind, message),
        text: inbound_text(&kind, message),
        at: read::time(message.get("timestamp")),
        kind,
    })
}

/// WhatsApp's own switch for marketing: `{wa_id, category: marketing_messages, value: stop | resume, timestamp}`.
fn preference(preference: &Value) -> News {
    let value = read::text_at(preference, &["value"]).unwrap_or_default().to_ascii_lowercase();
    let from = phone(read::text_at(preference, &["wa_id"]));
    match (from, value.as_str()) {
        (Some(from), "stop" | "resume") => {
            let at = read::time(preference.get("timestamp"));
            News::Preference(Preference { from, stops: value == "stop", at })
        }
        _ => other("user_preferences", value),
    }
}

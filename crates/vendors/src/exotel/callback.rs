//! Exotel's callbacks: delivery reports (`dlr`) and incoming messages (`icm`, `incoming_message`), many in one body.
//!
//! The sample and the table of exotel.txt, "Status Callbacks", name the status differently: both are read.

use model::report::{Correlation, Inbound, News, ReportedOutcome, StatusReport};
use serde_json::{Map, Value};

use crate::{
    callback::{MalformedCallback, inbound_or_other, inbound_text, is_click, other, phone, unrecognised},
    codes::Effect,
    read,
};

/// The news in a callback.
pub fn read_callback(document: &Value) -> Result<Vec<News>, MalformedCallback> {
    let Some(object) = document.as_object() else {
        return Err(MalformedCallback::new("a JSON object with `whatsapp.messages` is expected"));
    };
    let Some(whatsapp) = object.get("whatsapp") else { return Ok(vec![unrecognised(object)]) };
    let Some(messages) = whatsapp.get("messages").and_then(Value::as_array) else {
        return Err(MalformedCallback::new("`whatsapp.messages` is missing or no array"));
    };
    Ok(messages.iter().map(message).collect())
}

fn message(message: &Value) -> News {
    let Some(object) = message.as_object() else { return other("unrecognised", "no object") };
    match read::text(object.get("callback_type")).as_deref() {
        Some("dlr") => report(object),
        Some("icm" | "incoming_message") => inbound(object),
        Some(kind) => other("callback_type", kind),
        None if object.contains_key("content") => inbound(object),
        None if object.contains_key("sid") => report(object),
        None => unrecognised(object),
    }
}

fn report(object: &Map<String, Value>) -> News {
    let vendor_id = read::text(object.get("sid")).unwrap_or_default();
    let correlation = read::text(object.get("custom_data")).and_then(|text| Correlation::decode(&text));
    if vendor_id.is_empty() && correlation.is_none() {
        return other("dlr", "neither a sid nor custom_data of ours");
    }
    let Some(outcome) = outcome(object) else { return other("dlr", "no status") };
    News::Status(StatusReport {
        vendor_id,
        correlation,
        to: phone(read::text(object.get("to"))),
        outcome,
        at: read::time(object.get("timestamp")),
    })
}

/// By name first and by number second: Exotel has published two numberings.
fn outcome(object: &Map<String, Value>) -> Option<ReportedOutcome> {
    let name = read::first_text(object, &["exo_status", "exo_detailed_status"]);
    let number = read::text(object.get("exo_status_code"));
    let named = name.as_deref().and_then(super::codes::by_name);
    let entry = named.or_else(|| number.as_deref().and_then(super::codes::by_number));
    if let Some(entry) = entry
        && let Effect::Status(word) = entry.effect
    {
        return Some(match word {
            "sent" => ReportedOutcome::Sent,
            "delivered" => ReportedOutcome::Delivered,
            _ => ReportedOutcome::Read,
        });
    }
    let description = read::text(object.get("description")).unwrap_or_default();
    let (code, reason) = match (entry, number, name) {
        (Some(entry), ..) => (entry.code.to_owned(), description),
        (None, Some(number), Some(name)) => (number, format!("{name}: {description}")),
        (None, number, name) => (number.or(name)?, description),
    };
    Some(ReportedOutcome::Failed { code, reason: read::brief(&reason) })
}

/// What a status of this name does, in the table.
pub fn status_by_name(name: &str) -> Option<Effect> {
    super::codes::by_name(name).map(|entry| entry.effect)
}

fn inbound(object: &Map<String, Value>) -> News {
    let content = object.get("content").unwrap_or(&Value::Null);
    let kind = read::text_at(content, &["type"]).unwrap_or_else(|| "unknown".to_owned());
    inbound_or_other(read::text(object.get("from")), |from| Inbound {
        from,
        to: read::text(object.get("to")).unwrap_or_default(),
        vendor_id: read::first_text(object, &["sid", "id"]),
        // Exotel tells no context: a reply is matched by phone.
        in_reply_to: read::text_at(content, &["context", "id"]),
        is_click: is_click(&kind, content),
        text: inbound_text(&kind, content),
        at: read::time(object.get("timestamp")),
        kind,
    })
}

//! Sobot's notifications: a message's status, what people send, and changes of templates and of the account.
//!
//! Source: sobot-io.txt, "Receive user message" and "Webhook status notification".

use model::report::{Inbound, News};
use serde_json::{Map, Value};

use crate::{
    callback::{cloud, inbound_or_other, inbound_text, is_click, unrecognised},
    read,
};

/// The news in a notification, or in several.
pub fn read_callback(document: &Value) -> Vec<News> {
    match document {
        Value::Array(items) => items.iter().filter_map(Value::as_object).flat_map(notification).collect(),
        Value::Object(object) => notification(object),
        _ => Vec::new(),
    }
}

fn notification(object: &Map<String, Value>) -> Vec<News> {
    if let Some(news) = cloud::entries(object) {
        return news;
    }
    let kind = read::text(object.get("type"));
    if kind.as_deref() == Some("status") || (object.contains_key("status") && !object.contains_key("content"))
    {
        return vec![cloud::status(object)];
    }
    match (kind, object.get("content")) {
        (Some(kind), Some(content)) => vec![inbound(kind, object, content)],
        _ => vec![unrecognised(object)],
    }
}

fn inbound(kind: String, object: &Map<String, Value>, content: &Value) -> News {
    inbound_or_other(read::text(object.get("from")), |from| Inbound {
        from,
        to: read::text(object.get("to")).unwrap_or_default(),
        vendor_id: read::first_text(object, &["messageId", "messageid", "id"]),
        in_reply_to: [["button", "messageid"], ["button", "messageId"], ["context", "id"]]
            .iter()
            .find_map(|path| read::text_at(content, path)),
        is_click: is_click(&kind, content),
        text: inbound_text(&kind, content),
        at: read::time(object.get("timestamp")),
        kind,
    })
}

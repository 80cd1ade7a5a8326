//! Its notifications: an array of `{value, field}` for what people send, bare objects for statuses.
//!
//! Source: sobot-in.txt, "Webhook". How a failure is told is not shown there: WhatsApp's forms are read.

use model::report::News;
use serde_json::{Map, Value};

use crate::callback::{cloud, unrecognised};

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
    if object.contains_key("value") {
        return cloud::change(&Value::Object(object.clone()), None);
    }
    if object.contains_key("status") {
        return vec![cloud::status(object)];
    }
    // `{messages: […]}` or `{statuses: […]}` without its frame.
    if object.contains_key("messages") || object.contains_key("statuses") {
        return cloud::change(&serde_json::json!({"field": "messages", "value": object}), None);
    }
    vec![unrecognised(object)]
}

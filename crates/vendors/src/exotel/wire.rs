//! Exotel's JSON: the body of a call for many messages, and its answer item by item.
//!
//! An answer names no recipients: items belong to messages by position alone, and only when there are as many.

use bytes::Bytes;
use serde_json::Value;

use crate::{Outgoing, read};

/// `{"status_callback":…,"whatsapp":{"messages":[{…,"custom_data":…}]}}`.
///
/// A rendered message lacks its closing brace, so that its correlation is appended without reading it again.
pub fn request_body(status_callback: Option<&str>, messages: &[Outgoing]) -> Bytes {
    const PER_MESSAGE: usize = 64;
    const AROUND: usize = 256;
    let size: usize = messages.iter().map(|message| message.rendered.len() + PER_MESSAGE).sum();
    let mut body = Vec::with_capacity(size + AROUND);
    body.push(b'{');
    if let Some(url) = status_callback {
        body.extend_from_slice(b"\"status_callback\":");
        body.extend_from_slice(Value::from(url).to_string().as_bytes());
        body.push(b',');
    }
    body.extend_from_slice(b"\"whatsapp\":{\"messages\":[");
    for (i, message) in messages.iter().enumerate() {
        if i > 0 {
            body.push(b',');
        }
        body.extend_from_slice(&message.rendered);
        // Digits and dots: nothing in it needs escaping.
        body.extend_from_slice(format!(",\"custom_data\":\"{}\"}}", message.correlation.encode()).as_bytes());
    }
    body.extend_from_slice(b"]}}");
    Bytes::from(body)
}

/// What the answer says about one message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Item {
    /// Taken, with its sid.
    Accepted(String),
    /// Refused, with the code to judge by and the vendor's text.
    Refused {
        /// An ExoStatus, or a status such as `429`.
        code: String,
        /// The vendor's text.
        reason: String,
    },
    /// It says nothing that can be relied on.
    Unclear(&'static str),
}

/// The items of an answer, in its order; none when it is not the documented document.
pub fn items(body: &[u8]) -> Option<Vec<Item>> {
    let document = read::document(body).ok()?;
    let messages = read::at(&document, &["response", "whatsapp", "messages"])?.as_array()?;
    Some(messages.iter().map(item).collect())
}

fn item(message: &Value) -> Item {
    let sid = read::text_at(message, &["data", "sid"]);
    let code = read::text_at(message, &["code"]);
    let is_success = match &code {
        Some(code) => code.len() == 3 && code.starts_with('2'),
        None => read::text_at(message, &["status"]).is_some_and(|status| status == "success"),
    };
    if is_success {
        return sid.map_or(Item::Unclear("accepted, but without a sid"), Item::Accepted);
    }
    let error = message.get("error_data").unwrap_or(&Value::Null);
    match error_code(error).or(code) {
        Some(code) => Item::Refused { code, reason: error_text(error) },
        None => Item::Unclear("neither a code nor a sid"),
    }
}

/// The ExoStatus in an error: by name first, wherever it stands, and by number second.
pub fn error_code(error: &Value) -> Option<String> {
    let texts = ["exo_status", "exo_detailed_status", "status", "message", "description"];
    let named = texts.iter().filter_map(|key| read::text_at(error, &[key])).find_map(|text| {
        let mut words = text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
        words.find_map(super::codes::by_name).map(|entry| entry.code.to_owned())
    });
    let number = || {
        let number = ["exo_status_code", "code"].iter().find_map(|key| read::text_at(error, &[key]))?;
        super::codes::by_number(&number).map(|entry| entry.code.to_owned())
    };
    named.or_else(number)
}

fn error_text(error: &Value) -> String {
    let message = read::text_at(error, &["message"]);
    let description = read::text_at(error, &["description"]);
    match (message, description) {
        (Some(message), Some(description)) if message != description => format!("{message}: {description}"),
        (message, description) => message.or(description).unwrap_or_default(),
    }
}

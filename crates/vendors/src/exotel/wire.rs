//! Exotel's JSON: the body of a call for many messages, and its answer item by item.
//!
//! An answer names no recipients: items belong to messages by position alone, and only when there are as many.

use bytes::Bytes;
use model::report::Correlation;
use serde_json::{Value, json};

use crate::{
    Outgoing,
    read::{
        self,
        plain::{Plain, once},
    },
};

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
        body.extend_from_slice(b",\"custom_data\":\"");
        push_correlation(&mut body, &message.correlation);
        body.extend_from_slice(b"\"}");
    }
    body.extend_from_slice(b"]}}");
    Bytes::from(body)
}

/// As [`Correlation::encode`] writes it, straight into the body. Digits and dots: nothing in it needs escaping.
fn push_correlation(body: &mut Vec<u8>, correlation: &Correlation) {
    let mut digits = itoa::Buffer::new();
    body.extend_from_slice(b"c1.");
    body.extend_from_slice(digits.format(correlation.request_id).as_bytes());
    body.push(b'.');
    body.extend_from_slice(digits.format(correlation.task_id).as_bytes());
    body.push(b'.');
    body.extend_from_slice(digits.format(correlation.no).as_bytes());
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
    plain_items(body).or_else(|| items_with_care(body))
}

/// The items of an answer that is exactly as documented; the liberal reading must say the same of it.
fn plain_items(body: &[u8]) -> Option<Vec<Item>> {
    Plain::read(body, |answer| {
        let mut items = None;
        answer.object(|answer, key| match key {
            "request_id" | "method" | "http_code" => answer.unused(),
            "metadata" => answer.unused_fields(&["failed", "total", "success"]),
            "response" => {
                let read = answer.only_field("whatsapp", |whatsapp| {
                    whatsapp.only_field("messages", |messages| messages.array(plain_item))
                });
                once(&mut items, read)
            }
            _ => None,
        })?;
        items
    })
}

/// Taken with a sid, or refused without one; none for anything else.
fn plain_item(message: &mut Plain<'_>) -> Option<Item> {
    let (mut code, mut error, mut sid) = (None, None, None);
    message.object(|message, key| match key {
        "code" => once(&mut code, message.number()),
        "error_data" => once(&mut error, message.or_null(plain_error)),
        "status" => message.text().map(drop),
        "data" => once(&mut sid, message.or_null(|data| data.only_field("sid", Plain::text))),
        _ => None,
    })?;
    match (code?, sid.flatten(), error.flatten()) {
        (200..=299, Some(sid), None) => read::text_of(sid).map(Item::Accepted),
        (code @ 400..=599, None, error) => {
            Some(refused(Some(code.to_string()), &error.unwrap_or(Value::Null)))
        }
        _ => None,
    }
}

fn plain_error(error: &mut Plain<'_>) -> Option<Value> {
    let (mut code, mut message, mut description) = (None, None, None);
    error.object(|error, key| match key {
        "code" => once(&mut code, error.number()),
        "message" => once(&mut message, error.text()),
        "description" => once(&mut description, error.text()),
        _ => None,
    })?;
    Some(json!({"code": code?, "message": message?, "description": description?}))
}

fn items_with_care(body: &[u8]) -> Option<Vec<Item>> {
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
    refused(code, message.get("error_data").unwrap_or(&Value::Null))
}

fn refused(code: Option<String>, error: &Value) -> Item {
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::read::mutants::mutants;

    const PRINTED: &str = include_str!("../../samples/exotel/answer_202_as_printed.json");
    const MIXED: &str = include_str!("../../samples/exotel/answer_202_mixed.json");
    const TWO: &str = r#"{"response":{"whatsapp":{"messages":[
        {"code":202,"status":"success","data":{"sid":" a "}},
        {"code":400,"error_data":{"code":30012,"message":"EX_INVALID_RECIPIENT","description":" nö"},"data":null}
    ]}}}"#;

    #[test]
    fn what_is_read_plainly_is_read_alike_with_care() {
        let (mut bodies, mut plain) = (0, 0);
        for sample in [PRINTED, MIXED, TWO] {
            let document = read::document(sample.as_bytes()).unwrap();
            for body in mutants(&document) {
                bodies += 1;
                if let Some(items) = plain_items(body.as_bytes()) {
                    assert_eq!(Some(items), items_with_care(body.as_bytes()), "{body}");
                    plain += 1;
                }
            }
        }
        assert!(plain > 100 && plain < bodies / 2, "{plain} of {bodies}");
    }

    #[test]
    fn the_documented_answer_is_read_plainly() {
        let document = read::document(PRINTED.as_bytes()).unwrap().to_string();
        let sids = ["2FdiiEQUosckPhpZfuVwfjxiSlc16a4", "2FdiiDU5hAK8tW0Atq340Ayngpx16a4"];
        let items = sids.map(|sid| Item::Accepted(sid.to_owned())).to_vec();
        assert_eq!(plain_items(document.as_bytes()), Some(items));
        let refused =
            Item::Refused { code: "30012".to_owned(), reason: "EX_INVALID_RECIPIENT: nö".to_owned() };
        assert_eq!(plain_items(TWO.as_bytes()), Some(vec![Item::Accepted("a".to_owned()), refused]));
    }

    #[test]
    fn what_asks_for_care_is_not_read_plainly() {
        for message in [
            r#"{"code":"202","status":"success","data":{"sid":"a"}}"#,
            r#"{"code":202,"status":"success","data":{}}"#,
            r#"{"code":202,"status":"success","data":{"sid":"a\u003d"}}"#,
            r#"{"code":202,"status":"success","data":{"sid":" \u0000 "}}"#,
            r#"{"code":202,"code":400,"status":"success","data":{"sid":"a"}}"#,
            r#"{"code":202,"error_data":{"code":1,"message":"","description":""},"data":{"sid":"a"}}"#,
            r#"{"code":400,"data":{"sid":"a"}}"#,
            r#"{"code":302,"data":{"sid":"a"}}"#,
            r#"{"status":"success","data":{"sid":"a"}}"#,
            r#"{"code":202,"data":["a"]}"#,
            r#"[202,null,"success",{"sid":"a"}]"#,
        ] {
            let body = format!(r#"{{"response":{{"whatsapp":{{"messages":[{message}]}}}}}}"#);
            assert_eq!(plain_items(body.as_bytes()), None, "{body}");
            assert!(items(body.as_bytes()).is_some(), "{body}");
        }
    }

    #[test]
    fn a_correlation_is_written_as_it_is_encoded() {
        for (request_id, task_id, no) in
            [(0, 0, 0), (8_812_004_117, 20_417, 500_099), (i64::MAX, i64::MIN, -1)]
        {
            let correlation = Correlation { request_id, task_id, no };
            let mut written = Vec::new();
            push_correlation(&mut written, &correlation);
            assert_eq!(String::from_utf8(written).unwrap(), correlation.encode());
        }
    }
}

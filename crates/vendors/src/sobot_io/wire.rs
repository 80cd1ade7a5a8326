//! Sobot's JSON: `{ret_code, ret_msg, item | items}`, in which every number may be a string and every string a number.

use std::borrow::Cow;

use model::report::ReportedOutcome;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use crate::{
    callback,
    read::{self, Object},
    records::{PAGE_RECORDS, RecordPage, RecordQuery, SendRecord},
};

/// The code of success; as a number it loses its zeros.
const SUCCESS: &str = "000000";

/// The frame of every answer.
#[derive(Clone, Debug)]
pub struct Envelope {
    /// The vendor's code as it came.
    pub code: String,
    pub message: String,
    content: Content,
}

#[derive(Clone, Debug)]
enum Content {
    /// A message's id, and nothing else that anyone asks for.
    MessageId(String),
    Document(Value),
}

/// The answer to a message that was taken, exactly as it is documented. What is not of this form is left to the liberal
/// reading, which must say the same of everything that is read here.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Plain<'a> {
    #[serde(borrow)]
    item: Object<PlainItem<'a>>,
    #[serde(borrow)]
    ret_code: Cow<'a, str>,
    #[serde(borrow)]
    ret_msg: Cow<'a, str>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct PlainItem<'a> {
    #[serde(borrow, rename = "messaging_product", default)]
    _messaging_product: Cow<'a, str>,
    #[serde(borrow)]
    messages: [Object<PlainMessage<'a>>; 1],
    #[serde(borrow, rename = "contacts", default)]
    _contacts: Option<[Object<PlainContact<'a>>; 1]>,
    #[serde(borrow, rename = "meta", default)]
    _meta: Option<Object<PlainMeta<'a>>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct PlainMessage<'a> {
    #[serde(borrow)]
    id: Cow<'a, str>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct PlainContact<'a> {
    // The documents write it in both ways.
    #[serde(borrow, rename = "input", alias = "Input", default)]
    _input: Cow<'a, str>,
    #[serde(borrow, rename = "wa_id", default)]
    _wa_id: Cow<'a, str>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct PlainMeta<'a> {
    #[serde(borrow, rename = "api_status", default)]
    _api_status: Cow<'a, str>,
    #[serde(borrow, rename = "version", default)]
    _version: Cow<'a, str>,
}

impl Envelope {
    /// Reads an answer; none when it has no `ret_code`.
    pub fn read(body: &[u8]) -> Option<Self> {
        Self::plain(body).or_else(|| Self::read_with_care(body))
    }

    fn plain(body: &[u8]) -> Option<Self> {
        let Object(answer): Object<Plain<'_>> = serde_json::from_slice(body).ok()?;
        let [Object(message)] = answer.item.0.messages;
        let is_success = answer.ret_code == SUCCESS;
        Some(Self {
            content: Content::MessageId(read::text_of(&message.id).filter(|_| is_success)?),
            code: answer.ret_code.into_owned(),
            message: read::text_of(&answer.ret_msg).unwrap_or_default(),
        })
    }

    fn read_with_care(body: &[u8]) -> Option<Self> {
        let document: Value = serde_json::from_slice(body).ok()?;
        let code = read::text_at(&document, &["ret_code"])?;
        let message = read::text_at(&document, &["ret_msg"]).unwrap_or_default();
        Some(Self { code, message, content: Content::Document(document) })
    }

    pub fn is_success(&self) -> bool {
        self.code == SUCCESS
    }

    /// The id of the message that was taken. Ids are opaque: a flow's is no wamid.
    pub fn message_id(&self) -> Option<String> {
        match &self.content {
            Content::MessageId(id) => Some(id.clone()),
            Content::Document(document) => read::text_at(document, &["item", "messages", "0", "id"]),
        }
    }

    fn document(&self) -> Option<&Value> {
        match &self.content {
            Content::MessageId(_) => None,
            Content::Document(document) => Some(document),
        }
    }

    /// The token and its life in seconds.
    pub fn token(&self) -> Option<(String, u64)> {
        let document = self.document()?;
        let token = read::text_at(document, &["item", "token"])?;
        let lives = read::text_at(document, &["item", "expires_in"])?.parse::<f64>().ok()?;
        (lives >= 1.0).then_some((token, lives as u64))
    }

    /// The sending records.
    pub fn records(&self) -> Option<RecordPage> {
        let items = read::at(self.document()?, &["items"])?.as_array()?;
        let records = items.iter().filter_map(Value::as_object).filter_map(record).collect();
        Some(RecordPage { records, has_more: items.len() >= PAGE_RECORDS as usize })
    }
}

/// The body of `send_record_list`. Times are milliseconds.
pub fn record_query(query: &RecordQuery) -> Value {
    let mut body = json!({"page_no": query.page.max(1), "page_size": PAGE_RECORDS});
    let mut put = |key: &str, value: Option<String>| {
        if let Some(value) = value {
            body[key] = Value::from(value);
        }
    };
    put("send_start_time", query.from.map(|at| at.timestamp_millis().to_string()));
    put("send_end_time", query.until.map(|at| at.timestamp_millis().to_string()));
    put("sender", query.sender.clone());
    put("recipient_tel", query.recipient.map(|phone| phone.digits().to_string()));
    put("template_name", query.template_name.clone());
    put("template_language", query.template_language.clone());
    body
}

fn record(object: &Map<String, Value>) -> Option<SendRecord> {
    let code = read::text(object.get("error_code")).filter(|code| code != SUCCESS);
    let outcome = match read::text(object.get("message_status"))?.as_str() {
        "0" => ReportedOutcome::Sent,
        "1" => ReportedOutcome::Delivered,
        "2" => ReportedOutcome::Read,
        "9" => callback::outcome("failed", || (code, String::new()))?,
        word => callback::outcome(word, || (code, String::new()))?,
    };
    Some(SendRecord {
        vendor_id: read::first_text(object, &["messageid", "messageId"]),
        to: callback::phone(read::text(object.get("recipient_tel"))),
        sender: read::text(object.get("sender")),
        template_name: read::text(object.get("template_name")),
        template_language: read::text(object.get("template_language")),
        outcome,
        sent_at: read::time(object.get("send_time")),
        updated_at: read::time(object.get("status_update_time")),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::read::mutants::mutants;

    const TEMPLATE: &str = include_str!("../../samples/sobot_io/answer_200_template.json");
    const FLOW: &str = include_str!("../../samples/sobot_io/answer_200_flow.json");
    const TOKEN: &str = include_str!("../../samples/sobot_io/answer_200_token.json");
    const RECORDS: &str = include_str!("../../samples/sobot_io/answer_200_records.json");
    const REFUSED: &str = include_str!("../../samples/sobot_io/answer_200_refused.json");
    const ESCAPED: &str =
        r#"{"item":{"messages":[{"id":" a\u0000\u003d\/ "}]},"ret_code":"000000","ret_msg":" \u0000 "}"#;

    type Says = (String, String, bool, Option<String>, Option<(String, u64)>, bool);

    /// All that can be asked of it.
    fn says(envelope: &Envelope) -> Says {
        let (code, message) = (envelope.code.clone(), envelope.message.clone());
        let (id, token) = (envelope.message_id(), envelope.token());
        (code, message, envelope.is_success(), id, token, envelope.records().is_some())
    }

    #[test]
    fn what_is_read_plainly_is_read_alike_with_care() {
        let (mut bodies, mut plain) = (0, 0);
        for sample in [TEMPLATE, FLOW, TOKEN, RECORDS, REFUSED, ESCAPED] {
            for body in mutants(&read::document(sample.as_bytes()).unwrap()) {
                bodies += 1;
                if let Some(envelope) = Envelope::plain(body.as_bytes()) {
                    let careful = Envelope::read_with_care(body.as_bytes());
                    assert_eq!(Some(says(&envelope)), careful.as_ref().map(says), "{body}");
                    plain += 1;
                }
            }
        }
        assert!(plain > 100 && plain < bodies / 2, "{plain} of {bodies}");
    }

    #[test]
    fn the_documented_answers_are_read_plainly() {
        for (sample, id) in [
            (TEMPLATE, "wamid.HBgNODYxODIxMDMzNTIzNBUCABEYEkQ4RTJGRUI0QTA3MDFEMDY4RAA="),
            (FLOW, "gHTRETHRTHTRTH-av4Y"),
            (ESCAPED, "a=/"),
        ] {
            let envelope = Envelope::plain(sample.as_bytes()).unwrap();
            assert!(envelope.is_success());
            assert_eq!(envelope.message_id().as_deref(), Some(id));
        }
    }

    #[test]
    fn what_asks_for_care_is_not_read_plainly() {
        for body in [
            TOKEN,
            RECORDS,
            REFUSED,
            r#"{"item":{"messages":[{"id":"a"}]},"ret_code":0,"ret_msg":""}"#,
            r#"{"item":{"messages":[{"id":"a"}]},"ret_code":"131026","ret_msg":""}"#,
            r#"{"item":{"messages":[{"id":"a"}]},"ret_code":"000000","ret_code":"1","ret_msg":""}"#,
            r#"{"item":{"messages":[{"id":" \u0000"}]},"ret_code":"000000","ret_msg":""}"#,
            r#"{"item":{"messages":[{"id":7}]},"ret_code":"000000","ret_msg":""}"#,
            r#"{"item":{"messages":[]},"ret_code":"000000","ret_msg":""}"#,
            r#"{"item":{"messages":[["a"]]},"ret_code":"000000","ret_msg":""}"#,
            r#"{"item":{"messages":[{"id":"a"},{"id":"b"}]},"ret_code":"000000","ret_msg":""}"#,
        ] {
            assert!(Envelope::plain(body.as_bytes()).is_none(), "{body}");
            assert!(Envelope::read(body.as_bytes()).is_some(), "{body}");
        }
    }
}

//! Sobot's JSON: `{ret_code, ret_msg, item | items}`, in which every number may be a string and every string a number.

use model::report::ReportedOutcome;
use serde_json::{Map, Value, json};

use crate::{
    callback,
    read::{
        self,
        plain::{Plain, once},
    },
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

impl Envelope {
    /// Reads an answer; none when it has no `ret_code`.
    pub fn read(body: &[u8]) -> Option<Self> {
        Self::plain(body).or_else(|| Self::read_with_care(body))
    }

    /// The answer to a message that was taken, exactly as documented; the liberal reading must say the same of it.
    fn plain(body: &[u8]) -> Option<Self> {
        let (mut id, mut code, mut message) = (None, None, None);
        Plain::read(body, |answer| {
            answer.object(|answer, key| match key {
                "item" => once(&mut id, plain_message_id(answer)),
                "ret_code" => once(&mut code, answer.text().filter(|code| *code == SUCCESS)),
                "ret_msg" => once(&mut message, answer.text()),
                _ => None,
            })
        })?;
        Some(Self {
            content: Content::MessageId(read::text_of(id?)?),
            code: code?.to_owned(),
            message: read::text_of(message?).unwrap_or_default(),
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

    /// All that it says; none of the answer to a message.
    pub fn document(&self) -> Option<&Value> {
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

fn plain_message_id<'a>(item: &mut Plain<'a>) -> Option<&'a str> {
    let mut id = None;
    item.object(|item, key| match key {
        "messaging_product" => item.unused(),
        "messages" => once(&mut id, item.only_item(|message| message.only_field("id", Plain::text))),
        // The documents write it in both ways.
        "contacts" => item.only_item(|contact| contact.unused_fields(&["input", "Input", "wa_id"])),
        "meta" => item.unused_fields(&["api_status", "version"]),
        _ => None,
    })?;
    id
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
    const SPACED: &str =
        "{\"item\":{\"messages\":[{\"id\":\" a\u{2003}\"}]},\"ret_code\":\"000000\",\"ret_msg\":\" \"}";

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
        for sample in [TEMPLATE, FLOW, TOKEN, RECORDS, REFUSED, SPACED] {
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
            (SPACED, "a"),
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
            r#"{"item":{"messages":[{"id":"a\u003d"}]},"ret_code":"000000","ret_msg":""}"#,
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

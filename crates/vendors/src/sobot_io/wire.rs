//! Sobot's JSON: `{ret_code, ret_msg, item | items}`, in which every number may be a string and every string a number.

use model::report::ReportedOutcome;
use serde_json::{Map, Value, json};

use crate::{
    callback, read,
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
    document: Value,
}

impl Envelope {
    /// Reads an answer; none when it has no `ret_code`.
    pub fn read(body: &[u8]) -> Option<Self> {
        let document: Value = serde_json::from_slice(body).ok()?;
        let code = read::text_at(&document, &["ret_code"])?;
        let message = read::text_at(&document, &["ret_msg"]).unwrap_or_default();
        Some(Self { code, message, document })
    }

    pub fn is_success(&self) -> bool {
        self.code == SUCCESS
    }

    /// The id of the message that was taken. Ids are opaque: a flow's is no wamid.
    pub fn message_id(&self) -> Option<String> {
        read::text_at(&self.document, &["item", "messages", "0", "id"])
    }

    /// The token and its life in seconds.
    pub fn token(&self) -> Option<(String, u64)> {
        let token = read::text_at(&self.document, &["item", "token"])?;
        let lives = read::text_at(&self.document, &["item", "expires_in"])?.parse::<f64>().ok()?;
        (lives >= 1.0).then_some((token, lives as u64))
    }

    /// The sending records.
    pub fn records(&self) -> Option<RecordPage> {
        let items = read::at(&self.document, &["items"])?.as_array()?;
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

//! Status reports in the vendors' documented forms. Where a document shows two forms of one thing, both are
//! used in turn, because receivers must understand both.

use serde_json::{Value, json};

use crate::clock::india_time;
use crate::plan::Report;
use crate::vendor::Vendor;

/// What a report says, and of which message.
pub(crate) struct News<'a> {
    pub(crate) sequence: u32,
    pub(crate) id: String,
    pub(crate) from: &'a str,
    pub(crate) to: u64,
    pub(crate) report: Report,
    pub(crate) wall_ms: i64,
    pub(crate) custom_data: &'a str,
}

/// The body of a callback with these reports; only Exotel's carry more than one.
pub(crate) fn body(vendor: Vendor, news: &[News<'_>]) -> Value {
    match (vendor, news.first()) {
        (Vendor::Exotel, _) => {
            json!({"whatsapp": {"messages": news.iter().map(exotel).collect::<Vec<_>>()}})
        }
        (Vendor::SobotIo, Some(news)) => sobot_io(news),
        (Vendor::SobotIn, Some(news)) => sobot_in(news),
        (_, None) => Value::Null,
    }
}

/// Exotel, "Status Callbacks". The sample calls the name `exo_detailed_status` and delivered 25001, the table
/// `exo_status` and 30002; times come as RFC 3339 or as seconds in a string.
fn exotel(news: &News<'_>) -> Value {
    let code = match news.report {
        Report::Sent => 30_001,
        Report::Delivered if news.sequence % 16 == 3 => 25_001,
        Report::Delivered => 30_002,
        Report::Read => 30_003,
        Report::Failed(code) => code,
    };
    let (name, description) = exo_status(code);
    let status = if news.sequence.is_multiple_of(2) { "exo_detailed_status" } else { "exo_status" };
    let timestamp =
        if news.sequence % 8 == 5 { (news.wall_ms / 1_000).to_string() } else { india_time(news.wall_ms) };
    let mut report = json!({
        "callback_type": "dlr",
        "sid": news.id,
        "to": news.to.to_string(),
        "exo_status_code": code,
        status: name,
        "description": description,
        "timestamp": timestamp,
    });
    if !news.custom_data.is_empty() {
        report["custom_data"] = json!(news.custom_data);
    }
    report
}

/// sobot.io, "Message sending status notification".
fn sobot_io(news: &News<'_>) -> Value {
    let (status, code) = status(news.report);
    let (code, title) = match code {
        Some(code) => (code.to_string(), failure_title(code)),
        None => (String::new(), ""),
    };
    json!({
        "errorCode": code,
        "errorTitle": title,
        "from": news.from,
        "messageId": news.id,
        "status": status,
        "timestamp": (news.wall_ms / 1_000).to_string(),
        "to": news.to.to_string(),
        "type": "status",
    })
}

/// sobot.in, "Message Status Updates"; `failed` is not shown there and has WhatsApp's form.
fn sobot_in(news: &News<'_>) -> Value {
    let (status, code) = status(news.report);
    let mut report =
        json!({"id": news.id, "status": status, "timestamp": (news.wall_ms / 1_000).to_string()});
    if let Some(code) = code {
        report["errors"] = json!([{"code": code, "title": failure_title(code)}]);
    }
    report
}

fn status(report: Report) -> (&'static str, Option<u32>) {
    match report {
        Report::Sent => ("sent", None),
        Report::Delivered => ("delivered", None),
        Report::Read => ("read", None),
        Report::Failed(code) => ("failed", Some(code)),
    }
}

/// sobot.io's "error_code" table, the part that tests ask for.
pub(crate) fn failure_title(code: u32) -> &'static str {
    match code {
        1 => "Request invalid or server error",
        2 | 131_016 => "Service unavailable",
        4 => "Too many API calls",
        33 | 100 => "Invalid parameters",
        131_008 => "Required parameters missing",
        131_009 => "Invalid param value",
        131_026 => "Recipient number not found",
        131_042 => "Business account payment account issue",
        131_047 => "Chat exceeds 24-hour window",
        131_048 => "Reached the sending limit of junk messages",
        131_051 => "Message type not supported",
        131_056 => "Excessive number of times sent by the same user",
        130_429 => "Reached the sending limit",
        132_000 => "Inconsistent param passing variables and template variables",
        132_001 => "Template not found",
        132_012 => "Inconsistent template param format",
        132_015 => "Invalid template param",
        999_996 => "WhatsApp number not found",
        999_997 => "Insufficient WhatsApp package balance",
        999_998 => "Unknown error - network timeout",
        999_999 => "WhatsApp number is blank",
        _ => "Unknown error",
    }
}

/// Name and description of an ExoStatus code; 25001 is the sample's number for delivered.
pub(crate) fn exo_status(code: u32) -> (&'static str, &'static str) {
    let table = match code {
        25_001 => return ("EX_MESSAGE_DELIVERED", "Message delivered"),
        30_001.. => EXO_STATUS.get((code - 30_001) as usize),
        _ => None,
    };
    table.copied().unwrap_or(("EX_UNKNOWN_ERROR", "The message failed due to an unknown error"))
}

/// "ExoStatus Codes", 30001 to 30041 in order.
const EXO_STATUS: [(&str, &str); 41] = [
    ("EX_MESSAGE_SENT", "The message has been sent to the user"),
    ("EX_MESSAGE_DELIVERED", "The message has been successfully delivered to the user"),
    ("EX_MESSAGE_SEEN", "The message has been seen by the user"),
    (
        "EX_SYSTEM_ERROR",
        "The message failed due to an issue with the system. For eg: Authentication/Access Token/Permission related issue, service not available issue etc.",
    ),
    ("EX_NUMBER_ERROR", "The message failed due to an issue with the phone number"),
    ("EX_SETUP_ERROR", "The message failed due to set-up error"),
    ("EX_RATE_LIMIT_HIT", "The message failed due to a breach in rate limit"),
    ("EX_SPAM_RATE_LIMIT_HIT", "The message failed as spam rate limit has been breached"),
    ("EX_TOO_MANY_REQUEST", "The message failed as too many request has been made in short span"),
    ("EX_INVALID_REQUEST", "The message failed as the request is invalid"),
    ("EX_UNKNOWN_ERROR", "The message failed due to an unknown error"),
    ("EX_INVALID_RECIPIENT", "The message failed as the recipient was invalid"),
    ("EX_INCAPABLE_RECIPIENT", "The message failed as the recipient is unable to receive the message"),
    ("EX_RECIPIENT_BLOCKED", "The message failed as the recipient is not in allowed list"),
    (
        "EX_UNSUPPORTED_MESSAGE",
        "The message failed as unsupported message type has been passed in the request body",
    ),
    ("EX_MEDIA_DOWNLOAD_ERROR", "The message failed as Whatsapp is unable to download the sender media"),
    (
        "EX_MEDIA_UPLOAD_ERROR",
        "The message failed as unsupported media type has been passed in the request body",
    ),
    ("EX_REENGAGEMENT_ERROR", "The message failed as 24 hours window of the conversation is over"),
    ("EX_INVALID_PARAM", "The message failed as invalid parameters has been passed in the request body"),
    ("EX_MISSING_PARAM", "The message has failed as mandatory parameter is missing from the request body"),
    (
        "EX_INVALID_PARAM_VALUE",
        "The message failed as invalid parameter value has been passed in the request body",
    ),
    ("EX_TEMPLATE_ERROR", "The message failed as the template format char policy has been violated"),
    ("EX_TEMPLATE_PARAM_ERROR", "The message failed due to mismatch in count of template parameters"),
    ("EX_TEMPLATE_NOT_FOUND", "The message failed as the passed message template does not exist"),
    (
        "EX_TEMPLATE_TEXT_TOO_LONG",
        "The message failed as the translated text from template message is too long",
    ),
    ("EX_INVALID_TEMPLATE_NAMESPACE", "The message failed as invalid template namespace has been passed"),
    ("EX_MESSAGE_PENDING_TOO_LONG", "The message failed as the message was pending for too long"),
    ("EX_MESSAGE_EXPIRED", "The message failed as the message got expired"),
    (
        "EX_MESSAGE_TOO_LONG",
        "The message failed as the number of characters in the message was more than 4096 characters",
    ),
    ("EX_WEBHOOK_ERROR", "Webhook is not configured"),
    ("EX_SECTION_COUNT_ERROR", "The message failed due to invalid no. of sections"),
    ("EX_ROWS_COUNT_ERROR", "The message failed due to invalid no. of rows"),
    ("EX_PRODUCT_COUNT_ERROR", "The message failed due to invalid no. of product"),
    ("EX_CATALOGUE_NOT_FOUND", "The message failed as the catalog ID has not been found"),
    ("EX_CATALOGUE_NOT_LINKED", "The message failed as the catalog ID has not been linked to the API number"),
    ("EX_MISSING_PRODUCT", "The message failed as the product is missing in the catalog"),
    (
        "EX_PRODUCT_NOT_FOUND",
        "The message failed as all the products in the request body has not been found in the product catalog",
    ),
    ("EX_PRODUCT_COMPLIANCE_ERROR", "The message failed as the listed products failed compliance"),
    ("EX_INVALID_HEADER", "The message failed due to invalid header structure"),
    ("EX_MISSING_COMPLIANCE", "The message failed as compliance information was missing"),
    ("EX_CHAR_POLICY_VIOLATION", "The message failed as character policy got violated"),
];

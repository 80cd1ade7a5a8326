//! Vendors' callbacks as news in our words. Any node takes them, so no live account is needed.
//!
//! Liberal: every form that a vendor's documents show anywhere is read, and what is well-formed but unknown is kept as
//! an event rather than refused. Nothing is decided here.

use model::{
    Phone,
    report::{AccountEvent, Event, Inbound, News, ReportedOutcome},
};
use serde_json::{Map, Value};

use self::plain::Plain;
use crate::{Vendor, bounds, codes, exotel, read, sobot_in, sobot_io};

pub(crate) mod cloud;
mod cloud_events;
mod plain;

/// A callback that cannot be read at all.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the callback is malformed: {reason}")]
pub struct MalformedCallback {
    /// What is wrong with it.
    pub reason: String,
}

impl MalformedCallback {
    pub(crate) fn new(reason: impl Into<String>) -> Self {
        Self { reason: reason.into() }
    }
}

/// Reads a callback of `vendor`.
///
/// # Errors
/// The body is no JSON, or neither an object nor an array, or lacks what its shape promises.
pub fn parse(vendor: Vendor, body: &[u8]) -> Result<Vec<News>, MalformedCallback> {
    match plain(vendor, body).and_then(|plain| plain.news()) {
        Some(news) => Ok(news),
        None => parse_with_care(vendor, body),
    }
}

/// Whether [`parse`] can read a callback of `vendor`, at the cost of reading it alone.
///
/// # Errors
/// As [`parse`].
pub fn check(vendor: Vendor, body: &[u8]) -> Result<(), MalformedCallback> {
    match plain(vendor, body) {
        Some(_) => Ok(()),
        None => parse_with_care(vendor, body).map(drop),
    }
}

fn plain(vendor: Vendor, body: &[u8]) -> Option<Plain<'_>> {
    match vendor {
        Vendor::Exotel => Plain::exotel(body),
        Vendor::SobotIo | Vendor::SobotIn => Plain::cloud(body),
    }
}

fn parse_with_care(vendor: Vendor, body: &[u8]) -> Result<Vec<News>, MalformedCallback> {
    if body.trim_ascii().is_empty() {
        return Err(MalformedCallback::new("the body is empty; a JSON object is expected"));
    }
    let document = match vendor {
        // Exotel prints its samples without the first brace; nobody else does, so nobody else is forgiven.
        Vendor::Exotel => read::document(body),
        Vendor::SobotIo | Vendor::SobotIn => serde_json::from_slice(body),
    };
    let document = document.map_err(|error| MalformedCallback::new(format!("no JSON: {error}")))?;
    if !document.is_object() && !document.is_array() {
        return Err(MalformedCallback::new("a JSON object or array is expected"));
    }
    let news = match vendor {
        Vendor::Exotel => exotel::read_callback(&document)?,
        Vendor::SobotIo => sobot_io::read_callback(&document),
        Vendor::SobotIn => sobot_in::read_callback(&document),
    };
    Ok(news.into_iter().map(bounds::news).collect())
}

/// Something that is kept as it came because nothing else can be made of it.
pub(crate) fn other(field: &str, event: impl Into<String>) -> News {
    let what = AccountEvent::Other { field: field.to_owned(), event: read::brief(&event.into()) };
    News::Event(Event { at: None, what })
}

/// A well-formed object of no known shape, by its keys.
pub(crate) fn unrecognised(object: &Map<String, Value>) -> News {
    const SHOWN_KEYS: usize = 5;
    let keys: Vec<&str> = object.keys().take(SHOWN_KEYS).map(String::as_str).collect();
    other("unrecognised", keys.join(","))
}

/// A phone number that a vendor reports, with or without plus.
pub(crate) fn phone(text: Option<String>) -> Option<Phone> {
    text?.parse().ok()
}

/// What a status word reports; none for words that are no step of a message. `failure` is asked only when it failed.
pub(crate) fn outcome(
    word: &str,
    failure: impl FnOnce() -> (Option<String>, String),
) -> Option<ReportedOutcome> {
    Some(match word.to_ascii_lowercase().as_str() {
        "sent" => ReportedOutcome::Sent,
        "delivered" => ReportedOutcome::Delivered,
        "read" | "seen" => ReportedOutcome::Read,
        "failed" => {
            let (code, reason) = failure();
            let code = code.unwrap_or_else(|| codes::NO_CODE.to_owned());
            ReportedOutcome::Failed { code, reason: read::brief(&reason) }
        }
        _ => return None,
    })
}

/// The text of what a person sent: its own, a button's, or a caption. `content` is what holds the type's object.
pub(crate) fn inbound_text(kind: &str, content: &Value) -> Option<String> {
    const PATHS: [&[&str]; 10] = [
        &["text", "body"],
        &["text"],
        &["button", "text"],
        &["button", "payload"],
        &["interactive", "button_reply", "title"],
        &["interactive", "list_reply", "title"],
        &["interactive", "nfm_reply", "body"],
        &["order", "text"],
        &["reaction", "emoji"],
        &["caption"],
    ];
    // A contradiction of sobot-in.txt: a video may stand under `image`.
    const MEDIA: [&str; 4] = ["image", "video", "document", "audio"];
    let of_path = PATHS.iter().find_map(|path| read::text_at(content, path));
    let caption = || read::text_at(content, &[kind, "caption"]);
    let of_media = || MEDIA.iter().find_map(|media| read::text_at(content, &[media, "caption"]));
    of_path.or_else(caption).or_else(of_media)
}

/// Whether what a person sent is the press of a button or a choice from a list. `content` holds the type's object. The
/// answers to a form (`nfm_reply`) come as `interactive` too, and are a reply.
pub(crate) fn is_click(kind: &str, content: &Value) -> bool {
    match kind {
        "button" => true,
        "interactive" => content.get("interactive").is_none_or(|what| what.get("nfm_reply").is_none()),
        _ => false,
    }
}

/// An inbound message, or, when its sender is no phone number, the fact that something came.
pub(crate) fn inbound_or_other(from: Option<String>, make: impl FnOnce(Phone) -> Inbound) -> News {
    match phone(from) {
        Some(from) => News::Inbound(make(from)),
        None => other("inbound", "the sender is no phone number"),
    }
}

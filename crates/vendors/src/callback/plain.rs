//! The callbacks that nearly all are: statuses of messages that come further, in the keys that the documents show.
//!
//! Read straight from the body, without a tree of it. Whatever is not exactly of this form is left to the liberal
//! reading, which must say the same of everything that is read here.

use std::{borrow::Cow, fmt};

use model::{
    Phone,
    report::{Correlation, News, ReportedOutcome, StatusReport},
};
use serde::{
    Deserialize, Deserializer,
    de::{Error, Visitor},
};

use super::outcome;
use crate::{codes::Effect, exotel, read};

/// Longer ids are cut, and not here.
const ID_BYTES: usize = 512;

/// Exotel: `{whatsapp: {messages: [{callback_type: "dlr", …}]}}`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Envelope<'a> {
    #[serde(borrow)]
    whatsapp: Messages<'a>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Messages<'a> {
    #[serde(borrow)]
    messages: Vec<Dlr<'a>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Dlr<'a> {
    #[serde(borrow)]
    callback_type: Scalar<'a>,
    #[serde(borrow)]
    sid: Scalar<'a>,
    #[serde(borrow, default)]
    to: Scalar<'a>,
    #[serde(borrow, default)]
    exo_status: Scalar<'a>,
    #[serde(borrow, default)]
    exo_detailed_status: Scalar<'a>,
    #[serde(rename = "exo_status_code", default)]
    _number: Scalar<'a>,
    #[serde(rename = "description", default)]
    _description: Scalar<'a>,
    #[serde(borrow, default)]
    timestamp: Scalar<'a>,
    #[serde(borrow, default)]
    custom_data: Scalar<'a>,
}

/// Both Sobots: `{messageId or id, status, timestamp, …}`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Status<'a> {
    #[serde(borrow, default)]
    id: Scalar<'a>,
    #[serde(borrow, rename = "messageId", default)]
    message_id: Scalar<'a>,
    #[serde(borrow)]
    status: Scalar<'a>,
    #[serde(borrow, default)]
    timestamp: Scalar<'a>,
    #[serde(borrow, default)]
    recipient_id: Scalar<'a>,
    #[serde(borrow, default)]
    to: Scalar<'a>,
    #[serde(rename = "type", default)]
    _kind: Scalar<'a>,
    #[serde(rename = "from", default)]
    _from: Scalar<'a>,
    #[serde(rename = "errorCode", default)]
    _code: Scalar<'a>,
    #[serde(rename = "errorTitle", default)]
    _title: Scalar<'a>,
}

/// A body of this form.
pub(super) struct Plain<'a>(Form<'a>);

enum Form<'a> {
    Exotel(Vec<Dlr<'a>>),
    Cloud(Vec<Status<'a>>),
}

/// Whether the body has so many lists. A derived reader takes one for an object too, field by field, which the careful
/// reader does not; a bracket within a text only sends the body there.
fn has_lists(body: &[u8], count: usize) -> bool {
    // In parts whose sum fits a byte: the compiler then adds sixteen bytes at a time.
    const PART: usize = 255;
    let in_part = |part: &[u8]| usize::from(part.iter().map(|byte| u8::from(*byte == b'[')).sum::<u8>());
    body.chunks(PART).map(in_part).sum::<usize>() == count
}

impl<'a> Plain<'a> {
    /// A body of Exotel's; none: it is of another form, or malformed.
    pub(super) fn exotel(body: &'a [u8]) -> Option<Self> {
        if !has_lists(body, 1) {
            return None;
        }
        let envelope: Envelope<'a> = serde_json::from_slice(body).ok()?;
        Some(Self(Form::Exotel(envelope.whatsapp.messages)))
    }

    /// A body of one of the Sobots'; none: it is of another form, or malformed.
    pub(super) fn cloud(body: &'a [u8]) -> Option<Self> {
        let is_list = body.iter().find(|byte| !byte.is_ascii_whitespace()) == Some(&b'[');
        if !has_lists(body, usize::from(is_list)) {
            return None;
        }
        let statuses = match is_list {
            true => serde_json::from_slice(body).ok()?,
            false => vec![serde_json::from_slice(body).ok()?],
        };
        Some(Self(Form::Cloud(statuses)))
    }

    /// What it says; none: something in it is to be read with more care.
    pub(super) fn news(&self) -> Option<Vec<News>> {
        match &self.0 {
            Form::Exotel(messages) => messages.iter().map(Dlr::news).collect(),
            Form::Cloud(statuses) => statuses.iter().map(Status::news).collect(),
        }
    }
}

impl Dlr<'_> {
    fn news(&self) -> Option<News> {
        if self.callback_type.text().as_deref() != Some("dlr") {
            return None;
        }
        let name = self.exo_status.text().or_else(|| self.exo_detailed_status.text())?;
        let outcome = match exotel::status_by_name(&name)? {
            Effect::Status("sent") => ReportedOutcome::Sent,
            Effect::Status("delivered") => ReportedOutcome::Delivered,
            Effect::Status("read") => ReportedOutcome::Read,
            _ => return None,
        };
        Some(News::Status(StatusReport {
            vendor_id: id(&self.sid)?,
            correlation: self.custom_data.text().and_then(|text| Correlation::decode(&text)),
            to: phone(&self.to),
            outcome,
            at: self.timestamp.text().and_then(|text| read::time_of(&text)),
        }))
    }
}

impl Status<'_> {
    fn news(&self) -> Option<News> {
        let id_of = if self.id.text().is_some() { &self.id } else { &self.message_id };
        let to = if self.recipient_id.text().is_some() { &self.recipient_id } else { &self.to };
        let outcome = outcome(&self.status.text()?, || (None, String::new()))?;
        if matches!(outcome, ReportedOutcome::Failed { .. }) {
            return None;
        }
        Some(News::Status(StatusReport {
            vendor_id: id(id_of)?,
            correlation: None,
            to: phone(to),
            outcome,
            at: self.timestamp.text().and_then(|text| read::time_of(&text)),
        }))
    }
}

fn phone(text: &Scalar<'_>) -> Option<Phone> {
    text.text()?.parse().ok()
}

fn id(text: &Scalar<'_>) -> Option<String> {
    text.text().filter(|text| text.len() <= ID_BYTES).map(Cow::into_owned)
}

/// A string or a whole number; anything else is not of this form.
#[derive(Default)]
enum Scalar<'a> {
    #[default]
    Absent,
    Text(Cow<'a, str>),
    Number(i64),
}

impl Scalar<'_> {
    /// As [`read::text`] reads it.
    fn text(&self) -> Option<Cow<'_, str>> {
        match self {
            Self::Absent => None,
            Self::Text(text) => Some(text.trim()).filter(|text| !text.is_empty()).map(Cow::Borrowed),
            Self::Number(number) => Some(Cow::Owned(number.to_string())),
        }
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Scalar<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct OfScalar;

        impl<'de> Visitor<'de> for OfScalar {
            type Value = Scalar<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string without U+0000 or a whole number")
            }

            fn visit_borrowed_str<E: Error>(self, text: &'de str) -> Result<Self::Value, E> {
                Ok(Scalar::Text(Cow::Borrowed(text)))
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<Self::Value, E> {
                // Only what was escaped comes here: the one way in which U+0000 can.
                match text.contains('\0') {
                    true => Err(E::custom("U+0000")),
                    false => Ok(Scalar::Text(Cow::Owned(text.to_owned()))),
                }
            }

            fn visit_i64<E: Error>(self, number: i64) -> Result<Self::Value, E> {
                Ok(Scalar::Number(number))
            }

            fn visit_u64<E: Error>(self, number: u64) -> Result<Self::Value, E> {
                i64::try_from(number).map(Scalar::Number).map_err(E::custom)
            }
        }

        deserializer.deserialize_any(OfScalar)
    }
}

#[cfg(test)]
mod tests {
    use super::Plain;
    use crate::{Vendor, callback};

    const SHAPES: [&str; 14] = [
        r#"{"errorCode":"","errorTitle":"","from":"1","messageId":"w=","status":"sent","timestamp":"1667453467","to":"919876543210","type":"status"}"#,
        r#"{"id":"w","status":"READ","timestamp":1692947519}"#,
        r#" [ {"id":" w ","messageId":"x","status":"seen","recipient_id":"+919876543210","to":"1"}, {"id":"v","status":"delivered"} ] "#,
        r#"{"id":"","messageId":"x","status":"delivered","recipient_id":"","to":"919876543210"}"#,
        r#"{"id":17,"status":"sent","timestamp":"soon"}"#,
        r#"{"id":"w\u0041","status":"se\u006et","timestamp":"2022-12-07T17:00:00.000+05:30"}"#,
        "[]",
        r#"{"whatsapp":{"messages":[]}}"#,
        r#"{"whatsapp":{"messages":[{"callback_type":"dlr","sid":"s","to":"919876543210","exo_status_code":30001,"exo_status":"EX_MESSAGE_SENT","description":"d","timestamp":"2022-12-07T17:00:00.000+05:30","custom_data":"c1.7.12.3"}]}}"#,
        r#"{"whatsapp":{"messages":[{"callback_type":"dlr","sid":"s","exo_status_code":25001,"exo_detailed_status":"EX_MESSAGE_DELIVERED","custom_data":"mine"}]}}"#,
        r#"{"whatsapp":{"messages":[{"callback_type":"dlr","sid":"s","exo_status":" ","exo_detailed_status":"ex_message_seen"}]}}"#,
        r#"{"whatsapp":{"messages":[{"callback_type":"dlr","sid":12,"exo_status":"EX_MESSAGE_SEEN","timestamp":1669720000000}]}}"#,
        r#"{"whatsapp":{"messages":[{"callback_type":" dlr ","sid":"s","exo_status":"EX_MESSAGE_SEEN","timestamp":-5}]}}"#,
        r#"{"messageId":"w","status":"read","type":"text"}"#,
    ];

    #[test]
    fn what_is_read_plainly_is_read_alike_with_care() {
        let mut plain = 0;
        for vendor in Vendor::ALL {
            for body in SHAPES {
                let careful = callback::parse_with_care(vendor, body.as_bytes());
                if let Some(news) = callback::plain(vendor, body.as_bytes()).and_then(|plain| plain.news()) {
                    assert_eq!(Ok(news), careful, "{vendor} {body}");
                    plain += 1;
                }
                assert_eq!(
                    callback::check(vendor, body.as_bytes()).is_ok(),
                    careful.is_ok(),
                    "{vendor} {body}"
                );
            }
        }
        // Seven of Exotel's, eight of each Sobot's.
        assert_eq!(plain, 6 + 2 * 8);
    }

    #[test]
    fn what_asks_for_care_is_not_read_plainly() {
        for (vendor, body) in [
            (Vendor::SobotIo, r#"{"id":"w","status":"failed"}"#),
            (Vendor::SobotIo, r#"{"id":"w","status":"warned"}"#),
            (Vendor::SobotIo, r#"{"id":"w","status":"sent","content":{}}"#),
            (Vendor::SobotIo, r#"{"id":"w","message_id":"x","status":"sent"}"#),
            (Vendor::SobotIo, r#"{"id":"w\u0000","status":"sent"}"#),
            (Vendor::SobotIo, r#"{"status":"sent"}"#),
            (
                Vendor::Exotel,
                r#"{"whatsapp":{"messages":[{"callback_type":"dlr","sid":"s","exo_status":"EX_FAILED"}]}}"#,
            ),
            (
                Vendor::Exotel,
                r#"{"whatsapp":{"messages":[{"callback_type":"icm","sid":"s","exo_status":"EX_MESSAGE_SENT"}]}}"#,
            ),
            (
                Vendor::Exotel,
                r#"{"whatsapp":{"messages":[{"callback_type":"dlr","sid":"","custom_data":"c1.1.2.3","exo_status":"EX_MESSAGE_SENT"}]}}"#,
            ),
        ] {
            let news = callback::plain(vendor, body.as_bytes()).and_then(|plain| plain.news());
            assert_eq!(news, None, "{body}");
            assert!(callback::parse(vendor, body.as_bytes()).is_ok(), "{body}");
        }
    }

    #[test]
    fn a_list_in_the_place_of_an_object_is_left_to_the_careful_reading() {
        for body in [r#"[["w","","sent","1667453467"]]"#, r#"["w","","sent","1667453467"]"#] {
            assert!(Plain::cloud(body.as_bytes()).is_none(), "{body}");
        }
        let body = r#"{"whatsapp":{"messages":[["dlr","s","","EX_MESSAGE_SENT"]]}}"#;
        assert!(Plain::exotel(body.as_bytes()).is_none());
    }
}

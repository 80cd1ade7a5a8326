//! What customers and platforms send by themselves: replies in every documented kind, template and account
//! events. Posted once, to the address registered for the vendor.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::pump;
use crate::vendor::Vendor;
use crate::world::World;

/// An inbound message or event to fire.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Inbound {
    /// The vendor in whose form it comes.
    pub vendor: Vendor,
    /// Exotel: text, image, audio, video, document. sobot_in: text, image, video. sobot_io: text, image,
    /// document, video, audio, sticker, location, contacts, button, order, interactive, referral, flow,
    /// request_welcome, template_status, template_quality, phone_quality, account_update. All: raw.
    #[serde(default = "text_kind")]
    pub kind: String,
    /// The customer's number.
    #[serde(default)]
    pub from: String,
    /// The business number or its id.
    #[serde(default)]
    pub to: String,
    /// Text, caption, button text, or an event's name (such as APPROVED).
    #[serde(default)]
    pub text: String,
    /// button: id of the message that was answered; template events: the template's name, or `name/language`.
    #[serde(default)]
    pub about: String,
    /// Events: members of `value` that replace or join those of the document's sample.
    #[serde(default)]
    pub details: Option<Value>,
    /// The account whose registered address is used; empty: the vendor's.
    #[serde(default)]
    pub account: String,
    /// Address to post to instead of the registered one.
    #[serde(default)]
    pub url: Option<String>,
    /// Body of kind `raw`, posted as it is.
    #[serde(default)]
    pub body: Option<Value>,
}

fn text_kind() -> String {
    "text".to_owned()
}

impl Inbound {
    /// A text message.
    #[must_use]
    pub fn text(vendor: Vendor, from: &str, to: &str, text: &str) -> Inbound {
        Inbound {
            vendor,
            kind: text_kind(),
            from: from.to_owned(),
            to: to.to_owned(),
            text: text.to_owned(),
            about: String::new(),
            details: None,
            account: String::new(),
            url: None,
            body: None,
        }
    }

    /// The same sender and text as another kind.
    #[must_use]
    pub fn kind(mut self, kind: &str) -> Inbound {
        self.kind = kind.to_owned();
        self
    }

    /// About this template, `name/language`.
    #[must_use]
    pub fn about(mut self, about: &str) -> Inbound {
        self.about = about.to_owned();
        self
    }

    /// With these members in the event's `value`.
    #[must_use]
    pub fn details(mut self, details: Value) -> Inbound {
        self.details = Some(details);
        self
    }

    /// Posted to this address.
    #[must_use]
    pub fn url(mut self, url: impl Into<String>) -> Inbound {
        self.url = Some(url.into());
        self
    }
}

/// Posts it and returns the status of the answer.
pub(crate) async fn fire(world: &World, inbound: &Inbound) -> Result<u16, String> {
    let registered = || world.callback_url(inbound.vendor, &inbound.account);
    let Some(url) = inbound.url.clone().or_else(registered) else {
        return Err(format!("no callback URL is registered for {}", inbound.vendor));
    };
    let wall_ms = world.clock.wall_ms(world.clock.now_us());
    let number = world.next_request();
    let id = world.ids.message(inbound.vendor, u32::try_from(number | 0x8000_0000).unwrap_or(0), 1);
    let body = match (inbound.kind.as_str(), inbound.vendor) {
        ("raw", _) => inbound.body.clone(),
        (_, Vendor::Exotel) => exotel(inbound, wall_ms / 1_000),
        (_, Vendor::SobotIo) => sobot_io(inbound, wall_ms),
        (_, Vendor::SobotIn) => sobot_in(inbound, &id, wall_ms / 1_000),
    };
    if inbound.kind == "template_status" {
        let (name, language) = inbound.about.split_once('/').unwrap_or((&inbound.about, "en"));
        world.templates.set_status(name, language, &inbound.text);
    }
    let Some(body) = body else {
        return Err(format!("{} has no inbound kind {:?}", inbound.vendor, inbound.kind));
    };
    pump::post_json(world, &url, serde_json::to_vec(&body).unwrap_or_default().into()).await
}

/// Exotel, "Receive Messages".
fn exotel(inbound: &Inbound, seconds: i64) -> Option<Value> {
    let content = match inbound.kind.as_str() {
        "text" => json!({"type": "text", "text": {"body": inbound.text}}),
        "document" => json!({
            "type": "document",
            "document": {
                "url": "https://exotel.com/abc.pdf",
                "caption": inbound.text,
                "filename": "abc.pdf",
            },
        }),
        kind @ ("image" | "audio" | "video") => {
            let mut content = json!({"type": kind});
            content[kind] = json!({"url": "https://exotel.com/abc.jpeg", "caption": inbound.text});
            content
        }
        _ => return None,
    };
    Some(json!({"whatsapp": {"messages": [{
        "callback_type": "incoming_message",
        "from": inbound.from,
        "profile_name": "John",
        "to": inbound.to,
        "timestamp": seconds.to_string(),
        "content": content,
    }]}}))
}

/// sobot.io, "Receive user message" and "Webhook status notification".
fn sobot_io(inbound: &Inbound, wall_ms: i64) -> Option<Value> {
    if let Some(event) = sobot_io_event(inbound, wall_ms) {
        return Some(event);
    }
    let media = "https://img.sobot.com/console/common/face/robot.png";
    let (kind, content) = match inbound.kind.as_str() {
        "text" => ("text", json!({"text": inbound.text})),
        "document" => ("document", json!({"mediaUrl": media, "filename": "example.txt"})),
        kind @ ("image" | "video" | "audio" | "sticker") => (kind, json!({"mediaUrl": media})),
        "location" => ("location", json!({"latitude": "12.971", "longitude": "77.594"})),
        "contacts" => {
            let phone = json!({"phone": inbound.from, "wa_id": "8618888888888", "type": "CELL"});
            let name = json!({"formatted_name": "NAME", "first_name": "NAME"});
            ("contacts", json!({"contacts": [{"name": name, "phones": [phone]}]}))
        }
        "button" => {
            let payload = format!("{}-Button-Payload", inbound.text);
            let button = json!({"payload": payload, "text": inbound.text, "messageid": inbound.about});
            ("button", json!({"button": button}))
        }
        "order" => ("order", order(&inbound.text)),
        "interactive" => {
            let reply = json!({"id": "unique-button-identifier-here", "title": inbound.text});
            ("interactive", json!({"interactive": {"type": "button_reply", "button_reply": reply}}))
        }
        "referral" => ("text", json!({"referral": referral(media), "text": inbound.text})),
        "flow" => {
            let answers = json!({"flow_token": "unused", "screen_0_firstName_0": inbound.text}).to_string();
            let reply = json!({"name": "flow", "response_json": answers, "body": "Sent"});
            ("interactive", json!({"interactive": {"nfm_reply": reply, "type": "nfm_reply"}}))
        }
        "request_welcome" => {
            let contact = json!({"profile": {"name": "666"}, "wa_id": inbound.from});
            ("request_welcome", json!({"contacts": [contact]}))
        }
        _ => return None,
    };
    Some(json!({
        "content": content,
        "from": inbound.from,
        "to": inbound.to,
        "type": kind,
        "name": "NAME",
    }))
}

fn order(text: &str) -> Value {
    let item = json!({
        "quantity": "1",
        "product_retailer_id": "the-product-SKU-identifier",
        "item_price": "9.90",
        "currency": "INR",
    });
    json!({"order": {"catalog_id": "the-catalog_id", "text": text, "product_items": [item]}})
}

fn referral(image: &str) -> Value {
    json!({
        "media_type": "image",
        "video_url": "RAW_VIDEO_URL",
        "image_url": image,
        "source_type": "ad",
        "source_id": "ADID",
        "body": "AD_DESCRIPTION",
        "headline": "AD_TITLE",
        "source_url": "https://example.com/ad",
        "thumbnail url": "RAW_THUMBNAIL URL",
    })
}

/// Events of templates and accounts; `text` is the event.
fn sobot_io_event(inbound: &Inbound, wall_ms: i64) -> Option<Value> {
    let event = if inbound.text.is_empty() { "APPROVED" } else { &inbound.text };
    let about = if inbound.about.is_empty() { "my_message_template" } else { &inbound.about };
    let (template, language) = about.split_once('/').unwrap_or((about, "en"));
    let (field, mut value) = match inbound.kind.as_str() {
        "template_status" => (
            "message_template_status_update",
            json!({
                "event": event,
                "message_template_id": 12_345_678,
                "message_template_name": template,
                "message_template_language": language,
                "reason": "NONE",
            }),
        ),
        "template_quality" => (
            "message_template_quality_update",
            json!({
                "previous_quality_score": "GREEN",
                "new_quality_score": if inbound.text.is_empty() { "YELLOW" } else { &inbound.text },
                "message_template_id": 12_345_678,
                "message_template_name": template,
                "message_template_language": language,
            }),
        ),
        "phone_quality" => (
            "phone_number_quality_update",
            json!({
                "display_phone_number": inbound.to,
                "event": if inbound.text.is_empty() { "FLAGGED" } else { &inbound.text },
                "current_limit": "TIER_10K",
            }),
        ),
        "account_update" => (
            "account_update",
            json!({
                "phone_number": inbound.to,
                "event": if inbound.text.is_empty() { "VERIFIED_ACCOUNT" } else { &inbound.text },
            }),
        ),
        _ => return None,
    };
    if let Some(details) = inbound.details.as_ref().and_then(Value::as_object) {
        for (key, detail) in details {
            value[key] = detail.clone();
        }
    }
    let entry = json!({
        "id": "100564172792081",
        "time": wall_ms / 1_000,
        "changes": [{"field": field, "value": value}],
    });
    Some(json!({"entry": [entry], "object": "whatsapp_business_account"}))
}

/// sobot.in, "Webhook"; the sample of a video has its object under `image`.
fn sobot_in(inbound: &Inbound, id: &str, seconds: i64) -> Option<Value> {
    let mut message = json!({
        "from": inbound.from,
        "id": id,
        "timestamp": seconds.to_string(),
        "type": inbound.kind,
    });
    match inbound.kind.as_str() {
        "text" => message["text"] = json!({"body": inbound.text}),
        kind @ ("image" | "video") => {
            message["image"] = json!({
                "mime_type": if kind == "image" { "image/jpeg" } else { "video/mp4" },
                "sha256": "KPWm/epBiakGlJovxzct+oQkwy3u9v3BIeBX3w3aJLA=",
                "id": "259395830348745",
                "url": format!("https://example.com/{kind}s/259395830348745"),
            });
        }
        _ => return None,
    }
    Some(json!([{
        "value": {
            "messaging_product": "whatsapp",
            "metadata": {"display_phone_number": inbound.to},
            "contacts": [{"profile": {"name": "John Deo"}, "wa_id": inbound.from}],
            "messages": [message],
        },
        "field": "messages",
    }]))
}

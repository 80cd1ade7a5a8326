//! sobot.in's message, checked against "Free-flow Messages" and "Template Messages".

use std::collections::HashSet;

use serde_json::Value;

use crate::check::{
    Checked, Object, Wrong, as_object, coordinate, digest, given, invalid, link, list, object, optional_text,
    phone, text,
};
use crate::interactive::sections;
use crate::template_check::{SOBOT_IN, components};

/// A message that is ready to be accepted.
pub(crate) struct Message {
    pub(crate) to: u64,
    pub(crate) label: String,
    pub(crate) digest: u64,
    /// Name, language and number of body variables of a template.
    pub(crate) template: Option<(String, String, usize)>,
}

/// The recipient: digits without plus, hyphens, brackets or spaces.
pub(crate) fn recipient(message: &Object) -> Option<u64> {
    phone(message.get("customer_number")?.as_str()?, false)
}

/// Checks a message; one with `template_name` is a template message.
pub(crate) fn message(message: &Object) -> Checked<Message> {
    text(message, "customer_number", usize::MAX)?;
    let Some(to) = recipient(message) else {
        return invalid(Wrong::Phone, "customer_number", "Invalid mobile number");
    };
    text(message, "customer_name", 100)?;
    if given(message, "template_name").is_some() {
        let name = text(message, "template_name", 128)?.to_owned();
        let language = text(message, "template_lang", 16)?.to_owned();
        let variables = match given(message, "params") {
            None => 0,
            Some(_) => components(list(message, "params")?, &SOBOT_IN)?,
        };
        let label = format!("{name}/{language}");
        let digest = message.get("params").map_or(0, digest);
        return Ok(Message { to, label, digest, template: Some((name, language, variables)) });
    }
    let kind = text(message, "type", usize::MAX)?.to_lowercase();
    free_flow(message, &kind)?;
    let digest = digest(&Value::Object(message.clone()));
    Ok(Message { to, label: format!("({kind})"), digest, template: None })
}

fn free_flow(message: &Object, kind: &str) -> Checked {
    match kind {
        "text" => text(message, "message", 4_096).map(drop),
        "image" | "sticker" | "video" | "document" => media(message, kind),
        "location" => {
            coordinate(message, "longitude", 180.0)?;
            coordinate(message, "latitude", 90.0)
        }
        "quick_reply" => {
            interactive_texts(message)?;
            buttons(list(message, "buttons")?)
        }
        "list" => {
            interactive_texts(message)?;
            let choice = object(message, "list_obj")?;
            text(choice, "list_obj.button", 20)?;
            sections(list(choice, "list_obj.sections")?, "list_obj.sections")
        }
        "product" => {
            interactive_texts(message)?;
            products(object(message, "product_list")?)
        }
        _ => invalid(Wrong::UnknownType, "type", format!("{kind:?} is not a type of message")),
    }
}

/// "Supported Media Types" of each kind. The sticker's sample says type image with image/webp.
fn media(message: &Object, kind: &str) -> Checked {
    link(message, "url")?;
    let mime = text(message, "mime_type", 128)?;
    let supported = match kind {
        "image" => matches!(mime, "image/jpeg" | "image/png" | "image/webp"),
        "sticker" => mime == "image/webp",
        "video" => matches!(mime, "video/mp4" | "video/3gp"),
        _ => mime == "text/plain" || mime.starts_with("application/"),
    };
    if !supported {
        return invalid(Wrong::Value, "mime_type", format!("{mime:?} is not supported for type {kind}"));
    }
    if kind == "document" {
        text(message, "filename", 240)?;
    }
    optional_text(message, "caption", 1_024).map(drop)
}

fn interactive_texts(message: &Object) -> Checked {
    text(message, "message", 1_024)?;
    optional_text(message, "header", 60)?;
    optional_text(message, "caption", 60).map(drop)
}

fn buttons(buttons: &[Value]) -> Checked {
    if buttons.is_empty() || buttons.len() > 3 {
        return invalid(Wrong::Value, "buttons", "must have 1 to 3 titles");
    }
    let mut titles = HashSet::new();
    for button in buttons {
        let title = button.as_str().unwrap_or_default();
        if title.is_empty() || title.chars().count() > 20 || !titles.insert(title) {
            return invalid(Wrong::Value, "buttons", "must be different texts of 1 to 20 characters");
        }
    }
    Ok(())
}

fn products(products: &Object) -> Checked {
    if given(products, "product_list.sections").is_none() {
        return text(products, "product_list.product_retailer_id", usize::MAX).map(drop);
    }
    let sections = list(products, "product_list.sections")?;
    let mut total = 0;
    for section in sections {
        let section = as_object(section, "product_list.sections")?;
        text(section, "sections.title", 24)?;
        let items = list(section, "sections.product_items")?;
        total += items.len();
        for item in items {
            text(
                as_object(item, "sections.product_items")?,
                "product_items.product_retailer_id",
                usize::MAX,
            )?;
        }
    }
    if sections.is_empty() || sections.len() > 30 || total == 0 || total > 30 {
        return invalid(Wrong::Value, "product_list.sections", "must have 1 to 30 sections and products");
    }
    Ok(())
}

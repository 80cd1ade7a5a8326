//! Exotel's message object, checked against "Message Object" and "Whatsapp Message Object".

use crate::check::{
    Checked, Object, Wrong, coordinate, digest, given, invalid, link, list, object, one_of, optional_text,
    phone, text,
};
use crate::template_check::{EXOTEL, components};

/// A message that is ready to be accepted.
pub(crate) struct Message<'a> {
    pub(crate) from: &'a str,
    pub(crate) to: u64,
    pub(crate) label: String,
    pub(crate) digest: u64,
    pub(crate) custom_data: Option<&'a str>,
    pub(crate) status_callback: Option<&'a str>,
    /// Name, language and number of body variables of a template.
    pub(crate) template: Option<(&'a str, &'a str, usize)>,
}

/// The recipient, when the message has a valid one.
pub(crate) fn recipient(message: &Object) -> Option<u64> {
    phone(message.get("to")?.as_str()?, true)
}

/// Checks one message.
pub(crate) fn message(message: &Object) -> Checked<Message<'_>> {
    let from = text(message, "from", 64)?;
    text(message, "to", 64)?;
    let Some(to) = recipient(message) else {
        return invalid(Wrong::Phone, "to", "must be a phone number in e.164 format");
    };
    let custom_data = optional_text(message, "custom_data", usize::MAX)?;
    let status_callback = optional_text(message, "status_callback", usize::MAX)?;
    let content = object(message, "content")?;
    let kind = text(content, "content.type", usize::MAX)?;
    if given(content, "content.recipient_type").is_some() {
        one_of(content, "content.recipient_type", &["individual"])?;
    }
    let template = match kind {
        "template" => Some(template(object(content, "content.template")?)?),
        _ => {
            free_form(content, kind)?;
            None
        }
    };
    let label = match template {
        Some((name, language, _)) => format!("{name}/{language}"),
        None => format!("({kind})"),
    };
    let digest = message.get("content").map_or(0, digest);
    Ok(Message { from, to, label, digest, custom_data, status_callback, template })
}

fn template(template: &Object) -> Checked<(&str, &str, usize)> {
    let name = text(template, "template.name", 512)?;
    optional_text(template, "template.namespace", 512)?;
    let language = object(template, "template.language")?;
    one_of(language, "language.policy", &["deterministic"])?;
    let code = text(language, "language.code", 16)?;
    // "Mandatory", yet a template without variables has nothing to put there.
    let variables = match given(template, "template.components") {
        None => 0,
        Some(_) => components(list(template, "template.components")?, &EXOTEL)?,
    };
    Ok((name, code, variables))
}

fn free_form(content: &Object, kind: &str) -> Checked {
    match kind {
        "text" => {
            let text_object = object(content, "content.text")?;
            text(text_object, "text.body", 4_096)?;
            match given(text_object, "text.preview_url") {
                Some(flag) if !flag.is_boolean() => {
                    invalid(Wrong::Type, "text.preview_url", "must be a boolean")
                }
                _ => Ok(()),
            }
        }
        "image" | "video" | "document" | "audio" | "sticker" => {
            let media = object(content, &format!("content.{kind}"))?;
            link(media, &format!("{kind}.link"))?;
            if matches!(kind, "audio" | "sticker") && given(media, "caption").is_some() {
                return invalid(Wrong::Value, &format!("{kind}.caption"), "is not supported");
            }
            optional_text(media, &format!("{kind}.caption"), 1_024)?;
            optional_text(media, &format!("{kind}.filename"), 240).map(drop)
        }
        "location" => {
            let location = object(content, "content.location")?;
            coordinate(location, "location.latitude", 90.0)?;
            coordinate(location, "location.longitude", 180.0)?;
            optional_text(location, "location.name", 1_000)?;
            optional_text(location, "location.address", 1_000).map(drop)
        }
        "contacts" => crate::media::contacts(list(content, "content.contacts")?),
        "interactive" => crate::interactive::interactive(object(content, "content.interactive")?, false),
        _ => invalid(Wrong::UnknownType, "content.type", format!("{kind:?} is not a type of message")),
    }
}

//! sobot.io's message, checked against "Send template message" and "Send free format message".

use crate::check::{
    Checked, Object, Wrong, coordinate, digest, given, invalid, link, list, object, optional_text, phone,
    text,
};
use crate::template_check::{SOBOT_IO, components};

/// A message that is ready to be accepted.
pub(crate) struct Message {
    pub(crate) to: u64,
    pub(crate) label: String,
    pub(crate) digest: u64,
    /// A flow message is answered in another form.
    pub(crate) is_flow: bool,
    /// Name, language and number of body variables of a template.
    pub(crate) template: Option<(String, String, usize)>,
}

/// The recipient, when the message has a valid one.
pub(crate) fn recipient(message: &Object) -> Option<u64> {
    phone(message.get("to")?.as_str()?, true)
}

/// Checks a message.
pub(crate) fn message(message: &Object) -> Checked<Message> {
    let from = text(message, "from", 64)?;
    if !from.trim_start_matches('+').bytes().all(|byte| byte.is_ascii_digit()) {
        return invalid(Wrong::Value, "from", "must be a phone number id");
    }
    text(message, "to", 64)?;
    let Some(to) = recipient(message) else {
        return invalid(Wrong::Phone, "to", "must be a phone number with country code");
    };
    let kind = text(message, "type", usize::MAX)?;
    let content = object(message, "content")?;
    let template = match kind {
        "template" => Some(template(object(content, "content.template")?)?),
        _ => {
            free_form(content, kind)?;
            None
        }
    };
    let label = match &template {
        Some((name, language, _)) => format!("{name}/{language}"),
        None => format!("({kind})"),
    };
    let is_flow = kind == "interactive" && content["interactive"]["type"] == "flow";
    let digest = message.get("content").map_or(0, digest);
    Ok(Message { to, label, digest, is_flow, template })
}

fn template(template: &Object) -> Checked<(String, String, usize)> {
    let name = text(template, "template.name", 512)?;
    let language = object(template, "template.language")?;
    let code = text(language, "language.code", usize::MAX)?;
    let all = list(template, "template.components")?;
    let variables = components(all, &SOBOT_IO).or_else(|wrong| {
        // "If there is a variable, the variable content cannot be null or null string": the codes for
        // parameters that do not fit.
        let kind = match wrong.wrong {
            Wrong::TooLong => Wrong::TooLong,
            _ => Wrong::Parameters,
        };
        invalid(kind, &wrong.field, wrong.reason)
    })?;
    if all.iter().filter_map(|one| one["sub_type"].as_str()).any(|kind| kind.eq_ignore_ascii_case("url")) {
        encoded_buttons(all)?;
    }
    Ok((name.to_owned(), code.to_owned(), variables))
}

/// "If the current button variable contains Chinese, it needs to encode the Chinese."
fn encoded_buttons(components: &[serde_json::Value]) -> Checked {
    for component in components.iter().filter(|one| one["sub_type"].is_string()) {
        for parameter in component["parameters"].as_array().into_iter().flatten() {
            let dynamic = parameter["payload"].as_str().or_else(|| parameter["text"].as_str());
            if dynamic.is_some_and(|text| text.chars().any(|one| ('\u{2E80}'..='\u{9FFF}').contains(&one))) {
                return invalid(Wrong::Parameters, "parameters.payload", "must have its Chinese encoded");
            }
        }
    }
    Ok(())
}

fn free_form(content: &Object, kind: &str) -> Checked {
    match kind {
        "text" => text(content, "content.text", 4_096).map(drop),
        "replyText" => {
            text(content, "content.text", 4_096)?;
            text(content, "content.replyText", 512).map(drop)
        }
        "image" | "video" | "audio" | "sticker" | "document" => {
            link(content, "content.media_url")?;
            optional_text(content, "content.file_name", 240).map(drop)
        }
        "location" => {
            coordinate(content, "content.latitude", 90.0)?;
            coordinate(content, "content.longitude", 180.0)
        }
        "contacts" => crate::media::contacts(list(content, "content.contacts")?),
        "interactive" => {
            let interactive = object(content, "content.interactive")?;
            match given(interactive, "interactive.type") {
                Some(_) => crate::interactive::interactive(interactive, true),
                None => invalid(Wrong::Missing, "interactive.type", "is mandatory"),
            }
        }
        _ => invalid(Wrong::UnknownType, "type", format!("{kind:?} is not a type of message")),
    }
}

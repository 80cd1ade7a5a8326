//! Components of a template message: the same idea in all three documents, with differences that a `Dialect`
//! names.

use serde_json::Value;

use crate::check::{
    Checked, Object, Wrong, as_object, given, invalid, link, list, object, optional_text, required, text,
    within,
};

/// What a vendor's document allows in components.
pub(crate) struct Dialect {
    /// Types of parameters.
    pub(crate) parameters: &'static [&'static str],
    /// Kinds of buttons, in lower case.
    pub(crate) buttons: &'static [&'static str],
    /// Media may be named by id instead of link.
    pub(crate) media_ids: bool,
    /// Highest index of a button.
    pub(crate) last_index: u64,
    /// Length of a header's and a lone body's text.
    pub(crate) header_text: usize,
    pub(crate) lone_body_text: usize,
}

/// Exotel, "Component Object" and "Parameter Object"; a quick reply's payload as in WhatsApp's own contract,
/// to which the document refers.
pub(crate) const EXOTEL: Dialect = Dialect {
    parameters: &["currency", "date_time", "document", "image", "text", "video", "payload"],
    buttons: &["quick_reply", "url"],
    media_ids: false,
    last_index: 2,
    header_text: 60,
    lone_body_text: 32_768,
};

/// sobot.io, "Send template message", examples 1 to 7.
pub(crate) const SOBOT_IO: Dialect = Dialect {
    parameters: &["text", "image", "video", "document", "location", "payload", "action"],
    buttons: &["url", "quick_reply", "flow", "copy_code"],
    media_ids: true,
    last_index: 9,
    header_text: usize::MAX,
    lone_body_text: usize::MAX,
};

/// sobot.in, "Template Messages".
pub(crate) const SOBOT_IN: Dialect = Dialect {
    parameters: &["text", "image", "video", "document", "payload"],
    buttons: &["url", "quick_reply"],
    media_ids: false,
    last_index: 9,
    header_text: usize::MAX,
    lone_body_text: usize::MAX,
};

/// Checks components and returns how many parameters the body has.
pub(crate) fn components(components: &[Value], dialect: &Dialect) -> Checked<usize> {
    let mut in_body = 0;
    for component in components {
        let component = as_object(component, "components")?;
        let kind = text(component, "components.type", usize::MAX)?.to_ascii_lowercase();
        let parameters = match given(component, "components.parameters") {
            None => &[],
            Some(_) => list(component, "components.parameters")?.as_slice(),
        };
        let longest = match kind.as_str() {
            "header" => dialect.header_text,
            "body" if components.len() > 1 => dialect.lone_body_text.min(1_024),
            "body" => dialect.lone_body_text,
            "button" => button(component, parameters, dialect)?,
            _ => return invalid(Wrong::Value, "components.type", "must be header, body or button"),
        };
        if kind == "body" {
            in_body = parameters.len();
        }
        for one in parameters {
            parameter(as_object(one, "parameters")?, dialect, longest)?;
        }
    }
    Ok(in_body)
}

fn button(component: &Object, parameters: &[Value], dialect: &Dialect) -> Checked<usize> {
    let kind = text(component, "components.sub_type", usize::MAX)?.to_ascii_lowercase();
    if !dialect.buttons.contains(&kind.as_str()) {
        let known = dialect.buttons.join(", ");
        return invalid(Wrong::Value, "components.sub_type", format!("must be one of {known}"));
    }
    let index = match required(component, "components.index")? {
        Value::String(text) => text.parse::<u64>().ok(),
        Value::Number(number) => number.as_u64(),
        _ => None,
    };
    if index.is_none_or(|index| index > dialect.last_index) {
        let last = dialect.last_index;
        return invalid(Wrong::Value, "components.index", format!("must be 0 to {last}"));
    }
    if parameters.is_empty() {
        return invalid(Wrong::Missing, "components.parameters", "is mandatory for a button");
    }
    Ok(usize::MAX)
}

fn parameter(parameter: &Object, dialect: &Dialect, longest: usize) -> Checked {
    let kind = text(parameter, "parameters.type", usize::MAX)?.to_ascii_lowercase();
    if !dialect.parameters.contains(&kind.as_str()) {
        let known = dialect.parameters.join(", ");
        return invalid(Wrong::Value, "parameters.type", format!("must be one of {known}"));
    }
    match kind.as_str() {
        "text" => within(text(parameter, "parameters.text", usize::MAX)?, "parameters.text", longest),
        "payload" => text(parameter, "parameters.payload", usize::MAX).map(drop),
        "action" => object(parameter, "parameters.action").map(drop),
        "currency" => {
            let currency = object(parameter, "parameters.currency")?;
            text(currency, "currency.fallback_value", usize::MAX)?;
            text(currency, "currency.code", 3)?;
            match required(currency, "currency.amount_1000")?.is_i64() {
                true => Ok(()),
                false => invalid(Wrong::Type, "currency.amount_1000", "must be an integer"),
            }
        }
        "date_time" => {
            let moment = object(parameter, "parameters.date_time")?;
            text(moment, "date_time.fallback_value", usize::MAX).map(drop)
        }
        "location" => {
            let place = object(parameter, "parameters.location")?;
            crate::check::coordinate(place, "location.latitude", 90.0)?;
            crate::check::coordinate(place, "location.longitude", 180.0)
        }
        media => {
            let object = object(parameter, &format!("parameters.{media}"))?;
            optional_text(object, "parameters.filename", usize::MAX)?;
            if dialect.media_ids && given(object, "parameters.id").is_some() {
                return text(object, "parameters.id", usize::MAX).map(drop);
            }
            link(object, "parameters.link")
        }
    }
}

//! What a template must be to be created: WhatsApp's rules, as far as its vendors' documents tell them.

use serde_json::Value;

use super::{component, text_of};
use crate::{FieldError, campaign::Category};

/// Characters of a template's name.
pub const LIMIT_NAME: usize = 512;
/// Components of a template: a header, a body, a footer, buttons, and as many to spare.
pub const LIMIT_COMPONENTS: usize = 8;
/// Characters of a body (sobot-in.txt, "Add Text Template").
const LIMIT_BODY: usize = 1024;
/// Characters of a header and of a footer, by the same.
const LIMIT_LINE: usize = 60;
/// WhatsApp counts at most ten buttons.
const LIMIT_BUTTONS: usize = 10;

/// Everything that is wrong with a template that somebody wants to create.
#[must_use]
pub fn check_definition(
    name: &str,
    language: &str,
    category: Category,
    components: &Value,
) -> Vec<FieldError> {
    let mut errors = Vec::new();
    let is_name = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
    if name.is_empty() || name.chars().count() > LIMIT_NAME || !name.chars().all(is_name) {
        let message =
            format!("must have 1 to {LIMIT_NAME} small letters, digits and `_`: such as spring_sale");
        errors.push(FieldError::new("name", message));
    }
    if !is_language(language) {
        let message = match language.replace('-', "_") {
            meant if is_language(&meant) => format!("must be written `{meant}`"),
            _ => "must be a language code of WhatsApp, such as en or pt_BR".to_owned(),
        };
        errors.push(FieldError::new("language", message));
    }
    check_components(category, components, &mut errors);
    errors
}

fn is_language(text: &str) -> bool {
    let (language, region) = text.split_once('_').map_or((text, None), |(l, r)| (l, Some(r)));
    let is_region =
        |text: &str| (2..=4).contains(&text.len()) && text.chars().all(|c| c.is_ascii_alphanumeric());
    (2..=3).contains(&language.len())
        && language.chars().all(|c| c.is_ascii_lowercase())
        && region.is_none_or(is_region)
}

fn check_components(category: Category, components: &Value, errors: &mut Vec<FieldError>) {
    let Some(list) = components.as_array().filter(|list| (1..=LIMIT_COMPONENTS).contains(&list.len())) else {
        let message = format!("must be a list of 1 to {LIMIT_COMPONENTS} components, one of them the BODY");
        errors.push(FieldError::new("components", message));
        return;
    };
    let mut seen = Vec::new();
    for (at, component) in list.iter().enumerate() {
        let mut fail = |key: &str, message: String| {
            errors.push(FieldError::new(format!("components[{at}].{key}"), message));
        };
        let kind = text_of(component, "type").unwrap_or_default().to_ascii_uppercase();
        if seen.contains(&kind) {
            fail("type", format!("is a second {kind}: put both into one"));
        }
        match kind.as_str() {
            "BODY" => check_text(component, LIMIT_BODY, category != Category::Authentication, &mut fail),
            "FOOTER" => check_text(component, LIMIT_LINE, category != Category::Authentication, &mut fail),
            "HEADER" => check_header(component, &mut fail),
            "BUTTONS" => check_buttons(component, &mut fail),
            _ => fail("type", "must be HEADER, BODY, FOOTER or BUTTONS".to_owned()),
        }
        seen.push(kind);
    }
    if component(components, "body").is_none() {
        errors.push(FieldError::new("components", "lack the BODY: every template has one"));
    }
}

fn check_text(component: &Value, limit: usize, is_required: bool, fail: &mut impl FnMut(&str, String)) {
    let text = text_of(component, "text").unwrap_or_default().trim();
    if text.is_empty() && is_required {
        fail("text", "is missing".to_owned());
    } else if text.chars().count() > limit {
        fail("text", format!("has more than {limit} characters"));
    }
}

fn check_header(component: &Value, fail: &mut impl FnMut(&str, String)) {
    const FORMATS: [&str; 5] = ["TEXT", "IMAGE", "VIDEO", "DOCUMENT", "LOCATION"];
    let format = text_of(component, "format").unwrap_or_default().to_ascii_uppercase();
    match format.as_str() {
        "TEXT" => check_text(component, LIMIT_LINE, true, fail),
        format if FORMATS.contains(&format) => {}
        _ => fail("format", format!("must be one of {}", FORMATS.join(", "))),
    }
}

fn check_buttons(component: &Value, fail: &mut impl FnMut(&str, String)) {
    let Some(buttons) = component.get("buttons").and_then(Value::as_array) else {
        return fail("buttons", "is missing: a list of buttons".to_owned());
    };
    if !(1..=LIMIT_BUTTONS).contains(&buttons.len()) {
        fail("buttons", format!("must have 1 to {LIMIT_BUTTONS} buttons"));
    }
    for (at, button) in buttons.iter().enumerate() {
        if text_of(button, "type").is_none_or(str::is_empty) {
            fail(&format!("buttons[{at}].type"), "is missing, such as QUICK_REPLY or URL".to_owned());
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn fields(name: &str, language: &str, category: Category, components: &Value) -> Vec<String> {
        check_definition(name, language, category, components).into_iter().map(|error| error.field).collect()
    }

    #[test]
    fn every_wrong_field_of_a_template_is_named() {
        let components = json!([
            {"type": "HEADER", "format": "SONG"},
            {"type": "FOOTER", "text": "x".repeat(61)},
            {"type": "BUTTONS", "buttons": [{"text": "no type"}]},
            {"type": "FOOTER", "text": "again"},
            {"type": "TAIL"},
        ]);
        assert_eq!(
            fields("Spring Sale", "pt-BR", Category::Marketing, &components),
            [
                "name",
                "language",
                "components[0].format",
                "components[1].text",
                "components[2].buttons[0].type",
                "components[3].type",
                "components[4].type",
                "components",
            ]
        );
        assert_eq!(fields("a", "en", Category::Utility, &json!({})), ["components"]);
    }

    #[test]
    fn documented_templates_are_right() {
        let flow = json!([
            {"type": "body", "text": "This is a flows as template demo"},
            {"type": "BUTTONS", "buttons": [{"type": "FLOW", "text": "Open flow!", "flow_id": "1"}]},
        ]);
        assert!(fields("template_name", "en_US", Category::Marketing, &flow).is_empty());
        let password = json!([
            {"type": "BODY", "add_security_recommendation": true},
            {"type": "FOOTER", "code_expiration_minutes": 5},
            {"type": "BUTTONS", "buttons": [{"type": "otp", "otp_type": "copy_code"}]},
        ]);
        assert!(fields("otp", "en_US", Category::Authentication, &password).is_empty());
        assert_eq!(
            fields("otp", "en_US", Category::Utility, &password),
            ["components[0].text", "components[1].text"]
        );
    }
}

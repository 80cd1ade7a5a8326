//! A template as a person will see it, with parameters or with its own examples.

use serde_json::Value;

use super::{component, text_of, variables};

/// A template with its places filled.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rendered {
    /// Above the text: a text, or the kind of media in brackets.
    pub header: Option<String>,
    /// The text.
    pub body: String,
    /// Under the text.
    pub footer: Option<String>,
    /// What the buttons say.
    pub buttons: Vec<String>,
    /// Places of the body for which there was neither a parameter nor an example.
    pub left_open: Vec<String>,
    /// Parameters for which the body has no place.
    pub left_over: usize,
}

/// Fills the body with `parameters`; without any, with the template's examples.
#[must_use]
pub fn render(components: &Value, parameters: &[String]) -> Rendered {
    let body = component(components, "body");
    let text = body.and_then(|body| text_of(body, "text")).unwrap_or_default();
    let names = variables(text);
    let examples = || {
        let row = body.and_then(|body| body.pointer("/example/body_text/0")).and_then(Value::as_array);
        let values = row.into_iter().flatten().filter_map(Value::as_str).map(str::to_owned);
        values.collect::<Vec<_>>()
    };
    let values = if parameters.is_empty() { examples() } else { parameters.to_vec() };
    Rendered {
        header: component(components, "header").map(header),
        body: filled(text, &names, &values),
        footer: component(components, "footer").and_then(|footer| text_of(footer, "text")).map(str::to_owned),
        buttons: buttons(components),
        left_open: names.iter().skip(values.len()).map(|name| format!("{{{{{name}}}}}")).collect(),
        left_over: parameters.len().saturating_sub(names.len()),
    }
}

fn header(header: &Value) -> String {
    let Some(text) = text_of(header, "text") else {
        return format!("[{}]", text_of(header, "format").unwrap_or("media").to_ascii_lowercase());
    };
    let example = header.pointer("/example/header_text/0").and_then(Value::as_str).map(str::to_owned);
    filled(text, &variables(text), example.as_slice())
}

fn buttons(components: &Value) -> Vec<String> {
    let buttons =
        component(components, "buttons").and_then(|one| one.get("buttons")).and_then(Value::as_array);
    let label = |button: &Value| {
        text_of(button, "text").or_else(|| text_of(button, "type")).unwrap_or_default().to_owned()
    };
    buttons.into_iter().flatten().map(label).collect()
}

/// The text with its places filled, in one pass: a value that looks like a place stays as it is.
fn filled(text: &str, names: &[&str], values: &[String]) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("{{") {
        out.push_str(before);
        let value = after.split_once("}}").and_then(|(name, next)| {
            let at = names.iter().position(|known| *known == name.trim())?;
            Some((values.get(at)?, next))
        });
        match value {
            Some((value, next)) => {
                out.push_str(value);
                rest = next;
            }
            None => {
                out.push_str("{{");
                rest = after;
            }
        }
    }
    out.push_str(rest);
    out
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn parameters_fill_the_body_and_examples_stand_in_for_them() {
        let components = json!([
            {"type": "HEADER", "format": "TEXT", "text": "Our {{1}} is on!", "example": {"header_text": ["sale"]}},
            {"type": "BODY", "text": "Until {{1}} with {{2}}, {{1}}!", "example": {"body_text": [["May", "{{1}}"]]}},
            {"type": "FOOTER", "text": "bye"},
            {"type": "BUTTONS", "buttons": [{"type": "QUICK_REPLY", "text": "Stop"}, {"type": "otp"}]},
        ]);
        let shown = render(&components, &[]);
        assert_eq!(shown.header.as_deref(), Some("Our sale is on!"));
        assert_eq!(shown.body, "Until May with {{1}}, May!");
        assert_eq!(
            (shown.footer.as_deref(), shown.buttons),
            (Some("bye"), vec!["Stop".into(), "otp".into()])
        );
        assert_eq!((shown.left_open.len(), shown.left_over), (0, 0));

        let short = render(&components, &["June".to_owned()]);
        assert_eq!(short.body, "Until June with {{2}}, June!");
        assert_eq!(short.left_open, ["{{2}}"]);
        let long = render(&components, &["a".to_owned(), "b".to_owned(), "c".to_owned()]);
        assert_eq!((long.body.as_str(), long.left_over), ("Until a with b, a!", 1));
    }

    #[test]
    fn media_are_named() {
        let shown =
            render(&json!([{"type": "HEADER", "format": "IMAGE"}, {"type": "BODY", "text": "x"}]), &[]);
        assert_eq!((shown.header.as_deref(), shown.body.as_str()), (Some("[image]"), "x"));
    }
}

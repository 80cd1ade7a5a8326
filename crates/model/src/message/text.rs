//! A string of a message with its `{{column}}` and `{{column|default}}` placeholders.
//!
//! It knows where it stands in the message and what the documents allow there, so that every later complaint can
//! name the field. It never sees a recipient.

use crate::FieldError;

/// What a string of a message is held to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Limits {
    /// The documented maximum, in Unicode scalar values.
    pub max_chars: Option<usize>,
    /// Whether it may not be blank.
    pub required: bool,
    /// Whether it must read as a number.
    pub kind: Kind,
    /// A part that a vendor's code may blame alone: a media link, a product, a header.
    pub is_part: bool,
}

/// What the rendered string must read as.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Kind {
    /// Anything.
    #[default]
    Text,
    /// A JSON number.
    Number,
    /// A JSON number without fraction and exponent.
    Integer,
}

impl Limits {
    /// Anything goes, also nothing.
    pub const FREE: Self = Self { max_chars: None, required: false, kind: Kind::Text, is_part: false };
    /// May not be blank.
    pub const REQUIRED: Self = Self { required: true, ..Self::FREE };
    /// A media link, a product: required, and blamed alone.
    pub const PART: Self = Self { is_part: true, ..Self::REQUIRED };
    /// A number that must be there.
    pub const NUMBER: Self = Self { kind: Kind::Number, ..Self::REQUIRED };
    /// A whole number that must be there.
    pub const INTEGER: Self = Self { kind: Kind::Integer, ..Self::REQUIRED };

    /// The same with a maximum.
    #[must_use]
    pub const fn max(self, max_chars: usize) -> Self {
        Self { max_chars: Some(max_chars), ..self }
    }
}

/// A stretch of a string.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Part {
    /// As it stands.
    Literal(String),
    /// Filled from the recipient's row.
    Column {
        /// As written between the braces, without the spaces around it.
        name: String,
        /// What stands in for a blank cell; none when no `|` was written.
        default: Option<String>,
    },
}

/// A string of a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Text {
    raw: String,
    parts: Vec<Part>,
    field: String,
    limits: Limits,
    percent_encoded: bool,
}

impl Text {
    /// Reads the placeholders of `raw`, which stands at `field`.
    ///
    /// # Errors
    /// Unbalanced braces, or literal text that breaks `limits` whatever the rows hold.
    pub fn parse(raw: &str, field: impl Into<String>, limits: Limits) -> Result<Self, FieldError> {
        let field = field.into();
        let parts = parse_parts(raw).map_err(|problem| FieldError::new(&field, problem))?;
        let text = Self { raw: raw.to_owned(), parts, field, limits, percent_encoded: false };
        text.check_literals()?;
        Ok(text)
    }

    /// As the campaign's author wrote it.
    #[must_use]
    pub fn raw(&self) -> &str {
        &self.raw
    }

    /// Where it stands: `message.text.body`.
    #[must_use]
    pub fn field(&self) -> &str {
        &self.field
    }

    /// What it is held to.
    #[must_use]
    pub fn limits(&self) -> Limits {
        self.limits
    }

    /// Its stretches in order.
    #[must_use]
    pub fn parts(&self) -> &[Part] {
        &self.parts
    }

    /// The text when no placeholder stands in it.
    #[must_use]
    pub fn as_literal(&self) -> Option<&str> {
        (!self.has_placeholder()).then_some(self.raw.as_str())
    }

    /// Whether a row has a say in it.
    #[must_use]
    pub fn has_placeholder(&self) -> bool {
        self.parts.iter().any(|part| matches!(part, Part::Column { .. }))
    }

    /// The same, its characters beyond ASCII percent-encoded when rendered. Limits count before the encoding.
    #[must_use]
    pub fn percent_encoded(mut self) -> Self {
        self.percent_encoded = true;
        self
    }

    /// The same, but blank values fail the row.
    #[must_use]
    pub fn required(mut self) -> Self {
        self.limits.required = true;
        self
    }

    /// Whether characters beyond ASCII are percent-encoded.
    #[must_use]
    pub fn is_percent_encoded(&self) -> bool {
        self.percent_encoded
    }

    /// A complaint about this field.
    #[must_use]
    pub fn refuse(&self, message: impl Into<String>) -> FieldError {
        FieldError::new(&self.field, message)
    }

    fn check_literals(&self) -> Result<(), FieldError> {
        let literal_chars: usize = self
            .parts
            .iter()
            .map(|part| if let Part::Literal(text) = part { text.chars().count() } else { 0 })
            .sum();
        if let Some(max) = self.limits.max_chars.filter(|max| literal_chars > *max) {
            return Err(self.refuse(format!(
                "has {literal_chars} characters, at most {max} are allowed here: shorten it"
            )));
        }
        if self.has_placeholder() {
            return Ok(());
        }
        if self.limits.required && self.raw.trim().is_empty() {
            return Err(self.refuse("may not be empty: give a text or a placeholder such as {{column}}"));
        }
        if self.limits.kind.accepts(&self.raw) {
            Ok(())
        } else {
            Err(self.refuse(format!("`{}` is not {}", self.raw, self.limits.kind.described())))
        }
    }
}

impl Kind {
    /// Whether `text` reads as this, spaces around it aside.
    #[must_use]
    pub fn accepts(self, text: &str) -> bool {
        match self {
            Self::Text => true,
            Self::Number => is_number(text.trim().as_bytes(), true),
            Self::Integer => is_number(text.trim().as_bytes(), false),
        }
    }

    pub(super) fn described(self) -> &'static str {
        match self {
            Self::Text => "a text",
            Self::Number => "a number such as 12.5",
            Self::Integer => "a whole number such as 12500",
        }
    }
}

/// JSON's grammar of numbers (RFC 8259, section 6), because the bytes go out as they are.
fn is_number(bytes: &[u8], fraction_allowed: bool) -> bool {
    let digits = |at: usize| bytes[at..].iter().take_while(|byte| byte.is_ascii_digit()).count();
    let mut at = usize::from(bytes.first() == Some(&b'-'));
    let whole = digits(at);
    if whole == 0 || (whole > 1 && bytes[at] == b'0') {
        return false;
    }
    at += whole;
    if fraction_allowed && bytes.get(at) == Some(&b'.') {
        let fraction = digits(at + 1);
        if fraction == 0 {
            return false;
        }
        at += 1 + fraction;
    }
    if fraction_allowed && matches!(bytes.get(at), Some(b'e' | b'E')) {
        at += 1 + usize::from(matches!(bytes.get(at + 1), Some(b'+' | b'-')));
        let exponent = digits(at);
        if exponent == 0 {
            return false;
        }
        at += exponent;
    }
    at == bytes.len()
}

fn parse_parts(raw: &str) -> Result<Vec<Part>, String> {
    let mut parts = Vec::new();
    let mut rest = raw;
    while let Some(open) = rest.find("{{") {
        literal(&rest[..open], &mut parts)?;
        let inside = &rest[open + 2..];
        let Some(close) = inside.find("}}") else {
            return Err(format!("unbalanced braces: `{}` is never closed by `}}}}`", excerpt(&rest[open..])));
        };
        parts.push(column(&inside[..close])?);
        rest = &inside[close + 2..];
    }
    literal(rest, &mut parts)?;
    Ok(parts)
}

fn literal(text: &str, parts: &mut Vec<Part>) -> Result<(), String> {
    if text.contains("}}") {
        return Err(format!("unbalanced braces: `}}}}` without `{{{{` before it, in `{}`", excerpt(text)));
    }
    if !text.is_empty() {
        parts.push(Part::Literal(text.to_owned()));
    }
    Ok(())
}

fn column(inside: &str) -> Result<Part, String> {
    if inside.contains(['{', '}']) {
        return Err(format!("unbalanced braces in `{{{{{}}}}}`: write {{{{column}}}}", excerpt(inside)));
    }
    let (name, default) = match inside.split_once('|') {
        Some((name, default)) => (name.trim(), Some(default.trim().to_owned())),
        None => (inside.trim(), None),
    };
    if name.is_empty() {
        return Err("a placeholder names no column: write {{column}} or {{column|default}}".to_owned());
    }
    Ok(Part::Column { name: name.to_owned(), default })
}

fn excerpt(text: &str) -> String {
    text.chars().take(30).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts(raw: &str) -> Vec<Part> {
        Text::parse(raw, "f", Limits::FREE).unwrap().parts().to_vec()
    }

    fn of(name: &str, default: Option<&str>) -> Part {
        Part::Column { name: name.into(), default: default.map(str::to_owned) }
    }

    #[test]
    fn placeholders_have_names_and_defaults() {
        assert_eq!(parts("plain {x} text"), [Part::Literal("plain {x} text".into())]);
        assert_eq!(parts("{{ name }}"), [of("name", None)]);
        assert_eq!(parts("{{1}}"), [of("1", None)]);
        assert_eq!(parts("{{First Name|dear customer}}"), [of("First Name", Some("dear customer"))]);
        assert_eq!(parts("{{a|}}"), [of("a", Some(""))]);
        assert_eq!(
            parts("Hi {{a}}{{b}}!"),
            [Part::Literal("Hi ".into()), of("a", None), of("b", None), Part::Literal("!".into())]
        );
    }

    #[test]
    fn unbalanced_braces_are_refused_by_name() {
        for raw in ["{{name", "Hi {{name}", "name}}", "{{a {{b}}", "{{{a}}}", "{{a}}}}"] {
            let error = Text::parse(raw, "message.text.body", Limits::FREE).unwrap_err();
            assert_eq!(error.field, "message.text.body");
            assert!(error.message.contains("unbalanced braces"), "{raw}: {}", error.message);
        }
        for raw in ["{{}}", "{{ }}", "{{|x}}"] {
            let error = Text::parse(raw, "f", Limits::FREE).unwrap_err();
            assert!(error.message.contains("names no column"), "{raw}: {}", error.message);
        }
    }

    #[test]
    fn literals_are_held_to_their_limits_at_once() {
        assert!(Text::parse(&"é".repeat(60), "f", Limits::REQUIRED.max(60)).is_ok());
        let error = Text::parse(&"é".repeat(61), "f", Limits::REQUIRED.max(60)).unwrap_err();
        assert!(error.message.contains("has 61 characters, at most 60"));
        assert!(Text::parse(&format!("{}{{{{a}}}}", "x".repeat(61)), "f", Limits::FREE.max(60)).is_err());
        assert!(Text::parse("  ", "f", Limits::REQUIRED).unwrap_err().message.contains("may not be empty"));
        assert!(Text::parse("", "f", Limits::FREE).is_ok());
        assert!(Text::parse("twelve", "f", Limits::NUMBER).unwrap_err().message.contains("is not a number"));
        assert!(Text::parse("{{amount}}", "f", Limits::INTEGER).is_ok());
    }

    #[test]
    fn numbers_are_json_numbers() {
        for good in ["0", "-12.283171", "130.5", "1e5", "1.5E-3", " 7 "] {
            assert!(Kind::Number.accepts(good), "{good}");
        }
        for bad in ["", "-", "01", "1.", ".5", "+1", "1,000", "1e", "NaN", "1 2", "0x1"] {
            assert!(!Kind::Number.accepts(bad), "{bad}");
        }
        assert!(Kind::Integer.accepts("100990") && !Kind::Integer.accepts("1.5"));
    }
}

//! What is known of a vendor's template, and whether a message fits it. Components have WhatsApp's form: a list of objects
//! with `type` HEADER, BODY, FOOTER or BUTTONS.
//!
//! What is known may be out of date: only what the vendor would refuse for certain is refused, the rest is a warning.

mod definition;
mod rendering;
mod usage;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::campaign::Category;

pub use definition::{LIMIT_COMPONENTS, LIMIT_NAME, check_definition};
pub use rendering::{Rendered, render};
pub use usage::{Findings, Known, check_usage};

/// Whether a template may be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[repr(i16)]
pub enum TemplateStatus {
    /// WhatsApp looks at it.
    Pending = 1,
    /// It may be sent.
    Approved = 2,
    /// WhatsApp does not allow it.
    Rejected = 3,
    /// WhatsApp lets it rest: too many people disliked it.
    Paused = 4,
    /// WhatsApp has taken it away: it was paused too often, or breaks a rule.
    Disabled = 5,
    /// A word that is not known.
    Other = 6,
}

impl TemplateStatus {
    /// All of them.
    pub const ALL: [Self; 6] =
        [Self::Pending, Self::Approved, Self::Rejected, Self::Paused, Self::Disabled, Self::Other];

    /// The one that the database keeps as `number`.
    #[must_use]
    pub fn from_i16(number: i16) -> Option<Self> {
        Self::ALL.into_iter().find(|one| *one as i16 == number)
    }

    /// The word of the HTTP interface.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Approved => "approved",
            Self::Rejected => "rejected",
            Self::Paused => "paused",
            Self::Disabled => "disabled",
            Self::Other => "other",
        }
    }

    /// What WhatsApp's word for a template's status, or for its change, makes of the template.
    #[must_use]
    pub fn from_word(word: &str) -> Self {
        match word.to_ascii_uppercase().as_str() {
            "APPROVED" | "REINSTATED" | "UNPAUSED" => Self::Approved,
            "PENDING" | "IN_APPEAL" => Self::Pending,
            "REJECTED" => Self::Rejected,
            "PAUSED" => Self::Paused,
            "DISABLED" => Self::Disabled,
            _ => Self::Other,
        }
    }

    /// Every message of it is refused.
    #[must_use]
    pub fn forbids_sending(self) -> bool {
        matches!(self, Self::Rejected | Self::Paused | Self::Disabled)
    }
}

/// The category of WhatsApp's word, in today's and in older words.
#[must_use]
pub fn category_of_word(word: &str) -> Option<Category> {
    match word.to_ascii_uppercase().as_str() {
        "MARKETING" => Some(Category::Marketing),
        "UTILITY" | "TRANSACTIONAL" => Some(Category::Utility),
        "AUTHENTICATION" | "OTP" => Some(Category::Authentication),
        _ => None,
    }
}

/// The component of a type, in any case of letters.
#[must_use]
pub fn component<'a>(components: &'a Value, kind: &str) -> Option<&'a Value> {
    components.as_array()?.iter().find(|component| is_of(component, kind))
}

fn is_of(component: &Value, kind: &str) -> bool {
    text_of(component, "type").is_some_and(|word| word.eq_ignore_ascii_case(kind))
}

fn text_of<'a>(value: &'a Value, key: &str) -> Option<&'a str> {
    value.get(key)?.as_str()
}

/// The names between double braces, each once, in their order: `1`, `2`, or `first_name`.
#[must_use]
pub fn variables(text: &str) -> Vec<&str> {
    let mut names = Vec::new();
    let mut rest = text;
    while let Some((_, after)) = rest.split_once("{{") {
        let Some((name, next)) = after.split_once("}}") else { break };
        let name = name.trim();
        let is_name = !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
        if is_name && !names.contains(&name) {
            names.push(name);
        }
        rest = if is_name { next } else { after };
    }
    if names.iter().all(|name| name.parse::<u32>().is_ok()) {
        names.sort_by_key(|name| name.parse::<u32>().unwrap_or(u32::MAX));
    }
    names
}

/// How many parameters the body takes; none when its text is not known, as that of one-time passwords.
#[must_use]
pub fn body_parameters(components: &Value) -> Option<usize> {
    component(components, "body").and_then(|body| text_of(body, "text")).map(|text| variables(text).len())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn numbers_and_words_read_back() {
        for status in TemplateStatus::ALL {
            assert_eq!(TemplateStatus::from_i16(status as i16), Some(status));
        }
        for (word, status) in [
            ("APPROVED", TemplateStatus::Approved),
            ("reinstated", TemplateStatus::Approved),
            ("IN_APPEAL", TemplateStatus::Pending),
            ("PAUSED", TemplateStatus::Paused),
            ("FLAGGED", TemplateStatus::Other),
        ] {
            assert_eq!(TemplateStatus::from_word(word), status, "{word}");
        }
        assert_eq!(category_of_word("Transactional"), Some(Category::Utility));
        assert_eq!(category_of_word("NEWS"), None);
    }

    #[test]
    fn variables_are_counted_once_each() {
        for (text, expected) in [
            ("no {{}} {{ }} {{a b}} {{", vec![]),
            ("{{2}} and {{ 1 }} and {{2}}", vec!["1", "2"]),
            ("{{10}} {{9}}", vec!["9", "10"]),
            ("{{b}} {{a}} {{{{c}}", vec!["b", "a", "c"]),
        ] {
            assert_eq!(variables(text), expected, "{text}");
        }
    }

    #[test]
    fn a_body_without_text_has_no_known_number_of_parameters() {
        let components =
            json!([{"type": "HEADER", "text": "{{1}}"}, {"type": "body", "text": "{{1}} {{2}}"}]);
        assert_eq!(body_parameters(&components), Some(2));
        assert_eq!(body_parameters(&json!([{"type": "BODY"}])), None);
        assert_eq!(body_parameters(&json!([])), None);
    }
}

//! A tree of JSON whose strings may still be open: what a translation builds and a skeleton is compiled from.

use std::borrow::Cow;

use serde_json::Value;

use super::text::{Limits, Text};
use crate::FieldError;

/// JSON with open places.
#[derive(Clone, Debug, PartialEq)]
pub enum Node {
    /// An object; its keys are rendered in this order.
    Object(Vec<(Cow<'static, str>, Node)>),
    /// An array.
    Array(Vec<Node>),
    /// JSON that is the same for every recipient.
    Fixed(Value),
    /// A string.
    Text(Text),
    /// A number without quotes; its [`Text`] is held to be one.
    Number(Text),
    /// The recipient's number, as a string.
    Phone(PhoneForm),
    /// The first of these columns whose cell is not blank, else the number, as a string.
    FirstOf(Vec<String>, PhoneForm),
}

/// How a recipient's number is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PhoneForm {
    /// `+919876543210`
    Plus,
    /// `919876543210`
    Digits,
}

impl Node {
    /// An object of these members; those that are `None` are left out.
    #[must_use]
    pub fn object<const N: usize>(members: [(&'static str, Option<Node>); N]) -> Self {
        Self::Object(
            members
                .into_iter()
                .filter_map(|(key, node)| node.map(|node| (Cow::Borrowed(key), node)))
                .collect(),
        )
    }

    /// An array.
    #[must_use]
    pub fn array(items: impl IntoIterator<Item = Node>) -> Self {
        Self::Array(items.into_iter().collect())
    }

    /// A string that is the same for every recipient, braces and all.
    #[must_use]
    pub fn word(word: &str) -> Self {
        Self::Fixed(Value::String(word.to_owned()))
    }

    /// A string of the message.
    #[must_use]
    pub fn text(text: &Text) -> Self {
        Self::Text(text.clone())
    }

    /// A string of the message that may be absent.
    #[must_use]
    pub fn text_opt(text: Option<&Text>) -> Option<Self> {
        text.map(Self::text)
    }

    /// Any JSON, its strings read for placeholders; `path` names it in complaints.
    ///
    /// # Errors
    /// Each string with unbalanced braces.
    pub fn from_value(value: &Value, path: &str) -> Result<Self, Vec<FieldError>> {
        let mut errors = Vec::new();
        let node = Self::read(value, path, &mut errors);
        if errors.is_empty() { Ok(node) } else { Err(errors) }
    }

    fn read(value: &Value, path: &str, errors: &mut Vec<FieldError>) -> Self {
        match value {
            Value::String(raw) => match Text::parse(raw, path, Limits::FREE) {
                Ok(text) => Self::Text(text),
                Err(error) => {
                    errors.push(error);
                    Self::Fixed(Value::Null)
                }
            },
            Value::Array(items) => Self::array(
                items.iter().enumerate().map(|(at, item)| Self::read(item, &format!("{path}[{at}]"), errors)),
            ),
            Value::Object(members) => Self::Object(
                members
                    .iter()
                    .map(|(key, item)| {
                        (Cow::Owned(key.clone()), Self::read(item, &format!("{path}.{key}"), errors))
                    })
                    .collect(),
            ),
            other => Self::Fixed(other.clone()),
        }
    }

    /// Every string and number of the message in it.
    pub fn for_each_text<'a>(&'a self, visit: &mut impl FnMut(&'a Text)) {
        match self {
            Self::Object(members) => members.iter().for_each(|(_, node)| node.for_each_text(visit)),
            Self::Array(items) => items.iter().for_each(|node| node.for_each_text(visit)),
            Self::Text(text) | Self::Number(text) => visit(text),
            Self::Fixed(_) | Self::Phone(_) | Self::FirstOf(..) => {}
        }
    }

    /// The JSON with its placeholders as they were written.
    #[must_use]
    pub fn unrendered(&self) -> Value {
        match self {
            Self::Object(members) => {
                members.iter().map(|(key, node)| (key.to_string(), node.unrendered())).collect()
            }
            Self::Array(items) => items.iter().map(Self::unrendered).collect(),
            Self::Fixed(value) => value.clone(),
            Self::Text(text) => Value::String(text.raw().to_owned()),
            Self::Number(text) => serde_json::from_str(text.raw().trim())
                .unwrap_or_else(|_| Value::String(text.raw().to_owned())),
            Self::Phone(_) => Value::String("{{phone}}".to_owned()),
            Self::FirstOf(columns, _) => Value::String(format!("{{{{{}}}}}", columns.join("|"))),
        }
    }
}

impl From<Value> for Node {
    fn from(value: Value) -> Self {
        Self::Fixed(value)
    }
}

//! Checks of fields against the documents' tables: present, of the right type, not empty, not too long.
//! A field is named by its path; its last part is the key.

use serde_json::{Map, Value};

/// What is wrong with a field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wrong {
    Missing,
    Type,
    Value,
    TooLong,
    /// A message type that the vendor does not have.
    UnknownType,
    Phone,
    /// Parameters that do not fit the template.
    Parameters,
    /// No such template.
    Template,
}

/// A refusal that names the field and the reason.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Invalid {
    pub(crate) wrong: Wrong,
    pub(crate) field: String,
    pub(crate) reason: String,
}

pub(crate) type Checked<T = ()> = Result<T, Invalid>;
pub(crate) type Object = Map<String, Value>;

pub(crate) fn invalid<T>(wrong: Wrong, field: &str, reason: impl Into<String>) -> Checked<T> {
    Err(Invalid { wrong, field: field.to_owned(), reason: reason.into() })
}

fn key(field: &str) -> &str {
    field.rsplit('.').next().unwrap_or(field)
}

/// The field's value; null counts as missing.
pub(crate) fn given<'a>(parent: &'a Object, field: &str) -> Option<&'a Value> {
    parent.get(key(field)).filter(|value| !value.is_null())
}

pub(crate) fn required<'a>(parent: &'a Object, field: &str) -> Checked<&'a Value> {
    match given(parent, field) {
        Some(value) => Ok(value),
        None => invalid(Wrong::Missing, field, "is mandatory"),
    }
}

pub(crate) fn as_object<'a>(value: &'a Value, field: &str) -> Checked<&'a Object> {
    match value.as_object() {
        Some(object) => Ok(object),
        None => invalid(Wrong::Type, field, "must be an object"),
    }
}

pub(crate) fn object<'a>(parent: &'a Object, field: &str) -> Checked<&'a Object> {
    as_object(required(parent, field)?, field)
}

pub(crate) fn list<'a>(parent: &'a Object, field: &str) -> Checked<&'a Vec<Value>> {
    match required(parent, field)?.as_array() {
        Some(list) => Ok(list),
        None => invalid(Wrong::Type, field, "must be an array"),
    }
}

/// A mandatory text of 1 to `max` characters.
pub(crate) fn text<'a>(parent: &'a Object, field: &str, max: usize) -> Checked<&'a str> {
    let Some(text) = required(parent, field)?.as_str() else {
        return invalid(Wrong::Type, field, "must be a string");
    };
    if text.is_empty() {
        return invalid(Wrong::Missing, field, "must not be empty");
    }
    within(text, field, max)?;
    Ok(text)
}

/// A text that may be left out or empty.
pub(crate) fn optional_text<'a>(parent: &'a Object, field: &str, max: usize) -> Checked<Option<&'a str>> {
    match given(parent, field) {
        None => Ok(None),
        Some(Value::String(text)) => within(text, field, max).map(|()| Some(text.as_str())),
        Some(_) => invalid(Wrong::Type, field, "must be a string"),
    }
}

pub(crate) fn within(text: &str, field: &str, max: usize) -> Checked {
    // Bytes bound characters from above, so most texts need no counting.
    if text.len() > max && text.chars().count() > max {
        return invalid(Wrong::TooLong, field, format!("must not be longer than {max} characters"));
    }
    Ok(())
}

/// A mandatory http or https address.
pub(crate) fn link(parent: &Object, field: &str) -> Checked {
    let link = text(parent, field, usize::MAX)?;
    let host = link.strip_prefix("https://").or_else(|| link.strip_prefix("http://"));
    match host {
        Some(host) if !host.is_empty() && !host.starts_with('/') => Ok(()),
        _ => invalid(Wrong::Value, field, "must be an http or https URL"),
    }
}

/// A mandatory number within bounds, given as a string as the documents demand, or as a number.
pub(crate) fn coordinate(parent: &Object, field: &str, limit: f64) -> Checked {
    let number = match required(parent, field)? {
        Value::String(text) => text.trim().parse::<f64>().ok(),
        Value::Number(number) => number.as_f64(),
        _ => None,
    };
    match number {
        Some(number) if number.abs() <= limit => Ok(()),
        _ => invalid(Wrong::Value, field, "must be a decimal number within range"),
    }
}

pub(crate) fn one_of<'a>(parent: &'a Object, field: &str, allowed: &[&str]) -> Checked<&'a str> {
    let given = text(parent, field, usize::MAX)?;
    if allowed.contains(&given) {
        return Ok(given);
    }
    invalid(Wrong::Value, field, format!("must be one of {}", allowed.join(", ")))
}

/// Digits of an international number, 7 to 15 of them; a leading plus only where it is allowed.
pub(crate) fn phone(text: &str, plus_allowed: bool) -> Option<u64> {
    let digits = text.strip_prefix('+').filter(|_| plus_allowed).unwrap_or(text);
    let valid = (7..=15).contains(&digits.len())
        && digits.bytes().all(|byte| byte.is_ascii_digit())
        && !digits.starts_with('0');
    if valid { digits.parse().ok() } else { None }
}

/// A hash of a JSON value that does not depend on the order of keys.
pub(crate) fn digest(value: &Value) -> u64 {
    match value {
        Value::Null => 1,
        Value::Bool(flag) => 2 + u64::from(*flag),
        Value::Number(number) => bytes(4, number.to_string().as_bytes()),
        Value::String(text) => bytes(5, text.as_bytes()),
        Value::Array(items) => {
            items.iter().fold(6, |hash, item| hash.wrapping_mul(PRIME).rotate_left(5) ^ digest(item))
        }
        Value::Object(map) => map.iter().fold(7, |hash: u64, (name, item)| {
            hash.wrapping_add(crate::random::mix(bytes(8, name.as_bytes()) ^ digest(item).rotate_left(17)))
        }),
    }
}

const PRIME: u64 = 0x0000_0100_0000_01B3;

fn bytes(start: u64, bytes: &[u8]) -> u64 {
    bytes
        .iter()
        .fold(0xCBF2_9CE4_8422_2325 ^ start, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(PRIME))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn phones() {
        assert_eq!(phone("+919999000001", true), Some(919_999_000_001));
        assert_eq!(phone("919999000001", true), Some(919_999_000_001));
        for wrong in ["++919999000001", "+91 99990", "", "+", "123456", "1234567890123456", "0919999000001"] {
            assert_eq!(phone(wrong, true), None, "{wrong}");
        }
        assert_eq!(phone("+919999000001", false), None);
    }

    #[test]
    fn texts_name_the_field_that_is_wrong() {
        let parent = json!({"body": "é".repeat(5), "empty": "", "number": 1});
        let parent = parent.as_object().unwrap();
        assert_eq!(text(parent, "text.body", 5).unwrap().len(), 10);
        assert_eq!(text(parent, "text.body", 4).unwrap_err().wrong, Wrong::TooLong);
        assert_eq!(text(parent, "text.empty", 4).unwrap_err().wrong, Wrong::Missing);
        assert_eq!(text(parent, "text.number", 4).unwrap_err().wrong, Wrong::Type);
        assert_eq!(text(parent, "text.other", 4).unwrap_err().field, "text.other");
    }

    #[test]
    fn digests_tell_contents_apart() {
        assert_eq!(digest(&json!({"a": 1, "b": [1, 2]})), digest(&json!({"b": [1, 2], "a": 1})));
        assert_ne!(digest(&json!(["a", "b"])), digest(&json!(["b", "a"])));
        assert_ne!(digest(&json!({"a": "b"})), digest(&json!({"b": "a"})));
    }
}

//! Reading vendors' JSON liberally: numbers as strings, times in three forms, samples with a comma too many.
//!
//! It never guesses a value that is not there: what cannot be read is none.

pub mod plain;

#[cfg(test)]
pub mod mutants;

use chrono::{DateTime, Utc};
use serde_json::{Map, Value};

/// A vendor's text in a reason, at the most.
const BRIEF_CHARS: usize = 200;
/// Runs of digits from this length on may be a phone number. Codes have six digits at the most.
const PHONE_DIGITS: usize = 7;

/// A JSON document; one as the documents print them too: commas before a closing bracket, the first brace missing.
pub fn document(body: &[u8]) -> Result<Value, serde_json::Error> {
    let body = body.strip_prefix(b"\xef\xbb\xbf").unwrap_or(body);
    serde_json::from_slice(body).or_else(|error| {
        let repaired = without_stray_commas(body.trim_ascii());
        let with_brace = || [b"{", repaired.as_slice()].concat();
        serde_json::from_slice(&repaired).or_else(|_| {
            if repaired.starts_with(b"\"") { serde_json::from_slice(&with_brace()) } else { Err(error) }
        })
    })
}

/// Leaves out commas that stand, outside of strings, before `}` or `]`.
fn without_stray_commas(body: &[u8]) -> Vec<u8> {
    let mut kept = Vec::with_capacity(body.len() + 1);
    let (mut in_string, mut is_escaped) = (false, false);
    for (i, &byte) in body.iter().enumerate() {
        if in_string {
            in_string = is_escaped || byte != b'"';
            is_escaped = byte == b'\\' && !is_escaped;
        } else if byte == b'"' {
            in_string = true;
        } else if byte == b',' {
            let next = body.iter().skip(i + 1).find(|byte| !byte.is_ascii_whitespace());
            if matches!(next, Some(b'}' | b']')) {
                continue;
            }
        }
        kept.push(byte);
    }
    kept
}

/// A string without U+0000, which no database keeps, or a number in its digits; none when empty or anything else.
pub fn text(value: Option<&Value>) -> Option<String> {
    match value? {
        Value::String(text) => text_of(text),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    }
}

/// [`text`] of a string.
pub fn text_of(text: &str) -> Option<String> {
    if text.contains('\0') {
        let text = text.replace('\0', "");
        return Some(text.trim().to_owned()).filter(|text| !text.is_empty());
    }
    Some(text.trim()).filter(|text| !text.is_empty()).map(str::to_owned)
}

/// [`text`] of the first of `keys` that has one.
pub fn first_text(object: &Map<String, Value>, keys: &[&str]) -> Option<String> {
    keys.iter().find_map(|key| text(object.get(*key)))
}

/// [`text`] of what lies along `path`; a number in the path is an index.
pub fn text_at(value: &Value, path: &[&str]) -> Option<String> {
    text(at(value, path))
}

/// What lies along `path`; a number in the path is an index.
pub fn at<'a>(value: &'a Value, path: &[&str]) -> Option<&'a Value> {
    path.iter().try_fold(value, |value, key| match value {
        Value::Object(object) => object.get(*key),
        Value::Array(items) => items.get(key.parse::<usize>().ok()?),
        _ => None,
    })
}

/// RFC 3339 with any offset, or seconds or milliseconds since 1970, as a string or a number.
pub fn time(value: Option<&Value>) -> Option<DateTime<Utc>> {
    time_of(&text(value)?)
}

/// [`time`] of a text.
pub fn time_of(text: &str) -> Option<DateTime<Utc>> {
    if let Ok(number) = text.parse::<f64>() {
        // From here on seconds would be beyond the year 5000, so these are milliseconds.
        const MILLISECONDS_FROM: f64 = 1e11;
        let ms = if number.abs() >= MILLISECONDS_FROM { number } else { number * 1000.0 };
        return DateTime::from_timestamp_millis(ms as i64).filter(|_| ms.is_finite() && ms > 0.0);
    }
    DateTime::parse_from_rfc3339(text).ok().map(|at| at.to_utc())
}

/// A vendor's text as a reason may hold it: short, on one line, without what may be a phone number.
pub fn brief(text: &str) -> String {
    let mut shown = String::new();
    let mut digits = String::new();
    let flush = |digits: &mut String, shown: &mut String| {
        if digits.len() >= PHONE_DIGITS {
            let kept = &digits[digits.len() - 4..];
            shown.push_str("***");
            shown.push_str(kept);
        } else {
            shown.push_str(digits);
        }
        digits.clear();
    };
    for c in text.trim().chars().take(2 * BRIEF_CHARS) {
        if c.is_ascii_digit() {
            digits.push(c);
            continue;
        }
        flush(&mut digits, &mut shown);
        shown.push(if c.is_control() || c.is_whitespace() { ' ' } else { c });
    }
    flush(&mut digits, &mut shown);
    match shown.char_indices().nth(BRIEF_CHARS) {
        Some((end, _)) => format!("{}…", &shown[..end]),
        None => shown,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn reads_documents_as_they_are_printed() {
        for body in [
            r#"{"a":[1,2]}"#,
            r#"{"a":[1,2,],}"#,
            "\u{feff}{\"a\":[1,2]}",
            r#" "a": [1, 2] }"#,
            "{\"a\":[1,2 , \n]}",
        ] {
            assert_eq!(document(body.as_bytes()).unwrap(), json!({"a": [1, 2]}), "{body}");
        }
        assert_eq!(document(br#"{"a":",}\",]",}"#).unwrap(), json!({"a": ",}\",]"}));
        for body in ["", "{", r#"{"a":1"#, "<html>", r#"{"a":,}"#, r#""a""#] {
            let read = document(body.as_bytes());
            assert!(read.as_ref().is_err() || read.is_ok_and(|value| value.is_string()), "{body}");
        }
    }

    #[test]
    fn reads_times_in_every_form() {
        let at = time(Some(&json!("2022-12-07T17:00:00.000+05:30"))).unwrap();
        assert_eq!(at.to_rfc3339(), "2022-12-07T11:30:00+00:00");
        for value in
            [json!("1667453467"), json!(1_667_453_467), json!("1667453467000"), json!(1_667_453_467_000_u64)]
        {
            assert_eq!(time(Some(&value)).unwrap().timestamp(), 1_667_453_467, "{value}");
        }
        for value in
            [json!(""), json!("soon"), json!(null), json!(0), json!("NaN"), json!("inf"), json!("1e300")]
        {
            assert_eq!(time(Some(&value)), None, "{value}");
        }
    }

    #[test]
    fn a_text_holds_no_nul() {
        assert_eq!(text(Some(&json!(" \u{0} a\u{0}b "))).as_deref(), Some("ab"));
        for value in [json!(" \u{0} "), json!(""), json!(null), json!({})] {
            assert_eq!(text(Some(&value)), None, "{value}");
        }
    }

    #[test]
    fn a_reason_is_short_and_holds_no_number_of_a_person() {
        assert_eq!(brief("(#131026) to 919876543210\nfailed"), "(#131026) to ***3210 failed");
        assert_eq!(brief(&"é".repeat(900)).chars().count(), BRIEF_CHARS + 1);
        assert_eq!(brief("\u{0}x\t"), " x");
    }
}

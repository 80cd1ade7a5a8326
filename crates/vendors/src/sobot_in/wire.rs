//! Its JSON: `{data: {id, status}, message, code}`, where `code` repeats the HTTP status, or contradicts it.

use serde_json::Value;

use crate::read::{
    self,
    plain::{Plain, once},
};

/// What an answer says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Said {
    /// The id of the message that was taken.
    pub id: Option<String>,
    /// The code in the body: a status, or one of WhatsApp's.
    pub code: Option<String>,
    /// The vendor's text.
    pub message: Option<String>,
}

/// Reads an answer; none when it is no JSON object.
pub fn read_answer(body: &[u8]) -> Option<Said> {
    plain_answer(body).or_else(|| read_with_care(body))
}

/// An answer exactly as documented; the liberal reading must say the same of it.
fn plain_answer(body: &[u8]) -> Option<Said> {
    let (mut id, mut message, mut code) = (None, None, None);
    Plain::read(body, |answer| {
        answer.object(|answer, key| match key {
            "data" => once(&mut id, plain_id(answer)),
            "message" => once(&mut message, answer.text()),
            "code" => once(&mut code, answer.number()),
            _ => None,
        })
    })?;
    Some(Said {
        id: id.and_then(read::text_of),
        code: Some(code?.to_string()),
        message: read::text_of(message?),
    })
}

fn plain_id<'a>(data: &mut Plain<'a>) -> Option<&'a str> {
    let mut id = None;
    data.object(|data, key| match key {
        "id" => once(&mut id, data.text()),
        "status" => data.unused(),
        _ => None,
    })?;
    id
}

fn read_with_care(body: &[u8]) -> Option<Said> {
    let document: Value = serde_json::from_slice(body).ok()?;
    document.as_object()?;
    let text = |paths: &[&[&str]]| paths.iter().find_map(|path| read::text_at(&document, path));
    Some(Said {
        id: text(&[&["data", "id"]]),
        // The chapter "Errors" is not published: WhatsApp's own form is read where it shows.
        code: text(&[&["errors", "0", "code"], &["error", "code"], &["error_code"], &["code"]]),
        message: text(&[
            &["errors", "0", "title"],
            &["error", "message"],
            &["error"],
            &["message"],
            &["detail"],
        ]),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::read::mutants::mutants;

    const SENT: &str = include_str!("../../samples/sobot_in/answer_200_sent.json");
    const INVALID_NUMBER: &str = include_str!("../../samples/sobot_in/answer_400_invalid_number.json");
    const SPACED: &str = "{\"data\":{\"id\":\" a\u{2003}\"},\"message\":\" \",\"code\":131026}";

    #[test]
    fn what_is_read_plainly_is_read_alike_with_care() {
        let (mut bodies, mut plain) = (0, 0);
        for sample in [SENT, INVALID_NUMBER, SPACED] {
            for body in mutants(&read::document(sample.as_bytes()).unwrap()) {
                bodies += 1;
                if let Some(said) = plain_answer(body.as_bytes()) {
                    assert_eq!(Some(said), read_with_care(body.as_bytes()), "{body}");
                    plain += 1;
                }
            }
        }
        assert!(plain > 50 && plain < bodies / 2, "{plain} of {bodies}");
    }

    #[test]
    fn the_documented_answers_are_read_plainly() {
        let id = |sample: &str| plain_answer(sample.as_bytes()).unwrap().id;
        assert_eq!(
            id(SENT).as_deref(),
            Some("wamid.HBgMOTE5OTcwNTg1NTU2FQIAERgSQjhGRDQ2REFBQjAxMjJBM0Q1AA==")
        );
        assert_eq!(id(INVALID_NUMBER), None);
        assert_eq!(id(SPACED).as_deref(), Some("a"));
    }

    #[test]
    fn what_asks_for_care_is_not_read_plainly() {
        for body in [
            r#"{"data":{"id":7},"message":"","code":200}"#,
            r#"{"data":{"id":"a\u003d"},"message":"","code":200}"#,
            r#"{"data":["a"],"message":"","code":200}"#,
            r#"{"data":{"id":"a"},"message":"","code":"200"}"#,
            r#"{"data":{"id":"a"},"message":"","code":200,"code":500}"#,
            r#"{"data":{"id":"a"},"message":"","code":200,"error_code":131026}"#,
            r#"{"data":{"id":"a"},"message":"","code":200,"errors":[{"code":131026}]}"#,
            r#"{"data":{"id":"a"},"message":""}"#,
        ] {
            assert_eq!(plain_answer(body.as_bytes()), None, "{body}");
            assert!(read_answer(body.as_bytes()).is_some(), "{body}");
        }
        assert_eq!(plain_answer(br#"[{"id":"a"},"",200]"#), None);
    }
}

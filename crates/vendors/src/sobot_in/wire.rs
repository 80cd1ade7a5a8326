//! Its JSON: `{data: {id, status}, message, code}`, where `code` repeats the HTTP status, or contradicts it.

use serde_json::Value;

use crate::read;

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

//! As little HTTP/1.1 as both ends of a benchmark need: where a message ends, and its first words.
//!
//! Only bodies with a `content-length`; that is what the vendors' clients and our answers have.

use memchr::memmem;

/// A whole request or answer at the front of a buffer.
pub struct Message {
    /// Where its head ends and its body begins.
    pub body_at: usize,
    /// Where it ends.
    pub end: usize,
}

/// Finds the message at the front of the buffer; none while some of it is missing.
pub fn message(buffer: &[u8]) -> Option<Message> {
    let body_at = memmem::find(buffer, b"\r\n\r\n")? + 4;
    let end = body_at + content_length(&buffer[..body_at]);
    (buffer.len() >= end).then_some(Message { body_at, end })
}

fn content_length(head: &[u8]) -> usize {
    // Both spellings that clients use; searched as bytes, because the lines before it are of no interest.
    let at =
        memmem::find(head, b"\r\ncontent-length:").or_else(|| memmem::find(head, b"\r\nContent-Length:"));
    let Some(at) = at else { return 0 };
    let value = head[at + "\r\ncontent-length:".len()..].iter().skip_while(|byte| **byte == b' ');
    value
        .take_while(|byte| byte.is_ascii_digit())
        .fold(0, |length, digit| length * 10 + usize::from(digit - b'0'))
}

/// Whether an answer says success.
pub fn is_success(answer: &[u8]) -> bool {
    answer.starts_with(b"HTTP/1.1 2")
}

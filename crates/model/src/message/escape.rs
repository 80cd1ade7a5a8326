//! Strings into JSON bytes, without a detour over a JSON tree.

use percent_encoding::{CONTROLS, utf8_percent_encode};

/// Appends `text` as the inside of a JSON string.
pub(super) fn push_escaped(out: &mut Vec<u8>, text: &str) {
    let bytes = text.as_bytes();
    // Without a branch in it the loop runs on many bytes at once; nearly every text is clean.
    if bytes.iter().fold(true, |is_clean, byte| is_clean & stands_as_it_is(*byte)) {
        out.extend_from_slice(bytes);
        return;
    }
    let mut copied = 0;
    for (at, &byte) in bytes.iter().enumerate() {
        if stands_as_it_is(byte) {
            continue;
        }
        out.extend_from_slice(&bytes[copied..at]);
        copied = at + 1;
        match byte {
            b'"' => out.extend_from_slice(b"\\\""),
            b'\\' => out.extend_from_slice(b"\\\\"),
            b'\n' => out.extend_from_slice(b"\\n"),
            b'\r' => out.extend_from_slice(b"\\r"),
            b'\t' => out.extend_from_slice(b"\\t"),
            control => {
                const HEX: &[u8; 16] = b"0123456789abcdef";
                out.extend_from_slice(b"\\u00");
                out.push(HEX[usize::from(control >> 4)]);
                out.push(HEX[usize::from(control & 15)]);
            }
        }
    }
    out.extend_from_slice(&bytes[copied..]);
}

/// RFC 8259, section 7: everything but control characters, the quote and the backslash.
fn stands_as_it_is(byte: u8) -> bool {
    (byte >= 0x20) & (byte != b'"') & (byte != b'\\')
}

/// Appends `text` with its characters beyond ASCII (and control characters) percent-encoded, as a JSON string's inside.
pub(super) fn push_percent_encoded(out: &mut Vec<u8>, text: &str) {
    for piece in utf8_percent_encode(text, CONTROLS) {
        push_escaped(out, piece);
    }
}

/// Appends `number` in decimal digits.
pub(super) fn push_digits(out: &mut Vec<u8>, mut number: u64) {
    let mut digits = [0_u8; 20];
    let mut at = digits.len();
    loop {
        at -= 1;
        digits[at] = b'0' + u8::try_from(number % 10).unwrap_or_default();
        number /= 10;
        if number == 0 {
            break;
        }
    }
    out.extend_from_slice(&digits[at..]);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digits_are_written_in_full() {
        for number in [0, 7, 919_876_543_210, u64::MAX] {
            let mut out = Vec::new();
            push_digits(&mut out, number);
            assert_eq!(out, number.to_string().into_bytes());
        }
    }

    #[test]
    fn only_what_is_beyond_ascii_is_percent_encoded() {
        let mut out = Vec::new();
        push_percent_encoded(&mut out, "a/b?c=订单 1&d=\"é\"");
        assert_eq!(out, b"a/b?c=%E8%AE%A2%E5%8D%95 1&d=\\\"%C3%A9\\\"");
    }
}

//! Reading the usual JSON without a tree of it: one pass, no allocation, nothing for an answer of another form.
//!
//! It takes less than JSON allows (no escapes, no fractions, no signs), and never anything that JSON does not. Whoever
//! uses it names every field, and leaves what is not read here to the liberal reading.

/// A body, read up to some byte.
pub struct Plain<'a> {
    body: &'a str,
    rest: &'a [u8],
}

/// Bytes that are looked at together.
const WORD: usize = 8;

/// Puts a field's value in its place; none when the field came before, because the last one would count.
pub fn once<T>(place: &mut Option<T>, value: Option<T>) -> Option<()> {
    if place.is_some() {
        return None;
    }
    *place = Some(value?);
    Some(())
}

impl<'a> Plain<'a> {
    /// A whole body, which is one value.
    pub fn read<T>(body: &'a [u8], value: impl FnOnce(&mut Self) -> Option<T>) -> Option<T> {
        let mut plain = Self { body: str::from_utf8(body).ok()?, rest: body };
        let value = value(&mut plain)?;
        plain.skip_space();
        plain.rest.is_empty().then_some(value)
    }

    /// An object; `field` reads the value of a key that it knows.
    pub fn object(&mut self, mut field: impl FnMut(&mut Self, &'a str) -> Option<()>) -> Option<()> {
        self.list(b'{', b'}', |plain| {
            let key = plain.text()?;
            plain.take(b':')?;
            field(plain, key)
        })
    }

    /// An object with this field and no other.
    pub fn only_field<T>(&mut self, name: &str, value: impl FnOnce(&mut Self) -> Option<T>) -> Option<T> {
        self.take(b'{')?;
        if self.text()? != name {
            return None;
        }
        self.take(b':')?;
        let value = value(self)?;
        self.take(b'}')?;
        Some(value)
    }

    /// An object of strings and numbers that nobody asks for, under some of these names.
    pub fn unused_fields(&mut self, names: &[&str]) -> Option<()> {
        self.object(|plain, key| if names.contains(&key) { plain.unused() } else { None })
    }

    /// An array.
    pub fn array<T>(&mut self, mut item: impl FnMut(&mut Self) -> Option<T>) -> Option<Vec<T>> {
        let mut items = Vec::new();
        self.list(b'[', b']', |plain| {
            items.push(item(plain)?);
            Some(())
        })?;
        Some(items)
    }

    /// An array of one.
    pub fn only_item<T>(&mut self, item: impl FnOnce(&mut Self) -> Option<T>) -> Option<T> {
        self.take(b'[')?;
        let item = item(self)?;
        self.take(b']')?;
        Some(item)
    }

    /// The value, or null.
    pub fn or_null<T>(&mut self, value: impl FnOnce(&mut Self) -> Option<T>) -> Option<Option<T>> {
        if self.is_null() { Some(None) } else { value(self).map(Some) }
    }

    /// A string without escapes.
    pub fn text(&mut self) -> Option<&'a str> {
        self.take(b'"')?;
        let start = self.at();
        loop {
            let length = match self.rest.first_chunk::<WORD>() {
                Some(word) => first_special(*word),
                None => Some(self.rest.iter().position(|byte| is_special(*byte))?),
            };
            let Some(length) = length else {
                self.rest = self.rest.get(WORD..)?;
                continue;
            };
            let (end, rest) = self.rest.get(length..)?.split_first()?;
            let text = self.body.get(start..self.at() + length);
            self.rest = rest;
            return text.filter(|_| *end == b'"');
        }
    }

    /// A whole number without a sign. A fraction or an exponent behind it fits nowhere.
    pub fn number(&mut self) -> Option<u32> {
        self.skip_space();
        let mut number = 0_u32;
        let mut digits = 0;
        while let [digit @ b'0'..=b'9', rest @ ..] = self.rest {
            number = number.checked_mul(10)?.checked_add(u32::from(digit - b'0'))?;
            digits += 1;
            self.rest = rest;
            // JSON writes no zeros in front.
            if number == 0 {
                break;
            }
        }
        (digits > 0).then_some(number)
    }

    /// A string, a number or null that nobody asks for.
    pub fn unused(&mut self) -> Option<()> {
        self.skip_space();
        match self.rest.first()? {
            b'"' => self.text().map(drop),
            b'n' => self.is_null().then_some(()),
            _ => self.number().map(drop),
        }
    }

    fn at(&self) -> usize {
        self.body.len() - self.rest.len()
    }

    fn is_null(&mut self) -> bool {
        self.skip_space();
        let rest = self.rest.strip_prefix(b"null");
        self.rest = rest.unwrap_or(self.rest);
        rest.is_some()
    }

    fn list(&mut self, open: u8, close: u8, mut each: impl FnMut(&mut Self) -> Option<()>) -> Option<()> {
        self.take(open)?;
        if self.take(close).is_some() {
            return Some(());
        }
        loop {
            each(self)?;
            if self.take(close).is_some() {
                return Some(());
            }
            self.take(b',')?;
        }
    }

    fn take(&mut self, wanted: u8) -> Option<()> {
        self.skip_space();
        let (first, rest) = self.rest.split_first()?;
        if *first != wanted {
            return None;
        }
        self.rest = rest;
        Some(())
    }

    fn skip_space(&mut self) {
        while let [b' ' | b'\n' | b'\r' | b'\t', rest @ ..] = self.rest {
            self.rest = rest;
        }
    }
}

/// Ends a string, or begins what is not read here.
fn is_special(byte: u8) -> bool {
    matches!(byte, b'"' | b'\\' | ..=0x1f)
}

/// Where the first byte is that [`is_special`]: a byte of zero is the lowest that borrows when one is taken from each.
fn first_special(word: [u8; WORD]) -> Option<usize> {
    const ONES: u64 = u64::from_le_bytes([1; WORD]);
    const HIGH: u64 = ONES << 7;
    let word = u64::from_le_bytes(word);
    let is_zero = |word: u64| word.wrapping_sub(ONES) & !word;
    let is_control = word.wrapping_sub(ONES * 0x20) & !word;
    let quote = is_zero(word ^ (ONES * b'"' as u64));
    let backslash = is_zero(word ^ (ONES * b'\\' as u64));
    let found = (is_control | quote | backslash) & HIGH;
    (found != 0).then_some(found.trailing_zeros() as usize / 8)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_string_ends_where_it_ends() {
        for length in 0..40 {
            for filler in ["a", "é", " ", "~", "!", "#", "\u{7f}", "]"] {
                let text = filler.repeat(length);
                let quoted = format!(" \"{text}\"");
                assert_eq!(Plain::read(quoted.as_bytes(), Plain::text), Some(text.as_str()));
                for special in ["\\n", "\n", "\0", "\u{1f}"] {
                    let quoted = format!("\"{text}{special}{filler}{filler}\"");
                    assert_eq!(Plain::read(quoted.as_bytes(), Plain::text), None, "{quoted:?}");
                }
            }
        }
    }

    #[test]
    fn every_byte_is_special_or_not_wherever_it_stands() {
        for byte in 0..=u8::MAX {
            for at in 0..WORD {
                for filler in [b'a', b' ', b'!', b'#', 0x7f, 0x80, 0xff] {
                    let mut word = [filler; WORD];
                    word[at] = byte;
                    assert_eq!(
                        first_special(word),
                        word.iter().position(|byte| is_special(*byte)),
                        "{word:?}"
                    );
                }
            }
        }
    }

    #[test]
    fn a_number_is_one_of_json() {
        for (text, number) in
            [("0", Some(0)), ("202 ", Some(202)), ("4294967295", Some(u32::MAX)), ("4294967296", None)]
        {
            assert_eq!(Plain::read(text.as_bytes(), Plain::number), number, "{text}");
        }
        for text in ["", "-1", "+1", "01", "00", "1.0", "1e2", "1 2", "x", "\"1\""] {
            assert_eq!(Plain::read(text.as_bytes(), Plain::number), None, "{text}");
        }
    }
}

//! The first line: which delimiter, which columns, and which of them holds the phone.

use super::ImportError;

/// The most columns that a file may have.
pub(super) const MAX_COLUMNS: usize = 1000;
const DELIMITERS: [u8; 4] = [b',', b';', b'\t', b'|'];
/// The names by which the phone's column is found, the likeliest first.
const PHONE_NAMES: [&str; 8] =
    ["phone", "mobile", "msisdn", "whatsapp", "number", "telephone", "contact", "to"];

/// What the first line says.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Header {
    pub(super) phone_column: String,
    /// Where the phone stands in a record.
    pub(super) phone_at: usize,
    /// The other columns, in order.
    pub(super) columns: Vec<String>,
}

impl Header {
    /// Reads the names. A column without one is called `column_3`: spreadsheets export empty columns.
    pub(super) fn read<'a>(
        fields: impl Iterator<Item = &'a [u8]>,
        phone_column: Option<&str>,
    ) -> Result<Self, ImportError> {
        let mut names = Vec::new();
        for (at, field) in fields.enumerate() {
            let name = std::str::from_utf8(field).ok().filter(|name| !name.contains(['\0', '\u{FFFD}']));
            let name = name.ok_or(ImportError::UnreadableColumn { column: at + 1 })?;
            let name =
                name.trim_matches(|character: char| character.is_whitespace() || character == '\u{FEFF}');
            let unnamed = || format!("column_{}", at + 1);
            names.push(if name.is_empty() { unnamed() } else { name.to_owned() });
        }
        if names.len() > MAX_COLUMNS {
            return Err(ImportError::TooManyColumns { found: names.len(), limit: MAX_COLUMNS });
        }
        refuse_duplicates(&names)?;
        let phone_at = find_phone(&names, phone_column)?;
        let phone_column = names.remove(phone_at);
        Ok(Self { phone_column, phone_at, columns: names })
    }

    /// How many fields each record must have.
    pub(super) fn width(&self) -> usize {
        self.columns.len() + 1
    }
}

fn refuse_duplicates(names: &[String]) -> Result<(), ImportError> {
    for (second, name) in names.iter().enumerate() {
        if let Some(first) = names[..second].iter().position(|earlier| earlier == name) {
            let (first, second) = (first + 1, second + 1);
            return Err(ImportError::DuplicateColumn { name: shown(name), first, second });
        }
    }
    Ok(())
}

fn find_phone(names: &[String], given: Option<&str>) -> Result<usize, ImportError> {
    let columns = || names.iter().take(50).map(|name| shown(name)).collect::<Vec<_>>().join(", ");
    if let Some(given) = given {
        let given = given.trim();
        let alike = names.iter().position(|name| folded(name) == folded(given));
        return names
            .iter()
            .position(|name| name == given)
            .or(alike)
            .ok_or_else(|| ImportError::NoSuchPhoneColumn { given: shown(given), columns: columns() });
    }
    PHONE_NAMES
        .iter()
        .find_map(|phone_name| names.iter().position(|name| folded(name) == *phone_name))
        .ok_or_else(|| ImportError::NoPhoneColumn { columns: columns() })
}

/// Without case, space, `_` and `-`.
fn folded(name: &str) -> String {
    name.chars()
        .filter(|character| !character.is_whitespace() && !matches!(character, '_' | '-'))
        .flat_map(char::to_lowercase)
        .collect()
}

/// A file without a header has people's data in its first line: shown short.
fn shown(name: &str) -> String {
    let mut short: String = name.chars().take(60).collect();
    if short.len() < name.len() {
        short.push('…');
    }
    short
}

/// The delimiter, and how many bytes of `text` come before the header: spreadsheets may begin a file with `sep=;`.
pub(super) fn sniff(text: &[u8]) -> (u8, usize) {
    let line = text.split(|byte| matches!(byte, b'\r' | b'\n')).next().unwrap_or_default();
    if let [b's' | b'S', b'e' | b'E', b'p' | b'P', b'=', delimiter] = line
        && delimiter.is_ascii()
        && !matches!(delimiter, b'"' | b'\0')
    {
        let end = &text[line.len()..];
        let break_length = if end.starts_with(b"\r\n") { 2 } else { end.len().min(1) };
        return (*delimiter, line.len() + break_length);
    }
    let mut counts = [0usize; DELIMITERS.len()];
    let mut quoted = false;
    let mut blank = true;
    for byte in text {
        match byte {
            b'"' => quoted = !quoted,
            b'\n' | b'\r' if !quoted && !blank => break,
            b'\n' | b'\r' => continue,
            _ if quoted => {}
            _ => {
                for (count, delimiter) in counts.iter_mut().zip(DELIMITERS) {
                    *count += usize::from(*byte == delimiter);
                }
            }
        }
        blank = false;
    }
    let mut best = 0;
    for at in 1..counts.len() {
        if counts[at] > counts[best] {
            best = at;
        }
    }
    (DELIMITERS[best], 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(names: &[&str], given: Option<&str>) -> Result<Header, String> {
        Header::read(names.iter().map(|name| name.as_bytes()), given).map_err(|error| error.to_string())
    }

    #[test]
    fn the_likeliest_name_wins_whatever_its_spelling() {
        for (names, phone) in [
            (vec!["to", "name", "Phone"], "Phone"),
            (vec!["name", " Mobile "], "Mobile"),
            (vec!["Whats App", "name"], "Whats App"),
            (vec!["MSISDN"], "MSISDN"),
            (vec!["name", "p_h-o ne"], "p_h-o ne"),
            (vec!["contact", "telephone"], "telephone"),
        ] {
            let header = read(&names, None).unwrap();
            assert_eq!(header.phone_column, phone);
            assert_eq!(header.columns.len(), names.len() - 1);
        }
    }

    #[test]
    fn the_given_name_is_taken_exactly_else_without_case() {
        assert_eq!(read(&["phone", "Alt Phone"], Some("alt_phone")).unwrap().phone_at, 1);
        assert_eq!(read(&["PHONE", "phone"], Some("phone")).unwrap().phone_at, 1);
        let error = read(&["phone", "name"], Some("cell")).unwrap_err();
        assert_eq!(error, "there is no column `cell`; the header names: phone, name");
    }

    #[test]
    fn a_header_that_does_not_do_says_why() {
        let twice = read(&["phone", "name", " name"], None).unwrap_err();
        assert!(twice.contains("`name` twice (columns 2 and 3)"), "{twice}");
        assert!(read(&["a", "b"], None).unwrap_err().contains("phone_column. The header names: a, b"));
        let many = vec!["phone"; MAX_COLUMNS + 1];
        assert!(read(&many, None).unwrap_err().contains("1001 columns"));
        assert_eq!(read(&["phone", "", " "], None).unwrap().columns, ["column_2", "column_3"]);
    }

    #[test]
    fn the_delimiter_is_the_commonest_outside_quotes() {
        assert_eq!(sniff(b"phone,name\n1;2;3;4"), (b',', 0));
        assert_eq!(sniff(b"\r\nphone;\"a,b,c\";x\n"), (b';', 0));
        assert_eq!(sniff(b"phone\tname, first\tx"), (b'\t', 0));
        assert_eq!(sniff(b"phone|name"), (b'|', 0));
        assert_eq!(sniff(b"phone"), (b',', 0));
        assert_eq!(sniff(b"sep=;\r\nphone;a,b,c\n"), (b';', 7));
        assert_eq!(sniff(b"SEP=|\nphone|a\n"), (b'|', 6));
    }
}

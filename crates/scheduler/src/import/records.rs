//! The file's text cut into records and fields: where each begins and on which line.
//!
//! A record without a quotation mark is cut where its delimiters stand, in the window's own text; any other is left to
//! csv-core. What both say must be the same, and is tested to be.

use std::ops::Range;

use csv_core::ReadRecordResult;

use super::{
    ImportError,
    window::{MAX_RECORD_BYTES, Window},
};

/// Further fields than these are counted and not kept.
const MAX_FIELDS: usize = 4 * super::header::MAX_COLUMNS;

/// Goes through a file record by record.
pub(super) struct Records {
    window: Window,
    delimiter: u8,
    core: csv_core::Reader,
    /// The line on which the text after the record starts.
    next_line: u64,
    /// Where the record ends, with its line break.
    end: u64,
    record: Record,
    /// Where csv-core says that fields end.
    ends: Vec<usize>,
}

/// The record at hand.
#[derive(Default)]
struct Record {
    /// The line on which it starts.
    line: u64,
    /// Where it lies, without its line break.
    raw: Range<u64>,
    /// Its fields without their quotation marks, when it has some.
    unquoted: Option<Vec<u8>>,
    /// It has quotation marks, and no line break behind it.
    is_ended_by_the_file: bool,
    width: usize,
    /// Where the first fields lie, in `unquoted` or else in `raw`.
    fields: Vec<Range<usize>>,
}

impl Records {
    /// `line` is that of the window's first byte.
    pub(super) fn new(window: Window, delimiter: u8, line: u64) -> Self {
        let mut core = csv_core::ReaderBuilder::new().delimiter(delimiter).build();
        // At its very start the reader would take a byte order mark off, and it starts with a record in the midst of the file.
        core.read_record(b"\n", &mut [], &mut []);
        let (record, ends) = (Record::default(), vec![0; 64]);
        Self { window, delimiter, core, next_line: line, end: 0, record, ends }
    }

    /// Goes on to the next record. False: there is none. The text from `keep` on stays to be seen.
    pub(super) fn advance(&mut self, keep: u64) -> Result<bool, ImportError> {
        self.window.release(keep.min(self.end), self.end);
        let Some(start) = self.skip_line_breaks(keep)? else { return Ok(false) };
        self.record.line = self.next_line;
        self.record.fields.clear();
        let mut looked = 0;
        loop {
            let text = self.window.text_from(start);
            match memchr::memchr3(b'\n', b'\r', b'"', &text[looked..]) {
                Some(at) if text[looked + at] != b'"' => {
                    let raw = start..start + (looked + at) as u64;
                    self.end = raw.end;
                    self.cut(raw);
                    break;
                }
                Some(_) => {
                    self.read_quoted(start)?;
                    break;
                }
                None => {
                    looked = text.len();
                    if !self.fill()? {
                        let raw = start..start + looked as u64;
                        self.end = raw.end;
                        self.cut(raw);
                        break;
                    }
                }
            }
        }
        if self.record.raw.end - self.record.raw.start > MAX_RECORD_BYTES as u64 {
            return Err(self.too_long());
        }
        Ok(true)
    }

    /// Passes over the record's line break and over empty lines; where the next record starts, if there is one.
    fn skip_line_breaks(&mut self, keep: u64) -> Result<Option<u64>, ImportError> {
        let mut after_cr = false;
        loop {
            let text = self.window.text_from(self.end);
            let Some(byte) = text.first() else {
                self.window.release(keep.min(self.end), self.end);
                if self.fill()? {
                    continue;
                }
                return Ok(None);
            };
            match byte {
                b'\n' if after_cr => {}
                b'\n' | b'\r' => self.next_line += 1,
                _ => return Ok(Some(self.end)),
            }
            after_cr = *byte == b'\r';
            self.end += 1;
        }
    }

    /// Cuts a record that has no quotation mark.
    fn cut(&mut self, raw: Range<u64>) {
        let record = &mut self.record;
        let text = self.window.slice(raw.clone());
        let mut begin = 0;
        record.width = 1;
        for at in memchr::memchr_iter(self.delimiter, text) {
            if record.width < MAX_FIELDS {
                record.fields.push(begin..at);
            }
            begin = at + 1;
            record.width += 1;
        }
        record.fields.push(begin..text.len());
        record.raw = raw;
        record.is_ended_by_the_file = false;
        record.unquoted = None;
    }

    /// Has csv-core read a record that has one.
    fn read_quoted(&mut self, start: u64) -> Result<(), ImportError> {
        let mut text = self.record.unquoted.take().unwrap_or_default();
        let (mut at, mut written, mut fields) = (start, 0, 0);
        loop {
            // Empty only at the file's end: told that there is no more, csv-core ends the record.
            while self.window.text_from(at).is_empty() && self.fill()? {}
            let input = self.window.text_from(at);
            let is_end = input.is_empty();
            let (result, read, wrote, ended) =
                self.core.read_record(input, &mut text[written..], &mut self.ends[fields..]);
            (at, written, fields) = (at + read as u64, written + wrote, fields + ended);
            match result {
                ReadRecordResult::Record | ReadRecordResult::End => {
                    self.record.is_ended_by_the_file = is_end;
                    break;
                }
                ReadRecordResult::OutputFull => text.resize((text.len() * 2).max(1024), 0),
                ReadRecordResult::OutputEndsFull => self.ends.resize(self.ends.len() * 2, 0),
                ReadRecordResult::InputEmpty => {}
            }
        }
        let slice = self.window.slice(start..at);
        // csv-core has passed over the line break, or over the first half of it.
        let line_break = slice.iter().rev().take_while(|byte| matches!(byte, b'\r' | b'\n')).count().min(1);
        let raw = start..at - line_break as u64;
        let slice = &slice[..slice.len() - line_break];
        self.next_line += line_breaks(slice);
        self.end = raw.end;
        let mut begin = 0;
        for end in &self.ends[..fields.min(MAX_FIELDS)] {
            self.record.fields.push(begin..*end);
            begin = *end;
        }
        self.record.width = fields;
        self.record.raw = raw;
        self.record.unquoted = Some(text);
        Ok(())
    }

    fn fill(&mut self) -> Result<bool, ImportError> {
        self.window.fill().map_err(|error| match error {
            ImportError::RecordTooLong { limit, .. } => {
                ImportError::RecordTooLong { line: self.next_line, limit }
            }
            other => other,
        })
    }

    /// The line on which the record starts.
    pub(super) fn line(&self) -> u64 {
        self.record.line
    }

    /// Where the record lies in the file's text.
    pub(super) fn range(&self) -> Range<u64> {
        self.record.raw.clone()
    }

    /// The record as it stands in the file, without its line break.
    pub(super) fn raw(&self) -> &[u8] {
        self.window.slice(self.record.raw.clone())
    }

    /// An earlier record whose text was asked to be kept, and its field at `at`.
    pub(super) fn kept(&mut self, raw: Range<u64>, at: usize) -> (&[u8], Vec<u8>) {
        let text = self.window.slice(raw);
        if memchr::memchr(b'"', text).is_none() {
            let field = text.split(|byte| *byte == self.delimiter).nth(at).unwrap_or_default();
            return (text, field.to_vec());
        }
        let (mut fields, mut ends) = (vec![0; text.len()], vec![0; MAX_FIELDS]);
        let (_, _, written, ended) = self.core.read_record(text, &mut fields, &mut ends);
        let (.., last) = self.core.read_record(b"\n", &mut fields[written..], &mut ends[ended..]);
        let end_of = |field: usize| ends[..ended + last].get(field).copied().unwrap_or(0);
        let begin = at.checked_sub(1).map_or(0, end_of);
        (text, fields.get(begin..end_of(at)).unwrap_or_default().to_vec())
    }

    /// How many fields the record has.
    pub(super) fn width(&self) -> usize {
        self.record.width
    }

    /// The record's fields.
    pub(super) fn fields(&self) -> impl Iterator<Item = &[u8]> {
        let text = self.record.unquoted.as_deref().unwrap_or_else(|| self.raw());
        self.record.fields.iter().map(|field| &text[field.clone()])
    }

    /// The field at `at`; nothing when there is none.
    pub(super) fn field(&self, at: usize) -> &[u8] {
        let text = self.record.unquoted.as_deref().unwrap_or_else(|| self.raw());
        self.record.fields.get(at).map(|field| &text[field.clone()]).unwrap_or_default()
    }

    /// Bytes of the file that have been decoded.
    pub(super) fn bytes_read(&self) -> u64 {
        self.window.bytes_read()
    }

    /// Whether this is the file's last record and its last quotation mark is never closed.
    pub(super) fn is_cut_off(&self) -> bool {
        self.record.is_ended_by_the_file && ends_inside_quotes(self.raw(), self.delimiter)
    }

    fn too_long(&self) -> ImportError {
        ImportError::RecordTooLong { line: self.record.line, limit: MAX_RECORD_BYTES }
    }
}

/// LF, CR LF and a CR alone are one line break each.
fn line_breaks(text: &[u8]) -> u64 {
    let mut after_cr = false;
    let mut breaks = 0;
    for at in memchr::memchr2_iter(b'\n', b'\r', text) {
        let is_second = text[at] == b'\n' && after_cr && text[at - 1] == b'\r';
        breaks += u64::from(!is_second);
        after_cr = text[at] == b'\r';
    }
    breaks
}

/// Whether a record's last field begins with a quotation mark and has none that ends it. A mark within a field that did not
/// begin with one is a mark like any other letter.
fn ends_inside_quotes(raw: &[u8], delimiter: u8) -> bool {
    #[derive(Clone, Copy, PartialEq)]
    enum At {
        Start,
        Plain,
        Quoted,
        AfterMark,
    }
    let step = |at: At, byte: &u8| match (at, *byte) {
        (At::Quoted, b'"') => At::AfterMark,
        (At::Start | At::AfterMark, b'"') | (At::Quoted, _) => At::Quoted,
        (_, other) if other == delimiter => At::Start,
        _ => At::Plain,
    };
    raw.iter().fold(At::Start, step) == At::Quoted
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use proptest::prelude::*;
    use tokio::sync::mpsc;

    use super::{super::window::Piece, *};

    fn cut(file: &[u8], step: usize) -> Vec<Vec<Vec<u8>>> {
        let (pieces, upload) = mpsc::channel(file.len() / step + 2);
        for piece in file.chunks(step) {
            pieces.try_send(Piece::Data(Bytes::copy_from_slice(piece))).unwrap();
        }
        pieces.try_send(Piece::End).unwrap();
        let mut window = Window::new(upload);
        window.first_line().unwrap();
        let mut records = Records::new(window, b',', 1);
        let mut all = Vec::new();
        while records.advance(u64::MAX).unwrap() {
            all.push(records.fields().map(<[u8]>::to_vec).collect());
        }
        all
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2000))]
        #[test]
        fn every_file_is_cut_as_the_csv_crate_cuts_it(file in "[a\u{e9},\"\n\r]{0,60}", step in 1usize..20) {
            let mut reader =
                csv::ReaderBuilder::new().has_headers(false).flexible(true).from_reader(file.as_bytes());
            let expected: Vec<Vec<Vec<u8>>> = reader
                .byte_records()
                .map(|record| record.unwrap().iter().map(<[u8]>::to_vec).collect())
                .collect();
            prop_assert_eq!(cut(file.as_bytes(), step), expected);
        }
    }

    #[test]
    fn line_breaks_of_every_kind_count_once() {
        assert_eq!(line_breaks(b"a\nb\r\nc\rd\r\r\n\n"), 6);
    }
}

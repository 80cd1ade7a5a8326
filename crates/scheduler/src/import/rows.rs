//! The file's records, one by one: each becomes a recipient, a reject or a duplicate.
//!
//! Runs on a thread of its own and blocks: it waits for the upload on one side and for the database on the other.

use std::sync::Arc;

use bytes::Bytes;
use csv::{ByteRecord, Reader, ReaderBuilder};
use model::{
    Phone,
    phone_input::{self, PhoneProblem, Region},
};
use store::{recipients::CopyEncoder, rejects::Reject};
use tokio::sync::mpsc;

use super::{
    ImportError,
    header::{self, Header},
    progress::Meter,
    seen::Seen,
    window::Window,
};

/// How much is sent to the database at once.
pub(super) const CHUNK_BYTES: usize = 256 * 1024;
/// Rejects written at once.
const REJECT_BATCH: usize = 500;
/// Rejects that are listed; further ones are counted only.
pub const MAX_LISTED_REJECTS: usize = 1_000_000;
/// The longest raw row that a reject shows.
const MAX_RAW_BYTES: usize = 2000;
const MAX_SHOWN_PHONE_BYTES: usize = 100;
/// Rows between two looks at whether the import was cancelled.
const ROWS_PER_LOOK: i64 = 256;
const CSV_BUFFER_BYTES: usize = 64 * 1024;
/// The reason of a duplicate until its first line is known.
const DUPLICATE: &str = "duplicate of an earlier line";

/// Bytes for COPY.
pub(super) enum Chunk {
    /// More follows.
    Some(Bytes),
    /// The file was read to its end. A channel that closes without it means that the import failed.
    Last(Bytes),
}

/// Where the rows go.
pub(super) struct Outlets {
    pub(super) copy: mpsc::Sender<Chunk>,
    pub(super) rejects: mpsc::Sender<Vec<Reject>>,
    pub(super) meter: Arc<Meter>,
}

/// A duplicate whose first line is still to be found.
#[derive(Clone, Copy, Debug)]
pub(super) struct Repeated {
    pub(super) phone: Phone,
    pub(super) line: u64,
}

/// What is known when the file has been read.
pub(super) struct Parsed {
    pub(super) header: Header,
    pub(super) seen: Seen,
    /// The listed duplicates.
    pub(super) repeated: Vec<Repeated>,
}

/// Reads the whole file.
pub(super) fn read_file(
    mut window: Window,
    audience_id: i64,
    region: Option<Region>,
    phone_column: Option<&str>,
    outlets: Outlets,
) -> Result<Parsed, ImportError> {
    let (delimiter, skipped) = header::sniff(window.first_line()?);
    window.skip(skipped);
    let mut builder = ReaderBuilder::new();
    builder.delimiter(delimiter).has_headers(false).flexible(true).buffer_capacity(CSV_BUFFER_BYTES);
    let mut records = Records {
        reader: builder.from_reader(window),
        delimiter,
        record: ByteRecord::new(),
        line: 1,
        next_line: if skipped > 0 { 2 } else { 1 },
        after_cr: false,
        start: 0,
        end: 0,
    };
    if !records.advance()? {
        return Err(ImportError::Empty);
    }
    let header = Header::read(records.record.iter(), phone_column)?;
    let var_count = i32::try_from(header.columns.len()).unwrap_or(i32::MAX);
    let mut rows = Rows {
        header,
        var_count,
        region,
        encoder: CopyEncoder::new(audience_id, CHUNK_BYTES),
        rejects: Vec::new(),
        listed: 0,
        seen: Seen::default(),
        repeated: Vec::new(),
        outlets,
    };
    let result = rows.take_all(&mut records);
    rows.outlets.meter.set_bytes(records.reader.get_ref().bytes_read());
    // A failed import shows its rejects too.
    let sent = rows.send_rejects();
    result.and(sent)?;
    rows.finish()
}

/// The CSV parser, with the line and the raw text of the record at hand.
struct Records {
    reader: Reader<Window>,
    delimiter: u8,
    record: ByteRecord,
    /// The line on which the record at hand starts.
    line: u64,
    /// The line on which the text after it starts.
    next_line: u64,
    /// The text before ended with a CR, whose LF may follow.
    after_cr: bool,
    start: u64,
    end: u64,
}

impl Records {
    /// Goes on to the next record. False: there is none.
    fn advance(&mut self) -> Result<bool, ImportError> {
        self.reader.get_mut().release(self.end);
        let before = self.end;
        let more = self.reader.read_byte_record(&mut self.record).map_err(|error| self.explain(error))?;
        if !more {
            return Ok(false);
        }
        self.end = self.reader.position().byte();
        let text = self.reader.get_ref().slice(before, self.end);
        let blank = text.iter().take_while(|byte| matches!(byte, b'\r' | b'\n')).count();
        let (blanks, raw) = text.split_at(blank);
        self.start = before + blank as u64;
        let mut lines = Lines { next: self.next_line, after_cr: self.after_cr };
        lines.pass(blanks);
        // A CR that ended the blank text has had its line break counted: it is followed by the record.
        lines.settle();
        self.line = lines.next;
        lines.pass(raw);
        (self.next_line, self.after_cr) = (lines.next, lines.after_cr);
        if raw.len() > super::window::MAX_RECORD_BYTES {
            return Err(self.too_long());
        }
        Ok(true)
    }

    fn raw(&self) -> &[u8] {
        let raw = self.reader.get_ref().slice(self.start, self.end);
        raw.strip_suffix(b"\n").or_else(|| raw.strip_suffix(b"\r")).unwrap_or(raw)
    }

    /// Whether this is the file's last record and its last quotation mark is never closed.
    fn is_cut_off(&self) -> bool {
        let window = self.reader.get_ref();
        window.ends_at(self.end) && ends_inside_quotes(window.slice(self.start, self.end), self.delimiter)
    }

    fn too_long(&self) -> ImportError {
        ImportError::RecordTooLong { line: self.line, limit: super::window::MAX_RECORD_BYTES }
    }

    fn explain(&self, error: csv::Error) -> ImportError {
        let csv::ErrorKind::Io(error) = error.into_kind() else {
            return ImportError::Upload { reason: "the CSV parser stopped".to_owned() };
        };
        match error.downcast::<ImportError>() {
            Ok(ImportError::RecordTooLong { limit, .. }) => {
                ImportError::RecordTooLong { line: self.next_line + u64::from(self.after_cr), limit }
            }
            Ok(error) => error,
            Err(error) => ImportError::Upload { reason: error.to_string() },
        }
    }
}

/// Counts line breaks: LF, CR LF and a CR alone are one each.
struct Lines {
    next: u64,
    after_cr: bool,
}

impl Lines {
    fn pass(&mut self, text: &[u8]) {
        for byte in text {
            match byte {
                b'\n' => {
                    self.next += 1;
                    self.after_cr = false;
                }
                b'\r' => {
                    self.settle();
                    self.after_cr = true;
                }
                _ if self.after_cr => self.settle(),
                _ => {}
            }
        }
    }

    /// The CR before was a line break of its own.
    fn settle(&mut self) {
        self.next += u64::from(self.after_cr);
        self.after_cr = false;
    }
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

struct Rows {
    header: Header,
    var_count: i32,
    region: Option<Region>,
    encoder: CopyEncoder,
    rejects: Vec<Reject>,
    listed: usize,
    seen: Seen,
    repeated: Vec<Repeated>,
    outlets: Outlets,
}

/// Why a row names nobody new.
#[derive(Debug, thiserror::Error)]
enum RowProblem {
    #[error("the row holds a NUL character: save the file as CSV (UTF-8)")]
    Nul,
    #[error(
        "the row holds characters that are not valid in the file's encoding: save the file as CSV (UTF-8)"
    )]
    Encoding,
    #[error("the row has {found} fields where the header has {expected}")]
    Ragged { found: usize, expected: usize },
    #[error("a quotation mark is not closed: everything from here to the file's end was read as one row")]
    Unclosed,
    #[error("{0}")]
    Phone(#[from] PhoneProblem),
}

impl Rows {
    fn take_all(&mut self, records: &mut Records) -> Result<(), ImportError> {
        while records.advance()? {
            self.take(records)?;
        }
        Ok(())
    }

    fn take(&mut self, records: &Records) -> Result<(), ImportError> {
        let record = &records.record;
        if is_blank(record) && self.header.width() > 1 {
            return Ok(());
        }
        let meter = &self.outlets.meter;
        if meter.row(records.reader.get_ref().bytes_read()) % ROWS_PER_LOOK == 0 && meter.is_cancelled() {
            return Err(ImportError::Cancelled);
        }
        match self.judge(records) {
            Err(problem) => {
                self.outlets.meter.rejected();
                self.list(records, problem.to_string())
            }
            Ok(phone) if self.seen.take(phone, records.line) => self.accept(phone, record),
            Ok(phone) => {
                self.outlets.meter.duplicate();
                if self.listed < MAX_LISTED_REJECTS {
                    self.repeated.push(Repeated { phone, line: records.line });
                }
                self.list(records, DUPLICATE.to_owned())
            }
        }
    }

    fn judge(&self, records: &Records) -> Result<Phone, RowProblem> {
        let record = &records.record;
        let bytes = record.as_slice();
        if bytes.contains(&0) {
            return Err(RowProblem::Nul);
        }
        let sound = |field: &[u8]| std::str::from_utf8(field).is_ok_and(|text| !text.contains('\u{FFFD}'));
        if !bytes.is_ascii() && !record.iter().all(sound) {
            return Err(RowProblem::Encoding);
        }
        if records.is_cut_off() {
            return Err(RowProblem::Unclosed);
        }
        if record.len() != self.header.width() {
            return Err(RowProblem::Ragged { found: record.len(), expected: self.header.width() });
        }
        let phone = record.get(self.header.phone_at).unwrap_or_default();
        let phone = std::str::from_utf8(phone).map_err(|_| RowProblem::Encoding)?;
        Ok(phone_input::normalise(phone, self.region)?)
    }

    fn accept(&mut self, phone: Phone, record: &ByteRecord) -> Result<(), ImportError> {
        let no = self.outlets.meter.accepted();
        let no = i32::try_from(no).map_err(|_| ImportError::TooManyRows { limit: i32::MAX })?;
        let phone_at = self.header.phone_at;
        let vars = record.iter().enumerate().filter(|(at, _)| *at != phone_at).map(|(_, field)| field);
        self.encoder.push(no, phone, self.var_count, vars);
        if self.encoder.len() >= CHUNK_BYTES {
            let chunk = Chunk::Some(self.encoder.take());
            return self.outlets.copy.blocking_send(chunk).map_err(|_| ImportError::Interrupted);
        }
        Ok(())
    }

    fn list(&mut self, records: &Records, reason: String) -> Result<(), ImportError> {
        if self.listed > MAX_LISTED_REJECTS {
            return Ok(());
        }
        let mut reason = reason;
        if self.listed == MAX_LISTED_REJECTS {
            reason = format!("further rows are counted but not listed: {MAX_LISTED_REJECTS} are");
        }
        self.listed += 1;
        self.rejects.push(Reject {
            line: i64::try_from(records.line).unwrap_or(i64::MAX),
            reason,
            phone: shown(records.record.get(self.header.phone_at).unwrap_or_default(), MAX_SHOWN_PHONE_BYTES),
            raw: shown(records.raw(), MAX_RAW_BYTES),
        });
        if self.rejects.len() >= REJECT_BATCH { self.send_rejects() } else { Ok(()) }
    }

    fn send_rejects(&mut self) -> Result<(), ImportError> {
        if self.rejects.is_empty() {
            return Ok(());
        }
        let batch = std::mem::take(&mut self.rejects);
        self.outlets.rejects.blocking_send(batch).map_err(|_| ImportError::Interrupted)
    }

    fn finish(self) -> Result<Parsed, ImportError> {
        if self.outlets.meter.totals().read == 0 {
            return Err(ImportError::NoRows);
        }
        let last = Chunk::Last(self.encoder.finish());
        self.outlets.copy.blocking_send(last).map_err(|_| ImportError::Interrupted)?;
        Ok(Parsed { header: self.header, seen: self.seen, repeated: self.repeated })
    }
}

/// A line of nothing but spaces.
fn is_blank(record: &ByteRecord) -> bool {
    record.len() == 1 && record.as_slice().iter().all(u8::is_ascii_whitespace)
}

/// As text that PostgreSQL can hold, shortened to `limit` bytes.
fn shown(bytes: &[u8], limit: usize) -> String {
    let mut text = String::from_utf8_lossy(&bytes[..bytes.len().min(limit)]).replace('\0', "\u{2400}");
    if bytes.len() > limit {
        // The cut may have left half a character.
        text.truncate(text.trim_end_matches('\u{FFFD}').len());
        text.push('…');
    }
    text
}

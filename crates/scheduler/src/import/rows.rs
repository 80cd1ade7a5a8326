//! The file's records, one by one: each becomes a recipient, a reject or a duplicate.
//!
//! Runs on a thread of its own and blocks: it waits for the upload on one side and for the database on the other. It takes
//! less of the processor for a row than the database does, so one thread keeps COPY busy, and COPY has the other core.

use std::{ops::Range, path::PathBuf, sync::Arc};

use bytes::Bytes;
use model::{
    Phone,
    phone_input::{self, PhoneProblem, Region},
};
use store::{audiences::Totals, recipients::CopyEncoder, rejects::Reject};
use tokio::sync::mpsc;

use super::{
    ImportError,
    header::{self, Header},
    progress::Meter,
    records::Records,
    seen::{self, Repeated, Seen},
    window::Window,
};

/// How much is sent to the database at once.
pub(super) const CHUNK_BYTES: usize = 128 * 1024;
/// Text, and encoded rows, that wait until their phones are judged, when the rows are too long for a whole batch of them.
const BATCH_BYTES: usize = 1536 * 1024;
/// Rejects written at once.
const REJECT_BATCH: usize = 500;
/// Rejects that are listed; further ones are counted only.
pub const MAX_LISTED_REJECTS: usize = 1_000_000;
/// The longest raw row that a reject shows.
const MAX_RAW_BYTES: usize = 2000;
const MAX_SHOWN_PHONE_BYTES: usize = 100;
/// Rows between two looks at whether the import was cancelled.
const ROWS_PER_LOOK: i64 = 256;

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
    /// Where files are made that memory is spared by.
    pub(super) folder: PathBuf,
}

/// Reads the whole file.
pub(super) fn read_file(
    mut window: Window,
    audience_id: i64,
    region: Option<Region>,
    phone_column: Option<&str>,
    outlets: Outlets,
) -> Result<Header, ImportError> {
    let (delimiter, skipped) = header::sniff(window.first_line()?);
    window.skip(skipped);
    let mut records = Records::new(window, delimiter, if skipped > 0 { 2 } else { 1 });
    if !records.advance(u64::MAX)? {
        return Err(ImportError::Empty);
    }
    let header = Header::read(records.fields(), phone_column)?;
    let mut rows = Rows {
        header,
        region,
        totals: Totals::default(),
        encoder: CopyEncoder::new(audience_id),
        waiting: Vec::new(),
        texts: Vec::new(),
        rejects: Vec::new(),
        listed: 0,
        seen: Seen::new(outlets.folder.clone()),
        outlets,
    };
    let result = rows.take_all(&mut records);
    // A failed import shows its rejects too.
    let ended = rows.end_batch(&mut records);
    let sent = rows.send_rejects();
    rows.show(&records);
    result.and(ended).and(sent)?;
    rows.finish()
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

struct Rows {
    header: Header,
    region: Option<Region>,
    totals: Totals,
    encoder: CopyEncoder,
    /// Encoded rows whose phones are not judged yet, and the line of each.
    waiting: Vec<(Phone, u64)>,
    /// Where their records lie.
    texts: Vec<Range<u64>>,
    rejects: Vec<Reject>,
    listed: usize,
    seen: Seen,
    outlets: Outlets,
}

impl Rows {
    fn take_all(&mut self, records: &mut Records) -> Result<(), ImportError> {
        loop {
            let keep = self.texts.first().map_or(u64::MAX, |text| text.start);
            if !records.advance(keep)? {
                return Ok(());
            }
            self.take(records)?;
        }
    }

    fn take(&mut self, records: &mut Records) -> Result<(), ImportError> {
        if self.header.width() > 1 && is_blank(records) {
            return Ok(());
        }
        self.totals.read += 1;
        if self.totals.read % ROWS_PER_LOOK == 0 {
            self.show(records);
            if self.outlets.meter.is_cancelled() {
                return Err(ImportError::Cancelled);
            }
        }
        match self.judge(records) {
            Err(problem) => {
                self.totals.rejected += 1;
                self.list(records.line(), problem.to_string(), self.phone(records), records.raw());
                if self.rejects.len() >= REJECT_BATCH { self.end_batch(records) } else { Ok(()) }
            }
            Ok(phone) => {
                let phone_at = self.header.phone_at;
                let vars = records.fields().enumerate().filter(|(at, _)| *at != phone_at);
                self.encoder.push(phone, self.header.columns.len(), vars.map(|(_, field)| field));
                self.waiting.push((phone, records.line()));
                self.texts.push(records.range());
                if self.is_full() { self.end_batch(records) } else { Ok(()) }
            }
        }
    }

    fn judge(&self, records: &Records) -> Result<Phone, RowProblem> {
        let text = records.raw();
        if memchr::memchr(0, text).is_some() {
            return Err(RowProblem::Nul);
        }
        // Delimiters, marks and breaks are ASCII: the record is sound when its fields are.
        if !text.is_ascii() && !std::str::from_utf8(text).is_ok_and(|text| !text.contains('\u{FFFD}')) {
            return Err(RowProblem::Encoding);
        }
        if records.is_cut_off() {
            return Err(RowProblem::Unclosed);
        }
        if records.width() != self.header.width() {
            return Err(RowProblem::Ragged { found: records.width(), expected: self.header.width() });
        }
        let phone = std::str::from_utf8(self.phone(records)).map_err(|_| RowProblem::Encoding)?;
        Ok(phone_input::normalise(phone, self.region)?)
    }

    fn phone<'a>(&self, records: &'a Records) -> &'a [u8] {
        records.field(self.header.phone_at)
    }

    fn is_full(&self) -> bool {
        let text =
            self.texts.first().zip(self.texts.last()).map_or(0, |(first, last)| last.end - first.start);
        self.waiting.len() == seen::BATCH || self.encoder.len() >= BATCH_BYTES || text >= BATCH_BYTES as u64
    }

    /// Judges the phones of the rows that wait, and hands on what they have become.
    fn end_batch(&mut self, records: &mut Records) -> Result<(), ImportError> {
        let repeated = self.seen.take(&self.waiting).map_err(|error| ImportError::Disk {
            folder: self.outlets.folder.display().to_string(),
            reason: error.to_string(),
        })?;
        for Repeated { at, first_line } in &repeated {
            let reason = match first_line {
                0 => "duplicate of an earlier line".to_owned(),
                line => format!("duplicate of line {line}"),
            };
            let (raw, phone) = records.kept(self.texts[*at].clone(), self.header.phone_at);
            self.list(self.waiting[*at].1, reason, &phone, raw);
        }
        let last_no = self.totals.accepted;
        let accepted = self.waiting.len() - repeated.len();
        self.totals.duplicate += i64::try_from(repeated.len()).unwrap_or(0);
        self.totals.accepted += i64::try_from(accepted).unwrap_or(0);
        self.waiting.clear();
        self.texts.clear();
        if self.rejects.len() >= REJECT_BATCH {
            self.send_rejects()?;
        }
        let limit = i32::MAX;
        if self.totals.accepted > i64::from(limit) {
            return Err(ImportError::TooManyRows { limit });
        }
        let left_out = repeated.iter().map(|repeated| repeated.at);
        let encoded = self.encoder.take(i32::try_from(last_no).unwrap_or(limit), left_out);
        self.send(encoded)
    }

    fn send(&self, mut encoded: Bytes) -> Result<(), ImportError> {
        while !encoded.is_empty() {
            let chunk = encoded.split_to(encoded.len().min(CHUNK_BYTES));
            let sent = self.outlets.copy.blocking_send(Chunk::Some(chunk));
            sent.map_err(|_| ImportError::Interrupted)?;
        }
        Ok(())
    }

    fn list(&mut self, line: u64, reason: String, phone: &[u8], raw: &[u8]) {
        if self.listed > MAX_LISTED_REJECTS {
            return;
        }
        let mut reason = reason;
        if self.listed == MAX_LISTED_REJECTS {
            reason = format!("further rows are counted but not listed: {MAX_LISTED_REJECTS} are");
        }
        self.listed += 1;
        self.rejects.push(Reject {
            line: i64::try_from(line).unwrap_or(i64::MAX),
            reason,
            phone: shown(phone, MAX_SHOWN_PHONE_BYTES),
            raw: shown(raw, MAX_RAW_BYTES),
        });
    }

    fn send_rejects(&mut self) -> Result<(), ImportError> {
        while !self.rejects.is_empty() {
            let rest = self.rejects.split_off(self.rejects.len().min(REJECT_BATCH));
            let batch = std::mem::replace(&mut self.rejects, rest);
            self.outlets.rejects.blocking_send(batch).map_err(|_| ImportError::Interrupted)?;
        }
        Ok(())
    }

    fn show(&mut self, records: &Records) {
        self.totals.bytes_read = i64::try_from(records.bytes_read()).unwrap_or(i64::MAX);
        self.outlets.meter.show(&self.totals);
    }

    fn finish(self) -> Result<Header, ImportError> {
        if self.totals.read == 0 {
            return Err(ImportError::NoRows);
        }
        let last = Chunk::Last(self.encoder.finish());
        self.outlets.copy.blocking_send(last).map_err(|_| ImportError::Interrupted)?;
        Ok(self.header)
    }
}

/// A line of nothing but spaces.
fn is_blank(records: &Records) -> bool {
    records.width() == 1 && records.field(0).iter().all(u8::is_ascii_whitespace)
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

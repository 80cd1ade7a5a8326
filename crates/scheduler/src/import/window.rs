//! The upload as text for the CSV parser: a piece of the file that moves on with the rows.
//!
//! Holds the rows that are not judged yet, one record and one piece of the upload at most: a quotation mark that is never
//! closed must not gather the file in memory.

use std::ops::Range;

use bytes::Bytes;
use tokio::sync::mpsc;

use super::{ImportError, decode::Decoder};

/// The longest record, in bytes.
pub(super) const MAX_RECORD_BYTES: usize = 1024 * 1024;
/// How much of a piece is decoded at once.
const STEP_BYTES: usize = 64 * 1024;

/// What the upload hands to the parser.
pub(super) enum Piece {
    /// The next bytes.
    Data(Bytes),
    /// Nothing follows; the file is whole.
    End,
    /// The upload failed.
    Broken(ImportError),
}

pub(super) struct Window {
    pieces: mpsc::Receiver<Piece>,
    pending: Bytes,
    decoder: Decoder,
    text: Vec<u8>,
    /// The offset, among all decoded bytes, of `text[0]`.
    base: u64,
    /// How much of `text` nobody needs any more.
    released: usize,
    /// Where in `text` the record at hand starts.
    start: usize,
    bytes_read: u64,
    ended: bool,
}

impl Window {
    pub(super) fn new(pieces: mpsc::Receiver<Piece>) -> Self {
        Self {
            pieces,
            pending: Bytes::new(),
            decoder: Decoder::new(),
            text: Vec::new(),
            base: 0,
            released: 0,
            start: 0,
            bytes_read: 0,
            ended: false,
        }
    }

    /// Bytes of the file that have been decoded.
    pub(super) fn bytes_read(&self) -> u64 {
        self.bytes_read
    }

    /// Everything decoded up to the end of the first line that is not blank, and maybe more.
    pub(super) fn first_line(&mut self) -> Result<&[u8], ImportError> {
        while !holds_a_line(&self.text) && self.fill()? {}
        Ok(&self.text)
    }

    /// Forgets the first `length` bytes before anything was parsed.
    pub(super) fn skip(&mut self, length: usize) {
        self.text.drain(..length);
    }

    /// The decoded text between two offsets that have not been released.
    pub(super) fn slice(&self, range: Range<u64>) -> &[u8] {
        self.text.get(self.at(range.start)..self.at(range.end)).unwrap_or_default()
    }

    /// All that has been decoded from `offset` on.
    pub(super) fn text_from(&self, offset: u64) -> &[u8] {
        self.text.get(self.at(offset)..).unwrap_or_default()
    }

    /// Forgets the text before `offset`, soon; the next record starts at `record`, or behind line breaks there.
    pub(super) fn release(&mut self, offset: u64, record: u64) {
        (self.released, self.start) = (self.at(offset), self.at(record));
    }

    fn at(&self, offset: u64) -> usize {
        usize::try_from(offset.saturating_sub(self.base)).unwrap_or(usize::MAX)
    }

    /// Decodes some more. False: the file has ended.
    pub(super) fn fill(&mut self) -> Result<bool, ImportError> {
        if self.ended {
            return Ok(false);
        }
        if self.text.len() - self.start > MAX_RECORD_BYTES {
            // The caller knows the line.
            return Err(ImportError::RecordTooLong { line: 0, limit: MAX_RECORD_BYTES });
        }
        // Moved to the front only when that is little beside what is let go.
        if self.released * 2 >= self.text.len() {
            self.text.drain(..self.released);
            self.base += self.released as u64;
            self.start -= self.released;
            self.released = 0;
        }
        if self.pending.is_empty() {
            match self.pieces.blocking_recv() {
                Some(Piece::Data(data)) => self.pending = data,
                Some(Piece::End) => {
                    self.ended = true;
                    self.decoder.decode(&[], true, &mut self.text)?;
                    return Ok(true);
                }
                Some(Piece::Broken(error)) => return Err(error),
                None => return Err(ImportError::CutOff { bytes: self.bytes_read }),
            }
        }
        let step = self.pending.split_to(self.pending.len().min(STEP_BYTES));
        self.bytes_read += step.len() as u64;
        self.decoder.decode(&step, false, &mut self.text)?;
        Ok(true)
    }
}

/// Whether `text` holds the end of a line that is not blank, outside of quotation marks.
fn holds_a_line(text: &[u8]) -> bool {
    let mut quoted = false;
    let mut blank = true;
    for byte in text {
        match byte {
            b'"' => quoted = !quoted,
            b'\n' | b'\r' if !quoted && !blank => return true,
            b'\n' | b'\r' => continue,
            _ => {}
        }
        blank = false;
    }
    false
}

//! A sorted run of phones and their lines, in memory when it is small and in a nameless file when it is not.
//!
//! Written once, in order; read in order too, a block at a time.

use std::{fs::File, io, os::unix::fs::FileExt, path::Path};

/// Phones of one block.
const BLOCK: usize = 2048;
/// A longer run lies in a file.
const IN_MEMORY: usize = 64 * 1024;

/// The run's words: the distances of all phones from their blocks' first, then the lines of all.
#[derive(Debug)]
enum Words {
    Memory(Vec<u32>),
    File(File),
}

impl Words {
    fn read(&self, at: usize, out: &mut [u32], bytes: &mut Vec<u8>) -> io::Result<()> {
        match self {
            Self::Memory(words) => out.copy_from_slice(&words[at..at + out.len()]),
            Self::File(file) => {
                bytes.resize(out.len() * 4, 0);
                file.read_exact_at(bytes, at as u64 * 4)?;
                for (word, bytes) in out.iter_mut().zip(bytes.as_chunks().0) {
                    *word = u32::from_le_bytes(*bytes);
                }
            }
        }
        Ok(())
    }

    fn write(&mut self, at: usize, words: &[u32], bytes: &mut Vec<u8>) -> io::Result<()> {
        match self {
            Self::Memory(all) => all[at..at + words.len()].copy_from_slice(words),
            Self::File(file) => {
                bytes.clear();
                bytes.extend(words.iter().flat_map(|word| word.to_le_bytes()));
                file.write_all_at(bytes, at as u64 * 4)?;
            }
        }
        Ok(())
    }
}

/// Phones that lie close enough together for 32 bits.
#[derive(Clone, Copy, Debug)]
struct Block {
    first: u64,
    start: usize,
}

/// A finished run.
#[derive(Debug)]
pub(super) struct Run {
    len: usize,
    blocks: Vec<Block>,
    words: Words,
}

impl Run {
    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// Looks phones up; they must come in order.
    pub(super) fn reader(&self) -> Reader<'_> {
        Reader { run: self, block: 0, loaded: None, at: 0, distances: Vec::new(), bytes: Vec::new() }
    }

    fn end_of(&self, block: usize) -> usize {
        self.blocks.get(block + 1).map_or(self.len, |next| next.start)
    }

    #[cfg(test)]
    pub(super) fn is_in_a_file(&self) -> bool {
        matches!(self.words, Words::File(_))
    }

    #[cfg(test)]
    pub(super) fn bytes_in_memory(&self) -> usize {
        let words = if let Words::Memory(words) = &self.words { words.capacity() * 4 } else { 0 };
        words + self.blocks.capacity() * size_of::<Block>()
    }
}

/// Looks up phones that come in order.
pub(super) struct Reader<'a> {
    run: &'a Run,
    block: usize,
    loaded: Option<usize>,
    /// Where in the loaded block the last phone was looked for.
    at: usize,
    distances: Vec<u32>,
    bytes: Vec<u8>,
}

impl Reader<'_> {
    /// The line of `phone`, when the run holds it.
    pub(super) fn line_of(&mut self, phone: u64) -> io::Result<Option<u32>> {
        let Self { run, .. } = *self;
        while run.blocks.get(self.block + 1).is_some_and(|next| next.first <= phone) {
            self.block += 1;
        }
        let block = run.blocks[self.block];
        let Some(distance) = phone.checked_sub(block.first).and_then(|distance| u32::try_from(distance).ok())
        else {
            return Ok(None);
        };
        if self.loaded != Some(self.block) {
            self.distances.resize(run.end_of(self.block) - block.start, 0);
            run.words.read(block.start, &mut self.distances, &mut self.bytes)?;
            (self.loaded, self.at) = (Some(self.block), 0);
        }
        self.at += self.distances[self.at..].partition_point(|earlier| *earlier < distance);
        if self.distances.get(self.at) != Some(&distance) {
            return Ok(None);
        }
        let mut line = [0];
        run.words.read(run.len + block.start + self.at, &mut line, &mut self.bytes)?;
        Ok(Some(line[0]))
    }
}

/// Goes through a run from its first phone to its last.
pub(super) struct Head<'a> {
    run: &'a Run,
    pub(super) phone: u64,
    pub(super) line: u32,
    block: usize,
    at: usize,
    distances: Vec<u32>,
    lines: Vec<u32>,
    bytes: Vec<u8>,
}

impl<'a> Head<'a> {
    /// At the first phone; none when there is none.
    pub(super) fn first_of(run: &'a Run) -> io::Result<Option<Self>> {
        let (distances, lines, bytes) = (Vec::new(), Vec::new(), Vec::new());
        let mut head = Self { run, phone: 0, line: 0, block: 0, at: 0, distances, lines, bytes };
        Ok(head.load()?.then_some(head))
    }

    /// Goes on. False: there is nothing more.
    pub(super) fn advance(&mut self) -> io::Result<bool> {
        self.at += 1;
        if self.at < self.distances.len() {
            self.show();
            return Ok(true);
        }
        self.block += 1;
        self.load()
    }

    fn load(&mut self) -> io::Result<bool> {
        let Some(block) = self.run.blocks.get(self.block) else { return Ok(false) };
        let length = self.run.end_of(self.block) - block.start;
        self.distances.resize(length, 0);
        self.lines.resize(length, 0);
        self.run.words.read(block.start, &mut self.distances, &mut self.bytes)?;
        self.run.words.read(self.run.len + block.start, &mut self.lines, &mut self.bytes)?;
        self.at = 0;
        self.show();
        Ok(true)
    }

    fn show(&mut self) {
        self.phone = self.run.blocks[self.block].first + u64::from(self.distances[self.at]);
        self.line = self.lines[self.at];
    }
}

/// Writes a run.
pub(super) struct RunWriter {
    run: Run,
    written: usize,
    distances: Vec<u32>,
    lines: Vec<u32>,
    bytes: Vec<u8>,
}

impl RunWriter {
    /// A run of exactly `len` phones. Its file, when it is to have one, lies in `folder`.
    pub(super) fn new(len: usize, folder: &Path) -> io::Result<Self> {
        let words = if len <= IN_MEMORY {
            Words::Memory(vec![0; len * 2])
        } else {
            Words::File(tempfile::tempfile_in(folder)?)
        };
        let blocks = Vec::with_capacity(len / BLOCK + 1);
        let (distances, lines) = (Vec::with_capacity(BLOCK), Vec::with_capacity(BLOCK));
        Ok(Self { run: Run { len, blocks, words }, written: 0, distances, lines, bytes: Vec::new() })
    }

    /// Adds a phone, which is larger than all before.
    pub(super) fn push(&mut self, phone: u64, line: u32) -> io::Result<()> {
        let mut first = self.run.blocks.last().map_or(phone, |block| block.first);
        let mut distance = u32::try_from(phone - first).ok();
        if self.distances.len() == BLOCK || distance.is_none() {
            self.flush()?;
        }
        if self.distances.is_empty() {
            self.run.blocks.push(Block { first: phone, start: self.written });
            first = phone;
            distance = Some(0);
        }
        debug_assert!(phone >= first);
        self.distances.push(distance.unwrap_or(0));
        self.lines.push(line);
        Ok(())
    }

    pub(super) fn finish(mut self) -> io::Result<Run> {
        self.flush()?;
        debug_assert_eq!(self.written, self.run.len);
        Ok(self.run)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.run.words.write(self.written, &self.distances, &mut self.bytes)?;
        self.run.words.write(self.run.len + self.written, &self.lines, &mut self.bytes)?;
        self.written += self.distances.len();
        self.distances.clear();
        self.lines.clear();
        Ok(())
    }
}

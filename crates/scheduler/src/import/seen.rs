//! Which phones the file has named already, and on which line: exact, in memory that does not grow with the file.
//!
//! Phones are judged a batch at a time: the batch is sorted, looked up in every sorted run of before, and what is new becomes
//! a run itself. Four runs of a size are merged into one. A run holds 8 bytes a phone (32 bits of the phone above its
//! block's first, 32 of the line): small ones lie in memory, 2 MB of them at most, larger ones in a file without a name,
//! which is gone with the process however that ends; of those memory holds 16 bytes per 2,048 phones, 80 kB at ten million.
//!
//! Measured against it, with random Indian mobiles: a roaring treemap took 7 bytes a phone at a million and 3.5 at ten
//! million, all of it in memory, knew no lines, and cost three times the processor's time, because each insertion missed the
//! caches. A map from phone to line takes 17 to 34.

use std::{io, path::PathBuf};

use model::Phone;

use super::run::{Head, Run, RunWriter};

/// Rows judged at once. Their places in the batch fit the bits that a phone of 15 digits leaves free.
pub(super) const BATCH: usize = 1 << PLACE_BITS;
const PLACE_BITS: u32 = 13;
/// Runs of one size that are merged.
const MERGED: usize = 4;

/// A row that names somebody again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Repeated {
    /// The row's place in its batch.
    pub(super) at: usize,
    /// The line of the row that was taken.
    pub(super) first_line: u64,
}

#[derive(Debug)]
pub(super) struct Seen {
    folder: PathBuf,
    /// With the generation of each, which says how often its phones were merged; the oldest first.
    runs: Vec<(u32, Run)>,
    /// Phones of the batch in order, each with its place: `phone << PLACE_BITS | place`.
    keys: Vec<u64>,
    firsts: Vec<(u64, u64)>,
}

impl Seen {
    /// Nothing seen yet. Files are made in `folder`.
    pub(super) fn new(folder: PathBuf) -> Self {
        Self { folder, runs: Vec::new(), keys: Vec::new(), firsts: Vec::new() }
    }

    /// Takes the next rows of the file, up to [`BATCH`] of them, each with its line; those that repeat an earlier row, in order.
    pub(super) fn take(&mut self, rows: &[(Phone, u64)]) -> io::Result<Vec<Repeated>> {
        debug_assert!(rows.len() <= BATCH);
        self.keys.clear();
        self.keys.extend((0u64..).zip(rows).map(|(at, (phone, _))| phone.digits() << PLACE_BITS | at));
        self.keys.sort_unstable();
        self.firsts.clear();
        let mut repeated = Vec::new();
        for key in &self.keys {
            let (phone, at) = (key >> PLACE_BITS, place(*key));
            match self.firsts.last() {
                Some((last, line)) if *last == phone => repeated.push(Repeated { at, first_line: *line }),
                _ => self.firsts.push((phone, rows[at].1)),
            }
        }
        let within = repeated.len();
        self.look_up(rows, &mut repeated)?;
        if repeated.len() > within {
            self.name_earlier(&mut repeated, within, rows);
        }
        repeated.sort_unstable_by_key(|repeated| repeated.at);
        self.remember()?;
        Ok(repeated)
    }

    /// Finds those of `firsts` that earlier batches held, and takes them out.
    fn look_up(&mut self, rows: &[(Phone, u64)], repeated: &mut Vec<Repeated>) -> io::Result<()> {
        let mut known: Vec<(u64, u64)> = Vec::new();
        for (_, run) in &self.runs {
            let mut reader = run.reader();
            for (phone, _) in &self.firsts {
                if let Some(line) = reader.line_of(*phone)? {
                    known.push((*phone, u64::from(line)));
                }
            }
        }
        if known.is_empty() {
            return Ok(());
        }
        known.sort_unstable();
        for (phone, first_line) in &known {
            let begins = self.keys.partition_point(|key| key >> PLACE_BITS < *phone);
            let at = place(self.keys[begins]);
            debug_assert_eq!(rows[at].0.digits(), *phone);
            repeated.push(Repeated { at, first_line: *first_line });
        }
        self.firsts.retain(|(phone, _)| known.binary_search_by_key(phone, |(known, _)| *known).is_err());
        Ok(())
    }

    /// A row that repeats one of its own batch, which repeats an earlier one, names the earliest.
    fn name_earlier(&self, repeated: &mut [Repeated], within: usize, rows: &[(Phone, u64)]) {
        let (inside, earlier) = repeated.split_at_mut(within);
        // Both are in the order of phones.
        let mut earlier = earlier.iter().peekable();
        for row in inside {
            let phone = rows[row.at].0;
            while earlier.next_if(|known| rows[known.at].0 < phone).is_some() {}
            if let Some(known) = earlier.peek().filter(|known| rows[known.at].0 == phone) {
                row.first_line = known.first_line;
            }
        }
    }

    fn remember(&mut self) -> io::Result<()> {
        if self.firsts.is_empty() {
            return Ok(());
        }
        let mut writer = RunWriter::new(self.firsts.len(), &self.folder)?;
        for (phone, line) in &self.firsts {
            // A line beyond 2³² is told as none.
            writer.push(*phone, u32::try_from(*line).unwrap_or(0))?;
        }
        self.runs.push((0, writer.finish()?));
        while let Some(first) = self.runs.len().checked_sub(MERGED)
            && self.runs[first].0 == self.runs[self.runs.len() - 1].0
        {
            let generation = self.runs[first].0 + 1;
            let merged = merge(&self.runs[first..], &self.folder)?;
            self.runs.truncate(first);
            self.runs.push((generation, merged));
        }
        Ok(())
    }
}

/// One run of all their phones, which no two of them share.
fn merge(runs: &[(u32, Run)], folder: &std::path::Path) -> io::Result<Run> {
    let mut writer = RunWriter::new(runs.iter().map(|(_, run)| run.len()).sum(), folder)?;
    let mut heads = Vec::with_capacity(runs.len());
    for (_, run) in runs {
        heads.extend(Head::first_of(run)?);
    }
    while let Some((least, head)) = heads.iter().enumerate().min_by_key(|(_, head)| head.phone) {
        writer.push(head.phone, head.line)?;
        if !heads[least].advance()? {
            heads.swap_remove(least);
        }
    }
    writer.finish()
}

fn place(key: u64) -> usize {
    usize::try_from(key & ((1 << PLACE_BITS) - 1)).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use proptest::prelude::*;

    use super::*;

    /// Judges `rows` in batches of `batch`, beside a map.
    fn agrees(rows: &[(u64, u64)], batch: usize) -> Seen {
        let mut seen = Seen::new(std::env::temp_dir());
        let mut first_lines = HashMap::new();
        for rows in rows.chunks(batch) {
            let rows: Vec<_> =
                rows.iter().map(|(digits, line)| (Phone::from_digits(*digits).unwrap(), *line)).collect();
            let mut expected = Vec::new();
            for (at, (phone, line)) in rows.iter().enumerate() {
                let first_line = *first_lines.entry(*phone).or_insert(*line);
                if first_line != *line {
                    expected.push(Repeated { at, first_line });
                }
            }
            assert_eq!(seen.take(&rows).unwrap(), expected);
        }
        seen
    }

    proptest! {
        #[test]
        fn agrees_with_a_map(
            phones in prop::collection::vec(prop_oneof![1_000_000u64..1_000_200, 1_000_000u64..1_000_000_000_000_000], 0..400),
            batch in 1usize..60,
        ) {
            let rows: Vec<_> = phones.into_iter().zip(2..).collect();
            agrees(&rows, batch);
        }
    }

    #[test]
    fn agrees_with_a_map_when_runs_lie_in_files() {
        // Neither sorted nor dense; a tenth comes again.
        let phone = |row: u64| 916_000_000_000 + row * 2_654_435_761 % 3_999_999_979;
        let rows: Vec<_> =
            (0..300_000u64).map(|row| (phone(if row % 10 == 9 { row / 3 } else { row }), row + 2)).collect();
        let seen = agrees(&rows, BATCH);
        assert!(seen.runs.iter().any(|(_, run)| run.is_in_a_file()));
        let held: usize = seen.runs.iter().map(|(_, run)| run.bytes_in_memory()).sum();
        assert!(held < 2_500_000, "{held} bytes are in memory");
    }

    #[test]
    fn a_folder_that_is_not_there_is_an_error() {
        let mut seen = Seen::new("/nowhere/at/all".into());
        let row = |at: u64| (Phone::from_digits(919_000_000_000 + at).unwrap(), at);
        let mut result = Ok(Vec::new());
        for batch in 0..40u64 {
            let rows: Vec<_> = (0..BATCH as u64).map(|at| row(batch * BATCH as u64 + at)).collect();
            result = seen.take(&rows);
            if result.is_err() {
                break;
            }
        }
        assert_eq!(result.unwrap_err().kind(), io::ErrorKind::NotFound);
    }
}

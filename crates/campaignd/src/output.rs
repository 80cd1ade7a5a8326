//! Results on standard output: a table for people, JSON or CSV for programs.

use std::io::{self, IsTerminal, Write};

use api::client::ClientError;
use bytes::Bytes;
use comfy_table::{Cell, CellAlignment, ContentArrangement, Table, presets};
use futures::{Stream, TryStreamExt};
use serde::Serialize;

use crate::cli::OutputFormat;

/// Something that can stand in a table.
pub trait Record: Serialize {
    /// The heads of the columns, as programs get them too.
    const COLUMNS: &'static [&'static str];

    /// The cells, one per column.
    fn cells(&self) -> Vec<String>;
}

/// The way to print.
#[derive(Clone, Copy, Debug)]
pub struct Output {
    format: OutputFormat,
}

impl Output {
    pub fn new(format: OutputFormat) -> Self {
        Self { format }
    }

    /// The format that was asked for.
    pub fn format(self) -> OutputFormat {
        self.format
    }

    /// Whether a program reads: then nothing but the result goes to standard output.
    pub fn is_for_programs(self) -> bool {
        self.format != OutputFormat::Table
    }

    /// Prints a list.
    pub fn list<T: Record>(self, items: &[T]) -> anyhow::Result<()> {
        self.print(items, None)
    }

    /// Prints one thing.
    pub fn one<T: Record>(self, item: &T) -> anyhow::Result<()> {
        self.print(std::slice::from_ref(item), Some(item))
    }

    fn print<T: Record>(self, items: &[T], single: Option<&T>) -> anyhow::Result<()> {
        let mut out = io::stdout().lock();
        match (self.format, single) {
            (OutputFormat::Table, None) => {
                let width =
                    if io::stdout().is_terminal() { Some(console::Term::stdout().size().1) } else { None };
                writeln!(out, "{}", table(items, width))?;
            }
            (OutputFormat::Table, Some(item)) => writeln!(out, "{}", sheet(item))?,
            (OutputFormat::Json, None) => json(&mut out, items)?,
            (OutputFormat::Json, Some(item)) => json(&mut out, item)?,
            (OutputFormat::Csv, _) => {
                let mut csv = csv::Writer::from_writer(&mut out);
                csv.write_record(T::COLUMNS)?;
                for item in items {
                    csv.write_record(item.cells())?;
                }
                csv.flush()?;
            }
        }
        out.flush()?;
        Ok(())
    }

    /// A sentence for people; programs do not get it.
    pub fn say(self, sentence: &str) -> anyhow::Result<()> {
        if !self.is_for_programs() {
            writeln!(io::stdout(), "{}", harmless(sentence))?;
        }
        Ok(())
    }

    /// A value that is no record, as JSON where a program asks for it; else the lines.
    pub fn lines_or_json(self, lines: &[String], value: &impl Serialize) -> anyhow::Result<()> {
        let mut out = io::stdout().lock();
        if self.is_for_programs() {
            json(&mut out, value)?;
        } else {
            for line in lines {
                writeln!(out, "{line}")?;
            }
        }
        Ok(())
    }
}

/// Copies a file that is streamed to standard output.
pub async fn copy(chunks: impl Stream<Item = Result<Bytes, ClientError>>) -> anyhow::Result<()> {
    let mut chunks = std::pin::pin!(chunks);
    let mut out = io::stdout();
    while let Some(chunk) = chunks.try_next().await? {
        out.write_all(&chunk)?;
    }
    Ok(out.flush()?)
}

fn json(out: &mut impl Write, value: &(impl Serialize + ?Sized)) -> anyhow::Result<()> {
    // Not straight into `out`: serde_json would hide that a pipe was closed.
    writeln!(out, "{}", serde_json::to_string_pretty(value)?)?;
    Ok(())
}

/// The items as a table, at most `width` columns wide; none: as wide as it is.
fn table<T: Record>(items: &[T], width: Option<u16>) -> String {
    if items.is_empty() {
        return "none".to_owned();
    }
    let rows: Vec<Vec<String>> = items.iter().map(Record::cells).collect();
    let mut table = Table::new();
    table.load_preset(presets::NOTHING);
    match width {
        Some(width) => table.set_content_arrangement(ContentArrangement::Dynamic).set_width(width),
        None => table.set_content_arrangement(ContentArrangement::Disabled),
    };
    table.set_header(T::COLUMNS.iter().map(|head| head.to_uppercase()));
    for row in &rows {
        table.add_row(row.iter().map(|cell| Cell::new(harmless(cell))));
    }
    for (index, column) in table.column_iter_mut().enumerate() {
        column.set_padding((0, 2));
        let is_number = |row: &Vec<String>| {
            row.get(index)
                .is_none_or(|cell| cell.is_empty() || cell.replace([',', '.'], "").parse::<u64>().is_ok())
        };
        if rows.iter().all(is_number) && index > 0 {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    let lines: Vec<String> = table.lines().map(|line| line.trim_end().to_owned()).collect();
    lines.join("\n")
}

/// One thing as lines of `name  value`.
fn sheet<T: Record>(item: &T) -> String {
    let widest = T::COLUMNS.iter().map(|name| name.len()).max().unwrap_or(0);
    let lines: Vec<String> = T::COLUMNS
        .iter()
        .zip(item.cells())
        .map(|(name, cell)| format!("{name:widest$}  {}", harmless(&cell)).trim_end().to_owned())
        .collect();
    lines.join("\n")
}

/// The text without what could move the cursor or ring the bell: names and reasons come from files and vendors.
pub fn harmless(text: &str) -> String {
    text.chars().map(|c| if c.is_control() && c != '\n' { '\u{fffd}' } else { c }).collect()
}

/// A number with its thousands apart: `1,234,567`.
pub fn thousands(number: i64) -> String {
    let digits = number.unsigned_abs().to_string();
    let mut out = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    if number < 0 { format!("-{out}") } else { out }
}

/// A time to the second, in UTC.
pub fn time(time: chrono::DateTime<chrono::Utc>) -> String {
    time.format("%Y-%m-%dT%H:%M:%SZ").to_string()
}

/// A time that may be missing.
pub fn time_or_blank(at: Option<chrono::DateTime<chrono::Utc>>) -> String {
    at.map(time).unwrap_or_default()
}

/// What `Display` says, or nothing.
pub fn or_blank(value: Option<impl ToString>) -> String {
    value.map(|value| value.to_string()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Serialize)]
    struct Fruit {
        name: &'static str,
        count: u32,
    }

    impl Record for Fruit {
        const COLUMNS: &'static [&'static str] = &["name", "count"];

        fn cells(&self) -> Vec<String> {
            vec![self.name.to_owned(), self.count.to_string()]
        }
    }

    const FRUIT: [Fruit; 2] =
        [Fruit { name: "apple", count: 7 }, Fruit { name: "fig\u{1b}[2J", count: 1_200 }];

    #[test]
    fn tables_align_numbers_and_disarm_control_characters() {
        assert_eq!(table(&FRUIT, None), "NAME     COUNT\napple        7\nfig\u{fffd}[2J   1200");
        assert_eq!(table::<Fruit>(&[], None), "none");
    }

    #[test]
    fn one_thing_is_a_sheet() {
        assert_eq!(sheet(&FRUIT[0]), "name   apple\ncount  7");
    }

    #[test]
    fn thousands_are_set_apart() {
        let cases = [(0, "0"), (999, "999"), (1_000, "1,000"), (-1_234_567, "-1,234,567")];
        for (number, expected) in cases {
            assert_eq!(thousands(number), expected);
        }
    }
}

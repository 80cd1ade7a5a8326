//! A message compiled for rendering: literal bytes and open places in order.
//!
//! Rendering is the hot path: one pass of appends into one buffer, no JSON tree, no allocation beyond that buffer.
//! A [`RowError`] never holds a cell's text.

use std::ops::Range;

use super::{
    escape::{push_digits, push_escaped, push_percent_encoded},
    node::PhoneForm,
    text::{Kind, Limits},
};
use crate::Phone;
use bytes::Bytes;

/// A vendor's JSON for one recipient with its placeholders still open.
#[derive(Clone, Debug)]
pub struct Skeleton {
    /// Every literal stretch, already escaped, one after the other.
    pub(super) literals: Vec<u8>,
    pub(super) steps: Vec<Step>,
}

#[derive(Clone, Debug)]
pub(super) enum Step {
    Literal(Range<usize>),
    Text(Box<TextSlot>),
    Phone(PhoneForm),
    FirstOf(Box<[usize]>, PhoneForm),
}

#[derive(Clone, Debug)]
pub(super) struct TextSlot {
    pub(super) parts: Box<[SlotPart]>,
    pub(super) limits: Limits,
    /// Of the literal parts, so that rendering counts the cells alone.
    pub(super) literal_chars: usize,
    pub(super) literal_is_blank: bool,
    pub(super) percent_encoded: bool,
    /// Without quotes around it.
    pub(super) bare: bool,
    pub(super) field: Box<str>,
}

#[derive(Clone, Debug)]
pub(super) enum SlotPart {
    Literal(Range<usize>),
    Cell { index: usize, name: Box<str>, default: Option<Box<str>> },
    Phone,
}

/// Why a row cannot become a message. It names the column, never what stands in it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{field}: {message}")]
pub struct RowError {
    /// `missing_value`, `too_long` or `not_a_number`.
    pub code: &'static str,
    /// The column to look at, when one is concerned.
    pub column: Option<String>,
    /// Where in the message it is used.
    pub field: String,
    /// What is wrong, and the remedy.
    pub message: String,
}

/// The code of a [`RowError`] for a blank value that the message needs.
pub const MISSING_VALUE: &str = "missing_value";
/// The code of a [`RowError`] for a text over its documented maximum.
pub const TOO_LONG: &str = "too_long";
/// The code of a [`RowError`] for a value that must be a number and is none.
pub const NOT_A_NUMBER: &str = "not_a_number";

impl Skeleton {
    /// The same without the closing brace of the outermost object, so that the caller can append members.
    #[must_use]
    pub fn without_closing_brace(mut self) -> Self {
        if let Some(Step::Literal(range)) = self.steps.last_mut()
            && self.literals.get(range.end.wrapping_sub(1)) == Some(&b'}')
        {
            range.end -= 1;
        }
        self
    }

    /// The JSON for `to`, whose row has the columns' values in their order; a value that is not there is blank.
    ///
    /// # Errors
    /// A value is missing, too long or no number.
    pub fn render(&self, to: Phone, row: &[&str]) -> Result<Bytes, RowError> {
        let mut out = Vec::with_capacity(self.room(row));
        self.run(to, row, &mut out, Err)?;
        Ok(Bytes::from(out))
    }

    /// The JSON whatever is wrong with the row, and all that is wrong: for previews, never to be sent.
    #[must_use]
    pub fn render_anyway(&self, to: Phone, row: &[&str]) -> (Bytes, Vec<RowError>) {
        let mut out = Vec::with_capacity(self.room(row));
        let mut problems = Vec::new();
        // The handler accepts every problem, so the run cannot end early.
        let _ = self.run(to, row, &mut out, |problem| {
            problems.push(problem);
            Ok(())
        });
        (Bytes::from(out), problems)
    }

    /// The placeholders that a blank cell of `row` leaves empty, as (field, column).
    #[must_use]
    pub fn left_empty(&self, row: &[&str]) -> Vec<(&str, &str)> {
        let mut found = Vec::new();
        for step in &self.steps {
            let Step::Text(slot) = step else { continue };
            for part in &slot.parts {
                if let SlotPart::Cell { index, name, default: None } = part
                    && is_blank_text(cell(row, *index))
                {
                    found.push((&*slot.field, &**name));
                }
            }
        }
        found
    }

    /// Enough for the literals, the cells and some escapes, so that the buffer seldom grows.
    fn room(&self, row: &[&str]) -> usize {
        self.literals.len() + row.iter().map(|cell| cell.len()).sum::<usize>() + 24 * self.steps.len()
    }

    fn run(
        &self,
        to: Phone,
        row: &[&str],
        out: &mut Vec<u8>,
        mut on_problem: impl FnMut(RowError) -> Result<(), RowError>,
    ) -> Result<(), RowError> {
        for step in &self.steps {
            match step {
                Step::Literal(range) => out.extend_from_slice(&self.literals[range.clone()]),
                Step::Text(slot) => {
                    let start = out.len();
                    if let Err(problem) = slot.append(&self.literals, to, row, out) {
                        on_problem(problem)?;
                        if slot.bare {
                            out.truncate(start);
                            out.extend_from_slice(b"null");
                        }
                    }
                }
                Step::Phone(form) => push_phone(out, to, *form),
                Step::FirstOf(indexes, form) => {
                    match indexes.iter().map(|index| cell(row, *index)).find(|cell| !is_blank_text(cell)) {
                        Some(value) => push_escaped(out, value.trim()),
                        None => push_phone(out, to, *form),
                    }
                }
            }
        }
        Ok(())
    }
}

fn cell<'a>(row: &[&'a str], index: usize) -> &'a str {
    row.get(index).copied().unwrap_or_default()
}

fn push_phone(out: &mut Vec<u8>, to: Phone, form: PhoneForm) {
    if form == PhoneForm::Plus {
        out.push(b'+');
    }
    push_digits(out, to.digits());
}

impl TextSlot {
    /// Appends the rendered text; the error comes after the append, so that a preview can show what it is about.
    fn append(&self, literals: &[u8], to: Phone, row: &[&str], out: &mut Vec<u8>) -> Result<(), RowError> {
        let start = out.len();
        let mut is_blank = self.literal_is_blank;
        // As many bytes as there may be characters, so that characters are counted only where it can matter.
        let mut at_most_chars = self.literal_chars;
        for part in &self.parts {
            match part {
                SlotPart::Literal(range) => out.extend_from_slice(&literals[range.clone()]),
                SlotPart::Phone => {
                    push_phone(out, to, PhoneForm::Plus);
                    at_most_chars += PHONE_MAX_CHARS;
                    is_blank = false;
                }
                SlotPart::Cell { index, default, .. } => {
                    let value = value_of(cell(row, *index), default.as_deref(), self.limits.kind);
                    at_most_chars += value.len();
                    is_blank = is_blank && is_blank_text(value);
                    self.push(out, value);
                }
            }
        }
        let may_be_long = self.limits.max_chars.is_some_and(|max| at_most_chars > max);
        let chars = if may_be_long { self.chars(to, row) } else { 0 };
        self.check(chars, is_blank, &out[start..])
    }

    /// The characters of the text before any escape or encoding.
    fn chars(&self, to: Phone, row: &[&str]) -> usize {
        let of_cells = self.parts.iter().map(|part| match part {
            SlotPart::Literal(_) => 0,
            SlotPart::Phone => to.digits().checked_ilog10().map_or(1, |log| log as usize + 1) + 1,
            SlotPart::Cell { index, default, .. } => {
                value_of(cell(row, *index), default.as_deref(), self.limits.kind).chars().count()
            }
        });
        self.literal_chars + of_cells.sum::<usize>()
    }

    fn push(&self, out: &mut Vec<u8>, value: &str) {
        if self.percent_encoded { push_percent_encoded(out, value) } else { push_escaped(out, value) }
    }

    fn check(&self, chars: usize, is_blank: bool, rendered: &[u8]) -> Result<(), RowError> {
        if self.limits.required && is_blank {
            return Err(self.problem(MISSING_VALUE, |column| {
                format!("column `{column}` is empty: fill it in, or write {{{{{column}|a default}}}}")
            }));
        }
        if let Some(max) = self.limits.max_chars.filter(|max| chars > *max) {
            return Err(self.problem(TOO_LONG, |column| {
                format!("{chars} characters with column `{column}` filled in, at most {max} are allowed")
            }));
        }
        let kind = self.limits.kind;
        if kind == Kind::Text || std::str::from_utf8(rendered).is_ok_and(|text| kind.accepts(text)) {
            return Ok(());
        }
        Err(self
            .problem(NOT_A_NUMBER, |column| format!("column `{column}` does not hold {}", kind.described())))
    }

    fn problem(&self, code: &'static str, message: impl Fn(&str) -> String) -> RowError {
        let column = self.parts.iter().find_map(|part| match part {
            SlotPart::Cell { name, .. } => Some(name.to_string()),
            SlotPart::Literal(_) | SlotPart::Phone => None,
        });
        let message = message(column.as_deref().unwrap_or("phone"));
        RowError { code, column, field: self.field.to_string(), message }
    }
}

/// The cell, else the default when the cell is blank. Around numbers the spaces go.
fn value_of<'a>(cell: &'a str, default: Option<&'a str>, kind: Kind) -> &'a str {
    match default {
        Some(default) if is_blank_text(cell) => default,
        _ if kind == Kind::Text => cell,
        _ => cell.trim(),
    }
}

/// Empty but for white space; decided by the first byte nearly always.
fn is_blank_text(text: &str) -> bool {
    text.as_bytes().first().is_none_or(|byte| !byte.is_ascii_graphic()) && text.trim_start().is_empty()
}

/// A plus and fifteen digits.
const PHONE_MAX_CHARS: usize = 16;

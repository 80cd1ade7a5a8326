//! A message compiled for rendering: literal bytes and open places in order.
//!
//! Rendering is the hot path: one pass of appends into one buffer, no JSON tree, no allocation beyond that buffer.
//! A [`RowError`] never holds a cell's text.

use std::ops::Range;

use bytes::Bytes;
use serde_json::Value;

use super::{
    columns::{Column, Columns},
    escape::{push_digits, push_escaped, push_percent_encoded},
    node::{Node, PhoneForm},
    text::{Kind, Limits, Part, Text},
};
use crate::{FieldError, Phone};

/// A vendor's JSON for one recipient with its placeholders still open.
#[derive(Clone, Debug)]
pub struct Skeleton {
    /// Every literal stretch, already escaped, one after the other.
    literals: Vec<u8>,
    steps: Vec<Step>,
}

#[derive(Clone, Debug)]
enum Step {
    Literal(Range<usize>),
    Text(Box<TextSlot>),
    Phone(PhoneForm),
    FirstOf(Box<[usize]>, PhoneForm),
}

#[derive(Clone, Debug)]
struct TextSlot {
    parts: Box<[SlotPart]>,
    limits: Limits,
    /// Of the literal parts, so that rendering counts the cells alone.
    literal_chars: usize,
    literal_is_blank: bool,
    percent_encoded: bool,
    /// Without quotes around it.
    bare: bool,
    field: Box<str>,
}

#[derive(Clone, Debug)]
enum SlotPart {
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
    /// Compiles `node`, its placeholders resolved among `columns`.
    ///
    /// # Errors
    /// Every placeholder that means no column, with its field.
    pub fn compile(node: &Node, columns: &Columns) -> Result<Self, Vec<FieldError>> {
        let mut compiler = Compiler::new(columns);
        compiler.node(node);
        compiler.finish()
    }

    /// Compiles `node` unless complaints are there already; then they are joined by those about the columns.
    ///
    /// # Errors
    /// `complaints`, and every placeholder that means no column.
    pub fn compile_unless(
        mut complaints: Vec<FieldError>,
        node: &Node,
        columns: &Columns,
    ) -> Result<Self, Vec<FieldError>> {
        let unknown = match Self::compile(node, columns) {
            Ok(skeleton) if complaints.is_empty() => return Ok(skeleton),
            Ok(_) => Vec::new(),
            Err(unknown) => unknown,
        };
        for error in unknown {
            if !complaints.contains(&error) {
                complaints.push(error);
            }
        }
        Err(complaints)
    }

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
                    && cell(row, *index).trim().is_empty()
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
                    match indexes.iter().map(|index| cell(row, *index)).find(|cell| !cell.trim().is_empty()) {
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
        let mut chars = self.literal_chars;
        let mut is_blank = self.literal_is_blank;
        for part in &self.parts {
            match part {
                SlotPart::Literal(range) => out.extend_from_slice(&literals[range.clone()]),
                SlotPart::Phone => {
                    let before = out.len();
                    push_phone(out, to, PhoneForm::Plus);
                    chars += out.len() - before;
                    is_blank = false;
                }
                SlotPart::Cell { index, default, .. } => {
                    let value = value_of(cell(row, *index), default.as_deref(), self.limits.kind);
                    if self.limits.max_chars.is_some() {
                        chars += value.chars().count();
                    }
                    is_blank = is_blank && value.trim().is_empty();
                    self.push(out, value);
                }
            }
        }
        self.check(chars, is_blank, &out[start..])
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
    let trimmed = cell.trim();
    match default {
        Some(default) if trimmed.is_empty() => default,
        _ if kind == Kind::Text => cell,
        _ => trimmed,
    }
}

/// Writes a [`Node`] down as literals and steps.
struct Compiler<'a> {
    columns: &'a Columns,
    literals: Vec<u8>,
    /// Where the literal stretch that is being written began.
    pending: usize,
    steps: Vec<Step>,
    errors: Vec<FieldError>,
}

impl<'a> Compiler<'a> {
    fn new(columns: &'a Columns) -> Self {
        Self { columns, literals: Vec::new(), pending: 0, steps: Vec::new(), errors: Vec::new() }
    }

    fn node(&mut self, node: &Node) {
        match node {
            Node::Object(members) => {
                for (at, (key, member)) in members.iter().enumerate() {
                    self.literals.push(if at == 0 { b'{' } else { b',' });
                    self.quoted(key);
                    self.literals.push(b':');
                    self.node(member);
                }
                self.literals.extend_from_slice(if members.is_empty() { b"{}" } else { b"}" });
            }
            Node::Array(items) => {
                self.literals.push(b'[');
                for (at, item) in items.iter().enumerate() {
                    if at > 0 {
                        self.literals.push(b',');
                    }
                    self.node(item);
                }
                self.literals.push(b']');
            }
            Node::Fixed(value) => self.fixed(value),
            Node::Text(text) => {
                self.literals.push(b'"');
                self.text(text, false);
                self.literals.push(b'"');
            }
            Node::Number(text) => self.text(text, true),
            Node::Phone(form) => self.quoted_step(Step::Phone(*form)),
            Node::FirstOf(names, form) => self.first_of(names, *form),
        }
    }

    fn fixed(&mut self, value: &Value) {
        // Display of a Value is compact JSON and cannot fail.
        self.literals.extend_from_slice(value.to_string().as_bytes());
    }

    fn quoted(&mut self, text: &str) {
        self.literals.push(b'"');
        push_escaped(&mut self.literals, text);
        self.literals.push(b'"');
    }

    fn quoted_step(&mut self, step: Step) {
        self.literals.push(b'"');
        self.step(step);
        self.literals.push(b'"');
    }

    fn step(&mut self, step: Step) {
        self.flush();
        self.steps.push(step);
    }

    fn flush(&mut self) {
        if self.literals.len() > self.pending {
            self.steps.push(Step::Literal(self.pending..self.literals.len()));
        }
        self.pending = self.literals.len();
    }

    fn first_of(&mut self, names: &[String], form: PhoneForm) {
        let mut indexes = Vec::new();
        for name in names {
            if let Ok(Column::Row(index)) = self.columns.resolve(name) {
                indexes.push(index);
            }
        }
        self.quoted_step(Step::FirstOf(indexes.into(), form));
    }

    fn text(&mut self, text: &Text, bare: bool) {
        if let Some(literal) = text.as_literal() {
            let literal = if bare { literal.trim() } else { literal };
            push(&mut self.literals, text, literal);
            return;
        }
        self.flush();
        let parts = text.parts().iter().filter_map(|part| self.part(part, text)).collect();
        // The literals inside the slot are its own steps to render.
        self.pending = self.literals.len();
        let literals = text.parts().iter().filter_map(|part| match part {
            Part::Literal(literal) => Some(literal),
            Part::Column { .. } => None,
        });
        self.steps.push(Step::Text(Box::new(TextSlot {
            parts,
            limits: text.limits(),
            literal_chars: literals.clone().map(|literal| literal.chars().count()).sum(),
            literal_is_blank: literals.clone().all(|literal| literal.trim().is_empty()),
            percent_encoded: text.is_percent_encoded(),
            bare,
            field: text.field().into(),
        })));
    }

    fn part(&mut self, part: &Part, text: &Text) -> Option<SlotPart> {
        match part {
            Part::Literal(literal) => {
                let start = self.literals.len();
                push(&mut self.literals, text, literal);
                Some(SlotPart::Literal(start..self.literals.len()))
            }
            Part::Column { name, default } => match self.columns.resolve(name) {
                Ok(Column::Phone) => Some(SlotPart::Phone),
                Ok(Column::Row(index)) => {
                    // The header as the audience has it, for the errors.
                    let name = self.columns.names()[index].as_str().into();
                    Some(SlotPart::Cell { index, name, default: default.as_deref().map(Into::into) })
                }
                Err(unknown) => {
                    self.errors.push(text.refuse(unknown.to_string()));
                    None
                }
            },
        }
    }

    fn finish(mut self) -> Result<Skeleton, Vec<FieldError>> {
        self.flush();
        if self.errors.is_empty() {
            Ok(Skeleton { literals: self.literals, steps: self.steps })
        } else {
            Err(self.errors)
        }
    }
}

fn push(out: &mut Vec<u8>, text: &Text, literal: &str) {
    if text.is_percent_encoded() { push_percent_encoded(out, literal) } else { push_escaped(out, literal) }
}

//! From a tree with open places to a skeleton: once per task, so clarity goes before speed here.

use serde_json::Value;

use super::{
    columns::{Column, Columns},
    escape::{push_escaped, push_percent_encoded},
    node::{Node, PhoneForm},
    skeleton::{Skeleton, SlotPart, Step, TextSlot},
    text::{Part, Text},
};
use crate::FieldError;

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

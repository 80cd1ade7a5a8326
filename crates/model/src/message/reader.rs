//! Reading a JSON object by its known members, with every complaint collected and named by its path.

use std::cell::RefCell;

use serde_json::{Map, Value};

use super::text::{Limits, Text};
use crate::FieldError;

/// Complaints as they come up.
#[derive(Debug, Default)]
pub(super) struct Errors(RefCell<Vec<FieldError>>);

impl Errors {
    pub(super) fn push(&self, field: impl Into<String>, message: impl Into<String>) {
        self.note(FieldError::new(field, message));
    }

    /// A member that is read twice is complained about once.
    fn note(&self, error: FieldError) {
        let mut errors = self.0.borrow_mut();
        if !errors.contains(&error) {
            errors.push(error);
        }
    }

    pub(super) fn extend(&self, errors: Vec<FieldError>) {
        errors.into_iter().for_each(|error| self.note(error));
    }

    pub(super) fn into_inner(self) -> Vec<FieldError> {
        self.0.into_inner()
    }

    /// Keeps what is right, notes what is wrong.
    pub(super) fn keep<T>(&self, result: Result<T, FieldError>) -> Option<T> {
        result.map_err(|error| self.note(error)).ok()
    }
}

/// An object of the message, and where it stands.
#[derive(Debug)]
pub(super) struct Reader<'a> {
    members: &'a Map<String, Value>,
    pub(super) path: String,
    pub(super) errors: &'a Errors,
    asked: RefCell<Vec<&'static str>>,
}

impl<'a> Reader<'a> {
    /// Reads `value` at `path`; complains when it is no object.
    pub(super) fn new(value: &'a Value, path: String, errors: &'a Errors) -> Option<Self> {
        let Value::Object(members) = value else {
            errors.push(path, "must be a JSON object");
            return None;
        };
        Some(Self { members, path, errors, asked: RefCell::default() })
    }

    pub(super) fn at(&self, key: &str) -> String {
        format!("{}.{key}", self.path)
    }

    pub(super) fn fail(&self, key: &str, message: impl Into<String>) {
        self.errors.push(self.at(key), message);
    }

    /// The member; null counts as absent.
    pub(super) fn get(&self, key: &'static str) -> Option<&'a Value> {
        let mut asked = self.asked.borrow_mut();
        if !asked.contains(&key) {
            asked.push(key);
        }
        self.members.get(key).filter(|value| !value.is_null())
    }

    fn required<T>(&self, key: &'static str, what: &str, found: Option<T>) -> Option<T> {
        // A member that is there and wrong was complained about already.
        if found.is_none() && self.members.get(key).is_none_or(Value::is_null) {
            self.fail(key, format!("is missing: give {what}"));
        }
        found
    }

    pub(super) fn text_opt(&self, key: &'static str, limits: Limits) -> Option<Text> {
        match self.get(key)? {
            Value::String(raw) => self.errors.keep(Text::parse(raw, self.at(key), limits)),
            Value::Number(number) => self.errors.keep(Text::parse(&number.to_string(), self.at(key), limits)),
            _ => {
                self.fail(key, "must be a string");
                None
            }
        }
    }

    pub(super) fn text(&self, key: &'static str, limits: Limits) -> Option<Text> {
        self.required(key, "a string", self.text_opt(key, limits))
    }

    /// One of `allowed`, whatever its case.
    pub(super) fn word_opt(&self, key: &'static str, allowed: &[&'static str]) -> Option<&'static str> {
        let given = self.get(key)?;
        let word = given
            .as_str()
            .and_then(|given| allowed.iter().find(|word| word.eq_ignore_ascii_case(given.trim())));
        if word.is_none() {
            let shown: String = given.to_string().chars().take(40).collect();
            self.fail(key, format!("is {shown}: give one of {}", allowed.join(", ")));
        }
        word.copied()
    }

    pub(super) fn word(&self, key: &'static str, allowed: &[&'static str]) -> Option<&'static str> {
        self.required(key, &format!("one of {}", allowed.join(", ")), self.word_opt(key, allowed))
    }

    pub(super) fn flag_opt(&self, key: &'static str) -> Option<bool> {
        let given = self.get(key)?;
        if !given.is_boolean() {
            self.fail(key, "must be true or false");
        }
        given.as_bool()
    }

    pub(super) fn object_opt(&self, key: &'static str) -> Option<Reader<'a>> {
        Reader::new(self.get(key)?, self.at(key), self.errors)
    }

    pub(super) fn object(&self, key: &'static str) -> Option<Reader<'a>> {
        self.required(key, "an object", self.object_opt(key))
    }

    /// The items of an array with their paths; none when it is absent or no array.
    pub(super) fn list_opt(&self, key: &'static str) -> Option<Vec<(String, &'a Value)>> {
        let Value::Array(items) = self.get(key)? else {
            self.fail(key, "must be an array");
            return None;
        };
        let path = self.at(key);
        Some(items.iter().enumerate().map(|(at, item)| (format!("{path}[{at}]"), item)).collect())
    }

    /// The objects of an array, each read by `read`; none when one of them is wrong, which was complained about.
    pub(super) fn objects<T>(
        &self,
        key: &'static str,
        read: impl Fn(&Reader<'a>) -> Option<T>,
    ) -> Option<Vec<T>> {
        self.required(key, "an array", self.objects_opt(key, read))
    }

    pub(super) fn objects_opt<T>(
        &self,
        key: &'static str,
        read: impl Fn(&Reader<'a>) -> Option<T>,
    ) -> Option<Vec<T>> {
        let items = self.list_opt(key)?;
        let read_one = |(path, value): (String, &'a Value)| {
            let item = Reader::new(value, path, self.errors)?;
            let read = read(&item);
            item.finish();
            read
        };
        // Every item is read, so that all complaints come at once, before one that is wrong voids the list.
        let read: Vec<Option<T>> = items.into_iter().map(read_one).collect();
        read.into_iter().collect()
    }

    /// Complains about every member that nobody asked for.
    pub(super) fn finish(&self) {
        let asked = self.asked.borrow();
        for key in self.members.keys().filter(|key| !asked.contains(&key.as_str())) {
            self.fail(key, format!("is not known here: the members are {}", asked.join(", ")));
        }
    }
}

/// Complains when `count` is outside of `allowed`.
pub(super) fn check_count(
    errors: &Errors,
    field: &str,
    count: usize,
    allowed: std::ops::RangeInclusive<usize>,
    what: &str,
) {
    if !allowed.contains(&count) {
        let (least, most) = allowed.into_inner();
        errors.push(field, format!("has {count} {what}: give {least} to {most}"));
    }
}

/// Complains about each text that another of them repeats word for word.
pub(super) fn check_unique<'a>(errors: &Errors, texts: impl Iterator<Item = &'a Text>) {
    let mut seen: Vec<&str> = Vec::new();
    for text in texts {
        if seen.contains(&text.raw()) {
            errors.push(text.field(), "is there twice: it must differ from the others of the message");
        }
        seen.push(text.raw());
    }
}

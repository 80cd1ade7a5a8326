//! The configuration as a tree of values that know where they were written, so that each complaint can say so.
//!
//! Three steps make it: the file is parsed, variables with a double underscore are laid over it, and `${VARIABLE}` and
//! `file:` are replaced. No value is ever shown from here: any of them may be a secret.

use std::{collections::BTreeMap, path::Path};

use toml::de::{DeTable, DeValue};

use model::FieldError;

/// The variables of the process.
pub type Environment = BTreeMap<String, String>;

/// What every variable that overrides a key begins with.
const PREFIX: &str = "CAMPAIGND_";
/// No secret is longer than a file of this many bytes.
const MAX_SECRET_FILE_BYTES: u64 = 64 * 1024;

/// Where a value was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// The line of the file, from 1.
    Line(usize),
    /// The environment variable of this name.
    Variable(String),
}

/// A value and where it was written.
#[derive(Clone, Debug)]
pub struct Node {
    pub origin: Origin,
    pub value: Value,
}

/// A value.
#[derive(Clone, Debug)]
pub enum Value {
    /// `is_loose`: it came from the environment or a file, where numbers are texts too.
    Text {
        text: String,
        is_loose: bool,
    },
    Integer(i64),
    Float(f64),
    Boolean(bool),
    Table(BTreeMap<String, Node>),
    Array(Vec<Node>),
    /// Dates and times: no key takes one.
    Other,
}

impl Value {
    /// What it is, for complaints.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Text { .. } => "a string",
            Self::Integer(_) => "an integer",
            Self::Float(_) => "a number with a point",
            Self::Boolean(_) => "a boolean",
            Self::Table(_) => "a table",
            Self::Array(_) => "an array",
            Self::Other => "a date or time",
        }
    }
}

/// A file that is no TOML: what the parser says and on which line.
///
/// Only the parser's own words: its usual report quotes the line, and that may hold a secret.
pub fn parse(text: &str) -> Result<Node, (Option<Origin>, String)> {
    let line_of =
        |at: usize| text.get(..at).unwrap_or(text).bytes().filter(|byte| *byte == b'\n').count() + 1;
    match DeTable::parse(text) {
        Ok(document) => Ok(Node {
            origin: Origin::Line(1),
            value: Value::Table(read_table(document.get_ref(), &line_of)),
        }),
        Err(error) => {
            let origin = error.span().map(|span| Origin::Line(line_of(span.start)));
            Err((origin, format!("is not valid TOML: {}", error.message())))
        }
    }
}

fn read_table(table: &DeTable<'_>, line_of: &impl Fn(usize) -> usize) -> BTreeMap<String, Node> {
    table
        .iter()
        .map(|(key, value)| {
            let line = line_of(key.span().start);
            (key.get_ref().to_string(), read_value(value.get_ref(), line, line_of))
        })
        .collect()
}

fn read_value(value: &DeValue<'_>, line: usize, line_of: &impl Fn(usize) -> usize) -> Node {
    let value = match value {
        DeValue::String(text) => Value::Text { text: text.to_string(), is_loose: false },
        DeValue::Integer(number) => match i64::from_str_radix(number.as_str(), number.radix()) {
            Ok(number) => Value::Integer(number),
            Err(_) => Value::Other,
        },
        DeValue::Float(number) => number.as_str().parse().map_or(Value::Other, Value::Float),
        DeValue::Boolean(value) => Value::Boolean(*value),
        DeValue::Table(table) => Value::Table(read_table(table, line_of)),
        DeValue::Array(items) => Value::Array(
            items
                .iter()
                .map(|item| read_value(item.get_ref(), line_of(item.span().start), line_of))
                .collect(),
        ),
        DeValue::Datetime(_) => Value::Other,
    };
    Node { origin: Origin::Line(line), value }
}

/// Lays the variables with a double underscore over the tree. An empty one counts as not set, as compose files write it.
pub fn lay_over(root: &mut Node, environment: &Environment) -> Vec<(Origin, FieldError)> {
    let mut overrides: Vec<(Vec<Step>, &String, &String)> = environment
        .iter()
        .filter(|(name, value)| name.starts_with(PREFIX) && name.contains("__") && !value.is_empty())
        .map(|(name, value)| (steps(&name[PREFIX.len()..]), name, value))
        .collect();
    // By path, so that index 10 comes after index 9: each may only follow the one before.
    overrides.sort();
    let mut errors = Vec::new();
    for (steps, name, value) in overrides {
        let leaf = Node {
            origin: Origin::Variable(name.clone()),
            value: Value::Text { text: value.clone(), is_loose: true },
        };
        if let Err(error) = put(root, String::new(), &steps, leaf) {
            errors.push((Origin::Variable(name.clone()), error));
        }
    }
    errors
}

/// One part of a variable's name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Step {
    Index(usize),
    Key(String),
}

fn steps(name: &str) -> Vec<Step> {
    name.split("__")
        .map(|part| part.parse().map_or_else(|_| Step::Key(part.to_lowercase()), Step::Index))
        .collect()
}

fn put(node: &mut Node, path: String, steps: &[Step], leaf: Node) -> Result<(), FieldError> {
    let Some((step, rest)) = steps.split_first() else {
        if matches!(node.value, Value::Table(_) | Value::Array(_)) {
            let message = format!("is {}: name one of its keys after another `__`", node.value.kind());
            return Err(FieldError::new(path, message));
        }
        *node = leaf;
        return Ok(());
    };
    match (&mut node.value, step) {
        (Value::Table(table), Step::Key(key)) => {
            let next = table.entry(key.clone()).or_insert_with(|| blank(rest, &leaf.origin));
            put(next, join(&path, key), rest, leaf)
        }
        (Value::Array(items), Step::Index(index)) => {
            if *index > items.len() {
                let message =
                    format!("there are {} so far, so the next index is {}", items.len(), items.len());
                return Err(FieldError::new(format!("{path}[{index}]"), message));
            }
            if *index == items.len() {
                items.push(blank(rest, &leaf.origin));
            }
            put(&mut items[*index], format!("{path}[{index}]"), rest, leaf)
        }
        (Value::Array(_), Step::Key(_)) => Err(FieldError::new(
            path,
            "is a list: put an index after its name, from 0, as in CAMPAIGND_ACCOUNTS__0__NAME",
        )),
        (Value::Table(_), Step::Index(index)) => {
            Err(FieldError::new(join(&path, &index.to_string()), "is not known"))
        }
        (other, _) => Err(FieldError::new(path, format!("is {} and has no keys of its own", other.kind()))),
    }
}

/// What stands for a part that the file does not have: a list where an index follows, a table where a key does.
fn blank(rest: &[Step], origin: &Origin) -> Node {
    let value = match rest.first() {
        Some(Step::Index(_)) => Value::Array(Vec::new()),
        Some(Step::Key(_)) => Value::Table(BTreeMap::new()),
        None => Value::Other,
    };
    Node { origin: origin.clone(), value }
}

/// `server` and `listen` to `server.listen`.
pub fn join(path: &str, key: &str) -> String {
    if path.is_empty() { key.to_owned() } else { format!("{path}.{key}") }
}

/// Replaces `${VARIABLE}` and `file:` in every text. Relative files are looked up beside the configuration file.
pub fn resolve(
    node: &mut Node,
    path: &str,
    environment: &Environment,
    folder: &Path,
    errors: &mut Vec<FieldError>,
) {
    match &mut node.value {
        Value::Table(table) => {
            for (key, child) in table.iter_mut() {
                resolve(child, &join(path, key), environment, folder, errors);
            }
        }
        Value::Array(items) => {
            for (index, child) in items.iter_mut().enumerate() {
                resolve(child, &format!("{path}[{index}]"), environment, folder, errors);
            }
        }
        Value::Text { text, is_loose } => {
            let is_from_variable = matches!(node.origin, Origin::Variable(_));
            match resolved(text, is_from_variable, environment, folder) {
                Ok(Some(new)) => (*text, *is_loose) = (new, true),
                Ok(None) => {}
                Err(message) => errors.push(FieldError::new(path, message)),
            }
        }
        _ => {}
    }
}

fn resolved(
    text: &str,
    is_from_variable: bool,
    environment: &Environment,
    folder: &Path,
) -> Result<Option<String>, String> {
    // A variable's own value is taken as it is: a generated secret may hold `${`.
    let substituted = if is_from_variable { None } else { substituted(text, environment)? };
    let current = substituted.as_deref().unwrap_or(text);
    match current.strip_prefix("file:") {
        Some(file) => read_secret_file(&folder.join(file)).map(Some),
        None => Ok(substituted),
    }
}

/// The text with its `${VARIABLE}`s filled in; none when it has none. `$${` stands for a plain `${`.
fn substituted(text: &str, environment: &Environment) -> Result<Option<String>, String> {
    if !text.contains("${") {
        return Ok(None);
    }
    let mut out = String::new();
    let mut rest = text;
    while let Some(at) = rest.find("${") {
        if rest[..at].ends_with('$') {
            out.push_str(&rest[..at - 1]);
            out.push_str("${");
            rest = &rest[at + 2..];
            continue;
        }
        out.push_str(&rest[..at]);
        let Some((name, after)) = rest[at + 2..].split_once('}') else {
            return Err(
                "holds `${` without a closing `}`; write `$${` for the two characters themselves".to_owned()
            );
        };
        if name.is_empty() || !name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_') {
            return Err(
                "holds `${…}` whose inside is no variable's name (letters, digits and `_`)".to_owned()
            );
        }
        let value = environment.get(name).filter(|value| !value.is_empty());
        let value = value.ok_or_else(|| {
            format!(
                "names the environment variable {name}, which is not set or empty: set it, then start again"
            )
        })?;
        out.push_str(value);
        rest = after;
    }
    out.push_str(rest);
    Ok(Some(out))
}

/// The file's text without one newline at its end, which editors and `echo` put there.
fn read_secret_file(file: &Path) -> Result<String, String> {
    let refused =
        |reason: String| format!("names the file {}, which cannot be read: {reason}", file.display());
    let metadata = std::fs::metadata(file).map_err(|error| refused(error.to_string()))?;
    if !metadata.is_file() {
        return Err(refused("it is not a plain file".to_owned()));
    }
    if metadata.len() > MAX_SECRET_FILE_BYTES {
        return Err(refused(format!("it is longer than {MAX_SECRET_FILE_BYTES} bytes")));
    }
    let text = std::fs::read_to_string(file).map_err(|error| refused(error.to_string()))?;
    let text = text.strip_suffix('\n').unwrap_or(&text);
    let text = text.strip_suffix('\r').unwrap_or(text);
    if text.is_empty() {
        return Err(refused("it is empty".to_owned()));
    }
    Ok(text.to_owned())
}

impl Node {
    /// Where `path` was written, or else the nearest thing around it.
    pub fn origin_of(&self, path: &str) -> Option<Origin> {
        let mut node = self;
        let mut origin = None;
        let parts = path.split(['.', '[']).map(|part| part.trim_end_matches(']'));
        for part in parts.filter(|part| !part.is_empty()) {
            let next = match &node.value {
                Value::Table(table) => table.get(part),
                Value::Array(items) => part.parse::<usize>().ok().and_then(|index| items.get(index)),
                _ => None,
            };
            let Some(next) = next else { break };
            origin = Some(next.origin.clone());
            node = next;
        }
        origin
    }
}

//! One table of the configuration, read key by key; what is left over at the end is unknown.

use std::collections::BTreeMap;

use model::FieldError;

use super::tree::{Node, Value, join};

/// A table being read.
#[derive(Debug)]
pub struct Section<'a> {
    path: String,
    table: Option<&'a BTreeMap<String, Node>>,
    known: Vec<&'static str>,
    /// Keys that are no fixed words have been read as well.
    takes_any: bool,
    errors: Vec<FieldError>,
}

impl<'a> Section<'a> {
    /// The table at `path`; a missing one is empty.
    pub fn new(path: &str, node: Option<&'a Node>) -> Self {
        let mut section = Self {
            path: path.to_owned(),
            table: None,
            known: Vec::new(),
            takes_any: false,
            errors: Vec::new(),
        };
        match node.map(|node| &node.value) {
            None => {}
            Some(Value::Table(table)) => section.table = Some(table),
            Some(other) => {
                let message = format!("must be a table, as in [{path}], but is {}", other.kind());
                section.errors.push(FieldError::new(path, message));
            }
        }
        section
    }

    /// The path of one of its keys.
    pub fn path_of(&self, key: &str) -> String {
        join(&self.path, key)
    }

    /// Notes a complaint about one of its keys.
    pub fn complain(&mut self, key: &str, message: impl Into<String>) {
        self.errors.push(FieldError::new(self.path_of(key), message));
    }

    /// Notes a complaint about one of its keys, unless there is one about it already.
    pub fn complain_once(&mut self, key: &str, message: impl Into<String>) {
        let path = self.path_of(key);
        if !self.errors.iter().any(|error| error.field == path) {
            self.complain(key, message);
        }
    }

    /// How many complaints there are so far.
    pub fn error_count(&self) -> usize {
        self.errors.len()
    }

    /// The table under `key`, to be read as a section of its own.
    pub fn section(&mut self, key: &'static str) -> Section<'a> {
        let node = self.node(key);
        Section::new(&self.path_of(key), node)
    }

    /// The tables of the list under `key`.
    pub fn sections(&mut self, key: &'static str) -> Vec<Section<'a>> {
        let path = self.path_of(key);
        match self.node(key).map(|node| &node.value) {
            None => Vec::new(),
            Some(Value::Array(items)) => items
                .iter()
                .enumerate()
                .map(|(index, item)| Section::new(&format!("{path}[{index}]"), Some(item)))
                .collect(),
            Some(other) => {
                let message = format!(
                    "must be a list of tables: write [[{}]], two brackets; it is {}",
                    plain(&path),
                    other.kind()
                );
                self.complain(key, message);
                Vec::new()
            }
        }
    }

    /// A text.
    pub fn text(&mut self, key: &'static str) -> Option<String> {
        match &self.node(key)?.value {
            Value::Text { text, .. } => Some(text.clone()),
            other => {
                let remedy = match other {
                    Value::Integer(_) | Value::Float(_) | Value::Boolean(_) => ": put it in quotes",
                    _ => "",
                };
                self.complain(key, format!("must be a string, but is {}{remedy}", other.kind()));
                None
            }
        }
    }

    /// A list of texts.
    pub fn texts(&mut self, key: &'static str) -> Option<Vec<String>> {
        const WANTED: &str = "must be a list of strings, such as [\"STOP\"]";
        let Value::Array(items) = &self.node(key)?.value else {
            self.complain(key, WANTED);
            return None;
        };
        let text = |item: &Node| match &item.value {
            Value::Text { text, .. } => Some(text.clone()),
            _ => None,
        };
        let texts: Option<Vec<String>> = items.iter().map(text).collect();
        if texts.is_none() {
            self.complain(key, WANTED);
        }
        texts
    }

    /// A whole number of at least `least`.
    pub fn whole(&mut self, key: &'static str, least: u64) -> Option<u64> {
        let wanted = format!("must be a whole number of at least {least}");
        let number = match &self.node(key)?.value {
            Value::Integer(number) => u64::try_from(*number).ok(),
            Value::Text { text, is_loose: true } => text.trim().parse().ok(),
            Value::Text { .. } => {
                self.complain(key, format!("{wanted}, but is a string: remove the quotes"));
                return None;
            }
            other => {
                self.complain(key, format!("{wanted}, but is {}", other.kind()));
                return None;
            }
        };
        if number.is_none_or(|number| number < least) {
            self.complain(key, wanted);
            return None;
        }
        number
    }

    /// A whole number that fits 32 bits.
    pub fn whole_u32(&mut self, key: &'static str, least: u64) -> Option<u32> {
        let number = self.whole(key, least)?;
        let fits = u32::try_from(number).ok();
        if fits.is_none() {
            self.complain(key, format!("must be at most {}", u32::MAX));
        }
        fits
    }

    /// Yes or no.
    pub fn flag(&mut self, key: &'static str) -> Option<bool> {
        let flag = match &self.node(key)?.value {
            Value::Boolean(flag) => Some(*flag),
            Value::Text { text, is_loose: true } => text.trim().parse().ok(),
            _ => None,
        };
        if flag.is_none() {
            self.complain(key, "must be true or false, without quotes");
        }
        flag
    }

    /// Whether it stands in the configuration.
    pub fn is_given(&self) -> bool {
        self.table.is_some()
    }

    /// Every key that nobody has asked for yet, with its number: for a table whose keys are no fixed words.
    pub fn other_numbers(&mut self) -> Vec<(String, f64)> {
        self.takes_any = true;
        let others =
            self.table.into_iter().flatten().filter(|(key, _)| !self.known.iter().any(|known| known == key));
        let others: Vec<(&String, &Node)> = others.collect();
        others
            .into_iter()
            .filter_map(|(key, node)| Some((key.clone(), self.read_number(key, node)?)))
            .collect()
    }

    /// A number.
    pub fn number(&mut self, key: &'static str) -> Option<f64> {
        let node = self.node(key)?;
        self.read_number(key, node)
    }

    fn read_number(&mut self, key: &str, node: &Node) -> Option<f64> {
        let number = match &node.value {
            #[expect(
                clippy::cast_precision_loss,
                reason = "a rate of 2^53 a second is none that anybody writes"
            )]
            Value::Integer(number) => Some(*number as f64),
            Value::Float(number) => Some(*number),
            Value::Text { text, is_loose: true } => text.trim().parse().ok(),
            Value::Text { .. } => {
                self.complain(key, "must be a number, but is a string: remove the quotes");
                return None;
            }
            other => {
                self.complain(key, format!("must be a number, but is {}", other.kind()));
                return None;
            }
        };
        if number.is_none() {
            self.complain(key, "must be a number");
        }
        number
    }

    /// Hands over the complaints, with one for each key that nobody asked for.
    pub fn finish(mut self, errors: &mut Vec<FieldError>) {
        for key in self.table.into_iter().flat_map(BTreeMap::keys) {
            if self.takes_any || self.known.iter().any(|known| known == key) {
                continue;
            }
            let meant = nearest(key, &self.known);
            let remedy = match meant {
                Some(meant) => format!("did you mean `{meant}`?"),
                None => format!("known here: {}", self.known.join(", ")),
            };
            self.errors.push(FieldError::new(join(&self.path, key), format!("is not a known key; {remedy}")));
        }
        errors.append(&mut self.errors);
    }

    fn node(&mut self, key: &'static str) -> Option<&'a Node> {
        self.known.push(key);
        self.table?.get(key)
    }
}

/// `accounts[0].senders` as a header writes it: `accounts.senders`.
fn plain(path: &str) -> String {
    let mut is_inside = false;
    path.chars()
        .filter(|c| {
            is_inside = (is_inside || *c == '[') && *c != ']';
            !is_inside && *c != ']'
        })
        .collect()
}

/// The known key that `key` is most likely a slip of, when it is near enough.
fn nearest(key: &str, known: &[&'static str]) -> Option<&'static str> {
    known
        .iter()
        .map(|candidate| (distance(key, candidate), *candidate))
        .filter(|(distance, candidate)| *distance <= (candidate.len() / 2).min(3))
        .min()
        .map(|(_, candidate)| candidate)
}

/// How many letters must be added, removed or changed to make one of the other.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.chars().enumerate() {
        let mut corner = i;
        row[0] = i + 1;
        for (j, y) in b.iter().enumerate() {
            let changed = corner + usize::from(x != *y);
            corner = row[j + 1];
            row[j + 1] = changed.min(corner + 1).min(row[j] + 1);
        }
    }
    row[b.len()]
}

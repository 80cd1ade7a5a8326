//! The columns of an audience, and which of them a placeholder means.

/// The variables of an audience: the columns beside the phone column, in the order of the rows' values.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Columns {
    names: Vec<String>,
    phone: Option<String>,
}

/// Where a placeholder takes its value from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Column {
    /// The row's value with this index.
    Row(usize),
    /// The recipient's own number, with its plus.
    Phone,
}

/// Why a placeholder means no column.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum UnknownColumn {
    /// No column is called so.
    #[error("the audience has no column `{name}`{hint}")]
    Absent {
        /// As the placeholder has it.
        name: String,
        /// The near names, or all, with their introduction.
        hint: String,
    },
    /// Several columns differ from it only by case.
    #[error(
        "`{name}` may mean any of the columns {candidates}: write one of them exactly, or make the headers differ"
    )]
    Ambiguous {
        /// As the placeholder has it.
        name: String,
        /// The columns that it may mean.
        candidates: String,
    },
}

/// How many names an error lists.
const NAMES_LISTED: usize = 8;

impl Columns {
    /// The columns beside the phone column.
    #[must_use]
    pub fn new(names: Vec<String>) -> Self {
        Self { names, phone: None }
    }

    /// The same, with the header of the phone column, which stands for the number in E.164 form.
    #[must_use]
    pub fn with_phone_column(mut self, name: impl Into<String>) -> Self {
        self.phone = Some(name.into());
        self
    }

    /// The names beside the phone column.
    #[must_use]
    pub fn names(&self) -> &[String] {
        &self.names
    }

    /// The column that `name` means: the exact header, else the only one that matches without case.
    ///
    /// # Errors
    /// No column, or several, are called so.
    pub fn resolve(&self, name: &str) -> Result<Column, UnknownColumn> {
        let exact = self.matching(|header| header == name);
        let lower = name.to_lowercase();
        let found =
            if exact.is_empty() { self.matching(|header| header.to_lowercase() == lower) } else { exact };
        match found.as_slice() {
            [(_, column)] => Ok(*column),
            [] => Err(UnknownColumn::Absent { name: name.to_owned(), hint: self.hint(name) }),
            several => Err(UnknownColumn::Ambiguous {
                name: name.to_owned(),
                candidates: list(several.iter().map(|(header, _)| *header)),
            }),
        }
    }

    fn matching(&self, fits: impl Fn(&str) -> bool) -> Vec<(&str, Column)> {
        let rows = self.names.iter().enumerate().map(|(at, header)| (header.as_str(), Column::Row(at)));
        let phone = self.phone.iter().map(|header| (header.as_str(), Column::Phone));
        rows.chain(phone).filter(|(header, _)| fits(header)).collect()
    }

    fn hint(&self, name: &str) -> String {
        let near = self.matching(|header| is_near(header, name));
        let all = self.matching(|_| true);
        if !near.is_empty() {
            format!(": did you mean {}?", list(near.iter().map(|(header, _)| *header)))
        } else if all.is_empty() {
            ": it has no columns beside the phone number".to_owned()
        } else {
            format!(": it has {}", list(all.iter().map(|(header, _)| *header)))
        }
    }
}

fn list<'a>(names: impl ExactSizeIterator<Item = &'a str>) -> String {
    let more = names.len().saturating_sub(NAMES_LISTED);
    let mut text = names.take(NAMES_LISTED).map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ");
    if more > 0 {
        text.push_str(&format!(" and {more} more"));
    }
    text
}

/// Alike but for case, spaces, `_` and `-`; one within the other; or two edits apart.
fn is_near(header: &str, name: &str) -> bool {
    let plain = |text: &str| -> Vec<char> {
        text.to_lowercase().chars().filter(|c| !matches!(c, ' ' | '_' | '-')).collect()
    };
    let (header, name) = (plain(header), plain(name));
    let (short, long) = if header.len() < name.len() { (&header, &name) } else { (&name, &header) };
    let within = short.len() >= 3 && long.windows(short.len()).any(|window| window == short.as_slice());
    within || edits(&header, &name) <= short.len().div_ceil(3).min(2)
}

fn edits(a: &[char], b: &[char]) -> usize {
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, left) in a.iter().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, right) in b.iter().enumerate() {
            let replaced = diagonal + usize::from(left != right);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn columns(names: &[&str]) -> Columns {
        Columns::new(names.iter().map(|name| (*name).to_owned()).collect())
    }

    #[test]
    fn the_exact_header_wins_then_the_only_one_without_case() {
        let columns = columns(&["Name", "name", "City", "ÖRT"]).with_phone_column("Mobile");
        assert_eq!(columns.resolve("name"), Ok(Column::Row(1)));
        assert_eq!(columns.resolve("Name"), Ok(Column::Row(0)));
        assert_eq!(columns.resolve("CITY"), Ok(Column::Row(2)));
        assert_eq!(columns.resolve("ört"), Ok(Column::Row(3)));
        assert_eq!(columns.resolve("mobile"), Ok(Column::Phone));
        let error = columns.resolve("NAME").unwrap_err().to_string();
        assert!(error.contains("`Name`, `name`"), "{error}");
    }

    #[test]
    fn an_unknown_name_lists_near_ones_or_all() {
        let some = columns(&["first_name", "city", "order id"]).with_phone_column("phone");
        assert!(some.resolve("First Name").unwrap_err().to_string().ends_with("did you mean `first_name`?"));
        assert!(some.resolve("ctiy").unwrap_err().to_string().ends_with("did you mean `city`?"));
        assert!(some.resolve("orderid").unwrap_err().to_string().contains("`order id`"));
        let all = some.resolve("xyzzy").unwrap_err().to_string();
        assert!(
            all.contains("no column `xyzzy`") && all.contains("`city`") && all.contains("`phone`"),
            "{all}"
        );
        assert!(columns(&[]).resolve("a").unwrap_err().to_string().contains("no columns beside"));
        let many: Vec<String> = (0..20).map(|n| format!("column {n}")).collect();
        assert!(Columns::new(many).resolve("q").unwrap_err().to_string().contains("and 12 more"));
    }
}

//! One recipient's message as a person may look at it before anything is sent.

use serde_json::Value;

use super::{Columns, Message, RowError, Skeleton};
use crate::{FieldError, Phone};

/// A rendered message, and what is to be said about it.
#[derive(Clone, Debug, PartialEq)]
pub struct Preview {
    /// The canonical message with its placeholders filled.
    pub message: Value,
    /// What the author should look at; each would not stop the message.
    pub warnings: Vec<String>,
    /// Why this row would fail, when it would.
    pub errors: Vec<RowError>,
}

impl Preview {
    /// The warnings and errors in one list.
    #[must_use]
    pub fn all_warnings(&self) -> Vec<String> {
        let errors = self.errors.iter().map(|error| format!("would not be sent: {error}"));
        errors.chain(self.warnings.iter().cloned()).collect()
    }
}

/// Renders `message` for one row of the audience, also when it could not be sent.
///
/// # Errors
/// A placeholder means no column.
pub fn render_canonical(
    message: &Message,
    columns: &Columns,
    to: Phone,
    row: &[&str],
) -> Result<Preview, Vec<FieldError>> {
    let skeleton = Skeleton::compile(&message.node(), columns)?;
    let (bytes, errors) = skeleton.render_anyway(to, row);
    let message = serde_json::from_slice(&bytes)
        .map_err(|error| vec![FieldError::new("message", format!("rendered to no JSON: {error}"))])?;
    let already_said = |field: &str| errors.iter().any(|error| error.field == field);
    let warnings = skeleton
        .left_empty(row)
        .into_iter()
        .filter(|(field, _)| !already_said(field))
        .map(|(field, column)| format!("{field}: column `{column}` is empty, so nothing stands in its place"))
        .collect();
    Ok(Preview { message, warnings, errors })
}

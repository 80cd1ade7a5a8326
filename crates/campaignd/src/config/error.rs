//! What is wrong with a configuration: every complaint with its place, never with a value that may be a secret.

use std::{fmt, path::PathBuf};

use super::tree::Origin;

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Complaint {
    /// Where it was written; none: nowhere, as with a key that is missing from an empty file.
    pub origin: Option<Origin>,
    /// The key: `accounts[1].senders[0].from`; empty when the file as a whole is meant.
    pub key: String,
    /// What is wrong, and the remedy.
    pub message: String,
}

/// A configuration that cannot be used, with all that is wrong with it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigError {
    /// The file that was read.
    pub file: Option<PathBuf>,
    /// At least one.
    pub complaints: Vec<Complaint>,
}

impl ConfigError {
    /// One complaint about the file as a whole.
    pub fn about_file(file: PathBuf, message: impl Into<String>) -> Self {
        let complaint = Complaint { origin: None, key: String::new(), message: message.into() };
        Self { file: Some(file), complaints: vec![complaint] }
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, complaint) in self.complaints.iter().enumerate() {
            if i > 0 {
                f.write_str("\n")?;
            }
            match (&complaint.origin, &self.file) {
                (Some(Origin::Variable(name)), _) => write!(f, "environment variable {name}: ")?,
                (Some(Origin::Line(line)), Some(file)) => write!(f, "{}:{line}: ", file.display())?,
                (Some(Origin::Line(line)), None) => write!(f, "line {line}: ")?,
                (None, Some(file)) => write!(f, "{}: ", file.display())?,
                (None, None) => f.write_str("configuration: ")?,
            }
            if !complaint.key.is_empty() {
                write!(f, "{}: ", complaint.key)?;
            }
            f.write_str(&complaint.message)?;
        }
        Ok(())
    }
}

impl std::error::Error for ConfigError {}

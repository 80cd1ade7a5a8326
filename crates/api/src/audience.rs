//! Audiences: imported CSV files.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// An imported CSV file: recipients, and the columns that messages may use.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Audience {
    /// The audience's id.
    pub id: i64,
    /// Its name.
    pub name: String,
    /// How far the import has come.
    pub status: AudienceStatus,
    /// The file's columns other than the phone's, as its header writes them.
    pub columns: Vec<String>,
    /// What became of the file's rows.
    pub rows: Rows,
    /// Bytes of the file read so far.
    pub bytes_read: i64,
    /// Bytes that the file has, where the upload said so.
    pub bytes_total: Option<i64>,
    /// Why the import failed.
    pub error: Option<String>,
    /// When the import began.
    pub created_at: DateTime<Utc>,
}

/// How far an import has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum AudienceStatus {
    /// Rows are being read.
    Importing,
    /// Campaigns may use it.
    Ready,
    /// `error` says why.
    Failed,
}

impl AudienceStatus {
    /// The word of the interface.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Importing => "importing",
            Self::Ready => "ready",
            Self::Failed => "failed",
        }
    }
}

/// What became of a file's rows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Rows {
    /// Data rows.
    pub read: i64,
    /// Recipients.
    pub accepted: i64,
    /// Rows that name nobody who can be reached; `rejects.csv` lists them.
    pub rejected: i64,
    /// Rows that name somebody again; `rejects.csv` lists them too.
    pub duplicate: i64,
}

//! Suppressions: numbers that get nothing.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// A number that gets nothing, from any account.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Suppression {
    /// The number, with its plus.
    pub phone: String,
    /// Why.
    pub reason: SuppressionReason,
    /// Who listed it.
    pub source: String,
    /// When.
    pub created_at: DateTime<Utc>,
    /// When it ends by itself; null: never.
    pub expires_at: Option<DateTime<Utc>>,
}

/// Why a number is listed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum SuppressionReason {
    /// The person asked for it.
    OptOut,
    /// It cannot be reached.
    Invalid,
    /// An operator listed it.
    Manual,
    /// The person complained.
    Complaint,
}

impl SuppressionReason {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::OptOut, Self::Invalid, Self::Manual, Self::Complaint];

    /// The word of the interface.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::OptOut => "opt_out",
            Self::Invalid => "invalid",
            Self::Manual => "manual",
            Self::Complaint => "complaint",
        }
    }
}

/// A number to list.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewSuppression {
    /// The number in international form.
    pub phone: String,
    /// Why; `manual` unless told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<SuppressionReason>,
    /// Who lists it; `api` unless told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
    /// When it ends by itself; none: never.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<DateTime<Utc>>,
}

/// What came of a file of numbers.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct SuppressionsImported {
    /// Data rows.
    pub read: i64,
    /// Numbers that are listed now and were not before.
    pub added: i64,
    /// Numbers that were listed already, and repetitions.
    pub known: i64,
    /// Rows that hold no number.
    pub rejected: i64,
    /// The first of these.
    pub rejects: Vec<RejectedLine>,
}

/// A row that holds no number.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct RejectedLine {
    /// Where it starts in the file, from 1.
    pub line: i64,
    /// What is wrong with it.
    pub reason: String,
}

//! People: what names one of them is erased on request.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// What was erased, by count.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct PersonErased {
    /// Rows of audiences: the number and all variables. They keep their place, and nobody is sent to there.
    pub recipients: i64,
    /// Messages that lost the vendor's id and kept their state, so that counts hold.
    pub messages: i64,
    /// What the person wrote and pressed.
    pub inbound: i64,
    /// Raw callbacks that named the number.
    pub callbacks: i64,
    /// Rows of imported files that were not taken.
    pub rejects: i64,
    /// The number stays on the suppression list, because that keeps the promise not to write again.
    pub suppression_kept: bool,
    /// Otherwise the number is withheld from all senders until then, and forgotten after.
    pub withheld_until: Option<DateTime<Utc>>,
}

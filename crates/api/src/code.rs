//! Codes: what vendors say, and what is done about it.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// One code of a vendor.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Code {
    /// The vendor, as the configuration writes it.
    pub vendor: String,
    /// Where the code appears: in the answer's status, in the answer, in a callback.
    pub layer: String,
    /// The code.
    pub code: String,
    /// Its name, where it has one.
    pub name: String,
    /// What it means.
    pub meaning: String,
    /// What is done about it.
    pub disposition: String,
    /// What a person should do.
    pub advice: String,
}

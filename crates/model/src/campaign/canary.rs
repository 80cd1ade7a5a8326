//! A trial with some of the recipients before the others.

use serde::{Deserialize, Serialize};

use crate::FieldError;

/// A trial with the first recipients.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Canary {
    /// How many.
    pub recipients: i32,
    /// How long their outcomes are waited for.
    pub wait_seconds: i32,
    /// The share of failures above which the task halts.
    pub max_failure_rate: f64,
}

impl Canary {
    /// Complaints about its fields.
    pub fn check(&self, errors: &mut Vec<FieldError>) {
        if self.recipients < 1 {
            errors.push(FieldError::new("canary.recipients", "must be 1 or more"));
        }
        if !(0..=86_400).contains(&self.wait_seconds) {
            errors.push(FieldError::new("canary.wait_seconds", "must be 0 to 86400"));
        }
        if !(0.0..=1.0).contains(&self.max_failure_rate) {
            errors.push(FieldError::new("canary.max_failure_rate", "must be 0 to 1, such as 0.2"));
        }
    }
}

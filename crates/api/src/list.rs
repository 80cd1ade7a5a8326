//! A page of a list.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// A page of a list, and where the next one begins.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct List<T> {
    /// The page's items.
    pub items: Vec<T>,
    /// Hand it in as `after` for the next page; null: this is the last one.
    pub next: Option<String>,
}

impl<T> List<T> {
    /// All there is, in one page.
    pub fn whole(items: Vec<T>) -> Self {
        Self { items, next: None }
    }
}

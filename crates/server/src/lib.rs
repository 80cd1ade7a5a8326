//! The HTTP interface: `/api/v1` with one file per noun, webhooks, health, metrics and OpenAPI.
//!
//! A handler extracts, checks the role, calls below and answers; rules stand in `model`, rows in `store`. No handler
//! changes a message: a callback is stored durably and applied elsewhere.

mod api;
mod auth;
mod convert;
mod daily;
mod definition;
mod estimate;
mod extract;
mod health;
mod idempotency;
mod metrics;
mod openapi;
mod problem;
mod router;
mod state;
mod template_use;
mod webhooks;

pub use auth::{AdminToken, Role};
pub use metrics::escape_label;
pub use router::{router, serve};
pub use state::{AccountLive, AppState, InboxAppend, Live, NotStored, Parts, TaskLive};

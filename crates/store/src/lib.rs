//! PostgreSQL: every SQL statement of the program, one file per noun of the interface.
//!
//! Functions take a connection, so that callers choose the transaction; each is named for its caller's purpose. There is
//! no trait over the store, because there is one database.

pub mod audiences;
pub mod audit;
pub mod audits;
pub mod campaigns;
pub mod canaries;
pub mod caps;
pub mod confirmations;
pub mod daily;
pub mod database;
pub mod decisions;
pub mod early;
pub mod effects;
pub mod error;
pub mod event_batches;
pub mod event_webhooks;
pub mod events;
pub mod firings;
pub mod groups;
pub mod guards;
pub mod halts;
pub mod idempotency;
pub mod ids;
pub mod inbound;
pub mod inbox;
pub mod intents;
pub mod leases;
pub mod maintenance;
pub mod messages;
pub mod outcomes;
pub mod people;
pub mod private_cluster;
pub mod progress;
pub mod recipients;
pub mod rejects;
pub mod replies;
pub mod reply_windows;
pub mod reports;
pub mod retention;
pub mod runs;
pub mod sender_limits;
pub mod settling;
mod sql;
pub mod standings;
pub mod stops;
pub mod suppressions;
pub mod tasks;
pub mod templates;
#[doc(hidden)]
pub mod testing;
pub mod timelines;
pub mod trials;
pub mod troubles;
pub mod unknown;
pub mod vendor_events;
mod windows;

pub use database::{Database, Kept};
pub use error::{Error, Result};
pub use sql::{begin_hot_in, begin_in, begin_patient_in};
pub use sqlx::postgres::PgConnectOptions as ConnectOptions;
pub use sqlx::{PgConnection, PgPool, PgTransaction, Postgres, pool::PoolConnection};

//! CSV audiences into PostgreSQL, and the system jobs that go by the clock.

pub mod import;
pub mod jobs;
mod nightly_audit;
pub mod upkeep;

//! CSV audiences into PostgreSQL, and the system jobs that go by the clock.

pub mod import;
pub mod jobs;
pub mod upkeep;

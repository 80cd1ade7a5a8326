//! suppressions: being written.

//! audiences: being written.

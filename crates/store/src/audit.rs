//! audit: being written.

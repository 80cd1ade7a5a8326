//! client: being written.

//! halts: being written.

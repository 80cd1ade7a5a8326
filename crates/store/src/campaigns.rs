//! campaigns: being written.

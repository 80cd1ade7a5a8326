//! progress: being written.

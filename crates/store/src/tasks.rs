//! tasks: being written.

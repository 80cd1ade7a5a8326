//! outcomes: being written.

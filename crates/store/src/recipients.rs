//! recipients: being written.

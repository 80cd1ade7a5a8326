//! reports: being written.

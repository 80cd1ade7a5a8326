//! maintenance: being written.

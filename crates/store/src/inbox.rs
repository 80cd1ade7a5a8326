//! inbox: being written.

//! The canonical message.

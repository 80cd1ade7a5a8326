//! intents: being written.

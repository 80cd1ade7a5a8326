//! idempotency: being written.

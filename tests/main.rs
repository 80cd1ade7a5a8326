//! What campaignd promises: one file per promise, each on the real daemon, a real PostgreSQL and stand-ins for the vendors.
//!
//! A file never reaches into the program: it configures, starts, calls HTTP, waits for a condition, and at the end lets the
//! audit and the vendors' ledger say whether everybody was sent to once.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test that cannot go on should panic and say why"
)]

mod each_vendor_sends_each_recipient_one_message;
mod harness;

//! Exotel's WhatsApp messages API (exotel.txt): up to 100 messages a call, each with a code of its own in the answer.

mod callback;
mod client;
mod codes;
mod translate;
mod wire;

pub use callback::{read_callback, status_by_name};
pub use client::{Client, judge_answer};
pub(crate) use codes::{CODES, INVALID_NUMBERS};
pub use translate::translate;
pub use wire::request_body;

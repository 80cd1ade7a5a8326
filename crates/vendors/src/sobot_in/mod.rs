//! The Sobot team inbox at api.sobot.in (sobot-in.txt): one message a call, two key headers. Another company than
//! the open platform's, with another API and no records of what was sent.

mod callback;
mod client;
mod codes;
mod templates;
mod translate;
mod wire;

pub use callback::read_callback;
pub use client::{Client, judge_answer};
pub(crate) use codes::{CODES, INVALID_NUMBERS};
pub use translate::translate;

//! The Sobot open platform at sg.sobot.io (sobot-io.txt): one message a call, and one token that all calls share.

mod callback;
mod client;
mod codes;
mod templates;
mod token;
mod translate;
mod wire;

pub use callback::read_callback;
pub use client::{Client, judge_answer};
pub(crate) use codes::{CODES, INVALID_NUMBERS};
pub use translate::translate;
pub use wire::Envelope;

//! The three vendors, one folder each, behind one face.
//!
//! Nothing leaves this crate in a vendor's vocabulary: a canonical message and recipients go in, verdicts and news
//! come out. It holds no state that outlives the process and never retries a send by itself.

pub mod account;
pub mod codes;
pub mod secret;

mod exotel;
mod http;
mod sobot_in;
mod sobot_io;

use bytes::Bytes;
use model::{
    FieldError, Phone,
    disposition::{MessageFacts, Rule},
    message::{Columns, Message, RowError, Skeleton},
    report::{Correlation, News},
    verdict::Verdict,
};

pub use account::{AccountConfig, SenderConfig, Vendor};

/// A campaign's message in its vendor's form, with the placeholders still open. Made once per task.
#[derive(Debug)]
pub struct Compiled {
    /// The vendor's JSON for one recipient, as literal stretches and placeholders.
    pub skeleton: Skeleton,
    /// What rules must know of it.
    pub facts: MessageFacts,
}

impl Compiled {
    /// The vendor's JSON for one recipient.
    ///
    /// # Errors
    /// The row lacks a value that the message needs, or a rendered text is longer than documented.
    pub fn render(&self, to: Phone, row: &[&str]) -> Result<Bytes, RowError> {
        self.skeleton.render(to, row)
    }
}

/// One recipient's message, ready to leave.
#[derive(Clone, Debug)]
pub struct Outgoing {
    /// Whom to.
    pub to: Phone,
    /// What the vendor is asked to echo, where it echoes anything.
    pub correlation: Correlation,
    /// From [`Compiled::render`].
    pub rendered: Bytes,
}

/// A vendor account: its client, its translation, its callbacks, its codes.
#[derive(Debug)]
pub enum Account {
    /// Up to 100 messages a call.
    Exotel(exotel::Client),
    /// sg.sobot.io: one message a call, a shared token.
    SobotIo(sobot_io::Client),
    /// api.sobot.in: one message a call, key headers.
    SobotIn(sobot_in::Client),
}

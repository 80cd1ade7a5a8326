//! What the counting of instructions reaches of this crate's inside. No part of its face: nothing else may call it.

use bytes::Bytes;
use model::{disposition::MessageFacts, verdict::Verdict};

use crate::{Outgoing, Vendor, bounds, exotel, http::Answer, sobot_in, sobot_io};

/// What [`crate::Account::send`] makes of a vendor's answer to `count` messages.
#[must_use]
pub fn judge(vendor: Vendor, status: u16, body: Bytes, facts: &MessageFacts, count: usize) -> Vec<Verdict> {
    let answer = Answer { status, retry_after: None, body };
    let verdicts = match vendor {
        Vendor::Exotel => exotel::judge_answer(&answer, facts, count),
        Vendor::SobotIo => {
            vec![sobot_io::judge_answer(&answer, sobot_io::Envelope::read(&answer.body), facts)]
        }
        Vendor::SobotIn => vec![sobot_in::judge_answer(&answer, facts)],
    };
    verdicts.into_iter().map(bounds::verdict).collect()
}

/// The body of Exotel's request for several messages.
#[must_use]
pub fn request_body(status_callback: Option<&str>, messages: &[Outgoing]) -> Bytes {
    exotel::request_body(status_callback, messages)
}

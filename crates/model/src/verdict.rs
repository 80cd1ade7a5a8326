//! What came of one call for one recipient: accepted, refused or unknown, and nothing else.

use std::time::Duration;

use crate::disposition::Rule;

/// The verdict on one recipient of one call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// A complete answer took the message and gave it an id.
    Accepted {
        /// The vendor's id of the message; opaque.
        vendor_id: String,
    },
    /// Nothing was sent: no byte left, or a complete answer documents a rejection.
    Refused(Failure),
    /// The vendor may have it. Only evidence or an operator decides.
    Unknown(Failure),
    /// A batch was refused as a whole because of one bad message in it: send its halves.
    Split(Failure),
}

/// Why a message was not sent, or is not known to have been.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// The vendor's code as it came (`131047`), or one of ours in words (`connect_failed`).
    pub code: String,
    /// The vendor's own text or our reason: short, without secrets or phone numbers.
    pub reason: String,
    /// What is to be done.
    pub rule: Rule,
    /// What the vendor asked for by Retry-After.
    pub retry_after: Option<Duration>,
}

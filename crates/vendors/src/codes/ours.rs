//! Our own codes, in words: what happened to a call or a row without a vendor's code. No vendor stands here.

use model::disposition::{Disposition, Scope};

pub use model::{
    limits::FREQUENCY_CAP,
    message::{MISSING_VALUE, NOT_A_NUMBER, TOO_LONG},
};

use super::{CodeEntry, Effect, Layer, does};

/// No connection: nothing was sent.
pub const CONNECT_FAILED: &str = "connect_failed";
/// No connection that can be trusted: nothing was sent.
pub const TLS_FAILED: &str = "tls_failed";
/// The time for a call ran out after it was sent.
pub const NO_ANSWER: &str = "no_answer";
/// The connection broke after the call was sent.
pub const CONNECTION_LOST: &str = "connection_lost";
/// An answer that is not what the vendor documents.
pub const UNREADABLE_ANSWER: &str = "unreadable_answer";
/// An answer longer than any that the vendor documents.
pub const ANSWER_TOO_LARGE: &str = "answer_too_large";
/// An answer that says nothing about this message.
pub const MISSING_IN_ANSWER: &str = "missing_in_answer";
/// An id that the vendor gave to two messages, in one answer or in two.
pub const DUPLICATE_IN_ANSWER: &str = "duplicate_in_answer";
/// A report of failure without a code.
pub const NO_CODE: &str = "no_code";
/// The process ended while the call was open.
pub const PROCESS_DIED: &str = "process_died";
/// The call was called off before it left: the database went away at that moment.
pub const NEVER_LEFT: &str = "never_left";
/// The number is on the list of those never written to.
pub const SUPPRESSED: &str = "suppressed";
/// The campaign's time was over before it was this person's turn.
pub const EXPIRED: &str = "expired";

/// The vendor told that it paused a template.
pub const TEMPLATE_PAUSED: &str = "template_paused";
/// The vendor told that a template was rejected.
pub const TEMPLATE_REJECTED: &str = "template_rejected";
/// The vendor told that the account may not send.
pub const ACCOUNT_RESTRICTED: &str = "account_restricted";

const fn ours(code: &'static str, effect: Effect, meaning: &'static str, advice: &'static str) -> CodeEntry {
    CodeEntry { vendor: None, layer: Layer::Ours, code, name: None, meaning, effect, advice }
}

const WAIT_FOR_EVIDENCE: &str = "Nothing is sent again by itself. Callbacks and the vendor's records settle most of these within minutes; settle the rest with `campaignd task resolve`.";

pub(super) const TABLE: &[CodeEntry] = &[
    ours(
        CONNECT_FAILED,
        does(Disposition::slow_down(Scope::Account)),
        "no connection to the vendor; nothing was sent",
        "It is tried again by itself. When it lasts, check the network, DNS, a firewall or proxy, and the account's base_url.",
    ),
    ours(
        TLS_FAILED,
        does(Disposition::slow_down(Scope::Account)),
        "no trusted connection to the vendor (TLS); nothing was sent",
        "Check the machine's clock and root certificates, a proxy that opens TLS, and the account's base_url.",
    ),
    ours(
        NO_ANSWER,
        does(Disposition::Unknown),
        "the vendor took the call and did not answer in time",
        WAIT_FOR_EVIDENCE,
    ),
    ours(
        CONNECTION_LOST,
        does(Disposition::Unknown),
        "the connection broke after the call was sent",
        WAIT_FOR_EVIDENCE,
    ),
    ours(
        UNREADABLE_ANSWER,
        does(Disposition::Unknown),
        "the vendor's answer is not what its documents describe",
        WAIT_FOR_EVIDENCE,
    ),
    ours(
        ANSWER_TOO_LARGE,
        does(Disposition::Unknown),
        "the vendor's answer is larger than any that its documents describe",
        WAIT_FOR_EVIDENCE,
    ),
    ours(
        MISSING_IN_ANSWER,
        does(Disposition::Unknown),
        "the vendor's answer says nothing about this message, or gives it no id",
        WAIT_FOR_EVIDENCE,
    ),
    ours(
        DUPLICATE_IN_ANSWER,
        does(Disposition::Unknown),
        "the vendor gave one id to several messages",
        WAIT_FOR_EVIDENCE,
    ),
    ours(
        PROCESS_DIED,
        does(Disposition::Unknown),
        "campaignd ended, or lost the account to another node, while the call was open",
        WAIT_FOR_EVIDENCE,
    ),
    ours(
        NEVER_LEFT,
        does(Disposition::Requeue),
        "the call was called off before it left; nothing was sent",
        "It is tried again by itself, at once.",
    ),
    ours(
        NO_CODE,
        does(Disposition::FailRecipient),
        "the vendor reports a failure without a code",
        "Nothing to do for one. When many have it, ask the vendor with one of the message ids.",
    ),
    ours(
        MISSING_VALUE,
        does(Disposition::FailMessage),
        "the row has no value for a placeholder of the message",
        "Fill the column in the CSV, or give the placeholder a default: {{column|default}}.",
    ),
    ours(
        TOO_LONG,
        does(Disposition::FailMessage),
        "a text is longer than the vendor allows once the row's values are filled in",
        "Shorten the row's value or the message's text.",
    ),
    ours(
        NOT_A_NUMBER,
        does(Disposition::FailMessage),
        "a value that must be a number is none",
        "Write the column's values as plain numbers: 12.5, not 12,5 or 12.5 EUR.",
    ),
    ours(
        SUPPRESSED,
        Effect::Status("suppressed"),
        "the number is on the suppression list",
        "Never sent, on purpose. `campaignd suppression list` says since when and why.",
    ),
    ours(
        FREQUENCY_CAP,
        Effect::Status("suppressed"),
        "this person has had as many marketing messages lately as limits.max_per_recipient allows",
        "Never sent, on purpose. Later campaigns reach this person again, once the earlier messages are old enough.",
    ),
    ours(
        EXPIRED,
        Effect::Status("expired"),
        "the campaign's expires_at passed before this message could be sent",
        "Never sent. Launch a new campaign with a later expires_at if it is still wanted.",
    ),
    ours(
        TEMPLATE_PAUSED,
        does(Disposition::HaltTemplate),
        "WhatsApp has paused the template, because many people blocked or reported it",
        "It runs on by itself when the vendor tells that the template is approved again, after some hours. Write to people who expect it; a template that is paused too often is disabled for good.",
    ),
    ours(
        TEMPLATE_REJECTED,
        does(Disposition::HaltTemplate),
        "WhatsApp has rejected the template",
        "Change the template by the vendor's reason and have it approved; the tasks run on when it is, or use another one.",
    ),
    ours(
        ACCOUNT_RESTRICTED,
        does(Disposition::HaltAccount),
        "WhatsApp or the vendor does not let the account send",
        "See what WhatsApp Manager and the vendor ask for. It runs on by itself when the vendor tells that the account is restored; otherwise lift the halt when it may send again.",
    ),
];

//! Sobot's own codes and the HTTP statuses of sg.sobot.io; WhatsApp's stand in `codes::whatsapp`.
//!
//! Source: sobot-io.txt, "error_code". Statuses are not documented there: what stands here is judgement.

use std::time::Duration;

use model::disposition::{Disposition, Scope, Trigger};

use crate::{
    Vendor,
    codes::{self, CodeEntry, Effect, Layer, does, halting, slow_down_account},
};

/// No token could be fetched; nothing was sent.
pub const TOKEN_FAILED: &str = "token_failed";
/// The vendor refuses a token for these credentials.
pub const TOKEN_REFUSED: &str = "token_refused";

const fn code(
    layer: Layer,
    code: &'static str,
    effect: Effect,
    meaning: &'static str,
    advice: &'static str,
) -> CodeEntry {
    CodeEntry { vendor: None, layer, code, name: None, meaning, effect, advice }
}

const SHARE: Trigger = Trigger::Share { percent: 5, of_at_least: 200, within: Duration::from_secs(5 * 60) };
const FIX_CREDENTIALS: &str =
    "Check app_id and app_key with Sobot, then lift the halt. `campaignd check` tries them.";

/// Codes by which a message fails whose number is wrong: sending again would fail alike.
pub(crate) const INVALID_NUMBERS: &[&str] = &["999996"];

pub(crate) const CODES: &[CodeEntry] = &[
    code(Layer::Callback, "000000", Effect::Status("accepted"), "success", "Good news."),
    code(
        Layer::Callback,
        "999996",
        halting(Disposition::FailRecipient, SHARE, Scope::Sender),
        "WhatsApp number not found",
        "One is that person's. Many at once halt the business number: check its id and its channel in Sobot.",
    ),
    code(
        Layer::Callback,
        "999997",
        does(Disposition::HaltAccount),
        "insufficient WhatsApp package balance",
        "Top up the WhatsApp package in Sobot, then lift the halt.",
    ),
    code(
        Layer::Callback,
        "999998",
        does(Disposition::Unknown),
        "unknown error, network timeout between Sobot and WhatsApp",
        "It may have been sent. Callbacks and sending records settle most of these; settle the rest with `campaignd task resolve`.",
    ),
    code(
        Layer::Callback,
        "999999",
        does(Disposition::FailMessage),
        "WhatsApp number is blank",
        "Look at the row's number and at the campaign's sender.",
    ),
    code(
        Layer::Answer,
        TOKEN_FAILED,
        does(slow_down_account(Duration::ZERO)),
        "no token could be fetched; nothing was sent",
        "It is tried again by itself. When it lasts, check the network and whether Sobot is reachable.",
    ),
    code(
        Layer::Answer,
        TOKEN_REFUSED,
        does(Disposition::HaltAccount),
        "the vendor refuses a token, or refuses the one that it has just given",
        FIX_CREDENTIALS,
    ),
    code(
        Layer::Http,
        "http_200",
        Effect::Status("accepted"),
        "answered; ret_code says the rest",
        "Good news.",
    ),
    code(
        Layer::Http,
        "http_400",
        does(Disposition::FailMessage),
        "the request is malformed",
        "Look at the message and at this row's values.",
    ),
    code(
        Layer::Http,
        "http_401",
        does(Disposition::HaltAccount),
        "the token is refused, also a fresh one",
        FIX_CREDENTIALS,
    ),
    code(
        Layer::Http,
        "http_403",
        does(Disposition::HaltAccount),
        "the token is refused, also a fresh one",
        FIX_CREDENTIALS,
    ),
    code(
        Layer::Http,
        "http_404",
        does(Disposition::HaltAccount),
        "not found: a wrong base_url",
        "Correct the account's base_url, restart, and lift the halt.",
    ),
    code(
        Layer::Http,
        "http_429",
        does(slow_down_account(Duration::ZERO)),
        "too many requests",
        "It slows down by itself. If it goes on, set requests_per_second to what Sobot allows.",
    ),
    code(
        Layer::Http,
        "http_5xx",
        does(Disposition::Unknown),
        "the vendor failed after the request was sent",
        "Nothing is sent again by itself. Callbacks and sending records settle most of these; settle the rest with `campaignd task resolve`.",
    ),
];

/// Whether an answer with this code means that the token is no longer taken, so that nothing was sent.
///
/// The text decides only where the code is in no table: a known code may well speak of tokens and mean something else,
/// such as 999998, under which the message may have gone out.
pub(super) fn speaks_of_token(code: &str, message: &str) -> bool {
    let is_permission = code.parse::<u32>().is_ok_and(|code| (200..=299).contains(&code));
    let is_listed = matches!(code, "0" | "3" | "10" | "190") || is_permission;
    is_listed || (!is_known(code) && message.to_ascii_lowercase().contains("token"))
}

/// Whether the code stands in a table.
pub(super) fn is_known(code: &str) -> bool {
    codes::find(Vendor::SobotIo, code).is_some()
}

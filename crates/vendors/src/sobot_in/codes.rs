//! The HTTP statuses of api.sobot.in, also given as `code` in the body; WhatsApp's codes stand in `codes::whatsapp`.
//!
//! Source: sobot-in.txt, "Customers" (400 with "Invalid mobile number"). Its chapter "Errors" was never published.

use std::time::Duration;

use model::disposition::{Disposition, MessageFacts, Rule};

use crate::codes::{CodeEntry, Effect, Layer, depends, does, slow_down_account};

const fn code(code: &'static str, effect: Effect, meaning: &'static str, advice: &'static str) -> CodeEntry {
    CodeEntry { vendor: None, layer: Layer::Http, code, name: None, meaning, effect, advice }
}

const FIX_CREDENTIALS: &str = "Check access_key and secret_key (app.sobot.in, Settings, Developers tools), then lift the halt. `campaignd check` tries them.";

/// Codes by which a message fails whose number is wrong: sending again would fail alike.
pub(crate) const INVALID_NUMBERS: &[&str] = &["http_400"];

pub(crate) const CODES: &[CodeEntry] = &[
    code("http_200", Effect::Status("accepted"), "message sent; data.id is its id", "Good news."),
    code(
        "http_400",
        depends(
            Disposition::FailMessage,
            "FailRecipient for an invalid mobile number, HaltTask when the text speaks of the template or of parameters",
            bad_request,
        ),
        "the request is refused; the text says why",
        "Read the reason: a wrong number is that person's, a template or parameter is the campaign's.",
    ),
    code("http_401", does(Disposition::HaltAccount), "the keys are missing or invalid", FIX_CREDENTIALS),
    code("http_403", does(Disposition::HaltAccount), "the keys have no right to this", FIX_CREDENTIALS),
    code(
        "http_404",
        does(Disposition::HaltAccount),
        "not found: a wrong base_url",
        "Correct the account's base_url, restart, and lift the halt.",
    ),
    code(
        "http_429",
        does(slow_down_account(Duration::ZERO)),
        "too many requests",
        "It slows down by itself. If it goes on, set requests_per_second to what Sobot allows.",
    ),
    code(
        "http_5xx",
        does(Disposition::Unknown),
        "the vendor failed after the request was sent",
        "Nothing is sent again by itself, and this vendor keeps no records: callbacks settle what was accepted, `campaignd task resolve` the rest.",
    ),
];

/// A 400 by its text: this vendor gives nothing else.
fn bad_request(_: &MessageFacts, reason: &str) -> Rule {
    let reason = reason.to_ascii_lowercase();
    if reason.contains("invalid mobile number") {
        Disposition::FailRecipient.into()
    } else if reason.contains("template") || reason.contains("param") {
        Disposition::HaltTask.into()
    } else {
        Disposition::FailMessage.into()
    }
}

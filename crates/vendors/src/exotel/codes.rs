//! Exotel's codes. ExoStatus by name first and by number second: Exotel has published two numberings.
//!
//! Source: exotel.txt, "ExoStatus Codes" and "HTTP Error codes". Dispositions are ours.

use std::time::Duration;

use model::disposition::{Disposition, Exhausted, Scope, Trigger};

use crate::codes::{
    CodeEntry, Effect, HOUR, Layer, MEDIA_TWICE, MINUTE, SPAM_HALT, depends, does, halting, media_twice,
    outside_window, part_of_message, slow_down_account, spam_limit, template_or_variable,
};

const fn exo(
    code: &'static str,
    name: &'static str,
    effect: Effect,
    meaning: &'static str,
    advice: &'static str,
) -> CodeEntry {
    CodeEntry { vendor: None, layer: Layer::Callback, code, name: Some(name), meaning, effect, advice }
}

const fn plain(
    layer: Layer,
    code: &'static str,
    effect: Effect,
    meaning: &'static str,
    advice: &'static str,
) -> CodeEntry {
    CodeEntry { vendor: None, layer, code, name: None, meaning, effect, advice }
}

const GOOD: &str = "Good news.";
const FIX_ROWS: &str = "Look at the message and at this row's values; correct them and send to the failed ones in a new campaign.";
const FIX_CAMPAIGN: &str = "Correct the message and launch it as a new campaign; this task cannot be saved.";
const FIX_TEMPLATE: &str = "Compare the template's name, language and status in WhatsApp Manager with the campaign, then lift the halt.";
const FIX_CATALOGUE: &str =
    "Check the catalogue and its products in Commerce Manager, then launch a new campaign.";
const FIX_CREDENTIALS: &str = "Check account_sid, api_key and api_token against Exotel's dashboard (API settings), then lift the halt. `campaignd check` tries them.";
const FIX_PLAN: &str = "Top up the balance or raise the plan in Exotel's dashboard, then lift the halt.";
const SLOWS: &str = "It slows down by itself. If it goes on, set requests_per_second and messages_per_second to what Exotel allows (200 requests a minute by default).";

const ONCE_AFTER_AN_HOUR: Disposition =
    Disposition::RetrySoon { at_most: 1, first: Some(HOUR), then: Exhausted::Fail };

/// ExoStatus by a name that Exotel gives; none for an unknown one.
pub(super) fn by_name(name: &str) -> Option<&'static CodeEntry> {
    let name = name.trim();
    CODES.iter().find(|entry| entry.name.is_some_and(|known| known.eq_ignore_ascii_case(name)))
}

/// ExoStatus by number; never one of the codes of an answer's messages.
pub(super) fn by_number(number: &str) -> Option<&'static CodeEntry> {
    CODES.iter().find(|entry| entry.name.is_some() && entry.code == number)
}

/// Codes by which a message fails whose number is wrong: sending again would fail alike.
pub(crate) const INVALID_NUMBERS: &[&str] = &["30005"];

pub(crate) const CODES: &[CodeEntry] = &[
    exo("30001", "EX_MESSAGE_SENT", Effect::Status("sent"), "the message has been sent to the user", GOOD),
    exo(
        "30002",
        "EX_MESSAGE_DELIVERED",
        Effect::Status("delivered"),
        "the message has been delivered to the user",
        GOOD,
    ),
    exo(
        "25001",
        "EX_MESSAGE_DELIVERED",
        Effect::Status("delivered"),
        "the message has been delivered to the user",
        GOOD,
    ),
    exo("30003", "EX_MESSAGE_SEEN", Effect::Status("read"), "the message has been seen by the user", GOOD),
    exo(
        "30004",
        "EX_SYSTEM_ERROR",
        halting(Disposition::retry_soon(3), Trigger::InARow(20), Scope::Account),
        "an issue with the system: authentication, access token, permission, service not available and the like",
        "It is tried again by itself; 20 in a row halt the account. Then ask Exotel with a message id, and lift the halt.",
    ),
    exo(
        "30005",
        "EX_NUMBER_ERROR",
        halting(Disposition::FailRecipient, Trigger::InARow(20), Scope::Sender),
        "an issue with the phone number",
        "One is that person's. 20 in a row halt the business number: check its registration in Exotel's dashboard.",
    ),
    exo(
        "30006",
        "EX_SETUP_ERROR",
        does(Disposition::halt_sender()),
        "a set-up error",
        "Check the business number's set-up with Exotel, then lift the halt. Other numbers go on.",
    ),
    exo(
        "30007",
        "EX_RATE_LIMIT_HIT",
        does(Disposition::slow_down(Scope::Sender)),
        "a breach in the rate limit",
        SLOWS,
    ),
    exo(
        "30008",
        "EX_SPAM_RATE_LIMIT_HIT",
        depends(SPAM_HALT, "RetryNextDay when the message is no marketing", spam_limit),
        "the spam rate limit has been breached",
        "People block or report this number. Look at its quality and at the audience before the halt ends after 24 h.",
    ),
    exo(
        "30009",
        "EX_TOO_MANY_REQUEST",
        does(slow_down_account(MINUTE)),
        "too many requests in a short span",
        SLOWS,
    ),
    exo("30010", "EX_INVALID_REQUEST", does(Disposition::FailMessage), "the request is invalid", FIX_ROWS),
    exo(
        "30011",
        "EX_UNKNOWN_ERROR",
        does(Disposition::retry_soon(2)),
        "an unknown error",
        "It is tried again by itself. When many have it, ask Exotel with a message id.",
    ),
    exo(
        "30012",
        "EX_INVALID_RECIPIENT",
        does(Disposition::Suppress { days: 30, from_time: 1 }),
        "the recipient was invalid",
        "Nothing to do: the number is suppressed for 30 days; a message from the person ends that.",
    ),
    exo(
        "30013",
        "EX_INCAPABLE_RECIPIENT",
        does(Disposition::Suppress { days: 30, from_time: 2 }),
        "the recipient is unable to receive the message",
        "Nothing to do. At the second time the number is suppressed for 30 days; a message from the person ends that.",
    ),
    exo(
        "30014",
        "EX_RECIPIENT_BLOCKED",
        halting(Disposition::FailRecipient, Trigger::FirstOutcomes(20), Scope::Sender),
        "the recipient is not in the allowed list",
        "This is a test number, which may write to its own list only. Use the real business number.",
    ),
    exo(
        "30015",
        "EX_UNSUPPORTED_MESSAGE",
        does(Disposition::HaltTask),
        "an unsupported message type has been passed",
        FIX_CAMPAIGN,
    ),
    exo(
        "30016",
        "EX_MEDIA_DOWNLOAD_ERROR",
        depends(MEDIA_TWICE, "FailRecipient at last when the link is the row's own", media_twice),
        "WhatsApp is unable to download the sender's media",
        "Open the media's link from outside your network: it must answer at once, publicly, with the right type.",
    ),
    exo(
        "30017",
        "EX_MEDIA_UPLOAD_ERROR",
        does(Disposition::HaltTask),
        "an unsupported media type has been passed",
        "Use a media type that WhatsApp takes and launch a new campaign.",
    ),
    exo(
        "30018",
        "EX_REENGAGEMENT_ERROR",
        depends(
            Disposition::FailRecipient,
            "in a template campaign HaltTask (no template was sent)",
            outside_window,
        ),
        "the 24 hours' window of the conversation is over",
        "Only a template reaches this person now. In a template campaign, look at what was really sent.",
    ),
    exo(
        "30019",
        "EX_INVALID_PARAM",
        does(Disposition::FailMessage),
        "invalid parameters have been passed",
        FIX_ROWS,
    ),
    exo(
        "30020",
        "EX_MISSING_PARAM",
        does(Disposition::FailMessage),
        "a mandatory parameter is missing",
        FIX_ROWS,
    ),
    exo(
        "30021",
        "EX_INVALID_PARAM_VALUE",
        does(Disposition::FailMessage),
        "an invalid parameter value has been passed",
        FIX_ROWS,
    ),
    exo(
        "30022",
        "EX_TEMPLATE_ERROR",
        depends(
            Disposition::HaltTemplate,
            "FailMessage when the description names a parameter",
            template_or_variable,
        ),
        "the template's format or character policy has been violated",
        "Look at the template in WhatsApp Manager, then lift the halt.",
    ),
    exo(
        "30023",
        "EX_TEMPLATE_PARAM_ERROR",
        halting(Disposition::FailMessage, Trigger::InARow(5), Scope::Task),
        "the count of template parameters does not match",
        "Compare the campaign's parameters with the template: `campaignd template preview`.",
    ),
    exo(
        "30024",
        "EX_TEMPLATE_NOT_FOUND",
        does(Disposition::HaltTemplate),
        "the message template does not exist",
        FIX_TEMPLATE,
    ),
    exo(
        "30025",
        "EX_TEMPLATE_TEXT_TOO_LONG",
        does(Disposition::FailMessage),
        "the template's text is too long once filled in",
        "Shorten the row's values.",
    ),
    exo(
        "30026",
        "EX_INVALID_TEMPLATE_NAMESPACE",
        does(Disposition::HaltTemplate),
        "an invalid template namespace has been passed",
        "Correct the account's template_namespace, or leave it out, restart, and lift the halt.",
    ),
    exo(
        "30027",
        "EX_MESSAGE_PENDING_TOO_LONG",
        does(ONCE_AFTER_AN_HOUR),
        "the message was pending for too long",
        "It is tried once more after an hour. When many have it, ask Exotel whether it is behind.",
    ),
    exo(
        "30028",
        "EX_MESSAGE_EXPIRED",
        does(Disposition::RetryNextDay { at_most: 1 }),
        "the message expired",
        "It is tried once more the next day where the campaign's window and expiry allow; else the recipient fails.",
    ),
    exo(
        "30029",
        "EX_MESSAGE_TOO_LONG",
        does(Disposition::FailMessage),
        "more than 4096 characters in the message",
        "Shorten the text or the row's values.",
    ),
    exo(
        "30030",
        "EX_WEBHOOK_ERROR",
        does(Disposition::HaltAccount),
        "no webhook is configured",
        "Without callbacks nothing can be reconciled: check public_url and webhook_token, register the URL with Exotel, then lift the halt.",
    ),
    exo(
        "30031",
        "EX_SECTION_COUNT_ERROR",
        does(Disposition::HaltTask),
        "an invalid number of sections",
        FIX_CAMPAIGN,
    ),
    exo(
        "30032",
        "EX_ROWS_COUNT_ERROR",
        does(Disposition::HaltTask),
        "an invalid number of rows",
        FIX_CAMPAIGN,
    ),
    exo(
        "30033",
        "EX_PRODUCT_COUNT_ERROR",
        does(Disposition::HaltTask),
        "an invalid number of products",
        FIX_CAMPAIGN,
    ),
    exo("30034", "EX_CATALOGUE_NOT_FOUND", PART, "the catalogue has not been found", FIX_CATALOGUE),
    exo(
        "30035",
        "EX_CATALOGUE_NOT_LINKED",
        does(Disposition::halt_sender()),
        "the catalogue is not linked to the business number",
        "Link the catalogue to the number in Commerce Manager, then lift the halt.",
    ),
    exo("30036", "EX_MISSING_PRODUCT", PART, "the product is missing in the catalogue", FIX_CATALOGUE),
    exo("30037", "EX_PRODUCT_NOT_FOUND", PART, "none of the products is in the catalogue", FIX_CATALOGUE),
    exo("30038", "EX_PRODUCT_COMPLIANCE_ERROR", PART, "the listed products failed compliance", FIX_CATALOGUE),
    exo("30039", "EX_INVALID_HEADER", PART, "an invalid header structure", FIX_CAMPAIGN),
    exo(
        "30040",
        "EX_MISSING_COMPLIANCE",
        does(Disposition::HaltTask),
        "compliance information was missing",
        FIX_CAMPAIGN,
    ),
    exo(
        "30041",
        "EX_CHAR_POLICY_VIOLATION",
        depends(
            Disposition::HaltTemplate,
            "FailMessage when the report names a variable",
            template_or_variable,
        ),
        "the character policy got violated",
        "Look at the text for what WhatsApp forbids: new lines, tabs or more than four spaces in a variable.",
    ),
    exo(
        "EX_RESTRICTED_BY_META",
        "EX_RESTRICTED_BY_META",
        does(Disposition::RetryNextDay { at_most: 3 }),
        "WhatsApp chose not to deliver (undocumented; seen in the field)",
        "It is tried again on the next days, inside the campaign's window and expiry.",
    ),
    plain(Layer::Answer, "202", Effect::Status("accepted"), "accepted", GOOD),
    plain(Layer::Answer, "400", does(Disposition::FailMessage), "this message is malformed", FIX_ROWS),
    plain(
        Layer::Answer,
        "401",
        does(Disposition::HaltAccount),
        "credentials are missing or invalid",
        FIX_CREDENTIALS,
    ),
    plain(
        Layer::Answer,
        "402",
        does(Disposition::HaltAccount),
        "not on the plan, or its limits are exceeded",
        FIX_PLAN,
    ),
    plain(
        Layer::Answer,
        "403",
        does(Disposition::HaltAccount),
        "no access to the requested resource",
        FIX_CREDENTIALS,
    ),
    plain(
        Layer::Answer,
        "404",
        does(Disposition::HaltAccount),
        "the requested object does not exist",
        FIX_CREDENTIALS,
    ),
    plain(Layer::Answer, "429", does(slow_down_account(Duration::ZERO)), "too many requests", SLOWS),
    plain(
        Layer::Answer,
        "5xx",
        does(Disposition::retry_soon(3)),
        "something went wrong at Exotel's end with this message; it was not sent",
        "It is tried again by itself.",
    ),
    plain(
        Layer::Http,
        "http_202",
        Effect::Status("accepted"),
        "request accepted; each message has a code of its own",
        GOOD,
    ),
    plain(
        Layer::Http,
        "http_400",
        does(Disposition::FailMessage),
        "something in the request was malformed or missing, or it held more than 100 messages",
        "A batch is halved until the bad message stands alone. Look at that message and its row's values.",
    ),
    plain(
        Layer::Http,
        "http_401",
        does(Disposition::HaltAccount),
        "credentials are missing or invalid",
        FIX_CREDENTIALS,
    ),
    plain(
        Layer::Http,
        "http_402",
        does(Disposition::HaltAccount),
        "the action is not available on the plan, or its usage limits are exceeded",
        FIX_PLAN,
    ),
    plain(
        Layer::Http,
        "http_403",
        does(Disposition::HaltAccount),
        "the credentials are valid but have no access to this",
        FIX_CREDENTIALS,
    ),
    plain(
        Layer::Http,
        "http_404",
        does(Disposition::HaltAccount),
        "not found: wrong account_sid or base_url",
        FIX_CREDENTIALS,
    ),
    plain(Layer::Http, "http_429", does(slow_down_account(Duration::ZERO)), "too many requests", SLOWS),
    plain(
        Layer::Http,
        "http_5xx",
        does(Disposition::Unknown),
        "something went wrong at Exotel's end after the request was sent",
        "Nothing is sent again by itself. Callbacks settle what was accepted; settle the rest with `campaignd task resolve`.",
    ),
];

const PART: Effect =
    depends(Disposition::HaltTask, "FailMessage when the part is filled per row", part_of_message);

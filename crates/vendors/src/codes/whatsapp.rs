//! WhatsApp's codes, as sobot_io and sobot_in pass them on. Both use this one table; their own codes stand with them.
//!
//! Source: sobot-io.txt, "error_code"; below that, WhatsApp's codes that are not in Sobot's list but bound to arrive.

use std::time::Duration;

use model::disposition::{Disposition, Escalation, Rule, Scope, Trigger};

use super::{
    CodeEntry, EVERY_DELAY, Effect, Layer, MEDIA_TWICE, MINUTE, SPAM_HALT, depends, does, halting,
    media_twice, outside_window, parameters_of_message, slow_down_account, spam_limit, template_or_variable,
};

const fn code(code: &'static str, effect: Effect, meaning: &'static str, advice: &'static str) -> CodeEntry {
    CodeEntry { vendor: None, layer: Layer::Callback, code, name: None, meaning, effect, advice }
}

const BY_ITSELF: &str =
    "It is tried again by itself. When many have it for more than an hour, ask the vendor.";
const NOTHING: &str = "Nothing to do: this person cannot get the message.";
const FIX_ROWS: &str = "Look at the message and at this row's values; correct them and send to the failed ones in a new campaign.";
const FIX_CREDENTIALS: &str = "Check the account's keys and their rights with the vendor, then lift the halt. `campaignd check` tries them.";
const FIX_TEMPLATE: &str =
    "Look at the template in WhatsApp Manager. The halt ends when it is approved again, or when you lift it.";
const FIX_NUMBER: &str = "Look at the number's status in WhatsApp Manager or ask the vendor, then lift the halt. Other numbers go on.";

pub(crate) const TABLE: &[CodeEntry] = &[
    code("1", does(Disposition::retry_soon(2)), "request invalid or server error", BY_ITSELF),
    code("2", does(Disposition::retry_soon(EVERY_DELAY)), "service exception", BY_ITSELF),
    code(
        "4",
        does(slow_down_account(MINUTE)),
        "too many API calls",
        "The account slows down by itself. If it goes on, set requests_per_second below what the vendor allows.",
    ),
    code(
        "33",
        does(Disposition::halt_sender()),
        "invalid parameters (WhatsApp: the business number was deleted)",
        FIX_NUMBER,
    ),
    code("100", does(Disposition::FailMessage), "invalid parameters", FIX_ROWS),
    code("131000", does(Disposition::retry_soon(3)), "unknown error", BY_ITSELF),
    code("131005", does(Disposition::HaltAccount), "WhatsApp permission is missing", FIX_CREDENTIALS),
    code("131008", does(Disposition::FailMessage), "a required parameter is missing", FIX_ROWS),
    code("131009", does(Disposition::FailMessage), "a parameter has an invalid value", FIX_ROWS),
    code("131016", does(Disposition::retry_soon(EVERY_DELAY)), "service unavailable", BY_ITSELF),
    code(
        "131021",
        does(Disposition::FailMessage),
        "the recipient is the sender",
        "Take the business's own number out of the audience.",
    ),
    code(
        "131026",
        does(Disposition::Suppress { days: 30, from_time: 2 }),
        "recipient not found, or has not accepted the privacy policy, or uses a WhatsApp that is too old",
        "Nothing to do. At the second time the number is suppressed for 30 days; a message from the person ends that.",
    ),
    code(
        "131042",
        does(Disposition::HaltAccount),
        "the business account's payment account has an issue",
        "Settle the payment method in WhatsApp Manager or with the vendor, then lift the halt.",
    ),
    code("131045", does(Disposition::halt_sender()), "phone number registration error", FIX_NUMBER),
    code(
        "131047",
        depends(
            Disposition::FailRecipient,
            "in a template campaign HaltTask (no template was sent)",
            outside_window,
        ),
        "more than 24 hours since the person last wrote",
        "Only a template reaches this person now. In a template campaign, look at what was really sent.",
    ),
    code(
        "131051",
        does(Disposition::HaltTask),
        "message type not supported",
        "Build the campaign with another type of message.",
    ),
    code(
        "131052",
        depends(MEDIA_TWICE, "FailRecipient at last when the link is the row's own", media_twice),
        "media download error",
        "Open the media's link from outside your network: it must answer at once, publicly, with the right type.",
    ),
    code(
        "131053",
        depends(MEDIA_TWICE, "FailRecipient at last when the link is the row's own", media_twice),
        "media upload error",
        "Check the media's type and size against what WhatsApp takes.",
    ),
    code(
        "132000",
        depends(
            Disposition::HaltTask,
            "FailMessage when parameters come from the row",
            parameters_of_message,
        ),
        "the number of parameters does not fit the template's variables",
        "Compare the campaign's parameters with the template: `campaignd template preview`.",
    ),
    code(
        "132012",
        depends(
            Disposition::HaltTask,
            "FailMessage when parameters come from the row",
            parameters_of_message,
        ),
        "the parameters' format does not fit the template",
        "Compare the campaign's parameters with the template: `campaignd template preview`.",
    ),
    code("132001", does(Disposition::HaltTemplate), "template not found in this language", FIX_TEMPLATE),
    code(
        "132002",
        does(Disposition::FailMessage),
        "the template's text is too long once filled in",
        "Shorten the row's values.",
    ),
    code(
        "132005",
        does(Disposition::FailMessage),
        "the template's text is too long once filled in",
        "Shorten the row's values.",
    ),
    code(
        "132007",
        depends(Disposition::HaltTemplate, "FailMessage when a variable is named", template_or_variable),
        "violation of the template's format or character policy",
        "Look at the text for what WhatsApp forbids: new lines, tabs or more than four spaces in a variable.",
    ),
    code(
        "132015",
        does(Disposition::HaltTemplate),
        "invalid template parameter (WhatsApp: the template is paused)",
        FIX_TEMPLATE,
    ),
    code(
        "133000",
        does(Disposition::halt_sender()),
        "deregistration of the number is not complete",
        FIX_NUMBER,
    ),
    code("133010", does(Disposition::halt_sender()), "phone number not registered", FIX_NUMBER),
    code("133004", does(Disposition::retry_soon(EVERY_DELAY)), "server unavailable", BY_ITSELF),
    code(
        "135000",
        does(Disposition::RetrySoon {
            at_most: 1,
            first: Some(Duration::from_secs(600)),
            then: model::disposition::Exhausted::Fail,
        }),
        "general user error",
        "It is tried once more after 10 minutes. When many have it, look at the message's parameters.",
    ),
    code(
        "131056",
        does(Disposition::RetryPair),
        "too many messages to the same person",
        "It is tried again by itself. Are several campaigns writing to the same people at once?",
    ),
    code(
        "130429",
        does(Disposition::slow_down(Scope::Sender)),
        "the sending limit is reached",
        "The number slows down by itself. If it goes on, set messages_per_second to what WhatsApp allows it.",
    ),
    code(
        "131048",
        depends(SPAM_HALT, "RetryNextDay when the message is no marketing", spam_limit),
        "the sending limit for junk messages is reached",
        "People block or report this number. Look at its quality and at the audience before the halt ends after 24 h.",
    ),
    code(
        "80007",
        does(slow_down_account(Duration::from_secs(300))),
        "the business account's sending limit is reached",
        "The account slows down by itself. If it goes on, ask the vendor for the account's limit.",
    ),
    code(
        "368",
        does(Disposition::HaltAccount),
        "temporarily disabled for a violation of WhatsApp's policy",
        "Read the notice in WhatsApp Manager and appeal there. Sending on makes it worse; lift the halt only afterwards.",
    ),
    code(
        "131031",
        does(Disposition::HaltAccount),
        "the account is locked",
        "Read the notice in WhatsApp Manager; lift the halt when the account is open again.",
    ),
    code(
        "130472",
        does(Disposition::FailRecipient),
        "the person is in an experiment of WhatsApp's and gets no marketing",
        "Nothing to do: sending again fails alike.",
    ),
    code(
        "131049",
        does(Disposition::RetryNextDay { at_most: 3 }),
        "WhatsApp chose not to deliver: this person gets enough marketing already",
        "It is tried again on the next days, inside the campaign's window and expiry.",
    ),
    code(
        "131050",
        does(Disposition::OptOut),
        "the person stopped marketing from this business",
        "Nothing to do: the person gets no more marketing until resuming it.",
    ),
    code(
        "131030",
        halting(Disposition::FailRecipient, Trigger::FirstOutcomes(20), Scope::Sender),
        "the recipient is not in the allowed list",
        "This is a test number, which may write to its own list only. Use the real business number.",
    ),
    code("131037", does(Disposition::halt_sender()), "the number's display name is not approved", FIX_NUMBER),
    code(
        "131057",
        Effect::Rule(Rule {
            disposition: Disposition::retry_soon(EVERY_DELAY),
            escalation: Some(Escalation {
                when: Trigger::InARow(5),
                halt: Scope::Sender,
                lifted_after: Some(Duration::from_secs(600)),
            }),
        }),
        "the business number is in maintenance",
        "It goes on by itself: WhatsApp's maintenance takes minutes.",
    ),
    code(
        "130497",
        does(Disposition::FailRecipient),
        "the business may not write to people in this country",
        NOTHING,
    ),
    code("130403", does(Disposition::FailRecipient), "the business has blocked this person", NOTHING),
    code(
        "131043",
        does(Disposition::FailRecipient),
        "the message expired before it could be delivered",
        "Nothing to do: the phone was off for too long.",
    ),
    code(
        "132016",
        does(Disposition::HaltTemplate),
        "the template is disabled",
        "It will not come back: make a new template and a new campaign.",
    ),
    code("133016", does(Disposition::halt_sender()), "too many registrations of the number", FIX_NUMBER),
    code("0", does(Disposition::HaltAccount), "authentication failed", FIX_CREDENTIALS),
    code(
        "3",
        does(Disposition::HaltAccount),
        "the application lacks the right to call this",
        FIX_CREDENTIALS,
    ),
    code("10", does(Disposition::HaltAccount), "permission denied", FIX_CREDENTIALS),
    code("190", does(Disposition::HaltAccount), "the access token is no longer valid", FIX_CREDENTIALS),
    code("200-299", does(Disposition::HaltAccount), "a permission is missing", FIX_CREDENTIALS),
];

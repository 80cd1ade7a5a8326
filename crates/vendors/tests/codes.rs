//! The table of codes, row by row: what each brings about, and what decides where it depends on the message.

#[cfg(test)]
#[path = "support/mod.rs"]
mod support;

use std::{collections::HashSet, time::Duration};

use model::disposition::{Disposition, Exhausted, MessageFacts, Scope, Trigger};
use support::FACTS;
use vendors::{Vendor, codes};

/// Codes, and all that is done about each.
type Table = &'static [(&'static str, &'static str)];

const EXOTEL: Table = &[
    ("25001", "delivered"),
    ("30001", "sent"),
    ("30002", "delivered"),
    ("30003", "read"),
    ("30004", "RetrySoon, at most 3; 20 in a row: the account halts"),
    ("30005", "FailRecipient; 20 in a row: the sender halts"),
    ("30006", "HaltSender"),
    ("30007", "SlowDown(sender)"),
    ("30008", "HaltSender, lifted after 24 h; RetryNextDay when the message is no marketing"),
    ("30009", "SlowDown(account), not before 1 min"),
    ("30010", "FailMessage"),
    ("30011", "RetrySoon, at most 2"),
    ("30012", "Suppress(30 days)"),
    ("30013", "Suppress(30 days) from time 2 on, else FailRecipient"),
    ("30014", "FailRecipient; the first 20 outcomes of a task all with it: the sender halts"),
    ("30015", "HaltTask"),
    ("30016", "RetrySoon, at most 2, then HaltTask; FailRecipient at last when the link is the row's own"),
    ("30017", "HaltTask"),
    ("30018", "FailRecipient; in a template campaign HaltTask (no template was sent)"),
    ("30019", "FailMessage"),
    ("30020", "FailMessage"),
    ("30021", "FailMessage"),
    ("30022", "HaltTemplate; FailMessage when the description names a parameter"),
    ("30023", "FailMessage; 5 in a row: the task halts"),
    ("30024", "HaltTemplate"),
    ("30025", "FailMessage"),
    ("30026", "HaltTemplate"),
    ("30027", "RetrySoon, at most 1, first after 1 h"),
    ("30028", "RetryNextDay, at most 1"),
    ("30029", "FailMessage"),
    ("30030", "HaltAccount"),
    ("30031", "HaltTask"),
    ("30032", "HaltTask"),
    ("30033", "HaltTask"),
    ("30034", "HaltTask; FailMessage when the part is filled per row"),
    ("30035", "HaltSender"),
    ("30036", "HaltTask; FailMessage when the part is filled per row"),
    ("30037", "HaltTask; FailMessage when the part is filled per row"),
    ("30038", "HaltTask; FailMessage when the part is filled per row"),
    ("30039", "HaltTask; FailMessage when the part is filled per row"),
    ("30040", "HaltTask"),
    ("30041", "HaltTemplate; FailMessage when the report names a variable"),
    ("EX_RESTRICTED_BY_META", "RetryNextDay, at most 3"),
    ("202", "accepted"),
    ("400", "FailMessage"),
    ("401", "HaltAccount"),
    ("402", "HaltAccount"),
    ("403", "HaltAccount"),
    ("404", "HaltAccount"),
    ("429", "SlowDown(account)"),
    ("5xx", "RetrySoon, at most 3"),
    ("http_202", "accepted"),
    ("http_400", "FailMessage"),
    ("http_401", "HaltAccount"),
    ("http_402", "HaltAccount"),
    ("http_403", "HaltAccount"),
    ("http_404", "HaltAccount"),
    ("http_429", "SlowDown(account)"),
    ("http_5xx", "Unknown"),
];

const WHATSAPP: Table = &[
    ("1", "RetrySoon, at most 2"),
    ("2", "RetrySoon, at most 4"),
    ("4", "SlowDown(account), not before 1 min"),
    ("33", "HaltSender"),
    ("100", "FailMessage"),
    ("131000", "RetrySoon, at most 3"),
    ("131005", "HaltAccount"),
    ("131008", "FailMessage"),
    ("131009", "FailMessage"),
    ("131016", "RetrySoon, at most 4"),
    ("131021", "FailMessage"),
    ("131026", "Suppress(30 days) from time 2 on, else FailRecipient"),
    ("131042", "HaltAccount"),
    ("131045", "HaltSender"),
    ("131047", "FailRecipient; in a template campaign HaltTask (no template was sent)"),
    ("131051", "HaltTask"),
    ("131052", "RetrySoon, at most 2, then HaltTask; FailRecipient at last when the link is the row's own"),
    ("131053", "RetrySoon, at most 2, then HaltTask; FailRecipient at last when the link is the row's own"),
    ("132000", "HaltTask; FailMessage when parameters come from the row"),
    ("132012", "HaltTask; FailMessage when parameters come from the row"),
    ("132001", "HaltTemplate"),
    ("132002", "FailMessage"),
    ("132005", "FailMessage"),
    ("132007", "HaltTemplate; FailMessage when a variable is named"),
    ("132015", "HaltTemplate"),
    ("133000", "HaltSender"),
    ("133010", "HaltSender"),
    ("133004", "RetrySoon, at most 4"),
    ("135000", "RetrySoon, at most 1, first after 10 min"),
    ("131056", "RetryPair"),
    ("130429", "SlowDown(sender)"),
    ("131048", "HaltSender, lifted after 24 h; RetryNextDay when the message is no marketing"),
    ("80007", "SlowDown(account), not before 5 min"),
    ("368", "HaltAccount"),
    ("131031", "HaltAccount"),
    ("130472", "FailRecipient"),
    ("131049", "RetryNextDay, at most 3"),
    ("131050", "OptOut"),
    ("131030", "FailRecipient; the first 20 outcomes of a task all with it: the sender halts"),
    ("131037", "HaltSender"),
    ("131057", "RetrySoon, at most 4; 5 in a row: the sender halts for 10 min"),
    ("130497", "FailRecipient"),
    ("130403", "FailRecipient"),
    ("131043", "FailRecipient"),
    ("132016", "HaltTemplate"),
    ("133016", "HaltSender"),
    ("0", "HaltAccount"),
    ("3", "HaltAccount"),
    ("10", "HaltAccount"),
    ("190", "HaltAccount"),
    ("200-299", "HaltAccount"),
];

const SOBOT_IO: Table = &[
    ("000000", "accepted"),
    ("999996", "FailRecipient; more than 5 % of at least 200 in 5 min: the sender halts"),
    ("999997", "HaltAccount"),
    ("999998", "Unknown"),
    ("999999", "FailMessage"),
    ("token_failed", "SlowDown(account)"),
    ("token_refused", "HaltAccount"),
    ("http_200", "accepted"),
    ("http_400", "FailMessage"),
    ("http_401", "HaltAccount"),
    ("http_403", "HaltAccount"),
    ("http_404", "HaltAccount"),
    ("http_429", "SlowDown(account)"),
    ("http_5xx", "Unknown"),
];

const SOBOT_IN: Table = &[
    ("http_200", "accepted"),
    (
        "http_400",
        "FailMessage; FailRecipient for an invalid mobile number, HaltTask when the text speaks of the template or of parameters",
    ),
    ("http_401", "HaltAccount"),
    ("http_403", "HaltAccount"),
    ("http_404", "HaltAccount"),
    ("http_429", "SlowDown(account)"),
    ("http_5xx", "Unknown"),
];

const OURS: Table = &[
    ("connect_failed", "SlowDown(account)"),
    ("tls_failed", "SlowDown(account)"),
    ("no_answer", "Unknown"),
    ("connection_lost", "Unknown"),
    ("unreadable_answer", "Unknown"),
    ("answer_too_large", "Unknown"),
    ("missing_in_answer", "Unknown"),
    ("duplicate_in_answer", "Unknown"),
    ("process_died", "Unknown"),
    ("no_code", "FailRecipient"),
    ("missing_value", "FailMessage"),
    ("never_left", "Requeue"),
    ("too_long", "FailMessage"),
    ("not_a_number", "FailMessage"),
    ("suppressed", "suppressed"),
    ("expired", "expired"),
    ("frequency_cap", "suppressed"),
    ("template_paused", "HaltTemplate"),
    ("template_rejected", "HaltTemplate"),
    ("account_restricted", "HaltAccount"),
];

#[test]
fn every_row_does_what_is_decided() {
    let tables: [(Option<Vendor>, &[Table]); 4] = [
        (None, &[OURS]),
        (Some(Vendor::Exotel), &[EXOTEL]),
        (Some(Vendor::SobotIo), &[SOBOT_IO, WHATSAPP]),
        (Some(Vendor::SobotIn), &[SOBOT_IN, WHATSAPP]),
    ];
    for (vendor, expected) in tables {
        let mut rows: Vec<(&str, String)> = codes::all()
            .filter(|entry| entry.vendor == vendor)
            .map(|entry| (entry.code, entry.what_is_done()))
            .collect();
        let mut expected: Vec<(&str, String)> =
            expected.iter().copied().flatten().map(|(code, done)| (*code, (*done).to_owned())).collect();
        rows.sort();
        expected.sort();
        assert_eq!(rows, expected, "{vendor:?}");
    }
}

#[test]
fn every_row_can_be_found_is_alone_and_helps() {
    let mut seen = HashSet::new();
    for entry in codes::all() {
        assert!(seen.insert((entry.vendor, entry.code)), "{entry:?}");
        assert!(!entry.meaning.is_empty() && !entry.advice.is_empty(), "{entry:?}");
        assert!(entry.what_is_done().starts_with(entry.disposition()), "{entry:?}");
        for vendor in
            Vendor::ALL.into_iter().filter(|vendor| entry.vendor.is_none_or(|owner| owner == *vendor))
        {
            let found = codes::find(vendor, entry.code).unwrap();
            assert_eq!((found.code, found.meaning), (entry.code, entry.meaning));
        }
    }
}

fn judged(vendor: Vendor, code: &str, reason: &str, facts: &MessageFacts) -> &'static str {
    codes::judge(vendor, code, reason, facts).disposition.as_str()
}

#[test]
fn a_code_is_judged_by_its_vendor_its_class_and_its_range() {
    let cases = [
        (Vendor::Exotel, "503", "RetrySoon"),
        (Vendor::Exotel, "http_503", "Unknown"),
        (Vendor::Exotel, "131050", "FailRecipient"),
        (Vendor::Exotel, "99999", "FailRecipient"),
        (Vendor::Exotel, "30002", "FailRecipient"),
        (Vendor::SobotIo, "250", "HaltAccount"),
        (Vendor::SobotIo, "300", "FailRecipient"),
        (Vendor::SobotIo, "30012", "FailRecipient"),
        (Vendor::SobotIn, "999997", "FailRecipient"),
        (Vendor::SobotIn, "200", "HaltAccount"),
        (Vendor::SobotIn, "", "FailRecipient"),
        (Vendor::SobotIn, "no_answer", "Unknown"),
    ];
    for (vendor, code, expected) in cases {
        assert_eq!(judged(vendor, code, "", &FACTS), expected, "{vendor} {code}");
    }
    let names: Vec<_> = codes::all().filter_map(|entry| entry.name).collect();
    assert_eq!(names.len(), 43);
}

#[test]
fn what_depends_on_the_message_or_the_text_is_decided_by_it() {
    let base = MessageFacts {
        is_template: true,
        is_marketing: true,
        media_per_row: false,
        parameters_per_row: false,
    };
    let free = MessageFacts { is_template: false, ..base };
    let utility = MessageFacts { is_marketing: false, ..base };
    let per_row = MessageFacts { media_per_row: true, parameters_per_row: true, ..base };
    for (vendor, code) in
        [(Vendor::Exotel, "30018"), (Vendor::SobotIo, "131047"), (Vendor::SobotIn, "131047")]
    {
        assert_eq!(judged(vendor, code, "", &base), "HaltTask");
        assert_eq!(judged(vendor, code, "", &free), "FailRecipient");
    }
    for (vendor, code) in [(Vendor::Exotel, "30008"), (Vendor::SobotIo, "131048")] {
        assert_eq!(judged(vendor, code, "", &base), "HaltSender");
        assert_eq!(judged(vendor, code, "", &utility), "RetryNextDay");
    }
    for (vendor, code) in [(Vendor::Exotel, "30022"), (Vendor::Exotel, "30041"), (Vendor::SobotIn, "132007")]
    {
        let standard = "The message failed as the template format char policy has been violated";
        assert_eq!(judged(vendor, code, standard, &base), "HaltTemplate");
        assert_eq!(judged(vendor, code, "Variable {{2}} holds a new line", &base), "FailMessage");
    }
    for code in ["30034", "30036", "30037", "30038", "30039"] {
        assert_eq!(judged(Vendor::Exotel, code, "", &base), "HaltTask");
        assert_eq!(judged(Vendor::Exotel, code, "", &per_row), "FailMessage");
    }
    for code in ["132000", "132012"] {
        assert_eq!(judged(Vendor::SobotIo, code, "", &base), "HaltTask");
        assert_eq!(judged(Vendor::SobotIo, code, "", &per_row), "FailMessage");
    }
    for (vendor, code) in
        [(Vendor::Exotel, "30016"), (Vendor::SobotIo, "131052"), (Vendor::SobotIn, "131053")]
    {
        for (facts, expected) in [(&base, Exhausted::HaltTask), (&per_row, Exhausted::Fail)] {
            let rule = codes::judge(vendor, code, "", facts);
            assert!(
                matches!(rule.disposition, Disposition::RetrySoon { at_most: 2, then, .. } if then == expected)
            );
        }
    }
    for (text, expected) in [
        ("Invalid mobile number", "FailRecipient"),
        ("Template hello does not exist", "HaltTask"),
        ("parameters do not match", "HaltTask"),
        ("nonsense", "FailMessage"),
    ] {
        assert_eq!(judged(Vendor::SobotIn, "http_400", text, &base), expected);
    }
}

#[test]
fn escalations_say_what_they_count_and_what_they_halt() {
    let maintenance = codes::judge(Vendor::SobotIn, "131057", "", &FACTS).escalation.unwrap();
    assert_eq!((maintenance.when, maintenance.halt), (Trigger::InARow(5), Scope::Sender));
    assert_eq!(maintenance.lifted_after, Some(Duration::from_secs(600)));
    let system = codes::judge(Vendor::Exotel, "30004", "token expired", &FACTS);
    assert_eq!(system.disposition, Disposition::retry_soon(3));
    assert_eq!(system.escalation.map(|escalation| escalation.halt), Some(Scope::Account));
}

#[test]
fn failed_ones_are_retried_but_for_invalid_numbers_opt_outs_and_bad_data() {
    let may = |vendor, code, reason| codes::may_be_retried(vendor, code, reason, &FACTS);
    for (vendor, code) in [
        (Vendor::Exotel, "30004"),
        (Vendor::Exotel, "30014"),
        (Vendor::Exotel, "a code that stands in no table"),
        (Vendor::SobotIo, "131016"),
        (Vendor::SobotIn, "131043"),
    ] {
        assert!(may(vendor, code, ""), "{vendor} {code}");
    }
    for (vendor, code, reason) in [
        (Vendor::Exotel, "30005", "an issue with the phone number"),
        (Vendor::Exotel, "30012", "not a WhatsApp number"),
        (Vendor::Exotel, "30019", "bad parameter"),
        (Vendor::SobotIo, "999996", "WhatsApp number not found"),
        (Vendor::SobotIo, "131050", "stopped marketing"),
        (Vendor::SobotIn, "http_400", "Invalid mobile number"),
        (Vendor::SobotIn, "http_400", "no text"),
        (Vendor::Exotel, "no_answer", ""),
    ] {
        assert!(!may(vendor, code, reason), "{vendor} {code}");
    }
}

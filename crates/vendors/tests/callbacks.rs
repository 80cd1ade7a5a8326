//! Every callback that the documents show, and every form that they describe without showing it.

#![expect(clippy::unwrap_used, reason = "what a test prepares must be there")]

#[cfg(test)]
#[path = "support/mod.rs"]
mod support;

use model::report::{AccountEvent, Event, News, ReportedOutcome};
use vendors::{Vendor, callback};

/// The documents write words and masks where numbers stand in life.
fn with_numbers(text: &str) -> String {
    text.replace("FROM_PHONE_NUMBER_ID", "8618210323232")
        .replace("\"PHONE_NUMBER\"", "\"110243462020762\"")
        .replace("XXXXXX", "123456")
}

/// The callbacks among a vendor's samples.
fn samples(vendor: Vendor) -> Vec<String> {
    let directory = format!("{}/samples/{}", env!("CARGO_MANIFEST_DIR"), vendor.as_str());
    let entries = std::fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().file_name());
    let mut files: Vec<String> = entries.map(|name| name.into_string().unwrap()).collect();
    files.retain(|name| name.starts_with("callback_"));
    files.sort();
    assert!(files.len() >= 4, "{vendor}: {files:?}");
    files
}

#[test]
fn every_sample_is_read_as_the_snapshot_says() {
    for vendor in Vendor::ALL {
        for file in samples(vendor) {
            let news = callback::parse(vendor, with_numbers(&support::sample(vendor, &file)).as_bytes());
            let name = format!("{vendor}_{}", file.trim_end_matches(".json"));
            insta::assert_debug_snapshot!(name, news.unwrap());
        }
    }
}

#[test]
fn what_is_malformed_is_refused_and_says_why() {
    for vendor in Vendor::ALL {
        for body in ["", "  ", "{", "<html></html>", "\"text\"", "17", "null", "{\"a\":1", "\u{0}"] {
            let error = callback::parse(vendor, body.as_bytes()).unwrap_err();
            assert!(!error.reason.is_empty(), "{vendor} {body}");
        }
        assert!(callback::parse(vendor, b"\xff\xfe{}").is_err());
    }
    let error = callback::parse(Vendor::Exotel, br#"{"whatsapp":{"messages":{}}}"#).unwrap_err();
    assert!(error.to_string().contains("whatsapp.messages"), "{error}");
}

#[test]
fn what_is_unknown_but_well_formed_is_taken() {
    let deep = format!("{}1{}", "[".repeat(100), "]".repeat(100));
    let documents = [
        r#"{"hello":"world"}"#,
        "{}",
        r#"{"entry":[]}"#,
        r#"{"entry":[{"changes":[7,{"field":"x"},{"field":"y","value":3}]}]}"#,
        r#"{"type":"status"}"#,
        r#"{"type":"text"}"#,
        r#"{"type":"text","content":null,"from":7}"#,
        r#"{"status":{}}"#,
        r#"{"value":[],"field":"messages"}"#,
        r#"{"whatsapp":{"messages":[null,7,{}]}}"#,
    ];
    for vendor in Vendor::ALL {
        for document in documents {
            let news = callback::parse(vendor, document.as_bytes());
            assert!(news.is_ok(), "{vendor} {document}: {news:?}");
        }
    }
    for vendor in [Vendor::SobotIo, Vendor::SobotIn] {
        assert_eq!(callback::parse(vendor, b"[]").unwrap(), vec![]);
        assert_eq!(callback::parse(vendor, deep.as_bytes()).unwrap(), vec![]);
    }
}

#[test]
fn a_callback_that_is_cut_short_is_malformed() {
    for vendor in Vendor::ALL {
        for file in samples(vendor) {
            let text = support::sample(vendor, &file);
            let whole = text.trim_end().as_bytes();
            for end in 0..whole.len() {
                let news = callback::parse(vendor, &whole[..end]);
                assert!(news.is_err(), "{vendor} {file} cut at {end}: {news:?}");
            }
        }
    }
}

/// The texts of a document, each key with U+0000 in its value and more characters than anybody keeps.
fn spoiled(document: &mut serde_json::Value, path: &str) {
    use serde_json::Value;
    // What says which kind of news it is, and numbers and times, must stay readable.
    const KEPT: [&str; 13] = [
        "callback_type",
        "type",
        "status",
        "field",
        "from",
        "to",
        "timestamp",
        "recipient_id",
        "exo_status",
        "exo_status_code",
        "exo_detailed_status",
        "custom_data",
        "message_status",
    ];
    match document {
        Value::Object(object) => object.iter_mut().for_each(|(key, value)| spoiled(value, key)),
        Value::Array(items) => items.iter_mut().for_each(|item| spoiled(item, path)),
        Value::String(text) if KEPT.contains(&path) => text.insert(0, '\0'),
        Value::String(text) => *text = format!("\0{text}\0{}", "\u{e9}".repeat(70_000)),
        _ => {}
    }
}

#[test]
fn no_news_holds_what_a_database_cannot_keep() {
    let mut seen = 0;
    for vendor in Vendor::ALL {
        for file in samples(vendor) {
            let text = with_numbers(&support::sample(vendor, &file));
            let Ok(mut document) = serde_json::from_str(&text) else { continue };
            spoiled(&mut document, "");
            let body = document.to_string();
            assert!(body.contains("\\u0000"), "{vendor} {file}");
            for news in callback::parse(vendor, body.as_bytes()).unwrap() {
                let longest = longest(&news);
                assert!(
                    longest.iter().all(|(text, most)| text.chars().count() <= *most && !text.contains('\0')),
                    "{vendor} {file}"
                );
                seen += longest.len();
            }
        }
    }
    assert!(seen > 40, "{seen}");
}

/// Every text in a piece of news, with the most characters that it may have.
fn longest(news: &News) -> Vec<(String, usize)> {
    let some = |text: &Option<String>, most| text.clone().map(|text| (text, most));
    match news {
        News::Status(report) => {
            let mut texts = vec![(report.vendor_id.clone(), 512)];
            if let ReportedOutcome::Failed { code, reason } = &report.outcome {
                texts.extend([(code.clone(), 64), (reason.clone(), 500)]);
            }
            texts
        }
        News::Inbound(inbound) => {
            let mut texts = vec![(inbound.to.clone(), 64), (inbound.kind.clone(), 64)];
            texts.extend(some(&inbound.vendor_id, 512));
            texts.extend(some(&inbound.in_reply_to, 512));
            texts.extend(some(&inbound.text, 65_536));
            texts
        }
        News::Preference(_) => Vec::new(),
        News::Event(Event { what, .. }) => longest_of_event(what),
    }
}

fn longest_of_event(event: &AccountEvent) -> Vec<(String, usize)> {
    let (mut texts, rest) = match event.clone() {
        AccountEvent::Template { name, language, event, reason } => {
            (vec![(name, 512), (language, 64), (event, 64)], reason.map(|reason| (reason, 500)))
        }
        AccountEvent::TemplateQuality { name, language, quality, previous } => {
            (vec![(name, 512), (language, 64), (quality, 64)], previous.map(|previous| (previous, 64)))
        }
        AccountEvent::Number { number, event, tier } => {
            (vec![(number, 64), (event, 64)], tier.map(|tier| (tier, 64)))
        }
        AccountEvent::Account { number, event, detail, .. } => {
            (vec![(number, 64), (event, 64)], detail.map(|detail| (detail, 500)))
        }
        AccountEvent::Other { field, event } => (vec![(field, 64), (event, 500)], None),
    };
    texts.extend(rest);
    texts
}

#[test]
fn an_id_with_nul_is_the_id_without() {
    let body = |id: &str| {
        format!(
            r#"{{"id":"{id}","status":"failed","errors":[{{"code":"13\u00001026","title":"a\u0000b"}}]}}"#
        )
    };
    let spoiled = callback::parse(Vendor::SobotIn, body("wamid\\u0000.X").as_bytes()).unwrap();
    let clean = callback::parse(Vendor::SobotIn, body("wamid.X").as_bytes()).unwrap();
    assert_eq!(spoiled, clean);
    let News::Status(report) = &clean[0] else { panic!("{clean:?}") };
    assert_eq!(report.vendor_id, "wamid.X");
    let failed = ReportedOutcome::Failed { code: "131026".to_owned(), reason: "ab".to_owned() };
    assert_eq!(report.outcome, failed);
}

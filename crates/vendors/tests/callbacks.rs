//! Every callback that the documents show, and every form that they describe without showing it.

#![expect(clippy::unwrap_used, reason = "what a test prepares must be there")]

#[cfg(test)]
#[path = "support/mod.rs"]
mod support;

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

//! What an account's configuration must hold, and that its secrets stay in it.

#![expect(clippy::unwrap_used, reason = "what a test prepares must be there")]

#[cfg(test)]
#[path = "support/mod.rs"]
mod support;

use model::FieldError;
use serde_json::{Value, json};
use support::settings;
use vendors::{AccountConfig, AccountSettings, Credentials, Vendor, account};

fn with(vendor: Vendor, changes: &Value) -> Result<AccountConfig, Vec<FieldError>> {
    let mut settings = settings(vendor, "http://127.0.0.1:9");
    let changed: AccountSettings = {
        let mut whole = json!({"name": "main", "vendor": vendor.as_str(), "senders": [{"from": "1"}]});
        whole.as_object_mut().unwrap().extend(changes.as_object().unwrap().clone());
        serde_json::from_value(whole).unwrap()
    };
    macro_rules! take { ($($key:ident)*) => { $(if changes.get(stringify!($key)).is_some() {
        settings.$key = changed.$key;
    })* } }
    take!(name base_url account_sid api_key api_token app_id app_key waba_id access_key secret_key webhook_token
        requests_per_second max_in_flight batch_size template_namespace proxy senders);
    AccountConfig::try_from(settings)
}

fn fields(result: Result<AccountConfig, Vec<FieldError>>) -> Vec<String> {
    result.map_or_else(|errors| errors.into_iter().map(|error| error.field).collect(), |_| Vec::new())
}

#[test]
fn defaults_are_those_of_the_contract() {
    for (vendor, url, batch) in [
        (Vendor::Exotel, "https://api.in.exotel.com", 100),
        (Vendor::SobotIo, "https://sg.sobot.io", 1),
        (Vendor::SobotIn, "https://api.sobot.in", 1),
    ] {
        let mut settings = settings(vendor, "");
        settings.base_url = None;
        settings.batch_size = None;
        let config = AccountConfig::try_from(settings).unwrap();
        assert_eq!((config.base_url.as_str(), config.batch_size, config.max_in_flight), (url, batch, 16));
        assert_eq!(Vendor::from_name(vendor.as_str()), Some(vendor));
        assert_eq!(json!(vendor), json!(vendor.as_str()));
    }
}

#[test]
fn every_missing_and_foreign_key_is_named() {
    assert_eq!(
        fields(with(
            Vendor::Exotel,
            &json!({"account_sid": " ", "api_key": "", "api_token": null, "app_id": "x"})
        )),
        ["app_id", "account_sid", "api_key", "api_token"]
    );
    assert_eq!(
        fields(with(Vendor::SobotIo, &json!({"app_id": "", "app_key": "", "waba_id": "", "batch_size": 10}))),
        ["batch_size", "app_id", "waba_id", "app_key"]
    );
    assert_eq!(
        fields(with(
            Vendor::SobotIn,
            &json!({"access_key": "", "secret_key": "", "template_namespace": "n"})
        )),
        ["template_namespace", "access_key", "secret_key"]
    );
    assert!(
        serde_json::from_value::<AccountSettings>(json!({"name": "a", "vendor": "exotel", "apikey": "x"}))
            .is_err()
    );
    assert!(serde_json::from_value::<AccountSettings>(json!({"name": "a", "vendor": "twilio"})).is_err());
}

#[test]
fn wrong_values_are_named() {
    let wrong = [
        (json!({"name": "a/b"}), "name"),
        (json!({"name": ""}), "name"),
        (json!({"webhook_token": "a/b"}), "webhook_token"),
        (json!({"base_url": "api.example.com"}), "base_url"),
        (json!({"base_url": "ftp://api.example.com"}), "base_url"),
        (json!({"base_url": "https://key:token@api.example.com"}), "base_url"),
        (json!({"base_url": "https://api.example.com?x=1"}), "base_url"),
        (json!({"requests_per_second": 0.0}), "requests_per_second"),
        (json!({"requests_per_second": -1.0}), "requests_per_second"),
        (json!({"requests_per_second": 1e-20}), "requests_per_second"),
        (json!({"requests_per_second": 100_001.0}), "requests_per_second"),
        (json!({"max_in_flight": 0}), "max_in_flight"),
        (json!({"batch_size": 101}), "batch_size"),
        (json!({"batch_size": 0}), "batch_size"),
        (json!({"proxy": "nowhere"}), "proxy"),
        (json!({"senders": []}), "senders"),
        (json!({"senders": [{"from": ""}]}), "senders[0].from"),
        (json!({"senders": [{"from": "1"}, {"from": "1"}]}), "senders[1].from"),
        (json!({"senders": [{"from": "1", "messages_per_second": 0.0}]}), "senders[0].messages_per_second"),
        (json!({"senders": [{"from": "1", "messages_per_second": 1e-9}]}), "senders[0].messages_per_second"),
        (json!({"senders": [{"from": "1", "daily_recipients": 0}]}), "senders[0].daily_recipients"),
    ];
    for (changes, field) in wrong {
        assert_eq!(fields(with(Vendor::Exotel, &changes)), [field], "{changes}");
    }
    // What TOML can write and JSON cannot.
    for rate in [f64::NAN, f64::INFINITY] {
        let mut settings = settings(Vendor::Exotel, "http://127.0.0.1:9");
        settings.requests_per_second = Some(rate);
        settings.senders[0].messages_per_second = Some(rate);
        assert_eq!(
            fields(AccountConfig::try_from(settings)),
            ["requests_per_second", "senders[0].messages_per_second"]
        );
    }
}

#[test]
fn accounts_are_checked_together() {
    let one = with(Vendor::Exotel, &json!({"senders": [{"from": "+911"}, {"from": "+912"}]})).unwrap();
    let two = with(Vendor::Exotel, &json!({"name": "two", "senders": [{"from": "+912"}]})).unwrap();
    let other = with(Vendor::SobotIn, &json!({"name": "main", "senders": [{"from": "+912"}]})).unwrap();
    let errors = account::check_together(&[one, two, other]);
    let fields: Vec<&str> = errors.iter().map(|error| error.field.as_str()).collect();
    assert_eq!(fields, ["accounts[1].senders[0].from", "accounts[2].name"]);
}

#[test]
fn no_secret_is_printed() {
    let config = with(
        Vendor::Exotel,
        &json!({"api_key": "k-hidden", "api_token": "t-hidden", "webhook_token": "w-hidden", "proxy": "http://u:p-hidden@127.0.0.1:1"}),
    )
    .unwrap();
    assert!(
        matches!(&config.credentials, Credentials::Exotel { api_token, .. } if api_token.expose() == "t-hidden")
    );
    let url = config.callback_url("http://127.0.0.1:8080/");
    assert_eq!(url.as_deref(), Some("http://127.0.0.1:8080/webhooks/main/w-hidden"));
    let account = vendors::Account::connect(&config, url.as_deref(), support::clock()).unwrap();
    let shown = format!("{config:?} {account:?}");
    assert!(!shown.contains("hidden"), "{shown}");
    for vendor in [Vendor::SobotIo, Vendor::SobotIn] {
        let keys = json!({"app_key": "a-hidden", "app_id": "1", "waba_id": "1", "proxy": "http://u:p-hidden@127.0.0.1:1"});
        let keys = if vendor == Vendor::SobotIo {
            keys
        } else {
            json!({"access_key": "a-hidden", "secret_key": "s-hidden"})
        };
        let config = with(vendor, &keys).unwrap();
        let account = vendors::Account::connect(&config, None, support::clock()).unwrap();
        assert!(!format!("{config:?} {account:?}").contains("hidden"));
    }
}

#[test]
fn a_key_that_fits_in_no_header_is_refused_without_being_shown() {
    let config = with(Vendor::SobotIn, &json!({"access_key": "line\nbreak"})).unwrap();
    let error = vendors::Account::connect(&config, None, support::clock()).unwrap_err();
    assert!(error.to_string().contains("access_key") && !error.to_string().contains("break"), "{error}");
}

//! `[[accounts]]`: from the tree to what `vendors` checks.

use model::FieldError;
use vendors::account::{AccountConfig, AccountSettings, SenderConfig, Vendor};
use vendors::prices::Prices;
use vendors::secret::Secret;

use super::section::Section;

/// Reads one account; none when anything about it is wrong, which `errors` then says.
pub fn read(mut section: Section<'_>, errors: &mut Vec<FieldError>) -> Option<AccountConfig> {
    let before = errors.len();
    let path = section.path_of("");
    let path = path.trim_end_matches('.').to_owned();
    let name = required(&mut section, "name", "give the account a name, such as name = \"main\"");
    let vendor = required(&mut section, "vendor", "write one of exotel, sobot_io, sobot_in");
    let vendor = vendor.and_then(|vendor| {
        let known = Vendor::from_name(&vendor);
        if known.is_none() {
            section.complain("vendor", "is not a known vendor: write one of exotel, sobot_io, sobot_in");
        }
        known
    });
    let settings = settings(&mut section, name.unwrap_or_default(), vendor.unwrap_or(Vendor::Exotel), errors);
    section.finish(errors);
    vendor?;
    let account = AccountConfig::try_from(settings);
    let more = account.as_ref().err().into_iter().flatten();
    let more = more.map(|error| FieldError::new(format!("{path}.{}", error.field), error.message.as_str()));
    // What could not be read counts as missing there: one complaint about a key is enough.
    let already: Vec<String> = errors[before..].iter().map(|error| error.field.clone()).collect();
    errors.extend(more.filter(|error| !already.contains(&error.field)));
    account.ok().filter(|_| errors.len() == before)
}

fn settings(
    section: &mut Section<'_>,
    name: String,
    vendor: Vendor,
    errors: &mut Vec<FieldError>,
) -> AccountSettings {
    let senders = section.sections("senders").into_iter().map(|sender| read_sender(sender, errors)).collect();
    let prices = read_prices(section.section("price_per_message"), errors);
    let mut secret = |key| section.text(key).map(Secret::new);
    let (api_key, api_token, app_key) = (secret("api_key"), secret("api_token"), secret("app_key"));
    let (access_key, secret_key) = (secret("access_key"), secret("secret_key"));
    let (webhook_token, proxy) = (secret("webhook_token"), secret("proxy"));
    AccountSettings {
        name,
        vendor,
        base_url: section.text("base_url"),
        account_sid: section.text("account_sid"),
        api_key,
        api_token,
        app_id: section.text("app_id"),
        app_key,
        waba_id: section.text("waba_id"),
        access_key,
        secret_key,
        webhook_token,
        requests_per_second: section.number("requests_per_second"),
        max_in_flight: section.whole("max_in_flight", 1).and_then(|n| usize::try_from(n).ok()),
        batch_size: section.whole("batch_size", 1).and_then(|n| usize::try_from(n).ok()),
        template_namespace: section.text("template_namespace"),
        proxy,
        prices,
        senders,
    }
}

fn read_prices(mut section: Section<'_>, errors: &mut Vec<FieldError>) -> Option<Prices> {
    let currency = section.text("currency");
    let numbers = section.other_numbers();
    let mut prices = None;
    if section.is_given() && section.error_count() == 0 {
        match Prices::new(currency, numbers) {
            Ok(read) => prices = Some(read),
            Err(found) => {
                for error in found {
                    section.complain(&error.field, error.message);
                }
            }
        }
    }
    section.finish(errors);
    prices
}

fn read_sender(mut section: Section<'_>, errors: &mut Vec<FieldError>) -> SenderConfig {
    let from = required(&mut section, "from", "write the business number as the vendor names it");
    let sender = SenderConfig {
        from: from.unwrap_or_default(),
        messages_per_second: section.number("messages_per_second"),
        daily_recipients: section.whole_u32("daily_recipients", 1),
    };
    section.finish(errors);
    sender
}

/// A text that must be there.
pub fn required(section: &mut Section<'_>, key: &'static str, remedy: &str) -> Option<String> {
    let errors_before = section.error_count();
    let text = section.text(key);
    if text.is_none() && section.error_count() == errors_before {
        section.complain(key, format!("is missing: {remedy}"));
    }
    text
}

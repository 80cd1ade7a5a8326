//! What a number tells by itself: its country, and that it is hardly one with WhatsApp.
//!
//! Ranges grow old, so nothing here refuses anybody: it warns and estimates.

use rlibphonenumber::{PhoneNumber, PhoneNumberType};

use crate::Phone;

fn parsed(phone: Phone) -> Option<PhoneNumber> {
    PhoneNumber::parse(phone.to_string(), None).ok()
}

/// The two letters of the country that has this number; none: no country is known to.
#[must_use]
pub fn country(phone: Phone) -> Option<String> {
    parsed(phone)?.get_region_code().map(|region| region.to_string())
}

/// Why a message will hardly reach this number; none: nothing speaks against it.
#[must_use]
pub fn doubt(phone: Phone) -> Option<&'static str> {
    use PhoneNumberType as Type;
    let kind = parsed(phone).map_or(Type::Unknown, |number| number.get_type());
    match kind {
        Type::Mobile | Type::FixedLineOrMobile | Type::PersonalNumber | Type::VoIP => None,
        Type::FixedLine => Some("a fixed line: WhatsApp is there only where a business has registered it"),
        Type::TollFree => Some("a toll-free number, which hardly ever has WhatsApp"),
        Type::PremiumRate | Type::SharedCost | Type::UAN | Type::Pager | Type::VoiceMail => {
            Some("a service number, which hardly ever has WhatsApp")
        }
        _ => Some("in no range of numbers that its country is known to use"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn phone(text: &str) -> Phone {
        text.parse().unwrap()
    }

    #[test]
    fn a_number_tells_its_country() {
        for (number, expected) in [
            ("+919876543210", Some("IN")),
            ("+12025550123", Some("US")),
            ("+16045550123", Some("CA")),
            ("+4915112345678", Some("DE")),
            ("+999000000000", None),
        ] {
            assert_eq!(country(phone(number)).as_deref(), expected, "{number}");
        }
    }

    #[test]
    fn mobile_numbers_raise_no_doubt_and_others_do() {
        for number in ["+919876543210", "+12025550123", "+4915112345678"] {
            assert_eq!(doubt(phone(number)), None, "{number}");
        }
        for (number, word) in [
            ("+18005550123", "toll-free"),
            ("+911800123456", "toll-free"),
            ("+493012345678", "fixed line"),
            ("+911111111111", "no range"),
        ] {
            let said = doubt(phone(number)).unwrap_or_default();
            assert!(said.contains(word), "{number}: {said}");
        }
    }
}

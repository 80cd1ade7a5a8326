//! The short way to E.164 for the numbers that most lists consist of: digits of a country whose mobile numbers all have one
//! length, with its code, a trunk prefix or neither.
//!
//! Answers only what the long way (`phone_input`) would answer too, and is silent otherwise: it refuses nothing, and knows no
//! reasons. Two thirds of an import's time went into the long way, which runs a dozen regular expressions a number.

use crate::Phone;

/// A country whose mobile numbers look alike. Every row is proved against the long way by the tests below.
#[derive(Debug)]
struct Plan {
    /// The region that a number without a country code is of.
    region: &'static str,
    country_code: u64,
    /// Digits after the country code.
    digits: u32,
    /// What those digits may begin with.
    first: &'static [u8],
    /// Whether a 0 is written before them within the country.
    has_trunk: bool,
}

const PLANS: [Plan; 14] = [
    plan("IN", 91, 10, b"6789", true),
    plan("AE", 971, 9, b"5", true),
    plan("SA", 966, 9, b"5", true),
    plan("SG", 65, 8, b"89", false),
    plan("HK", 852, 8, b"569", false),
    plan("PH", 63, 10, b"9", true),
    plan("PK", 92, 10, b"3", true),
    plan("BD", 880, 10, b"1", true),
    plan("LK", 94, 9, b"7", true),
    plan("TH", 66, 9, b"689", true),
    plan("KE", 254, 9, b"7", true),
    plan("NG", 234, 10, b"789", true),
    plan("ZA", 27, 9, b"678", true),
    plan("EG", 20, 10, b"1", true),
];

const fn plan(
    region: &'static str,
    country_code: u64,
    digits: u32,
    first: &'static [u8],
    has_trunk: bool,
) -> Plan {
    Plan { region, country_code, digits, first, has_trunk }
}

/// What numbers without a country code are taken for. Found once for a region, because the search costs more than the rest.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Shortcut {
    domestic: Option<&'static Plan>,
}

impl Shortcut {
    /// The shortcut for lists whose default region is `region`, by its two letters.
    pub(crate) fn of(region: &str) -> Self {
        Self { domestic: PLANS.iter().find(|plan| plan.region == region) }
    }

    /// The number that `text` is beyond doubt. None says nothing.
    pub(crate) fn take(self, text: &str) -> Option<Phone> {
        let mut written = Written::read(text)?;
        if !written.international && written.zeros == 2 {
            // 00 stands for the plus.
            (written.international, written.zeros, written.count) = (true, 0, written.count - 2);
        }
        if !written.international {
            return self.domestic.and_then(|plan| plan.domestic(&written));
        }
        if written.zeros > 0 {
            return None;
        }
        let plan = self.domestic.filter(|plan| plan.international(&written));
        plan.or_else(|| PLANS.iter().find(|plan| plan.international(&written)))?;
        Phone::from_digits(written.value)
    }
}

impl Plan {
    fn international(&self, written: &Written) -> bool {
        let power = 10u64.pow(self.digits);
        written.value / power == self.country_code && self.begins_well(written.value % power)
    }

    fn domestic(&self, written: &Written) -> Option<Phone> {
        let trunk = u32::from(self.has_trunk && written.zeros == 1);
        if written.zeros != trunk {
            return None;
        }
        if written.count == self.digits + trunk && self.begins_well(written.value) {
            return Phone::from_digits(self.country_code * 10u64.pow(self.digits) + written.value);
        }
        // The code without its plus.
        (trunk == 0 && self.international(written)).then(|| Phone::from_digits(written.value))?
    }

    /// Whether `national` has as many digits as the country's numbers, and begins like them.
    fn begins_well(&self, national: u64) -> bool {
        let first = national / 10u64.pow(self.digits - 1);
        self.first.iter().any(|digit| u64::from(digit - b'0') == first)
    }
}

/// The digits of a text that holds nothing but them, separators and a plus before them.
struct Written {
    international: bool,
    value: u64,
    /// Digits, with the zeros before them.
    count: u32,
    /// Zeros before the first other digit.
    zeros: u32,
}

impl Written {
    fn read(text: &str) -> Option<Self> {
        let mut written = Self { international: false, value: 0, count: 0, zeros: 0 };
        // Longer texts than this are not what lists consist of, and the value would not fit.
        if text.len() > 24 {
            return None;
        }
        for byte in text.bytes() {
            match byte {
                b'0'..=b'9' => {
                    written.value = written.value.checked_mul(10)? + u64::from(byte - b'0');
                    written.count += 1;
                    written.zeros += u32::from(written.value == 0);
                }
                b'+' if written.count == 0 && !written.international => written.international = true,
                // A dot may be a spreadsheet's decimal point: the long way knows.
                b' ' | b'-' | b'(' | b')' => {}
                _ => return None,
            }
        }
        Some(written)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::phone_input::{Region, normalise_at_length};

    const REGIONS: [&str; 18] = [
        "IN", "AE", "SA", "SG", "HK", "PH", "PK", "BD", "LK", "TH", "KE", "NG", "ZA", "EG", "US", "IT", "BR",
        "ID",
    ];

    fn same(text: &str, region: Option<&str>) -> Result<bool, TestCaseError> {
        let long = region.map(|region| region.parse::<Region>().unwrap());
        let Some(phone) = region.map_or_else(Shortcut::default, Shortcut::of).take(text) else {
            return Ok(false);
        };
        prop_assert_eq!(normalise_at_length(text, long), Ok(phone), "{:?} in {:?}", text, region);
        Ok(true)
    }

    /// Every beginning of four digits of every plan, in every form, within its region, within another and without one.
    #[test]
    fn every_range_of_every_plan_is_what_the_long_way_says() {
        for (at, plan) in PLANS.iter().enumerate() {
            let mut taken = 0;
            for beginning in (0..10_000u64).step_by(3) {
                let rest = (beginning * 7919 + 13) % 10u64.pow(plan.digits - 4);
                let national = beginning * 10u64.pow(plan.digits - 4) + rest;
                let (code, width) = (plan.country_code, plan.digits as usize);
                let other = REGIONS[(at + 1 + usize::try_from(beginning % 17).unwrap()) % REGIONS.len()];
                for text in [
                    format!("{national:0width$}"),
                    format!("0{national:0width$}"),
                    format!("{code}{national:0width$}"),
                    format!("+{code}{national:0width$}"),
                    format!("00{code}{national:0width$}"),
                    format!("+{code}0{national:0width$}"),
                ] {
                    taken += u32::from(same(&text, Some(plan.region)).unwrap());
                    same(&text, Some(other)).unwrap();
                    same(&text, None).unwrap();
                }
            }
            assert!(taken >= 1200, "{} is hardly ever taken", plan.region);
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(5_000))]
        #[test]
        fn whatever_is_taken_is_what_the_long_way_says(
            plus in "(\\+|00|0|\\(|)",
            code in prop::sample::select(vec!["91", "971", "966", "65", "852", "63", "92", "880", "94", "66", "254", "234", "27", "20", "1", "39", "55", "62", ""]),
            gap in "( |-|0|\\(0\\)|)",
            digits in "[0-9]{5,11}",
            region in prop::sample::select(REGIONS.to_vec()),
            has_region in any::<bool>(),
        ) {
            same(&format!("{plus}{code}{gap}{digits}"), has_region.then_some(region))?;
        }

        #[test]
        fn any_short_text_is_taken_rightly_or_not_at_all(text in "[-+0-9 ().]{0,26}", region in prop::sample::select(REGIONS.to_vec())) {
            same(&text, Some(region))?;
            same(&text, None)?;
        }
    }
}

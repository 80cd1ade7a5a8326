//! Phone numbers as people and spreadsheets write them, made into E.164.
//!
//! Never guesses: a letter, a spreadsheet's notation or a length that the country's numbers do not have is refused with
//! a reason of its own, because a guess would write to somebody else. Lengths are judged, not number ranges: the ranges
//! that this program knows grow old, and the vendor refuses a number that nobody has.

use std::{fmt, str::FromStr};

use rlibphonenumber::{
    NumberLengthType, PHONE_NUMBER_UTIL, ParseError, PhoneNumber, PhoneNumberType, ValidationError,
};

use crate::{FieldError, Phone, phone_shortcut::Shortcut};

/// E.164 has 15 digits; the longest international and trunk prefixes add a few.
const MAX_DIGITS: usize = 22;

/// The region whose country code a number without one gets: `IN`, `US`, `DE`.
#[derive(Clone, Copy)]
pub struct Region {
    id: rlibphonenumber::Region,
    shortcut: Shortcut,
}

impl FromStr for Region {
    type Err = FieldError;

    fn from_str(text: &str) -> Result<Self, FieldError> {
        text.trim()
            .parse::<rlibphonenumber::Region>()
            .ok()
            .filter(|region| PHONE_NUMBER_UTIL.get_country_code_for_region(*region).is_some())
            .map(|id| Self { id, shortcut: Shortcut::of(&id.to_string()) })
            .ok_or_else(|| {
                let shown: String = text.chars().take(40).collect();
                let message = format!(
                    "`{shown}` is no region with phone numbers: use the two letters of ISO 3166-1, such as IN"
                );
                FieldError::new("default_region", message)
            })
    }
}

impl fmt::Display for Region {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.id)
    }
}

impl fmt::Debug for Region {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Region({})", self.id)
    }
}

/// Why a text is no phone number. The words are what the rejects of an import show.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PhoneProblem {
    /// Nothing, or nothing but spaces.
    #[error("the phone is empty")]
    Empty,
    /// `9.87E+09`: the digits are lost.
    #[error("spreadsheet notation: the last digits are lost; format the column as text and export again")]
    Notation,
    /// `98765O3210`.
    #[error("the phone holds the letter `{0}`")]
    Letter(char),
    /// `98765/98766`.
    #[error("the phone holds `{0}`, which no phone number has")]
    Character(char),
    /// A plus within or after the digits.
    #[error("the phone holds a plus that is not at its start")]
    Plus,
    /// Too few digits.
    #[error("too short: {digits} digits{}", country(*.country_code))]
    TooShort {
        /// How many digits there are, without prefixes.
        digits: usize,
        /// The country whose numbers are longer, when it is known.
        country_code: Option<i32>,
    },
    /// Too many digits.
    #[error("too long: {digits} digits{}", country(*.country_code))]
    TooLong {
        /// How many digits there are, without prefixes.
        digits: usize,
        /// The country whose numbers are shorter, when it is known.
        country_code: Option<i32>,
    },
    /// Between the shortest and the longest, but no number of the country has this length.
    #[error("no number of country code +{country_code} has {digits} digits")]
    Length {
        /// How many digits there are, without prefixes.
        digits: usize,
        /// The country.
        country_code: i32,
    },
    /// A country code that no country has.
    #[error("the country code is not in use")]
    CountryCode,
    /// No country code and no default region.
    #[error("the country is not known: begin with + and the country code, or give a default region")]
    NoRegion,
}

fn country(code: Option<i32>) -> String {
    code.map_or_else(String::new, |code| format!(" after the country code +{code}"))
}

/// Makes a phone number out of what somebody wrote. Numbers without a country code are taken to be of `region`.
///
/// Accepted around and between the digits: spaces of all kinds, hyphens, brackets, dots, a leading apostrophe, `="…"`, a
/// trailing `.0`, a prefix 00, a trunk 0, digits of other scripts, invisible marks that copying leaves behind.
///
/// # Errors
/// Says what is wrong with the text.
pub fn normalise(text: &str, region: Option<Region>) -> Result<Phone, PhoneProblem> {
    let shortcut = region.map(|region| region.shortcut).unwrap_or_default();
    shortcut.take(text).map_or_else(|| normalise_at_length(text, region), Ok)
}

/// The long way, which knows every country and every reason.
pub(crate) fn normalise_at_length(text: &str, region: Option<Region>) -> Result<Phone, PhoneProblem> {
    let mut dialled = Dialled::read(text)?;
    dialled.strip_international_prefix();
    if !dialled.international && region.is_none() {
        // Digits alone may begin with a country code; only a number that is in use settles that they do.
        dialled.international = true;
        let number = dialled.parse(None).map_err(|_| PhoneProblem::NoRegion)?;
        return if number.is_valid() { e164(&number) } else { Err(PhoneProblem::NoRegion) };
    }
    let number = dialled.parse(region)?;
    check_length(&number)?;
    e164(&number)
}

/// The plus and the digits of a text, in a buffer of fixed size.
struct Dialled {
    international: bool,
    /// The plus and the digits, ASCII; the plus stands at 0 whether or not the text had one.
    bytes: [u8; MAX_DIGITS + 1],
    len: usize,
}

impl Dialled {
    fn read(text: &str) -> Result<Self, PhoneProblem> {
        let text = strip_wrapping(text);
        if is_notation(text) {
            return Err(PhoneProblem::Notation);
        }
        let mut dialled = Self { international: false, bytes: [b'+'; MAX_DIGITS + 1], len: 1 };
        let mut digits = 0;
        for character in strip_decimals(text).chars() {
            match kind(character) {
                Kind::Digit(digit) => {
                    digits += 1;
                    if dialled.len <= MAX_DIGITS {
                        dialled.bytes[dialled.len] = b'0' + digit;
                        dialled.len += 1;
                    }
                }
                Kind::Plus if digits == 0 && !dialled.international => dialled.international = true,
                Kind::Plus => return Err(PhoneProblem::Plus),
                Kind::Separator => {}
                Kind::Letter => return Err(PhoneProblem::Letter(character)),
                Kind::Other => return Err(PhoneProblem::Character(character)),
            }
        }
        match digits {
            0 => Err(PhoneProblem::Empty),
            1..=MAX_DIGITS => Ok(dialled),
            _ => Err(PhoneProblem::TooLong { digits, country_code: None }),
        }
    }

    /// 00 stands for the plus, whatever the region's own prefix is.
    fn strip_international_prefix(&mut self) {
        if !self.international && self.bytes[1..self.len].starts_with(b"00") {
            self.bytes.copy_within(3..self.len, 1);
            self.len -= 2;
            self.international = true;
        }
    }

    fn parse(&self, region: Option<Region>) -> Result<PhoneNumber, PhoneProblem> {
        let start = usize::from(!self.international);
        let text = std::str::from_utf8(&self.bytes[start..self.len]).unwrap_or_default();
        let digits = self.len - 1;
        PhoneNumber::parse(text, region.map(|region| region.id)).map_err(|error| match error {
            ParseError::InvalidCountryCode => PhoneProblem::CountryCode,
            ParseError::TooLongNsn => PhoneProblem::TooLong { digits, country_code: None },
            ParseError::TooShortAfterIdd | ParseError::TooShortNsn | ParseError::NotANumber(_) => {
                PhoneProblem::TooShort { digits, country_code: None }
            }
        })
    }
}

/// A number passes when it is as long as the country's mobile numbers, or when it is another number in use there: a
/// business may answer on a fixed line. By length alone a mobile number with a missing digit would pass in many countries.
fn check_length(number: &PhoneNumber) -> Result<(), PhoneProblem> {
    let code = number.country_code;
    let possible = PHONE_NUMBER_UTIL.is_possible_number_for_type_with_reason(number, PhoneNumberType::Mobile);
    if possible == Ok(NumberLengthType::IsPossible) || number.is_valid() {
        return Ok(());
    }
    let digits = national_digits(number);
    Err(match possible {
        Ok(_) | Err(ValidationError::TooShort) => PhoneProblem::TooShort { digits, country_code: Some(code) },
        Err(ValidationError::TooLong) => PhoneProblem::TooLong { digits, country_code: Some(code) },
        Err(ValidationError::InvalidLength) => PhoneProblem::Length { digits, country_code: code },
        Err(ValidationError::InvalidCountryCode) => PhoneProblem::CountryCode,
    })
}

fn national_digits(number: &PhoneNumber) -> usize {
    let zeros = if number.italian_leading_zero == Some(true) {
        usize::try_from(number.number_of_leading_zeros.unwrap_or(1)).unwrap_or(0)
    } else {
        0
    };
    let digits = number.national_number.checked_ilog10().unwrap_or(0) as usize + 1;
    zeros + digits
}

fn e164(number: &PhoneNumber) -> Result<Phone, PhoneProblem> {
    let digits = national_digits(number);
    let too_long = PhoneProblem::TooLong { digits, country_code: Some(number.country_code) };
    let country_code = u64::try_from(number.country_code).map_err(|_| PhoneProblem::CountryCode)?;
    let shift = u32::try_from(digits).ok().and_then(|digits| 10u64.checked_pow(digits)).ok_or(too_long)?;
    let whole = country_code.checked_mul(shift).and_then(|high| high.checked_add(number.national_number));
    let whole = whole.ok_or(too_long)?;
    let short = PhoneProblem::TooShort { digits, country_code: Some(number.country_code) };
    Phone::from_digits(whole).ok_or(if whole < 1_000_000 { short } else { too_long })
}

enum Kind {
    Digit(u8),
    Plus,
    Separator,
    Letter,
    Other,
}

fn kind(character: char) -> Kind {
    match character {
        '0'..='9' => Kind::Digit(character as u8 - b'0'),
        '+' | '\u{FF0B}' => Kind::Plus,
        ' ' | '-' | '(' | ')' | '[' | ']' | '.' => Kind::Separator,
        // Hyphens and dashes, the minus, their full-width sisters.
        '\u{2010}'..='\u{2015}'
        | '\u{2212}'
        | '\u{FE63}'
        | '\u{FF0D}'
        | '\u{FF08}'
        | '\u{FF09}'
        | '\u{FF0E}' => Kind::Separator,
        _ if is_blank(character) => Kind::Separator,
        _ => match foreign_digit(character) {
            Some(digit) => Kind::Digit(digit),
            None if character.is_alphabetic() => Kind::Letter,
            None => Kind::Other,
        },
    }
}

/// Spaces of all kinds, and the marks of direction and joining that address books leave around numbers.
fn is_blank(character: char) -> bool {
    character.is_whitespace()
        || matches!(character, '\u{AD}' | '\u{200B}'..='\u{200F}' | '\u{202A}'..='\u{202E}' | '\u{2060}'..='\u{2069}' | '\u{FEFF}')
}

/// The zeros of the scripts whose digits people write phone numbers with; nine digits follow each.
const ZEROS: [char; 14] = [
    '\u{0660}', '\u{06F0}', '\u{0966}', '\u{09E6}', '\u{0A66}', '\u{0AE6}', '\u{0B66}', '\u{0BE6}',
    '\u{0C66}', '\u{0CE6}', '\u{0D66}', '\u{0E50}', '\u{1040}', '\u{FF10}',
];

fn foreign_digit(character: char) -> Option<u8> {
    ZEROS.iter().find_map(|zero| {
        let distance = u32::from(character).checked_sub(u32::from(*zero))?;
        u8::try_from(distance).ok().filter(|digit| *digit < 10)
    })
}

/// Without blanks around, `="…"` (a spreadsheet's way to keep text) and leading apostrophes (another).
fn strip_wrapping(text: &str) -> &str {
    let text = text.trim_matches(is_blank);
    let text = text.strip_prefix("=\"").and_then(|rest| rest.strip_suffix('"')).unwrap_or(text);
    text.trim_start_matches(['\'', '\u{2018}', '\u{2019}', '`']).trim_matches(is_blank)
}

/// Without the `.0` that a spreadsheet puts behind a number that it took for a quantity.
fn strip_decimals(text: &str) -> &str {
    match text.split_once('.') {
        Some((whole, zeros)) if matches!(zeros, "0" | "00") && whole.len() > 2 => whole,
        _ => text,
    }
}

/// Whether `text` is `9.87E+09` or its like, with a point or a comma.
fn is_notation(text: &str) -> bool {
    let Some((mantissa, exponent)) = text.split_once(['e', 'E']) else { return false };
    let exponent = exponent.strip_prefix(['+', '-']).unwrap_or(exponent);
    let mantissa = mantissa.strip_prefix(['+', '-']).unwrap_or(mantissa);
    let (whole, fraction) = mantissa.split_once(['.', ',']).unwrap_or((mantissa, "0"));
    let all_digits = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
    all_digits(exponent)
        && exponent.len() <= 3
        && whole.len() == 1
        && all_digits(whole)
        && all_digits(fraction)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn india(text: &str) -> Result<Phone, PhoneProblem> {
        normalise(text, Some("IN".parse().unwrap()))
    }

    #[test]
    fn accepts_what_people_and_spreadsheets_write() {
        for text in [
            "+919876543210",
            "919876543210",
            "9876543210",
            "09876543210",
            "00919876543210",
            "+91 98765 43210",
            "+91-98765-43210",
            "(+91) 98765 43210",
            "+91 (0) 98765 43210",
            "98765.43210",
            "'9876543210",
            "\u{2019}+919876543210",
            "9876543210.0",
            "919876543210.00",
            " 9876543210\t",
            "98765\u{a0}43210",
            "\u{202a}+91 98765 43210\u{202c}",
            "=\"9876543210\"",
            "９８７６５４３２１０",
            "९८७६५४३२१०",
            "٩٨٧٦٥٤٣٢١٠",
            "＋919876543210",
            "98765\u{2013}43210",
            "[98765] 43210",
            "+91 098765 43210",
        ] {
            assert_eq!(india(text).map(Phone::digits), Ok(919_876_543_210), "{text}");
        }
    }

    #[test]
    fn numbers_of_other_countries_keep_their_leading_zeros_and_codes() {
        for (text, digits) in [
            ("+39 06 698 12345", 390_669_812_345),
            ("+44 20 7946 0958", 442_079_460_958),
            ("+1 (555) 010-0123", 15_550_100_123),
            ("0044 7911 123456", 447_911_123_456),
            ("+49 1512 3456789", 4_915_123_456_789),
            ("+971 50 123 4567", 971_501_234_567),
        ] {
            assert_eq!(india(text).map(Phone::digits), Ok(digits), "{text}");
        }
    }

    #[test]
    fn each_bad_text_has_its_own_reason() {
        use PhoneProblem as P;
        let code = Some(91);
        for (text, problem) in [
            ("", P::Empty),
            ("  \u{a0}", P::Empty),
            ("-", P::Empty),
            ("9.87E+09", P::Notation),
            ("9,19876E+11", P::Notation),
            ("9.19876e11", P::Notation),
            ("9E+09", P::Notation),
            ("98765O3210", P::Letter('O')),
            ("not a number", P::Letter('n')),
            ("+91 98765 43210 ext 5", P::Letter('e')),
            ("98765/43210", P::Character('/')),
            ("9876543210;9876543211", P::Character(';')),
            ("98765+43210", P::Plus),
            ("98765", P::TooShort { digits: 5, country_code: code }),
            ("987654321", P::TooShort { digits: 9, country_code: code }),
            ("+91987654321", P::TooShort { digits: 9, country_code: code }),
            ("1", P::TooShort { digits: 1, country_code: None }),
            ("98765432101", P::TooLong { digits: 11, country_code: code }),
            ("+9198765432101", P::TooLong { digits: 11, country_code: code }),
            ("12345678901234567890123", P::TooLong { digits: 23, country_code: None }),
            ("+2109876543210", P::CountryCode),
        ] {
            assert_eq!(india(text), Err(problem), "{text}");
        }
    }

    #[test]
    fn a_local_number_without_its_area_is_too_short() {
        let region = Some("US".parse().unwrap());
        assert!(matches!(normalise("555-0123", region), Err(PhoneProblem::TooShort { .. })));
        assert_eq!(normalise("(212) 555-0123", region).map(Phone::digits), Ok(12_125_550_123));
    }

    #[test]
    fn without_a_region_only_a_number_in_use_passes_without_its_plus() {
        assert_eq!(normalise("919876543210", None).map(Phone::digits), Ok(919_876_543_210));
        assert_eq!(normalise("9876543210", None), Err(PhoneProblem::NoRegion));
        assert_eq!(normalise("+919876543210", None).map(Phone::digits), Ok(919_876_543_210));
    }

    #[test]
    fn a_region_without_phones_is_a_field_error() {
        for text in ["", "XX", "India", "91", "001"] {
            assert_eq!(text.parse::<Region>().unwrap_err().field, "default_region", "{text}");
        }
        assert_eq!("in".parse::<Region>().unwrap().to_string(), "IN");
    }

    proptest! {
        #[test]
        fn any_text_is_answered(text in ".{0,40}") {
            if let Ok(phone) = india(&text) {
                prop_assert_eq!(india(&phone.to_string()), Ok(phone));
            }
        }

        #[test]
        fn separators_change_nothing(number in 6_000_000_000u64..9_999_999_999, gaps in prop::collection::vec(0usize..5, 10)) {
            let plain = number.to_string();
            let spread: String = plain
                .chars()
                .zip(&gaps)
                .flat_map(|(digit, gap)| [Some(digit), [None, Some(' '), Some('-'), Some('\u{a0}'), Some(')')][*gap]])
                .flatten()
                .collect();
            prop_assert_eq!(india(&spread), india(&plain));
            prop_assert_eq!(india(&format!("+91{plain}")), india(&plain));
            prop_assert_eq!(india(&format!("00 91 {spread}")), india(&plain));
            prop_assert_eq!(india(&plain).map(Phone::digits), Ok(910_000_000_000 + number));
        }

        #[test]
        fn a_letter_among_the_digits_is_always_refused(number in 6_000_000_000u64..9_999_999_999, at in 0usize..10, letter in "[A-Za-z]") {
            let mut text = number.to_string();
            text.replace_range(at..=at, &letter);
            prop_assert!(india(&text).is_err());
        }
    }
}

//! A telephone number in E.164 form, held as its digits.

use std::{fmt, str::FromStr};

/// An E.164 number: country code and subscriber number, at most 15 digits, fits 64 bits.
///
/// Shown with its plus. Use [`Phone::masked`] in logs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
#[serde(transparent)]
pub struct Phone(u64);

impl Phone {
    /// The number whose digits are `digits`; none when it has fewer than 7 or more than 15.
    #[must_use]
    pub fn from_digits(digits: u64) -> Option<Self> {
        (1_000_000..1_000_000_000_000_000).contains(&digits).then_some(Self(digits))
    }

    /// The digits, country code first, without the plus.
    #[must_use]
    pub fn digits(self) -> u64 {
        self.0
    }

    /// The digits as the database keeps them (`bigint`).
    #[must_use]
    pub fn as_i64(self) -> i64 {
        self.0.cast_signed()
    }

    /// The number as logs may show it: all but the last four digits starred.
    #[must_use]
    pub fn masked(self) -> String {
        let text = self.0.to_string();
        let shown = text.len().saturating_sub(4);
        format!("+{}{}", "*".repeat(shown), &text[shown..])
    }
}

impl fmt::Display for Phone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "+{}", self.0)
    }
}

/// A string that is not an E.164 number.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("`{0}` is not a phone number in international form, such as +919876543210")]
pub struct NotAPhone(pub String);

impl FromStr for Phone {
    type Err = NotAPhone;

    /// Reads digits with or without a leading plus. Vendors report numbers either way.
    fn from_str(text: &str) -> Result<Self, NotAPhone> {
        let digits = text.trim().trim_start_matches('+');
        let refused = || NotAPhone(text.chars().take(40).collect());
        if digits.is_empty() || digits.len() > 15 || !digits.bytes().all(|b| b.is_ascii_digit()) {
            return Err(refused());
        }
        digits.parse().ok().and_then(Self::from_digits).ok_or_else(refused)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_with_and_without_plus_and_shows_with_plus() {
        for text in ["+919876543210", "919876543210", " 919876543210 "] {
            let phone: Phone = text.parse().unwrap();
            assert_eq!(phone.to_string(), "+919876543210");
            assert_eq!(phone.masked(), "+********3210");
        }
    }

    #[test]
    fn refuses_what_is_no_number() {
        for text in ["", "+", "12", "98765O3210", "9.87E+09", "1234567890123456"] {
            assert!(text.parse::<Phone>().is_err(), "{text}");
        }
    }
}

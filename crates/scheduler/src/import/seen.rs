//! Which phones the file has named already, and on which line each recipient stands.
//!
//! Compressed bitmaps, both: about 7 bytes a phone at a million random ones and 3 at ten million, and a bit or two a line. A
//! map from phone to line would take 17 to 34. The price is that a duplicate's first line is not known at once: the phones
//! of duplicates are kept and looked up among the recipients when those have been written.

use model::Phone;
use roaring::RoaringTreemap;

#[derive(Debug, Default)]
pub(super) struct Seen {
    phones: RoaringTreemap,
    lines: RoaringTreemap,
}

impl Seen {
    /// Takes a recipient. False: the phone was taken before.
    pub(super) fn take(&mut self, phone: Phone, line: u64) -> bool {
        let new = self.phones.insert(spread(phone));
        if new {
            self.lines.insert(line);
        }
        new
    }

    /// The line on which the recipient of this number stands. Each record begins a line of its own, and recipients are
    /// numbered in the file's order.
    pub(super) fn line(&self, no: i32) -> Option<u64> {
        self.lines.select(u64::try_from(no).ok()?.checked_sub(1)?)
    }
}

/// The treemap's upper half chooses a bitmap. A phone's own upper 32 bits hardly differ within a country, and one bitmap of
/// tens of thousands of containers moves half of them at each insertion; 24 bits below keep it to 256.
fn spread(phone: Phone) -> u64 {
    let digits = phone.digits();
    ((digits >> 24) << 32) | (digits & 0xFF_FFFF)
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn agrees_with_a_map(rows in prop::collection::vec((1_000_000u64..1_000_200, 1u64..4), 0..300)) {
            let mut seen = Seen::default();
            let mut first_lines = HashMap::new();
            let mut taken = Vec::new();
            let mut line = 1;
            for (digits, gap) in rows {
                line += gap;
                let new = seen.take(Phone::from_digits(digits).unwrap(), line);
                prop_assert_eq!(new, !first_lines.contains_key(&digits));
                if new {
                    first_lines.insert(digits, line);
                    taken.push(line);
                }
            }
            for (no, line) in (1..).zip(taken) {
                prop_assert_eq!(seen.line(no), Some(line));
            }
        }

        #[test]
        fn different_phones_stay_different(a in 1_000_000u64..1_000_000_000_000_000, b in 1_000_000u64..1_000_000_000_000_000) {
            prop_assume!(a != b);
            prop_assert_ne!(spread(Phone::from_digits(a).unwrap()), spread(Phone::from_digits(b).unwrap()));
        }
    }
}

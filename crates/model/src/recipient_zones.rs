//! The time zones that a recipient may be in: by a column of the audience, else by the number.
//!
//! The table is libphonenumber's (`data/phone_time_zones.txt`). A number often tells no more than its country; then all
//! zones of the country are meant, and a window is open when it is open in all of them. It must never guess one of several.

use std::sync::LazyLock;

use chrono_tz::Tz;

use crate::{
    Phone,
    message::{Column, Columns},
};

/// The column of an audience that names a recipient's zone.
pub const TIME_ZONE_COLUMN: &str = "time_zone";

/// The place of the column [`TIME_ZONE_COLUMN`] among a row's values, named as a placeholder would name it.
#[must_use]
pub fn column_of(columns: &Columns) -> Option<usize> {
    match columns.resolve(TIME_ZONE_COLUMN) {
        Ok(Column::Row(at)) => Some(at),
        Ok(Column::Phone) | Err(_) => None,
    }
}

/// Digits of the longest prefix.
const LONGEST_PREFIX: usize = 9;

/// The zones that a recipient may be in. Two recipients with equal ones have the same windows: what is computed for one
/// need not be computed for the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct RecipientZones(Source);

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Source {
    Column(Tz),
    /// An index into the table's sets.
    Number(u16),
    Nothing,
}

/// Why the zones of a recipient may not be what was meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ZoneDoubt {
    /// The column names no zone that exists: the number decided.
    NoSuchZone,
    /// Nothing is known of the number's whereabouts: UTC is taken.
    NoPlace,
}

impl RecipientZones {
    /// The zones of a recipient with this number, and with this in the column [`TIME_ZONE_COLUMN`]; blanks are nothing.
    #[must_use]
    pub fn of(phone: Phone, column: Option<&str>) -> (Self, Option<ZoneDoubt>) {
        let column = column.map(str::trim).filter(|column| !column.is_empty());
        match column.map(named) {
            Some(Some(zone)) => (Self(Source::Column(zone)), None),
            Some(None) => (Self::of_number(phone), Some(ZoneDoubt::NoSuchZone)),
            None => {
                let zones = Self::of_number(phone);
                (zones, (zones.0 == Source::Nothing).then_some(ZoneDoubt::NoPlace))
            }
        }
    }

    fn of_number(phone: Phone) -> Self {
        Self(TABLE.set_of(phone.digits()).map_or(Source::Nothing, Source::Number))
    }

    /// Each of them; at least one.
    #[must_use]
    pub fn as_slice(&self) -> &[Tz] {
        match &self.0 {
            Source::Column(zone) => std::slice::from_ref(zone),
            Source::Number(set) => TABLE.sets.get(usize::from(*set)).map_or(&[Tz::UTC], Vec::as_slice),
            Source::Nothing => &[Tz::UTC],
        }
    }
}

/// The zone of this name, however it is capitalised.
fn named(name: &str) -> Option<Tz> {
    let any_case =
        || chrono_tz::TZ_VARIANTS.iter().find(|zone| zone.name().eq_ignore_ascii_case(name)).copied();
    name.parse().ok().or_else(any_case)
}

static TABLE: LazyLock<Table> =
    LazyLock::new(|| Table::read(include_str!("../data/phone_time_zones.txt")).unwrap_or_default());

/// Prefixes and what they tell.
#[derive(Debug, Default)]
struct Table {
    sets: Vec<Vec<Tz>>,
    /// By the number of digits less one: first and last prefix of a run, and its set; in order.
    runs: [Vec<(u32, u32, u16)>; LONGEST_PREFIX],
}

impl Table {
    fn set_of(&self, digits: u64) -> Option<u16> {
        let length = digits.checked_ilog10()? as usize + 1;
        (1..=LONGEST_PREFIX.min(length)).rev().find_map(|n| {
            let cut = u32::try_from(length - n).ok()?;
            let prefix = u32::try_from(digits / 10_u64.pow(cut)).ok()?;
            let runs = &self.runs[n - 1];
            let after = runs.partition_point(|(first, ..)| *first <= prefix);
            let (_, last, set) = runs.get(after.checked_sub(1)?)?;
            (prefix <= *last).then_some(*set)
        })
    }

    /// The table of the file; none when a line of it cannot be read. The file is part of the program: a test reads it.
    fn read(text: &str) -> Option<Self> {
        let mut table = Self::default();
        for line in text.lines().filter(|line| !line.starts_with('#')) {
            let (zones, prefixes) = line.split_once(' ')?;
            let set = u16::try_from(table.sets.len()).ok()?;
            table.sets.push(zones.split(',').map(|zone| zone.parse().ok()).collect::<Option<_>>()?);
            for run in prefixes.split(' ') {
                let (first, last) = run.split_once('-').unwrap_or((run, run));
                let runs = table.runs.get_mut(first.len().checked_sub(1)?)?;
                runs.push((first.parse().ok()?, last.parse().ok()?, set));
            }
        }
        table.runs.iter_mut().for_each(|runs| runs.sort_unstable());
        Some(table)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use proptest::prelude::*;

    use super::*;

    fn zones(phone: &str, column: Option<&str>) -> (Vec<&'static str>, Option<ZoneDoubt>) {
        let (zones, doubt) = RecipientZones::of(phone.parse().unwrap(), column);
        (zones.as_slice().iter().map(|zone| zone.name()).collect(), doubt)
    }

    #[test]
    fn the_file_is_read_to_the_end_and_its_runs_are_apart() {
        let table = Table::read(include_str!("../data/phone_time_zones.txt")).unwrap();
        assert!(table.sets.len() > 300 && table.sets.iter().all(|set| !set.is_empty()));
        assert!(table.runs.iter().map(Vec::len).sum::<usize>() > 2000);
        for (n, runs) in (1_u32..).zip(&table.runs) {
            assert!(runs.iter().all(|(first, last, _)| first <= last && *last < 10_u32.pow(n)));
            assert!(runs.iter().all(|(first, ..)| *first >= 10_u32.pow(n - 1)));
            assert!(runs.windows(2).all(|pair| pair[0].1 < pair[1].0), "{n}");
        }
    }

    #[test]
    fn a_number_tells_its_zone_or_all_zones_of_its_country() {
        for (phone, expected) in [
            ("+919876543210", &["Asia/Kolkata"][..]),
            ("+12125550100", &["America/New_York"]),
            ("+14155550100", &["America/Los_Angeles"]),
            ("+18085550100", &["Pacific/Honolulu"]),
            ("+9779841234567", &["Asia/Kathmandu"]),
            ("+6281234567890", &["Asia/Jakarta", "Asia/Jayapura", "Asia/Makassar"]),
            // A mobile number of Kazakhstan, in Russia's code.
            ("+77011234567", &["Asia/Almaty", "Asia/Aqtobe"]),
            // Mobile numbers that libphonenumber's table gives to the largest zone.
            ("+34612345678", &["Atlantic/Canary", "Europe/Madrid"]),
            ("+64211234567", &["Pacific/Auckland", "Pacific/Chatham"]),
            ("+593991234567", &["America/Guayaquil", "Pacific/Galapagos"]),
        ] {
            assert_eq!(zones(phone, None), (expected.to_vec(), None), "{phone}");
        }
        for (phone, some) in [
            ("+79161234567", &["Europe/Kaliningrad", "Europe/Moscow", "Asia/Vladivostok"][..]),
            ("+61412345678", &["Australia/Perth", "Australia/Sydney", "Australia/Adelaide"]),
        ] {
            let (zones, doubt) = zones(phone, None);
            assert!(some.iter().all(|zone| zones.contains(zone)) && doubt.is_none(), "{phone} {zones:?}");
        }
    }

    #[test]
    fn a_column_decides_before_the_number_when_it_names_a_zone() {
        let number = "+919876543210";
        for (column, zone, doubt) in [
            (Some("Europe/Berlin"), "Europe/Berlin", None),
            (Some(" europe/berlin "), "Europe/Berlin", None),
            (Some("  "), "Asia/Kolkata", None),
            (Some("Berlin"), "Asia/Kolkata", Some(ZoneDoubt::NoSuchZone)),
        ] {
            assert_eq!(zones(number, column), (vec![zone], doubt), "{column:?}");
        }
        // Of no country.
        assert_eq!(zones("+88312345678", None), (vec!["UTC"], Some(ZoneDoubt::NoPlace)));
        assert_eq!(zones("+1234567", Some("Asia/Tokyo")), (vec!["Asia/Tokyo"], None));
    }

    #[test]
    fn recipients_of_one_place_are_equal() {
        let of = |phone: &str| RecipientZones::of(phone.parse().unwrap(), None).0;
        assert_eq!(of("+919876543210"), of("+919876543211"));
        assert_ne!(of("+12125550100"), of("+14155550100"));
    }

    /// The set of each prefix of the file, written out.
    fn prefixes() -> HashMap<String, u16> {
        let lines =
            include_str!("../data/phone_time_zones.txt").lines().filter(|line| !line.starts_with('#'));
        let runs =
            (0..).zip(lines).flat_map(|(set, line)| line.split(' ').skip(1).map(move |run| (set, run)));
        runs.flat_map(|(set, run)| {
            let (first, last) = run.split_once('-').unwrap_or((run, run));
            let numbers = first.parse::<u64>().unwrap()..=last.parse().unwrap();
            numbers.map(move |prefix| (prefix.to_string(), set))
        })
        .collect()
    }

    fn longest(prefixes: &HashMap<String, u16>, digits: &str) -> Option<u16> {
        (1..=digits.len()).rev().find_map(|n| prefixes.get(&digits[..n])).copied()
    }

    #[test]
    fn the_longest_prefix_decides_before_and_behind_every_prefix() {
        let prefixes = prefixes();
        for prefix in prefixes.keys() {
            for tail in ["", "0", "9", "000000", "999999", "4711471"] {
                let digits = format!("{prefix}{tail}");
                assert_eq!(TABLE.set_of(digits.parse().unwrap()), longest(&prefixes, &digits), "{digits}");
            }
        }
    }

    proptest! {
        #[test]
        fn the_longest_prefix_decides(digits in "[1-9][0-9]{0,14}") {
            prop_assert_eq!(TABLE.set_of(digits.parse().unwrap()), longest(&prefixes(), &digits));
        }
    }
}

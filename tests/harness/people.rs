//! Recipients by number, and the CSV that names them.

use std::{collections::HashMap, fmt::Write as _};

/// The phone of the recipient with this number, from 0: a mobile number of India.
pub fn phone(number: usize) -> String {
    format!("+{}", digits(number))
}

/// The same as the vendors' ledger writes it.
pub fn digits(number: usize) -> u64 {
    919_876_000_000 + number as u64
}

/// A CSV of the recipients with these numbers: `phone,name,city`, with a quoted comma in every city.
pub fn csv_of(numbers: impl IntoIterator<Item = usize>) -> String {
    let mut csv = String::from("phone,name,city\n");
    for number in numbers {
        writeln!(csv, "{},Name {number},\"City, {number}\"", phone(number)).unwrap();
    }
    csv
}

/// So many recipients.
#[derive(Clone, Copy, Debug)]
pub struct People(pub usize);

impl People {
    /// `phone,name,city`, with a quoted comma in every city.
    pub fn csv(self) -> String {
        csv_of(0..self.0)
    }

    /// Fails unless each of them is in the vendors' ledger once, and nobody else.
    pub fn assert_each_accepted_once(self, ledger: &HashMap<u64, u32>) {
        self.assert_each_accepted_once_but(ledger, |_| false);
    }

    /// The same; those for whom `is_left_out` must not be in the ledger.
    pub fn assert_each_accepted_once_but(
        self,
        ledger: &HashMap<u64, u32>,
        is_left_out: impl Fn(usize) -> bool,
    ) {
        let wanted = (0..self.0).filter(|number| !is_left_out(*number));
        let wanted: HashMap<u64, u32> = wanted.map(|number| (digits(number), 1)).collect();
        let twice = ledger.iter().filter(|(_, count)| **count > 1).count();
        let missing = wanted.keys().filter(|to| !ledger.contains_key(to)).count();
        let extra = ledger.keys().filter(|to| !wanted.contains_key(to)).count();
        assert!(
            *ledger == wanted,
            "of {} recipients, {missing} were never accepted, {twice} more than once, and {extra} should not have been",
            wanted.len(),
        );
    }
}

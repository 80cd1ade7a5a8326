//! A hundred recipients with four values each, among them some that a serialiser must escape.

use model::{Phone, report::Correlation};

/// Recipients, statuses, rows: everything comes by the hundred.
pub const PEOPLE: i32 = 100;
/// The columns beside the phone.
pub const COLUMNS: [&str; 4] = ["name", "city", "order_id", "amount"];

/// One row of an audience.
pub struct Person {
    pub to: Phone,
    pub values: [String; 4],
    pub correlation: Correlation,
}

/// The digits of a mobile number of India, without the country code.
pub fn national(no: i32) -> u64 {
    // A stride, so that neighbours do not look alike.
    6_000_000_000 + u64::from(no.unsigned_abs()) * 39_999_983
}

pub fn people() -> Vec<Person> {
    let names = ["Aarav Sharma", "अनन्या अय्यर", "Fatima \"Fatty\" Khan", "D'Souza\tJoão", "Meera R."];
    let cities = ["Mumbai", "Bengaluru", "Hyderabad (Telangana)", "Pune", "Kolkata"];
    let person = |no: i32| {
        let at = no.unsigned_abs() as usize % names.len();
        Person {
            to: Phone::from_digits(910_000_000_000 + national(no)).unwrap(),
            values: [
                names[at].to_owned(),
                cities[at].to_owned(),
                format!("ORD-{:08}", no * 7),
                format!("{}.{:02}", 100 + no * 31, no),
            ],
            correlation: Correlation { request_id: 8_812_004_117, task_id: 20_417, no: 500_000 + no },
        }
    };
    (0..PEOPLE).map(person).collect()
}

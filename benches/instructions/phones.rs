//! A row's phone to E.164.

use std::hint::black_box;

use gungraun::{library_benchmark, library_benchmark_group};
use model::{
    Phone,
    phone_input::{PhoneProblem, Region, normalise},
};

use crate::{
    budgets::{self, at_most},
    people::{PEOPLE, national},
};

type Rows = (Vec<String>, Region);

fn rows(write: impl Fn(u64, i32) -> String) -> Rows {
    let texts: Vec<String> = (0..PEOPLE).map(|no| write(national(no), no)).collect();
    let rows = (texts, "IN".parse().unwrap());
    // The long way compiles its expressions when it first meets a number.
    for phone in read(&rows) {
        phone.unwrap();
    }
    rows
}

/// As an export of a database has them.
fn plain() -> Rows {
    rows(|number, _| format!("91{number}"))
}

/// As people write them.
fn messy() -> Rows {
    rows(|number, no| {
        let (head, tail) = (number / 100_000, number % 100_000);
        match no % 6 {
            0 => format!("+91 {head} {tail:05}"),
            1 => format!("0{number}"),
            2 => format!("{number}"),
            3 => format!("+91-{head}-{tail:05}"),
            4 => format!("0091{number}"),
            _ => format!(" (+91) {head} {tail:05} "),
        }
    })
}

/// What the shortcut leaves to the library: a spreadsheet's marks, other scripts, other countries.
fn long_way() -> Rows {
    rows(|number, no| match no % 5 {
        0 => format!("'{number}"),
        1 => format!("{number}.0"),
        2 => format!("+91\u{a0}{number}"),
        3 => format!("+44 7911 {:06}", 123_456 + no),
        _ => format!("+1 (415) 555-{:04}", 100 + no),
    })
}

fn read((texts, region): &Rows) -> Vec<Result<Phone, PhoneProblem>> {
    texts.iter().map(|text| normalise(text, Some(*region))).collect()
}

#[library_benchmark]
#[bench::plain(args = (), setup = plain, config = at_most(budgets::PHONES_PLAIN))]
#[bench::messy(args = (), setup = messy, config = at_most(budgets::PHONES_MESSY))]
#[bench::long_way(args = (), setup = long_way, config = at_most(budgets::PHONES_LONG_WAY))]
fn normalise_a_hundred(rows: Rows) -> (Vec<Result<Phone, PhoneProblem>>, Rows) {
    (read(black_box(&rows)), rows)
}

library_benchmark_group!(name = reading, benchmarks = normalise_a_hundred);

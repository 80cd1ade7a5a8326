//! Reading a vendor's callback, in the documented forms.

use std::hint::black_box;

use gungraun::{library_benchmark, library_benchmark_group};
use model::report::News;
use serde_json::{Value, json};
use vendors::{MalformedCallback, Vendor, callback};

use crate::{
    budgets::{self, at_most},
    people::{Person, people},
};

type Callback = (Vendor, Vec<u8>);

/// exotel.txt, "Status Callbacks": `callback_type` is `dlr`, many in one body.
fn exotel(count: usize) -> Callback {
    let report = |(at, person): (usize, &Person)| {
        let (number, name) =
            [(30001, "EX_MESSAGE_SENT"), (30002, "EX_MESSAGE_DELIVERED"), (30003, "EX_MESSAGE_SEEN")][at % 3];
        json!({
            "callback_type": "dlr",
            "sid": format!("2FdiiEQUosckPhpZfuVwfjxi{at:05}16a4"),
            "to": person.to.digits().to_string(),
            "exo_status_code": number,
            "exo_detailed_status": name,
            "description": "Message status",
            "timestamp": "2022-12-07T17:00:00.000+05:30",
            "custom_data": person.correlation.encode(),
        })
    };
    let messages: Vec<Value> = people().iter().enumerate().take(count).map(report).collect();
    ready(Vendor::Exotel, json!({"whatsapp": {"messages": messages}}).to_string(), count)
}

/// The document's own print, without its first brace and with a comma too many: the way with care.
fn printed() -> Callback {
    let body = include_str!("../../crates/vendors/samples/exotel/callback_dlr_as_printed.json");
    ready(Vendor::Exotel, body.to_owned(), 1)
}

fn sobot_io() -> Callback {
    let body = include_str!("../../crates/vendors/samples/sobot_io/callback_status_sent.json");
    let body = body.replace("FROM_PHONE_NUMBER_ID", "110243462020762");
    ready(Vendor::SobotIo, body.replace("PHONE_NUMBER", "8618210323232"), 1)
}

fn sobot_in() -> Callback {
    let body = include_str!("../../crates/vendors/samples/sobot_in/callback_status_delivered.json");
    ready(Vendor::SobotIn, body.to_owned(), 1)
}

fn ready(vendor: Vendor, body: String, count: usize) -> Callback {
    let news = callback::parse(vendor, body.as_bytes()).unwrap();
    assert_eq!(news.iter().filter(|news| matches!(news, News::Status(_))).count(), count);
    callback::check(vendor, body.as_bytes()).unwrap();
    (vendor, body.into_bytes())
}

#[library_benchmark]
#[bench::exotel(args = (1), setup = exotel, config = at_most(budgets::CALLBACK_EXOTEL))]
#[bench::exotel_hundred(args = (100), setup = exotel, config = at_most(budgets::CALLBACK_EXOTEL_HUNDRED))]
#[bench::exotel_as_printed(args = (), setup = printed, config = at_most(budgets::CALLBACK_PRINTED))]
#[bench::sobot_io(args = (), setup = sobot_io, config = at_most(budgets::CALLBACK_SOBOT_IO))]
#[bench::sobot_in(args = (), setup = sobot_in, config = at_most(budgets::CALLBACK_SOBOT_IN))]
fn parse_callback((vendor, body): Callback) -> (Vec<News>, Vec<u8>) {
    (callback::parse(vendor, black_box(&body)).unwrap(), body)
}

// What is done before a callback is answered.
#[library_benchmark]
#[bench::exotel_hundred(args = (100), setup = exotel, config = at_most(budgets::CALLBACK_EXOTEL_HUNDRED_CHECKED))]
fn check_callback((vendor, body): Callback) -> (Result<(), MalformedCallback>, Vec<u8>) {
    (callback::check(vendor, black_box(&body)), body)
}

library_benchmark_group!(name = parsing, benchmarks = [parse_callback, check_callback]);

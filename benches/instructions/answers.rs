//! Reading a vendor's answer and judging it, in the documented forms.

use std::hint::black_box;

use bytes::Bytes;
use gungraun::{library_benchmark, library_benchmark_group};
use model::{disposition::MessageFacts, verdict::Verdict};
use serde_json::{Value, json};
use vendors::{Vendor, measured};

use crate::{
    budgets::{self, at_most},
    people::PEOPLE,
};

const FACTS: MessageFacts =
    MessageFacts { is_template: true, is_marketing: false, media_per_row: false, parameters_per_row: true };

/// An answer to so many messages.
struct Answer {
    vendor: Vendor,
    status: u16,
    body: Bytes,
    count: usize,
}

fn answer(vendor: Vendor, status: u16, body: impl Into<Bytes>, count: usize) -> Answer {
    let answer = Answer { vendor, status, body: body.into(), count };
    assert_eq!(judge(&answer).len(), count);
    answer
}

fn judge(answer: &Answer) -> Vec<Verdict> {
    measured::judge(answer.vendor, answer.status, answer.body.clone(), &FACTS, answer.count)
}

/// exotel.txt, "Send a WhatsApp message": one item for each message.
fn exotel(items: impl Fn(i32) -> Value) -> Answer {
    let items: Vec<Value> = (0..PEOPLE).map(items).collect();
    let body = json!({
        "request_id": "b434e927a5844175b23059cd96feea3d",
        "method": "POST",
        "http_code": 202,
        "metadata": {"failed": 0, "total": PEOPLE, "success": PEOPLE},
        "response": {"whatsapp": {"messages": items}},
    });
    answer(Vendor::Exotel, 202, body.to_string(), items.len())
}

fn accepted_hundred() -> Answer {
    exotel(|no| {
        let sid = format!("2FdiiEQUosckPhpZfuVwfjxi{no:05}16a4");
        json!({"code": 202, "error_data": null, "status": "success", "data": {"sid": sid}})
    })
}

fn refused_hundred() -> Answer {
    exotel(|_| {
        let description = "The message to 919876543210 failed as the recipient was invalid";
        let error = json!({"code": 30012, "message": "EX_INVALID_RECIPIENT", "description": description});
        json!({"code": 400, "error_data": error, "status": "failure", "data": null})
    })
}

fn sobot_io() -> Answer {
    let body = include_str!("../../crates/vendors/samples/sobot_io/answer_200_template.json");
    answer(Vendor::SobotIo, 200, body, 1)
}

fn sobot_io_refused() -> Answer {
    let body = include_str!("../../crates/vendors/samples/sobot_io/answer_200_refused.json");
    answer(Vendor::SobotIo, 200, body, 1)
}

fn sobot_in() -> Answer {
    let body = include_str!("../../crates/vendors/samples/sobot_in/answer_200_sent.json");
    answer(Vendor::SobotIn, 200, body, 1)
}

fn sobot_in_refused() -> Answer {
    let body = include_str!("../../crates/vendors/samples/sobot_in/answer_400_invalid_number.json");
    answer(Vendor::SobotIn, 400, body, 1)
}

#[library_benchmark]
#[bench::exotel_hundred(args = (), setup = accepted_hundred, config = at_most(budgets::ANSWER_EXOTEL_HUNDRED))]
#[bench::exotel_refused_hundred(args = (), setup = refused_hundred, config = at_most(budgets::ANSWER_EXOTEL_REFUSED))]
#[bench::sobot_io(args = (), setup = sobot_io, config = at_most(budgets::ANSWER_SOBOT_IO))]
#[bench::sobot_io_refused(args = (), setup = sobot_io_refused, config = at_most(budgets::ANSWER_SOBOT_IO_REFUSED))]
#[bench::sobot_in(args = (), setup = sobot_in, config = at_most(budgets::ANSWER_SOBOT_IN))]
#[bench::sobot_in_refused(args = (), setup = sobot_in_refused, config = at_most(budgets::ANSWER_SOBOT_IN_REFUSED))]
fn judge_answer(answer: Answer) -> (Vec<Verdict>, Answer) {
    (judge(black_box(&answer)), answer)
}

library_benchmark_group!(name = judging, benchmarks = judge_answer);

//! Rendering a template message into each vendor's JSON, and Exotel's request for a hundred.

use std::hint::black_box;

use bytes::Bytes;
use gungraun::{library_benchmark, library_benchmark_group};
use model::{
    campaign::Category,
    message::{Columns, Message},
};
use serde_json::json;
use vendors::{Compiled, Outgoing, Vendor, measured};

use crate::{
    budgets::{self, at_most},
    people::{COLUMNS, Person, people},
};

type Work = (Compiled, Vec<Person>);

/// A template with the four values in its body.
fn compiled(vendor: Vendor) -> Work {
    let parameters = COLUMNS.map(|column| json!({"type": "text", "text": format!("{{{{{column}}}}}")}));
    let message = json!({
        "type": "template",
        "template": {
            "name": "order_update",
            "language": {"code": "en"},
            "components": [{"type": "body", "parameters": parameters}],
        },
    });
    let columns = Columns::new(COLUMNS.map(str::to_owned).to_vec());
    let message = Message::parse(&message).unwrap();
    let from = "+918000000000";
    let compiled = vendors::compile(vendor, None, &message, &columns, from, Category::Utility).unwrap();
    let work = (compiled, people());
    drop(render(&work));
    work
}

/// Exotel's messages, rendered.
fn outgoing() -> Vec<Outgoing> {
    let work = compiled(Vendor::Exotel);
    let rendered = render(&work);
    let people = work.1.iter().zip(rendered);
    people
        .map(|(person, rendered)| Outgoing { to: person.to, correlation: person.correlation, rendered })
        .collect()
}

fn render((compiled, people): &Work) -> Vec<Bytes> {
    let one = |person: &Person| {
        let row = person.values.each_ref().map(String::as_str);
        compiled.render(person.to, &row).unwrap()
    };
    people.iter().map(one).collect()
}

#[library_benchmark]
#[bench::exotel(args = (Vendor::Exotel), setup = compiled, config = at_most(budgets::RENDER_EXOTEL))]
#[bench::sobot_io(args = (Vendor::SobotIo), setup = compiled, config = at_most(budgets::RENDER_SOBOT_IO))]
#[bench::sobot_in(args = (Vendor::SobotIn), setup = compiled, config = at_most(budgets::RENDER_SOBOT_IN))]
fn render_a_hundred(work: Work) -> (Vec<Bytes>, Work) {
    (render(black_box(&work)), work)
}

#[library_benchmark]
#[bench::exotel(args = (), setup = outgoing, config = at_most(budgets::BODY_OF_A_HUNDRED))]
fn body_of_a_hundred(messages: Vec<Outgoing>) -> (Bytes, Vec<Outgoing>) {
    let callback = "https://campaigns.example.com/webhooks/main/9f2d6c1e";
    (measured::request_body(Some(callback), black_box(&messages)), messages)
}

library_benchmark_group!(name = rendering, benchmarks = [render_a_hundred, body_of_a_hundred]);

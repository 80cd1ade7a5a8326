//! sobot.in: two header keys; messages one by one by `POST /message/`, customers, templates.

use std::sync::Arc;

use axum::extract::{Extension, Path, RawQuery, State};
use axum::http::HeaderMap;
use axum::response::Response;
use bytes::Bytes;
use serde_json::{Value, json};

use crate::answer::Answer;
use crate::check::{Checked, Invalid, Wrong, as_object, invalid};
use crate::faults::{Endpoint, FaultAction};
use crate::ledger::NewRecord;
use crate::payload::failure_title;
use crate::pump;
use crate::server::ArrivedAt;
use crate::sobot_in_content::{self, Message};
use crate::sobot_io::query_field;
use crate::vendor::Vendor;
use crate::world::World;

/// The document's form of every answer without data.
fn told(status: u16, message: &str) -> Answer {
    Answer::json(status, &json!({"message": message, "code": status}))
}

fn authorized<'a>(world: &'a World, headers: &HeaderMap) -> Result<&'a str, Answer> {
    let header = |name| headers.get(name).and_then(|value| value.to_str().ok());
    let (key, secret) = (header("x-api-key"), header("x-api-secret"));
    world
        .options
        .sobot_in_accounts
        .iter()
        .find(|account| key == Some(&account.access_key) && secret == Some(&account.secret_key))
        .map(|account| account.access_key.as_str())
        .ok_or_else(|| told(401, "Invalid API keys"))
}

/// The handler of sends.
pub(crate) async fn send(
    State(world): State<Arc<World>>,
    Extension(at): Extension<ArrivedAt>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let answer = decide(&world, at.0, &headers, &body);
    world.samples.keep(Vendor::SobotIn, "/message/".to_owned(), headers, body);
    answer.deliver(&world).await
}

fn decide(world: &World, at_us: u64, headers: &HeaderMap, body: &[u8]) -> Answer {
    let arrived = |account: &str, accepted: usize, status: u16| {
        let origin = world.ledger.origin(Vendor::SobotIn, account, "");
        world.ledger.arrived(at_us, origin, 1, accepted, status);
    };
    let account = match authorized(world, headers) {
        Ok(account) => account,
        Err(answer) => {
            arrived("", 0, answer.status);
            return answer;
        }
    };
    let request = serde_json::from_slice::<Value>(body).unwrap_or_default();
    if world.is_over_limit(Vendor::SobotIn, at_us) {
        arrived(account, 0, 429);
        return told(429, "Too many requests").retry_after(Some(1));
    }
    let faults = world.faults();
    let recipient = request.as_object().and_then(sobot_in_content::recipient);
    let fault = faults.for_request(Vendor::SobotIn, Endpoint::Send, recipient.as_slice());
    let pause = fault.latency + world.latency(Vendor::SobotIn, at_us);
    if let Some(mut answer) = Answer::instead(fault.action.as_ref(), told) {
        arrived(account, 0, answer.status);
        answer.pause = pause;
        return answer;
    }
    let mut answer = match checked(world, &request) {
        Err(wrong) => {
            arrived(account, 0, 400);
            told(400, &refusal_text(&wrong))
        }
        Ok(message) => match faults.for_message(Vendor::SobotIn, message.to) {
            Some(FaultAction::MessageCode { code, message: reason }) => {
                arrived(account, 0, 400);
                let reason = reason.as_deref().unwrap_or_else(|| failure_title(*code));
                Answer::json(400, &json!({"message": reason, "code": code}))
            }
            chosen => {
                let failure = match chosen {
                    Some(FaultAction::CallbackCode { code }) => *code,
                    _ => 0,
                };
                arrived(account, 1, 200);
                accept(world, at_us, account, &message, failure).spoiled(fault.action.as_ref(), told)
            }
        },
    };
    answer.pause = pause;
    answer
}

fn checked(world: &World, request: &Value) -> Checked<Message> {
    let message = sobot_in_content::message(as_object(request, "body")?)?;
    if let (Some((name, language, variables)), true) = (&message.template, world.options.strict_templates) {
        world.templates.check(name, language, *variables)?;
    }
    Ok(message)
}

/// The document gives one text, for numbers; the others are ours.
fn refusal_text(wrong: &Invalid) -> String {
    match wrong.wrong {
        Wrong::Phone => "Invalid mobile number".to_owned(),
        Wrong::Template => "Template does not exist".to_owned(),
        _ => format!("{} {}", wrong.field, wrong.reason),
    }
}

fn accept(world: &World, at_us: u64, account: &str, message: &Message, failure: u32) -> Answer {
    let url = world.callback_url(Vendor::SobotIn, account).unwrap_or_default();
    let records = [NewRecord {
        to: message.to,
        digest: message.digest,
        origin: world.ledger.origin(Vendor::SobotIn, account, ""),
        template: world.ledger.templates.number(&message.label),
        url: world.ledger.urls.number(&url),
        failure,
        custom_data: "",
    }];
    let sequence = world.ledger.accept(Vendor::SobotIn, at_us, &records);
    let early = pump::schedule(world, Vendor::SobotIn, account, (sequence, at_us), &records);
    let id = world.ids.message(Vendor::SobotIn, sequence, message.to);
    let body = json!({
        "data": {"id": id, "status": "submitted"},
        "message": "Message sent successfully.",
        "code": 200,
    });
    let mut answer = Answer::json(200, &body);
    answer.early = early;
    answer
}

/// `POST /api/customer`.
pub(crate) async fn add_customer(
    State(world): State<Arc<World>>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let answer = authorized(&world, &headers).map_or_else(
        |refused| refused,
        |account| match world.customers.add(account, &body) {
            Ok(true) => told(201, "Customer added successfully"),
            Ok(false) => told(400, "Customer already exists"),
            Err(wrong) => told(400, &refusal_text(&wrong)),
        },
    );
    answer.deliver(&world).await
}

/// `PUT /api/customer/{mobile_number}`.
pub(crate) async fn update_customer(
    State(world): State<Arc<World>>,
    Path(mobile): Path<String>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let answer = authorized(&world, &headers).map_or_else(
        |refused| refused,
        |account| match world.customers.update(account, &mobile, &body) {
            Ok(true) => told(201, "Customer updated successfully"),
            Ok(false) => told(404, "Customer does not exist"),
            Err(wrong) => told(400, &refusal_text(&wrong)),
        },
    );
    answer.deliver(&world).await
}

/// `GET /api/customer`, pages of 20.
pub(crate) async fn list_customers(
    State(world): State<Arc<World>>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Response {
    let answer = authorized(&world, &headers).map_or_else(
        |refused| refused,
        |account| {
            let all = world.customers.list(account);
            page("https://api.sobot.in/api/customer", &all, &query.unwrap_or_default(), "")
        },
    );
    answer.deliver(&world).await
}

/// `GET /api/template/`, pages of 20, `status` 0 pending, 1 approved, 2 rejected.
pub(crate) async fn list_templates(
    State(world): State<Arc<World>>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Response {
    let query = query.unwrap_or_default();
    let fault = world.faults().for_request(Vendor::SobotIn, Endpoint::Templates, &[]);
    let answer = authorized(&world, &headers).map_or_else(
        |refused| refused,
        |_| {
            let status = query_field(&query, "status").and_then(|text| text.parse().ok());
            let filter = status.map(|status: u8| format!("status={status}&")).unwrap_or_default();
            let all = world.templates.sobot_in(status, world.clock.wall_ms(0));
            Answer::instead(fault.action.as_ref(), told).unwrap_or_else(|| {
                page("http://api.sobot.in/api/template/", &all, &query, &filter)
                    .spoiled(fault.action.as_ref(), told)
            })
        },
    );
    answer.deliver(&world).await
}

/// `POST /api/template/`.
pub(crate) async fn add_template(
    State(world): State<Arc<World>>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let parse = || match serde_json::from_slice::<Value>(&body) {
        Ok(request) => world.templates.add_sobot_in(&request),
        Err(_) => invalid(Wrong::Type, "body", "is not valid JSON"),
    };
    let answer = authorized(&world, &headers).map_or_else(
        |refused| refused,
        |_| match parse() {
            Ok(()) => told(201, "Template created successfully"),
            Err(wrong) => told(400, &refusal_text(&wrong)),
        },
    );
    answer.deliver(&world).await
}

/// A page of 20; the links are of another host than the request's, as in the document's samples.
fn page(base: &str, all: &[Value], query: &str, filter: &str) -> Answer {
    let number = query_field(query, "page").and_then(|text| text.parse::<usize>().ok()).unwrap_or(1).max(1);
    let items: Vec<&Value> = all.iter().skip((number - 1).saturating_mul(20)).take(20).collect();
    let link = |page: usize| json!(format!("{base}?{filter}page={page}"));
    let next = if number.saturating_mul(20) < all.len() { link(number + 1) } else { Value::Null };
    let previous = if number > 1 { link(number - 1) } else { Value::Null };
    let body = json!({
        "count": all.len(),
        "size": 20,
        "next": next,
        "previous": previous,
        "code": 200,
        "data": items,
    });
    Answer::json(200, &body)
}

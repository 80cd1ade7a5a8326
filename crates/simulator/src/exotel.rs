//! Exotel: `POST /v2/accounts/{sid}/messages` with basic authentication, up to 100 messages a request, a 202
//! with a code for each.

use std::sync::Arc;

use axum::extract::{Extension, Path, State};
use axum::http::{HeaderMap, header};
use axum::response::Response;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use serde::Serialize;
use serde_json::{Value, json};

use crate::answer::Answer;
use crate::check::{Checked, Invalid, Object, Wrong, as_object, invalid, list, object, optional_text};
use crate::exotel_content::{self, Message};
use crate::faults::{Endpoint, FaultAction, FaultSet};
use crate::ledger::NewRecord;
use crate::options::ExotelAccount;
use crate::payload::exo_status;
use crate::pump;
use crate::server::ArrivedAt;
use crate::vendor::Vendor;
use crate::world::World;

const MOST_MESSAGES: usize = 100;

#[derive(Serialize)]
struct Envelope<'a> {
    request_id: String,
    method: &'a str,
    http_code: u16,
    metadata: Metadata,
    response: Channels,
}

#[derive(Serialize)]
struct Metadata {
    failed: usize,
    total: usize,
    success: usize,
}

#[derive(Serialize)]
struct Channels {
    whatsapp: Channel,
}

#[derive(Serialize)]
struct Channel {
    messages: Vec<Item>,
}

#[derive(Clone, Serialize)]
struct Item {
    code: u32,
    error_data: Option<ErrorData>,
    status: &'static str,
    data: Option<Data>,
}

#[derive(Clone, Serialize)]
struct ErrorData {
    code: u32,
    message: String,
    description: String,
}

#[derive(Clone, Serialize)]
struct Data {
    sid: String,
}

/// The handler of sends.
pub(crate) async fn send(
    State(world): State<Arc<World>>,
    Path(sid): Path<String>,
    Extension(at): Extension<ArrivedAt>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let answer = decide(&world, at.0, &sid, &headers, &body);
    world.samples.keep(Vendor::Exotel, format!("/v2/accounts/{sid}/messages"), headers, body);
    answer.deliver(&world).await
}

fn decide(world: &World, at_us: u64, sid: &str, headers: &HeaderMap, body: &[u8]) -> Answer {
    let refuse = |status: u16, reason: &str| error(world, status, reason);
    if let Err((status, reason)) = authorize(&world.options.exotel_accounts, sid, headers) {
        let origin = world.ledger.origin(Vendor::Exotel, sid, "");
        world.ledger.arrived(at_us, origin, 0, 0, status);
        return refuse(status, reason);
    }
    let parsed = serde_json::from_slice::<Value>(body);
    let messages = match &parsed {
        Ok(request) => messages(request),
        Err(_) => invalid(Wrong::Type, "body", "is not valid JSON"),
    };
    let (request, messages) = match messages {
        Ok(found) => found,
        Err(wrong) => {
            let origin = world.ledger.origin(Vendor::Exotel, sid, "");
            world.ledger.arrived(at_us, origin, 0, 0, 400);
            return refuse(400, &format!("{} {}", wrong.field, wrong.reason));
        }
    };
    let from = messages.first().and_then(|message| message["from"].as_str()).unwrap_or_default();
    let origin = world.ledger.origin(Vendor::Exotel, sid, from);
    if world.is_over_limit(Vendor::Exotel, at_us) {
        world.ledger.arrived(at_us, origin, messages.len(), 0, 429);
        return refuse(429, "too many requests").retry_after(Some(1));
    }
    let faults = world.faults();
    let named = if faults.is_empty() { &[] } else { messages.as_slice() };
    let recipients: Vec<u64> =
        named.iter().filter_map(|message| exotel_content::recipient(message.as_object()?)).collect();
    let fault = faults.for_request(Vendor::Exotel, Endpoint::Send, &recipients);
    let pause = fault.latency + world.latency(Vendor::Exotel, at_us);
    if let Some(mut answer) = Answer::instead(fault.action.as_ref(), refuse) {
        world.ledger.arrived(at_us, origin, messages.len(), 0, answer.status);
        answer.pause = pause;
        return answer;
    }
    let accepted = accept(world, at_us, sid, request, messages, &faults);
    let items = match accepted {
        Ok(accepted) => accepted,
        Err(wrong) => {
            world.ledger.arrived(at_us, origin, messages.len(), 0, 400);
            return refuse(400, &format!("{} {}", wrong.field, wrong.reason));
        }
    };
    let success = items.items.iter().filter(|item| item.code == 202).count();
    world.ledger.arrived(at_us, origin, messages.len(), success, 202);
    let mut answer = envelope(world, items.items, fault.action.as_ref());
    answer.early = items.early;
    let mut answer = answer.spoiled(fault.action.as_ref(), refuse);
    answer.pause = pause;
    answer
}

/// "HTTP Error codes": 401 for missing or wrong credentials, 403 for another account's resource, 404 for one
/// that does not exist.
fn authorize(accounts: &[ExotelAccount], sid: &str, headers: &HeaderMap) -> Result<(), (u16, &'static str)> {
    let credentials = headers
        .get(header::AUTHORIZATION)
        .and_then(|value| value.to_str().ok()?.strip_prefix("Basic "))
        .and_then(|encoded| STANDARD.decode(encoded.trim()).ok())
        .and_then(|raw| String::from_utf8(raw).ok());
    let credentials = credentials.as_deref().and_then(|text| text.split_once(':'));
    let known = accounts.iter().any(|account| {
        credentials == Some((account.api_key.as_str(), account.api_token.as_str())) && account.sid == sid
    });
    if known {
        return Ok(());
    }
    let valid = accounts
        .iter()
        .any(|account| credentials == Some((account.api_key.as_str(), account.api_token.as_str())));
    match valid {
        false => Err((401, "Necessary credentials were either missing or invalid.")),
        true if accounts.iter().any(|account| account.sid == sid) => {
            Err((403, "Your credentials are valid, but you don't have access to the requested resource."))
        }
        true => Err((404, "The object you're requesting doesn't exist.")),
    }
}

fn messages(request: &Value) -> Checked<(&Object, &Vec<Value>)> {
    let request = as_object(request, "body")?;
    optional_text(request, "custom_data", usize::MAX)?;
    optional_text(request, "status_callback", usize::MAX)?;
    let channel = object(request, "whatsapp")?;
    optional_text(channel, "whatsapp.custom_data", usize::MAX)?;
    optional_text(channel, "whatsapp.status_callback", usize::MAX)?;
    let messages = list(channel, "whatsapp.messages")?;
    match messages.len() {
        0 => invalid(Wrong::Missing, "whatsapp.messages", "must not be empty"),
        1..=MOST_MESSAGES => Ok((request, messages)),
        _ => invalid(Wrong::Value, "whatsapp.messages", "More than 100 messages specified in a request"),
    }
}

struct Accepted {
    items: Vec<Item>,
    early: Vec<u32>,
}

fn accept(
    world: &World,
    at_us: u64,
    sid: &str,
    request: &Object,
    messages: &[Value],
    faults: &FaultSet,
) -> Checked<Accepted> {
    let mut items: Vec<Option<Item>> = Vec::with_capacity(messages.len());
    let mut records = Vec::with_capacity(messages.len());
    for message in messages {
        let checked = as_object(message, "whatsapp.messages").and_then(exotel_content::message);
        let checked = checked.and_then(|message| match message.template {
            Some((name, language, variables)) if world.options.strict_templates => {
                world.templates.check(name, language, variables).map(|()| message)
            }
            _ => Ok(message),
        });
        match checked {
            Err(wrong) if world.options.refuse_whole_batch => return Err(wrong),
            Err(wrong) => items.push(Some(refused(&wrong))),
            Ok(message) => match faults.for_message(Vendor::Exotel, message.to) {
                Some(FaultAction::MessageCode { code, message: reason }) => {
                    items.push(Some(refused_by_code(*code, reason.as_deref())));
                }
                Some(FaultAction::CallbackCode { code }) => {
                    items.push(None);
                    records.push(record(world, sid, request, &message, *code));
                }
                _ => {
                    items.push(None);
                    records.push(record(world, sid, request, &message, 0));
                }
            },
        }
    }
    let first = world.ledger.accept(Vendor::Exotel, at_us, &records);
    let early = pump::schedule(world, Vendor::Exotel, sid, (first, at_us), &records);
    let mut sids = (first..)
        .zip(&records)
        .map(|(sequence, record)| world.ids.message(Vendor::Exotel, sequence, record.to));
    let mut success =
        || Item { code: 202, error_data: None, status: "success", data: sids.next().map(|sid| Data { sid }) };
    let items = items.into_iter().map(|item| item.unwrap_or_else(&mut success)).collect();
    Ok(Accepted { items, early })
}

/// The most specific address and custom data win: message, then channel, then request.
fn record<'a>(
    world: &World,
    sid: &str,
    request: &'a Object,
    message: &Message<'a>,
    failure: u32,
) -> NewRecord<'a> {
    let outer = |field: &str| {
        let filled = |value: Option<&'a Value>| value.and_then(Value::as_str).filter(|text| !text.is_empty());
        filled(request.get("whatsapp").and_then(|channel| channel.get(field)))
            .or_else(|| filled(request.get(field)))
    };
    let own = |text: Option<&'a str>| text.filter(|text| !text.is_empty());
    let url = own(message.status_callback).or_else(|| outer("status_callback")).unwrap_or_default();
    NewRecord {
        to: message.to,
        digest: message.digest,
        origin: world.ledger.origin(Vendor::Exotel, sid, message.from),
        template: world.ledger.templates.number(&message.label),
        url: world.ledger.urls.number(url),
        failure,
        custom_data: own(message.custom_data).or_else(|| outer("custom_data")).unwrap_or_default(),
    }
}

fn refused(wrong: &Invalid) -> Item {
    let message = match wrong.wrong {
        Wrong::Missing => "Mandatory Parameter missing",
        Wrong::Phone => "Invalid recipient",
        _ => "Invalid parameter",
    };
    let description = format!("{} {}", wrong.field, wrong.reason);
    failure(400, 400, message.to_owned(), description)
}

/// A code of HTTP's kind is the message's own code; a bigger one is an ExoStatus inside a 400.
fn refused_by_code(code: u32, reason: Option<&str>) -> Item {
    if code < 1_000 {
        let text = reason.unwrap_or("Refused");
        return failure(code, code, text.to_owned(), text.to_owned());
    }
    let (name, description) = exo_status(code);
    failure(400, code, name.to_owned(), reason.unwrap_or(description).to_owned())
}

fn failure(code: u32, inner: u32, message: String, description: String) -> Item {
    let error_data = Some(ErrorData { code: inner, message, description });
    Item { code, error_data, status: "failure", data: None }
}

fn envelope(world: &World, mut items: Vec<Item>, action: Option<&FaultAction>) -> Answer {
    let success = items.iter().filter(|item| item.code == 202).count();
    let metadata = Metadata { failed: items.len() - success, total: items.len(), success };
    let request = world.next_request();
    match action {
        Some(FaultAction::MissingItems { count }) => items.truncate(items.len().saturating_sub(*count)),
        Some(FaultAction::ReorderItems) => items.reverse(),
        Some(FaultAction::ExtraItems { count }) => {
            items.extend((0..*count).map(|number| Item {
                code: 202,
                error_data: None,
                status: "success",
                data: Some(Data {
                    sid: format!("2Fdii{:022}16a4", u128::from(request) * 1_000 + number as u128),
                }),
            }));
        }
        _ => {}
    }
    let envelope = Envelope {
        request_id: world.ids.request(request),
        method: "POST",
        http_code: 202,
        metadata,
        response: Channels { whatsapp: Channel { messages: items } },
    };
    Answer::json(202, &envelope)
}

/// An error of the whole request. The document names the statuses and, for single messages, the fields of an
/// error; both are used here.
fn error(world: &World, status: u16, reason: &str) -> Answer {
    let body = json!({
        "request_id": world.ids.request(world.next_request()),
        "method": "POST",
        "http_code": status,
        "response": {
            "code": status,
            "status": "failure",
            "error_data": {"code": status, "message": title(status), "description": reason},
            "data": null,
        },
    });
    Answer::json(status, &body)
}

fn title(status: u16) -> &'static str {
    match status {
        400 => "Bad Request",
        401 => "Unauthorized",
        402 => "Payment Required",
        403 => "Forbidden",
        404 => "Not Found",
        429 => "Too Many Requests",
        _ => "Server Error",
    }
}

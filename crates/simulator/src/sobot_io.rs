//! sobot.io: a token by `GET /api/get_token`, messages one by one by
//! `POST /chat-whatsapp/api/whatsapp/forword` (the document's spelling).

use std::sync::{Arc, PoisonError};

use axum::extract::{Extension, RawQuery, State};
use axum::http::HeaderMap;
use axum::response::Response;
use bytes::Bytes;
use serde_json::{Value, json};

use crate::answer::Answer;
use crate::check::{Checked, Wrong, as_object, invalid};
use crate::faults::{Endpoint, FaultAction};
use crate::ledger::NewRecord;
use crate::options::TokenFailure;
use crate::payload::failure_title;
use crate::pump;
use crate::records::Refusal;
use crate::server::ArrivedAt;
use crate::sobot_io_content::{self, Message};
use crate::tokens::signature;
use crate::vendor::Vendor;
use crate::world::World;

/// Refusals that are kept for `send_record_list`.
const KEPT_REFUSALS: usize = 100_000;
const SEND_PATH: &str = "/chat-whatsapp/api/whatsapp/forword";

/// The usual envelope around an item.
pub(crate) fn success(item: &Value) -> Answer {
    let body = json!({"item": item, "ret_code": "000000", "ret_msg": "success"});
    Answer::json(200, &body)
}

/// A refusal by code: HTTP 200, as every answer that reached the platform.
pub(crate) fn refusal(code: &str, reason: &str) -> Answer {
    Answer::json(200, &json!({"item": null, "ret_code": code, "ret_msg": reason}))
}

/// An error of HTTP's kind.
pub(crate) fn error(status: u16, reason: &str) -> Answer {
    Answer::json(status, &json!({"item": null, "ret_code": status.to_string(), "ret_msg": reason}))
}

/// One field of a query string, percent-decoded.
pub(crate) fn query_field(query: &str, field: &str) -> Option<String> {
    let pair = query.split('&').find_map(|pair| pair.strip_prefix(field)?.strip_prefix('='))?;
    let mut decoded = Vec::with_capacity(pair.len());
    let mut bytes = pair.bytes();
    while let Some(byte) = bytes.next() {
        decoded.push(match byte {
            b'+' => b' ',
            b'%' => {
                let digits = [bytes.next()?, bytes.next()?];
                u8::from_str_radix(std::str::from_utf8(&digits).ok()?, 16).ok()?
            }
            other => other,
        });
    }
    String::from_utf8(decoded).ok()
}

/// `GET /api/get_token`, "Acquire token".
pub(crate) async fn get_token(State(world): State<Arc<World>>, RawQuery(query): RawQuery) -> Response {
    let answer = token_answer(&world, &query.unwrap_or_default());
    answer.deliver(&world).await
}

fn token_answer(world: &World, query: &str) -> Answer {
    let fault = world.faults().for_request(Vendor::SobotIo, Endpoint::Token, &[]);
    if let Some(answer) = Answer::instead(fault.action.as_ref(), error) {
        return answer;
    }
    let field = |name| query_field(query, name).filter(|text| !text.is_empty());
    let (Some(app_id), Some(create_time), Some(sign)) = (field("appid"), field("create_time"), field("sign"))
    else {
        return refusal("131008", "appid, create_time and sign are required");
    };
    if create_time.len() != 10 || !create_time.bytes().all(|byte| byte.is_ascii_digit()) {
        return refusal("131009", "create_time must be a 10-digit timestamp");
    }
    let accounts = &world.options.sobot_io_accounts;
    let Some(position) = accounts.iter().position(|account| account.app_id == app_id) else {
        return refusal("131005", "appid does not exist");
    };
    if !signature(&app_id, &create_time, &accounts[position].app_key).eq_ignore_ascii_case(&sign) {
        return refusal("131005", "sign is wrong");
    }
    let token = world.ids.request(world.next_request() ^ 0x544F_4B45_4E00_0000);
    let lifetime = world.options.token_lifetime_seconds;
    let only = world.options.single_token;
    let now_us = world.clock.now_us();
    world.tokens.add(token.clone(), position, now_us, lifetime.saturating_mul(1_000_000), only);
    let mut answer = success(&json!({"token": token, "expires_in": lifetime.to_string()}))
        .spoiled(fault.action.as_ref(), error);
    answer.pause = fault.latency;
    answer
}

/// The account's position whose token the request carries.
pub(crate) fn authorized(world: &World, headers: &HeaderMap) -> Result<usize, Answer> {
    let token = headers.get("token").and_then(|value| value.to_str().ok()).unwrap_or_default();
    world.tokens.account(token, world.clock.now_us()).ok_or_else(|| token_refusal(world))
}

fn token_refusal(world: &World) -> Answer {
    match world.options.token_failure {
        TokenFailure::Http401 => error(401, "token is invalid or has expired"),
        TokenFailure::RetCode => refusal("100001", "token is invalid or has expired"),
    }
}

/// The handler of sends.
pub(crate) async fn send(
    State(world): State<Arc<World>>,
    Extension(at): Extension<ArrivedAt>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let answer = decide(&world, at.0, &headers, &body);
    world.samples.keep(Vendor::SobotIo, SEND_PATH.to_owned(), headers, body);
    answer.deliver(&world).await
}

fn decide(world: &World, at_us: u64, headers: &HeaderMap, body: &[u8]) -> Answer {
    let arrived = |account: &str, from: &str, accepted: usize, status: u16| {
        let origin = world.ledger.origin(Vendor::SobotIo, account, from);
        world.ledger.arrived(at_us, origin, 1, accepted, status);
    };
    let position = match authorized(world, headers) {
        Ok(position) => position,
        Err(answer) => {
            arrived("", "", 0, answer.status);
            return answer;
        }
    };
    let account = &world.options.sobot_io_accounts[position].app_id;
    let request = serde_json::from_slice::<Value>(body).unwrap_or_default();
    let from = request["from"].as_str().unwrap_or_default();
    if world.is_over_limit(Vendor::SobotIo, at_us) {
        arrived(account, from, 0, 429);
        return error(429, "too many requests").retry_after(Some(1));
    }
    let faults = world.faults();
    let recipient = request.as_object().and_then(sobot_io_content::recipient);
    let fault = faults.for_request(Vendor::SobotIo, Endpoint::Send, recipient.as_slice());
    let pause = fault.latency + world.latency(Vendor::SobotIo, at_us);
    if fault.action == Some(FaultAction::InvalidateTokens) {
        world.tokens.invalidate(Some(position));
        arrived(account, from, 0, 401);
        return token_refusal(world);
    }
    if let Some(mut answer) = Answer::instead(fault.action.as_ref(), error) {
        arrived(account, from, 0, answer.status);
        answer.pause = pause;
        return answer;
    }
    let answer = match checked(world, &request) {
        Err((code, reason)) => {
            arrived(account, from, 0, 200);
            refuse(world, at_us, account, &request, code, &reason)
        }
        Ok(message) => match faults.for_message(Vendor::SobotIo, message.to) {
            Some(FaultAction::MessageCode { code, message: reason }) => {
                arrived(account, from, 0, 200);
                let reason = reason.as_deref().unwrap_or_else(|| failure_title(*code));
                refuse(world, at_us, account, &request, *code, reason)
            }
            chosen => {
                let failure = match chosen {
                    Some(FaultAction::CallbackCode { code }) => *code,
                    _ => 0,
                };
                arrived(account, from, 1, 200);
                accept(world, at_us, account, from, &message, failure)
            }
        },
    };
    // Refusals are lost as well.
    let mut answer = answer.spoiled(fault.action.as_ref(), error);
    answer.pause = pause;
    answer
}

/// The message, or the code of the document's table that says best what is wrong with it.
fn checked(world: &World, request: &Value) -> Result<Message, (u32, String)> {
    let message = as_object(request, "body").and_then(sobot_io_content::message);
    let strict = |message: Message| -> Checked<Message> {
        match &message.template {
            Some((name, language, variables)) if world.options.strict_templates => {
                world.templates.check(name, language, *variables)?;
                Ok(message)
            }
            _ => Ok(message),
        }
    };
    message.and_then(strict).map_err(|wrong| {
        let code = match wrong.wrong {
            Wrong::Missing if wrong.field == "from" || wrong.field == "to" => 999_999,
            Wrong::Missing => 131_008,
            Wrong::Type | Wrong::Value => 131_009,
            Wrong::TooLong => 132_005,
            Wrong::UnknownType => 131_051,
            Wrong::Phone => 999_996,
            Wrong::Parameters => 132_000,
            Wrong::Template => 132_001,
        };
        (code, format!("{} {}", wrong.field, wrong.reason))
    })
}

fn accept(world: &World, at_us: u64, account: &str, from: &str, message: &Message, failure: u32) -> Answer {
    let url = world.callback_url(Vendor::SobotIo, account).unwrap_or_default();
    let records = [NewRecord {
        to: message.to,
        digest: message.digest,
        origin: world.ledger.origin(Vendor::SobotIo, account, from),
        template: world.ledger.templates.number(&message.label),
        url: world.ledger.urls.number(&url),
        failure,
        custom_data: "",
    }];
    let sequence = world.ledger.accept(Vendor::SobotIo, at_us, &records);
    let early = pump::schedule(world, Vendor::SobotIo, account, (sequence, at_us), &records);
    let id = world.ids.message(Vendor::SobotIo, sequence, message.to);
    let to = message.to.to_string();
    let item = if message.is_flow {
        // The document's answer to a flow message differs from all others.
        json!({
            "contacts": [{"Input": format!("+{to}"), "wa_id": to}],
            "messages": [{"id": id}],
            "meta": {"api_status": "stable", "version": "2.44.0.27"},
        })
    } else {
        json!({
            "messaging_product": "whatsapp",
            "messages": [{"id": id}],
            "contacts": [{"input": to, "wa_id": to}],
        })
    };
    let mut answer = success(&item);
    answer.early = early;
    answer
}

fn refuse(world: &World, at_us: u64, account: &str, request: &Value, code: u32, reason: &str) -> Answer {
    if let Some(to) = request.as_object().and_then(sobot_io_content::recipient) {
        let template = &request["content"]["template"];
        let field = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let mut refusals = world.refusals.lock().unwrap_or_else(PoisonError::into_inner);
        if refusals.len() >= KEPT_REFUSALS {
            refusals.pop_front();
        }
        refusals.push_back(Refusal {
            at_us,
            account: account.to_owned(),
            from: field(&request["from"]),
            to,
            template: field(&template["name"]),
            language: field(&template["language"]["code"]),
            code,
        });
    }
    refusal(&code.to_string(), reason)
}

/// An object of a request's body, for the calls beside sending.
pub(crate) fn body_object(body: &[u8]) -> Checked<serde_json::Map<String, Value>> {
    match serde_json::from_slice(body) {
        Ok(Value::Object(object)) => Ok(object),
        _ => invalid(Wrong::Type, "body", "must be a JSON object"),
    }
}

#[cfg(test)]
mod tests {
    use super::query_field;

    #[test]
    fn query_fields_are_decoded() {
        assert_eq!(query_field("a=1&b=x%20y+z", "b").as_deref(), Some("x y z"));
        assert_eq!(query_field("ab=1", "a"), None);
        assert_eq!(query_field("a=%4", "a"), None);
    }
}

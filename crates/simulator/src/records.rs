//! sobot.io's sending records: `POST /chat-whatsapp/api/whatsapp/send_record_list`, read from the ledger.
//! What was refused by a code has a record of status 9 without an id.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError};

use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::Response;
use bytes::Bytes;
use serde_json::{Value, json};

use crate::answer::Answer;
use crate::check::{Checked, Object, Wrong, given, invalid, optional_text, phone, required};
use crate::faults::Endpoint;
use crate::plan::{Report, plan};
use crate::sobot_io;
use crate::vendor::Vendor;
use crate::world::World;

/// A message that was refused by a code.
#[derive(Clone)]
pub(crate) struct Refusal {
    pub(crate) at_us: u64,
    pub(crate) account: String,
    pub(crate) from: String,
    pub(crate) to: u64,
    pub(crate) template: String,
    pub(crate) language: String,
    pub(crate) code: u32,
}

/// What a caller asks for.
struct Query {
    from_us: u64,
    until_us: u64,
    message_id: Option<String>,
    status: Option<String>,
    sender: Option<String>,
    template_name: Option<String>,
    template_language: Option<String>,
    recipient: Option<u64>,
    page_no: usize,
    page_size: usize,
}

/// A record before it is written out.
struct Row {
    at_us: u64,
    updated_us: u64,
    id: Option<String>,
    to: u64,
    sender: String,
    template: String,
    status: &'static str,
    code: u32,
}

/// The handler.
pub(crate) async fn list(State(world): State<Arc<World>>, headers: HeaderMap, body: Bytes) -> Response {
    let asked = world.clone();
    // A scan of millions of records must not hold up the sends.
    let answer = tokio::task::spawn_blocking(move || decide(&asked, &headers, &body)).await;
    match answer {
        Ok(answer) => answer.deliver(&world).await,
        Err(_) => sobot_io::refusal("2", "service exception").deliver(&world).await,
    }
}

fn decide(world: &World, headers: &HeaderMap, body: &[u8]) -> Answer {
    let position = match sobot_io::authorized(world, headers) {
        Ok(position) => position,
        Err(answer) => return answer,
    };
    let fault = world.faults().for_request(Vendor::SobotIo, Endpoint::Records, &[]);
    if let Some(answer) = Answer::instead(fault.action.as_ref(), sobot_io::error) {
        return answer;
    }
    let query = match sobot_io::body_object(body).and_then(|request| query(world, &request)) {
        Ok(query) => query,
        Err(wrong) => {
            let code = if wrong.wrong == Wrong::Missing { "131008" } else { "131009" };
            return sobot_io::refusal(code, &format!("{} {}", wrong.field, wrong.reason));
        }
    };
    let account = &world.options.sobot_io_accounts[position].app_id;
    let rows = rows(world, account, &query);
    let first = (query.page_no - 1).saturating_mul(query.page_size);
    let items: Vec<Value> =
        rows.iter().skip(first).take(query.page_size).map(|row| written(world, row)).collect();
    let body = json!({
        "items": items,
        "page_count": rows.len().div_ceil(query.page_size),
        "page_no": query.page_no,
        "page_size": query.page_size,
        "ret_code": "000000",
        "ret_msg": "success",
        "total_count": rows.len(),
    });
    let mut answer = Answer::json(200, &body).spoiled(fault.action.as_ref(), sobot_io::error);
    answer.pause = fault.latency;
    answer
}

fn query(world: &World, request: &Object) -> Checked<Query> {
    let word = |field: &str| -> Checked<Option<String>> {
        Ok(optional_text(request, field, 512)?.filter(|text| !text.is_empty()).map(str::to_owned))
    };
    let recipient = match word("recipient_tel")? {
        None => None,
        Some(text) => match phone(&text, true) {
            Some(phone) => Some(phone),
            None => return invalid(Wrong::Value, "recipient_tel", "must be a phone number"),
        },
    };
    let from = moment(request, "send_start_time")?;
    let until = moment(request, "send_end_time")?;
    Ok(Query {
        from_us: from.map_or(0, |at| world.clock.at_us(at)),
        // Times have milliseconds, the ledger microseconds: the whole last millisecond is meant.
        until_us: match until {
            Some(at) if at < world.clock.wall_ms(0) => 0,
            Some(at) => world.clock.at_us(at) + 999,
            None => u64::MAX,
        },
        message_id: word("messageid")?,
        status: word("message_status")?,
        sender: word("sender")?,
        template_name: word("template_name")?,
        template_language: word("template_language")?,
        recipient,
        page_no: integer(request, "page_no", i64::MAX)?,
        page_size: integer(request, "page_size", 100)?,
    })
}

/// The table says Long, the sample has strings.
fn moment(request: &Object, field: &str) -> Checked<Option<i64>> {
    let parsed = match given(request, field) {
        None => return Ok(None),
        Some(Value::Number(number)) => number.as_i64(),
        Some(Value::String(text)) => text.parse().ok(),
        Some(_) => None,
    };
    match parsed {
        Some(number) if number >= 0 => Ok(Some(number)),
        _ => invalid(Wrong::Type, field, "must be a time in milliseconds"),
    }
}

fn integer(request: &Object, field: &str, most: i64) -> Checked<usize> {
    match required(request, field)?.as_i64() {
        Some(number) if (1..=most).contains(&number) => Ok(usize::try_from(number).unwrap_or(usize::MAX)),
        _ => invalid(Wrong::Value, field, format!("must be an integer from 1 to {most}")),
    }
}

fn rows(world: &World, account: &str, query: &Query) -> Vec<Row> {
    let visible_us = world.clock.now_us().saturating_sub(world.options.record_delay_ms.saturating_mul(1_000));
    let until_us = query.until_us.min(visible_us);
    let mut rows = Vec::new();
    let mut senders = HashMap::new();
    let mut templates = HashMap::new();
    let mut sequence = 0_u32;
    for chunk in world.ledger.snapshot() {
        let records = chunk.records();
        let first = sequence;
        sequence += u32::try_from(records.len()).unwrap_or(0);
        let within = |at: Option<&crate::ledger::Record>| at.map(|record| record.at_us);
        // Arrival times within a chunk differ by no more than requests overlap: a second is plenty.
        if within(records.last()).is_none_or(|last| last + 1_000_000 < query.from_us)
            || within(records.first()).is_some_and(|start| start > until_us.saturating_add(1_000_000))
        {
            continue;
        }
        for (number, record) in (first..).zip(records) {
            if record.at_us < query.from_us
                || record.at_us > until_us
                || query.recipient.is_some_and(|to| to != record.to)
            {
                continue;
            }
            let origin =
                senders.entry(record.origin).or_insert_with(|| world.ledger.origin_of(record.origin));
            if origin.vendor() != Vendor::SobotIo || origin.account() != account {
                continue;
            }
            let sender = origin.sender();
            let label = templates
                .entry(record.template)
                .or_insert_with(|| world.ledger.templates.name(record.template))
                .clone();
            let (name, language) = label.rsplit_once('/').unwrap_or(("", ""));
            if !matches(query, sender, name, language) {
                continue;
            }
            let (status, code, updated_us) = status(world, number, record.at_us, record.failure);
            rows.push(Row {
                at_us: record.at_us,
                updated_us,
                id: Some(world.ids.message(Vendor::SobotIo, number, record.to)),
                to: record.to,
                sender: sender.to_owned(),
                template: name.to_owned(),
                status,
                code,
            });
        }
    }
    rows.extend(refusal_rows(world, account, query, until_us));
    rows.retain(|row| {
        query.status.as_deref().is_none_or(|status| status == row.status)
            && (query.message_id.is_none() || query.message_id == row.id)
    });
    rows.sort_by_key(|row| row.at_us);
    rows
}

fn refusal_rows(world: &World, account: &str, query: &Query, until_us: u64) -> Vec<Row> {
    let refusals = world.refusals.lock().unwrap_or_else(PoisonError::into_inner);
    let asked = refusals.iter().filter(|one| {
        one.account == account
            && (query.from_us..=until_us).contains(&one.at_us)
            && query.recipient.is_none_or(|to| to == one.to)
            && matches(query, &one.from, &one.template, &one.language)
    });
    asked
        .map(|one| Row {
            at_us: one.at_us,
            updated_us: one.at_us,
            id: None,
            to: one.to,
            sender: one.from.clone(),
            template: one.template.clone(),
            status: "9",
            code: one.code,
        })
        .collect()
}

fn matches(query: &Query, sender: &str, name: &str, language: &str) -> bool {
    query.sender.as_deref().is_none_or(|asked| asked == sender)
        && query.template_name.as_deref().is_none_or(|asked| asked == name)
        && query.template_language.as_deref().is_none_or(|asked| asked == language)
}

/// Status, error code and time of the last change: what the message's plan says for now.
fn status(world: &World, sequence: u32, at_us: u64, failure: u32) -> (&'static str, u32, u64) {
    let now_us = world.clock.now_us();
    let options = world.callbacks.options_for(sequence);
    let steps = plan(&options, world.options.seed, Vendor::SobotIo, sequence, failure);
    let mut state = ("0", 0, at_us);
    for step in steps.iter().filter(|step| at_us + step.after_us <= now_us) {
        let changed_us = at_us + step.after_us;
        state = match (step.report, state.0) {
            (Report::Failed(code), _) => ("9", code, changed_us),
            (Report::Read, _) => ("2", 0, changed_us),
            (Report::Delivered, "0") => ("1", 0, changed_us),
            _ => state,
        };
    }
    state
}

fn written(world: &World, row: &Row) -> Value {
    let templates = world.templates.find(&row.template);
    let to = row.to.to_string();
    let mut item = json!({
        "task_name": "",
        "error_code": if row.code == 0 { "000000".to_owned() } else { row.code.to_string() },
        "timezone": "GMT+08:00",
        "region": region(&to),
        "taskid": 1_732,
        "recipient_tel": to,
        "send_agentid": "56a9063a0e8f4ef0aa21edcb7a692da2",
        "template_category": templates.map_or("MARKETING".to_owned(), |(category, _)| category),
        "message_status": row.status,
        "template_name": row.template,
        "send_time": world.clock.wall_ms(row.at_us),
        "partnerid": "",
        "sender": row.sender,
        "templateid": "1073729713514860",
        "businessid": "",
        "status_update_time": world.clock.wall_ms(row.updated_us),
    });
    if let Some(id) = &row.id {
        item["messageid"] = json!(id);
    }
    item
}

fn region(phone: &str) -> &'static str {
    const REGIONS: [(&str, &str); 6] =
        [("91", "IN"), ("86", "CN"), ("65", "SG"), ("44", "GB"), ("49", "DE"), ("1", "US")];
    REGIONS.iter().find(|(prefix, _)| phone.starts_with(prefix)).map_or("OTHER", |(_, region)| region)
}

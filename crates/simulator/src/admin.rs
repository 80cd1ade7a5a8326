//! The simulator's own pages under `/_simulator`, for programs in other processes: the ledger, faults,
//! callbacks. Heavy questions run beside the sends, never among them.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::fmt::Write as _;
use std::sync::Arc;

use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Response};
use bytes::Bytes;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::callbacks::CallbackCounts;
use crate::faults::FaultRule;
use crate::inbound::{self, Inbound};
use crate::options::CallbackOptions;
use crate::pump;
use crate::vendor::Vendor;
use crate::world::World;

type Shared = State<Arc<World>>;

/// Duplicates that are listed; all are counted.
const LISTED_DUPLICATES: usize = 1_000;
/// Lines of a CSV that are written at once.
const PIECE: usize = 2_000;

/// `GET ledger.json`.
pub(crate) async fn ledger(State(world): Shared) -> Response {
    let asked = world.clone();
    let summary = tokio::task::spawn_blocking(move || summary(&asked)).await;
    summary
        .map_or_else(|_| StatusCode::INTERNAL_SERVER_ERROR.into_response(), |body| Json(body).into_response())
}

fn summary(world: &World) -> Value {
    let duplicates = world.ledger.duplicates();
    let extra: u64 = duplicates.iter().map(|one| u64::from(one.count) - 1).sum();
    let vendors: BTreeMap<&str, Value> = Vendor::ALL
        .into_iter()
        .map(|vendor| {
            let own = duplicates.iter().filter(|one| one.vendor == vendor).count();
            let accepted = world.ledger.accepted_of(vendor);
            (vendor.name(), json!({"accepted_total": accepted, "duplicates": own}))
        })
        .collect();
    json!({
        "accepted_total": world.ledger.accepted_total(),
        "requests_total": world.ledger.arrivals_total(),
        "recipients": world.ledger.accepted_by_recipient().len(),
        "duplicates_total": duplicates.len(),
        "duplicate_messages": extra,
        "duplicates": &duplicates[..duplicates.len().min(LISTED_DUPLICATES)],
        "vendors": vendors,
        "callbacks": world.callbacks.counts(),
    })
}

/// `GET totals.json`: counts alone, cheap enough to be asked all the time.
pub(crate) async fn totals(State(world): Shared) -> Json<Value> {
    let vendors: BTreeMap<&str, u64> =
        Vendor::ALL.into_iter().map(|vendor| (vendor.name(), world.ledger.accepted_of(vendor))).collect();
    Json(json!({
        "accepted_total": world.ledger.accepted_total(),
        "requests_total": world.ledger.arrivals_total(),
        "vendors": vendors,
        "callbacks": world.callbacks.counts(),
    }))
}

/// `GET arrivals.csv`, written piece by piece.
pub(crate) async fn arrivals(State(world): Shared) -> Response {
    let kept = world.ledger.compact_arrivals();
    let pieces = (0..kept.len()).step_by(PIECE);
    let texts = pieces.map(move |first| {
        let mut text = String::with_capacity(64 * PIECE);
        for compact in kept.iter().skip(first).take(PIECE) {
            let one = world.ledger.arrival(compact);
            let (account, from) = (quoted(&one.account), quoted(&one.from));
            let (at_us, vendor, messages) = (one.at_us, one.vendor, one.messages);
            let (accepted, status) = (one.accepted, one.status);
            let _ = writeln!(text, "{at_us},{vendor},{account},{from},{messages},{accepted},{status}");
        }
        text
    });
    csv("at_us,vendor,account,from,messages,accepted,status\n", texts)
}

/// `GET messages.csv`, written piece by piece: the whole would take half a gigabyte.
pub(crate) async fn messages(State(world): Shared) -> Response {
    let total = u32::try_from(world.ledger.accepted_total()).unwrap_or(u32::MAX);
    let texts = (0..total).step_by(PIECE).map(move |first| {
        let mut text = String::with_capacity(160 * PIECE);
        for sequence in (first..total).take(PIECE) {
            let found =
                world.ledger.read(sequence, |record, custom| world.ledger.message(sequence, record, custom));
            let Some(one) = found else { continue };
            let (account, from, template) = (quoted(&one.account), quoted(&one.from), quoted(&one.template));
            let (at_us, vendor, to, id) = (one.at_us, one.vendor, one.to, &one.vendor_id);
            let (digest, custom) = (one.digest, quoted(&one.custom_data));
            let _ = writeln!(
                text,
                "{sequence},{at_us},{vendor},{account},{from},{to},{id},{template},{digest:016x},{custom}"
            );
        }
        text
    });
    csv("sequence,at_us,vendor,account,from,to,vendor_id,template,digest,custom_data\n", texts)
}

fn csv(header: &'static str, texts: impl Iterator<Item = String> + Send + 'static) -> Response {
    let header = std::iter::once(Bytes::from_static(header.as_bytes()));
    let pieces = header.chain(texts.map(Bytes::from)).map(Ok::<_, Infallible>);
    let body = Body::from_stream(futures::stream::iter(pieces));
    ([("content-type", "text/csv; charset=utf-8")], body).into_response()
}

fn quoted(text: &str) -> String {
    if text.contains([',', '"', '\n', '\r']) {
        return format!("\"{}\"", text.replace('"', "\"\""));
    }
    text.to_owned()
}

/// `GET faults`: the rules in force, and how often each has fired.
pub(crate) async fn faults(State(world): Shared) -> Json<Value> {
    let rules = world.faults().rules();
    Json(rules.into_iter().map(|(rule, fired)| json!({"rule": rule, "fired": fired})).collect())
}

/// `POST faults`: a list of rules replaces those in force.
pub(crate) async fn set_faults(State(world): Shared, body: Bytes) -> Response {
    parsed(&body, |rules: Vec<FaultRule>| {
        let count = rules.len();
        world.set_faults(rules);
        json!({"rules": count})
    })
}

/// `POST callback_urls`: `{"sobot_io": url, "sobot_in/ACCESS_KEY": url, …}` added to those registered.
pub(crate) async fn callback_urls(State(world): Shared, body: Bytes) -> Response {
    parsed(&body, |urls: BTreeMap<String, String>| {
        let count = urls.len();
        world.register_callback_urls(urls);
        json!({"registered": count})
    })
}

/// `GET callbacks`: how far the reports have come.
pub(crate) async fn callbacks(State(world): Shared) -> Json<CallbackCounts> {
    Json(world.callbacks.counts())
}

/// `POST callbacks`: options for messages accepted from now on.
pub(crate) async fn set_callbacks(State(world): Shared, body: Bytes) -> Response {
    parsed(&body, |options: CallbackOptions| {
        world.set_callback_options(options);
        json!({})
    })
}

#[derive(Deserialize, Default)]
#[serde(default, deny_unknown_fields)]
struct Replay {
    vendor: Option<Vendor>,
}

/// `POST callbacks/replay`: every report once more.
pub(crate) async fn replay(State(world): Shared, body: Bytes) -> Response {
    let body = if body.is_empty() { Bytes::from_static(b"{}") } else { body };
    parsed(&body, |replay: Replay| json!({"reports": pump::replay(&world, replay.vendor)}))
}

/// `POST inbound`: fires an inbound message or event and says how it was answered.
pub(crate) async fn inbound(State(world): Shared, body: Bytes) -> Response {
    let inbound: Inbound = match serde_json::from_slice(&body) {
        Ok(inbound) => inbound,
        Err(error) => return refused(StatusCode::BAD_REQUEST, &error.to_string()),
    };
    match inbound::fire(&world, &inbound).await {
        Ok(status) => Json(json!({"status": status})).into_response(),
        Err(error) => refused(StatusCode::BAD_GATEWAY, &error),
    }
}

/// `POST tokens/invalidate`: sobot.io's tokens are invalid from now on.
pub(crate) async fn invalidate_tokens(State(world): Shared) -> Json<Value> {
    world.tokens.invalidate(None);
    Json(json!({}))
}

/// `GET requests.json`: the last requests, without their headers.
pub(crate) async fn requests(State(world): Shared) -> Json<Value> {
    let seen = world.samples.all();
    Json(seen.iter().map(|one| json!({"vendor": one.vendor, "path": one.path, "body": one.json()})).collect())
}

fn parsed<T: serde::de::DeserializeOwned>(body: &[u8], then: impl FnOnce(T) -> Value) -> Response {
    match serde_json::from_slice(body) {
        Ok(value) => Json(then(value)).into_response(),
        Err(error) => refused(StatusCode::BAD_REQUEST, &error.to_string()),
    }
}

fn refused(status: StatusCode, reason: &str) -> Response {
    (status, Json(json!({"error": reason}))).into_response()
}

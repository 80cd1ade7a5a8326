//! Posts reports when they are due. The number under way is bounded; what is not answered with 200 is tried
//! again a bounded number of times. Reports to addresses other than http are given up with a warning.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::http::{Method, Request, header};
use bytes::Bytes;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use crate::callbacks::Due;
use crate::exceptions::Exception;
use crate::ledger::{NewRecord, Origin, Record};
use crate::payload::{self, News};
use crate::plan::{Step, plan};
use crate::vendor::Vendor;
use crate::world::World;

pub(crate) type HttpClient = Client<HttpConnector, Body>;

/// Most entries taken from the queue at once.
const SLICE: usize = 2_000;

pub(crate) fn client() -> HttpClient {
    let mut connector = HttpConnector::new();
    connector.set_nodelay(true);
    Client::builder(TokioExecutor::new()).pool_idle_timeout(Duration::from_secs(20)).build(connector)
}

/// Runs until it is aborted; posts under way end with it.
pub(crate) async fn run(world: Arc<World>) {
    let permits = Arc::new(Semaphore::new(world.options.callbacks.concurrency.max(1)));
    let mut posts = JoinSet::new();
    loop {
        let woken = world.callbacks.wake.notified();
        let (due, next) = world.callbacks.take(world.clock.now_us(), SLICE);
        if due.is_empty() {
            let wait = next.map_or(3_600_000_000, |at| at.saturating_sub(world.clock.now_us()));
            let _ = tokio::time::timeout(Duration::from_micros(wait), woken).await;
            continue;
        }
        world.callbacks.push(due.iter().filter_map(|due| follower(&world, due)).collect::<Vec<_>>());
        for group in groups(&world, due) {
            let Ok(permit) = permits.clone().acquire_owned().await else { return };
            let world = world.clone();
            posts.spawn(async move {
                post(&world, &group).await;
                drop(permit);
            });
            while posts.try_join_next().is_some() {}
        }
    }
}

/// Queues the reports of the messages of one request that was just accepted. Returns those whose first
/// report is to come before the answer.
pub(crate) fn schedule(
    world: &World,
    vendor: Vendor,
    account: &str,
    (first, at_us): (u32, u64),
    messages: &[NewRecord<'_>],
) -> Vec<u32> {
    let options = world.callbacks.options_for(first);
    let registered = world.callback_url(vendor, account).is_some();
    if !options.enabled || !registered && messages.iter().all(|message| message.url == 0) {
        return Vec::new();
    }
    let seed = world.options.seed;
    let mut early = Vec::new();
    let mut entries = Vec::with_capacity(messages.len());
    for (sequence, message) in (first..).zip(messages) {
        if message.url == 0 && !registered {
            continue;
        }
        let steps = plan(&options, seed, vendor, sequence, message.failure);
        let Some(step) = steps.first() else { continue };
        world.callbacks.plan(steps.len());
        if crate::plan::is_early(&options, seed, sequence) {
            early.push(sequence);
        } else {
            let at_us = at_us + step.after_us;
            entries.push(Due { at_us, sequence, step: 0, attempt: 0, replay: false });
        }
    }
    world.callbacks.push(entries);
    early
}

/// Posts the first report of a message now, before the answer of its send.
pub(crate) async fn post_first_report(world: &World, sequence: u32) {
    let first = Due { at_us: world.clock.now_us(), sequence, step: 0, attempt: 0, replay: false };
    world.callbacks.push(follower(world, &first));
    post(world, &[first]).await;
}

/// Queues all reports of one vendor's messages, or of all, once more.
pub(crate) fn replay(world: &World, only: Option<Vendor>) -> u64 {
    let at_us = world.clock.now_us();
    let mut entries = Vec::new();
    let mut reports = 0;
    for sequence in 0..u32::try_from(world.ledger.accepted_total()).unwrap_or(u32::MAX) {
        let vendor = world.ledger.read(sequence, |record, _| world.ledger.origin_of(record.origin).vendor());
        if only.is_some() && vendor != only {
            continue;
        }
        let steps = planned(world, sequence).map_or(0, |(_, steps)| steps.len());
        if steps > 0 {
            reports += steps;
            entries.push(Due { at_us, sequence, step: 0, attempt: 0, replay: true });
        }
    }
    world.callbacks.plan(reports);
    world.callbacks.push(entries);
    reports as u64
}

/// A message's time of acceptance and its plan; `None` when it has no address for reports.
fn planned(world: &World, sequence: u32) -> Option<(u64, Vec<Step>)> {
    let (at_us, url, failure, origin) =
        world.ledger.read(sequence, |record, _| (record.at_us, record.url, record.failure, record.origin))?;
    let origin = world.ledger.origin_of(origin);
    let vendor = origin.vendor();
    if url == 0 && world.callback_url(vendor, origin.account()).is_none() {
        return None;
    }
    let options = world.callbacks.options_for(sequence);
    Some((at_us, plan(&options, world.options.seed, vendor, sequence, failure)))
}

/// The next report of the same message, when this one is posted for the first time.
fn follower(world: &World, due: &Due) -> Option<Due> {
    if due.attempt > 0 {
        return None;
    }
    let (at_us, steps) = planned(world, due.sequence)?;
    let step = due.step + 1;
    let after_us = steps.get(usize::from(step))?.after_us;
    let at_us = if due.replay { due.at_us } else { at_us + after_us };
    Some(Due { at_us, step, attempt: 0, ..*due })
}

/// Exotel's reports for one address go together; others alone.
fn groups(world: &World, due: Vec<Due>) -> Vec<Vec<Due>> {
    let mut alone = Vec::new();
    let mut together: HashMap<(u32, u32), Vec<Vec<Due>>> = HashMap::new();
    for due in due {
        let Some((origin, url)) = world.ledger.read(due.sequence, |record, _| (record.origin, record.url))
        else {
            continue;
        };
        if world.ledger.origin_of(origin).vendor() != Vendor::Exotel {
            alone.push(vec![due]);
            continue;
        }
        let most = world.callbacks.options_for(due.sequence).exotel_batch.clamp(1, 100);
        // Without a URL of its own the account's default is used, which depends on the origin.
        let groups = together.entry((url, if url == 0 { origin } else { 0 })).or_default();
        match groups.last_mut().filter(|group| group.len() < most) {
            Some(group) => group.push(due),
            None => groups.push(vec![due]),
        }
    }
    alone.extend(together.into_values().flatten());
    alone
}

/// Posts one callback, and settles or requeues its reports by the answer.
async fn post(world: &World, group: &[Due]) {
    let Some(first) = group.first() else { return };
    let options = world.callbacks.options_for(first.sequence);
    let Some(Post { vendor, sender, url, body }) = callback(world, group) else {
        return world.callbacks.abandon(group.len());
    };
    world.callbacks.posted(group.len());
    let pushed_us = world.clock.now_us();
    let time = Duration::from_millis(options.timeout_ms);
    let status = tokio::time::timeout(time, post_json(world, &url, body.clone())).await;
    if matches!(status, Ok(Ok(200))) {
        world.callbacks.acknowledge(group.len());
        return;
    }
    tracing::debug!(?status, reports = group.len(), "a callback was not acknowledged");
    let at_us = world.clock.now_us() + options.retry_delay_ms.saturating_mul(1_000);
    let again = |due: &&Due| due.attempt + 1 < options.attempts;
    let retries: Vec<Due> =
        group.iter().filter(again).map(|due| Due { at_us, attempt: due.attempt + 1, ..*due }).collect();
    if retries.is_empty() && vendor == Vendor::SobotIo {
        let http_code = status.ok().and_then(Result::ok).unwrap_or(0);
        world.exceptions.keep(Exception { http_code, body, pushed_us, sender, url });
    }
    world.callbacks.abandon(group.len() - retries.len());
    world.callbacks.push(retries);
}

/// A callback that is ready to be posted.
struct Post {
    vendor: Vendor,
    sender: String,
    url: String,
    body: Bytes,
}

/// What one report says, before it has its vendor's form.
struct Said {
    record: Record,
    custom_data: String,
    origin: Origin,
    step: Step,
    sequence: u32,
}

fn said(world: &World, due: &Due) -> Option<Said> {
    let copied = |record: &Record, custom: &str| (*record, custom.to_owned());
    let (record, custom_data) = world.ledger.read(due.sequence, copied)?;
    let origin = world.ledger.origin_of(record.origin);
    let options = world.callbacks.options_for(due.sequence);
    let seed = world.options.seed;
    let steps = plan(&options, seed, origin.vendor(), due.sequence, record.failure);
    let step = *steps.get(usize::from(due.step))?;
    Some(Said { record, custom_data, origin, step, sequence: due.sequence })
}

fn callback(world: &World, group: &[Due]) -> Option<Post> {
    let all: Vec<Said> = group.iter().filter_map(|due| said(world, due)).collect();
    let first = all.first()?;
    let vendor = first.origin.vendor();
    let registered = world.callback_url(vendor, first.origin.account());
    let own = world.ledger.urls.name(first.record.url).to_string();
    // Exotel reports to the address of the request, the others to the one registered now.
    let url = match vendor {
        Vendor::Exotel if !own.is_empty() => own,
        _ => registered.unwrap_or(own),
    };
    let news: Vec<News<'_>> = all
        .iter()
        .map(|said| News {
            sequence: said.sequence,
            id: world.ids.message(vendor, said.sequence, said.record.to),
            from: said.origin.sender(),
            to: said.record.to,
            report: said.step.report,
            wall_ms: world.clock.wall_ms(said.record.at_us + said.step.after_us),
            custom_data: &said.custom_data,
        })
        .collect();
    let body = serde_json::to_vec(&payload::body(vendor, &news)).unwrap_or_default().into();
    Some(Post { vendor, sender: first.origin.sender().to_owned(), url, body })
}

/// Posts a JSON body and returns the status of the answer.
pub(crate) async fn post_json(world: &World, url: &str, body: Bytes) -> Result<u16, String> {
    if !url.starts_with("http://") {
        tracing::warn!(url, "only http callback addresses can be reached from the simulator");
        return Err(format!("{url:?} is not an http address"));
    }
    let request = Request::builder()
        .method(Method::POST)
        .uri(url)
        .header(header::CONTENT_TYPE, "application/json")
        .body(Body::from(body))
        .map_err(|error| error.to_string())?;
    let response = world.client.request(request).await.map_err(|error| error.to_string())?;
    let status = response.status().as_u16();
    // Reading the body gives the connection back to the pool.
    let _ = axum::body::to_bytes(Body::new(response.into_body()), 65_536).await;
    Ok(status)
}

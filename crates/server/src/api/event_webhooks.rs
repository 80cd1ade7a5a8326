//! `/event-webhooks`: the webhooks that are told what happens, and what could not be told them.

use std::sync::Arc;

use axum::{Json, extract::State};
use model::event::EventKind;
use reconciler::events::{self, Endpoint};
use store::event_webhooks::{self, DeadLetter, Health};
use utoipa_axum::{router::OpenApiRouter, routes};
use uuid::Uuid;

use super::PageParams;
use crate::{
    auth::{Caller, Role},
    extract::{self, Body, Params, Segment},
    problem::{Answer, Problem},
    state::{AppState, commit},
};

/// The most ids that one call may name.
const LIMIT_IDS: usize = 1_000;

/// The calls.
pub fn routes() -> OpenApiRouter<AppState> {
    OpenApiRouter::new()
        .routes(routes!(list))
        .routes(routes!(dead_letters))
        .routes(routes!(redrive))
        .routes(routes!(test))
}

/// The webhooks of the configuration, and how they fare. Never their secrets.
#[utoipa::path(
    get, path = "/event-webhooks", tag = "events",
    responses((status = 200, body = ::api::List<::api::EventWebhook>))
)]
async fn list(
    State(state): State<AppState>,
    caller: Caller,
) -> Answer<Json<::api::List<::api::EventWebhook>>> {
    caller.needs(Role::Viewer)?;
    let names: Vec<&str> = state.events.iter().map(|endpoint| endpoint.webhook.name.as_str()).collect();
    let mut conn = state.connection().await?;
    let health = event_webhooks::health(&mut conn, &names).await?;
    let of = |endpoint: &Arc<Endpoint>| {
        let of_it = health.iter().find(|health| health.webhook == endpoint.webhook.name);
        show(endpoint, of_it.cloned().unwrap_or_default())
    };
    Ok(Json(::api::List::whole(state.events.iter().map(of).collect())))
}

/// The batches of events that a webhook was given up on, the oldest first. They are kept for 30 days.
#[utoipa::path(
    get, path = "/event-webhooks/{name}/dead-letters", tag = "events", params(("name" = String, Path), PageParams),
    responses((status = 200, body = ::api::List<::api::EventDeadLetter>))
)]
async fn dead_letters(
    State(state): State<AppState>,
    caller: Caller,
    Segment(name): Segment,
    Params(params): Params<PageParams>,
) -> Answer<Json<::api::List<::api::EventDeadLetter>>> {
    caller.needs(Role::Viewer)?;
    let endpoint = find(&state, &name)?;
    let limit = extract::limit(params.limit)?;
    let after = extract::after(params.after.as_deref())?;
    let mut conn = state.connection().await?;
    let rows = event_webhooks::dead_letters(&mut conn, &endpoint.webhook.name, after, limit + 1).await?;
    Ok(Json(extract::page(rows, limit, |row| row.number.to_string(), show_dead_letter)))
}

/// Posts batches again that were given up, under their old ids and before later events of their tasks. Without ids: the
/// oldest 10,000.
#[utoipa::path(
    post, path = "/event-webhooks/{name}/dead-letters/redrive", tag = "events", params(("name" = String, Path)),
    request_body = ::api::RedriveRequest, responses((status = 200, body = ::api::Redriven))
)]
async fn redrive(
    State(state): State<AppState>,
    caller: Caller,
    Segment(name): Segment,
    Body(request): Body<::api::RedriveRequest>,
) -> Answer<Json<::api::Redriven>> {
    caller.needs(Role::Operator)?;
    let endpoint = find(&state, &name)?;
    let ids = request.ids.as_deref().map(ids).transpose()?;
    let mut tx = state.begin().await?;
    let webhook = &endpoint.webhook.name;
    let redriven = event_webhooks::redrive(&mut tx, webhook, ids.as_deref(), state.clock.now()).await?;
    commit(tx).await?;
    tracing::info!(webhook.name = webhook, redriven, "dead letters are posted again");
    Ok(Json(::api::Redriven { redriven }))
}

/// Posts an event of type `ping` now, once, and says what came of it.
#[utoipa::path(
    post, path = "/event-webhooks/{name}/test", tag = "events", params(("name" = String, Path)),
    responses((status = 200, body = ::api::EventTest))
)]
async fn test(
    State(state): State<AppState>,
    caller: Caller,
    Segment(name): Segment,
) -> Answer<Json<::api::EventTest>> {
    caller.needs(Role::Operator)?;
    let endpoint = find(&state, &name)?;
    let id = {
        let mut conn = state.connection().await?;
        event_webhooks::new_id(&mut conn).await?
    };
    let tried = events::ping(endpoint, id, state.clock.now()).await;
    Ok(Json(::api::EventTest {
        id: events::message_id(id),
        delivered: tried.is_delivered(),
        status: tried.status,
        error: tried.error,
    }))
}

fn find<'a>(state: &'a AppState, name: &str) -> Answer<&'a Arc<Endpoint>> {
    let found = state.events.iter().find(|endpoint| endpoint.webhook.name == name);
    found.ok_or_else(|| Problem::no("event webhook", name))
}

fn ids(texts: &[String]) -> Answer<Vec<Uuid>> {
    if texts.len() > LIMIT_IDS {
        return Err(Problem::field("ids", format!("must have at most {LIMIT_IDS} items")));
    }
    let id = |(n, text): (usize, &String)| {
        let id = text.strip_prefix("msg_").and_then(|id| Uuid::try_parse(id).ok());
        id.ok_or_else(|| Problem::field(&format!("ids[{n}]"), "is not a `webhook-id` such as msg_…"))
    };
    texts.iter().enumerate().map(id).collect()
}

fn show(endpoint: &Endpoint, health: Health) -> ::api::EventWebhook {
    let webhook = &endpoint.webhook;
    ::api::EventWebhook {
        name: webhook.name.clone(),
        url: webhook.shown_url.clone(),
        events: webhook.events.patterns().to_vec(),
        allow_private_urls: webhook.allow_private_urls,
        delivered: health.delivered,
        failed: health.failed,
        consecutive_failures: health.consecutive_failures,
        last_success_at: health.last_success_at,
        last_failure_at: health.last_failure_at,
        last_error: health.last_error,
        backlog: health.backlog,
        oldest_at: health.oldest_at,
        dead_letters: health.dead_letters,
    }
}

fn show_dead_letter(row: DeadLetter) -> ::api::EventDeadLetter {
    ::api::EventDeadLetter {
        id: events::message_id(row.id),
        kind: EventKind::from_i16(row.kind).map_or("", EventKind::as_str).to_owned(),
        task_id: row.task_id,
        first_sequence: row.first_sequence,
        last_sequence: row.first_sequence + i64::from(row.events) - 1,
        tries: row.tries,
        created_at: row.created_at,
        failed_at: row.failed_at,
        error: row.error,
    }
}

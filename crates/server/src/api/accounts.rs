//! `/accounts`: the configuration's accounts and how they fare; never their secrets.

use axum::{Json, extract::State};
use model::disposition::Scope;
use store::{
    PgConnection, halts,
    sender_limits::{self, SenderLimit},
    vendor_events,
};
use utoipa_axum::{router::OpenApiRouter, routes};
use vendors::{AccountConfig, SenderConfig};

use super::PageParams;
use crate::{
    auth::{Caller, Role},
    convert,
    extract::{self, Params, Segment},
    problem::{Answer, Problem},
    state::AppState,
};

/// Halts of one account that are shown with it.
const LIMIT_HALTS: i64 = 100;

/// The calls.
pub fn routes() -> OpenApiRouter<AppState> {
    OpenApiRouter::new().routes(routes!(list)).routes(routes!(get))
}

/// Lists the accounts in the configuration's order.
#[utoipa::path(
    get, path = "/accounts", tag = "accounts", params(PageParams),
    responses((status = 200, body = ::api::List<::api::Account>))
)]
async fn list(
    State(state): State<AppState>,
    caller: Caller,
    Params(params): Params<PageParams>,
) -> Answer<Json<::api::List<::api::Account>>> {
    caller.needs(Role::Viewer)?;
    let limit = usize::try_from(extract::limit(params.limit)?).unwrap_or(usize::MAX);
    let skip: usize = extract::after(params.after.as_deref())?.unwrap_or(0);
    let mut conn = state.connection().await?;
    let mut items = Vec::new();
    for account in state.accounts.iter().skip(skip).take(limit) {
        items.push(show(&state, &mut conn, account).await?);
    }
    let next = (state.accounts.len() > skip.saturating_add(limit)).then(|| (skip + limit).to_string());
    Ok(Json(::api::List { items, next }))
}

/// Shows an account.
#[utoipa::path(
    get, path = "/accounts/{name}", tag = "accounts", params(("name" = String, Path)),
    responses((status = 200, body = ::api::Account))
)]
async fn get(
    State(state): State<AppState>,
    caller: Caller,
    Segment(name): Segment,
) -> Answer<Json<::api::Account>> {
    caller.needs(Role::Viewer)?;
    let account = state.account(&name).ok_or_else(|| Problem::no("account", &name))?;
    let mut conn = state.connection().await?;
    Ok(Json(show(&state, &mut conn, account).await?))
}

async fn show(state: &AppState, conn: &mut PgConnection, account: &AccountConfig) -> Answer<::api::Account> {
    let live = (state.live.account)(&account.name);
    let halts = halts::list(conn, Some(&account.name), None, LIMIT_HALTS).await?;
    let limits = sender_limits::of_account(conn, &account.name).await?;
    let last_event = vendor_events::list(conn, Some(&account.name), None, None, 1).await?.into_iter().next();
    let stands_still = halts.iter().any(|halt| matches!(halt.scope, Scope::Account | Scope::Sender));
    let health = if stands_still {
        ::api::AccountHealth::Halted
    } else if live.breaker == ::api::Breaker::Closed {
        ::api::AccountHealth::Ok
    } else {
        ::api::AccountHealth::Failing
    };
    let url = state.public_url.as_ref().filter(|_| account.webhook_token.is_some());
    Ok(::api::Account {
        name: account.name.clone(),
        vendor: account.vendor.as_str().to_owned(),
        base_url: Some(account.base_url.clone()),
        webhook_url: url.map(|url| format!("{}/webhooks/{}/****", url.trim_end_matches('/'), account.name)),
        requests_per_second: account.requests_per_second,
        max_in_flight: i64::try_from(account.max_in_flight).unwrap_or(i64::MAX),
        senders: account
            .senders
            .iter()
            .map(|configured| sender(configured, limits.get(&configured.from)))
            .collect(),
        owned: live.owned,
        health,
        rate_per_second: live.rate_per_second,
        in_flight: live.in_flight,
        breaker: live.breaker,
        halts: halts.into_iter().map(convert::halt).collect(),
        last_event: last_event.map(convert::vendor_event),
    })
}

fn sender(configured: &SenderConfig, told: Option<&SenderLimit>) -> ::api::Sender {
    let daily = told.and_then(|told| told.daily_recipients);
    let effective = sender_limits::smaller(configured.daily_recipients, daily);
    ::api::Sender {
        from: configured.from.clone(),
        messages_per_second: configured.messages_per_second,
        daily_recipients: configured.daily_recipients.map(i64::from),
        effective_daily_recipients: effective.map(i64::from),
        tier: told.and_then(|told| told.tier.clone()),
        quality: told.and_then(|told| told.quality.clone()),
        told_at: told.map(|told| told.told_at),
    }
}

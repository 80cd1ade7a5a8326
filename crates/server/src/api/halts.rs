//! `/halts`: what stands still, and why.

use axum::{Json, extract::State, http::StatusCode};
use serde::Deserialize;
use store::halts;
use utoipa::IntoParams;
use utoipa_axum::{router::OpenApiRouter, routes};

use crate::{
    auth::{Caller, Role},
    convert,
    extract::{self, Id, Params},
    problem::{Answer, Problem},
    state::{AppState, commit},
};

/// The calls.
pub fn routes() -> OpenApiRouter<AppState> {
    OpenApiRouter::new().routes(routes!(list)).routes(routes!(lift))
}

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct ListParams {
    /// Of this account.
    account: Option<String>,
    /// How many items, at most 500.
    limit: Option<i64>,
    /// `next` of the page before.
    after: Option<String>,
}

/// Lists what stands still and why, the newest first.
#[utoipa::path(
    get, path = "/halts", tag = "halts", params(ListParams),
    responses((status = 200, body = ::api::List<::api::Halt>))
)]
async fn list(
    State(state): State<AppState>,
    caller: Caller,
    Params(params): Params<ListParams>,
) -> Answer<Json<::api::List<::api::Halt>>> {
    caller.needs(Role::Viewer)?;
    let limit = extract::limit(params.limit)?;
    let before = extract::after(params.after.as_deref())?;
    let mut conn = state.connection().await?;
    let rows = halts::list(&mut conn, params.account.as_deref(), before, limit + 1).await?;
    Ok(Json(extract::page(rows, limit, |row| row.id.to_string(), convert::halt)))
}

/// Lifts a halt: its tasks run on by themselves.
#[utoipa::path(
    delete, path = "/halts/{id}", tag = "halts", params(("id" = i64, Path)),
    responses((status = 204))
)]
async fn lift(State(state): State<AppState>, caller: Caller, Id(id): Id) -> Answer<StatusCode> {
    caller.needs(Role::Operator)?;
    let mut tx = state.begin().await?;
    let halt = halts::lift(&mut tx, id).await?.ok_or_else(|| Problem::no("halt", id))?;
    commit(tx).await?;
    (state.live.wake)(&halt.account);
    tracing::info!(
        halt.id = id,
        account.name = halt.account,
        scope = halt.scope.as_str(),
        "a halt was lifted"
    );
    Ok(StatusCode::NO_CONTENT)
}

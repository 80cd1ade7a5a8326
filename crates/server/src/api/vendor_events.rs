//! `/events`: what vendors told of templates, numbers and accounts.

use axum::{Json, extract::State};
use serde::Deserialize;
use store::vendor_events;
use utoipa::IntoParams;
use utoipa_axum::{router::OpenApiRouter, routes};

use crate::{
    auth::{Caller, Role},
    convert,
    extract::{self, Params},
    problem::Answer,
    state::AppState,
};

/// The calls.
pub fn routes() -> OpenApiRouter<AppState> {
    OpenApiRouter::new().routes(routes!(list))
}

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct ListParams {
    /// Of this account.
    account: Option<String>,
    /// About this.
    #[param(value_type = Option<::api::VendorEventKind>)]
    kind: Option<::api::VendorEventKind>,
    /// How many items, at most 500.
    limit: Option<i64>,
    /// `next` of the page before.
    after: Option<String>,
}

/// Lists what vendors told of templates, numbers and accounts, the newest first.
#[utoipa::path(
    get, path = "/events", tag = "events", params(ListParams),
    responses((status = 200, body = ::api::List<::api::VendorEvent>))
)]
async fn list(
    State(state): State<AppState>,
    caller: Caller,
    Params(params): Params<ListParams>,
) -> Answer<Json<::api::List<::api::VendorEvent>>> {
    caller.needs(Role::Viewer)?;
    let limit = extract::limit(params.limit)?;
    let before = extract::after(params.after.as_deref())?;
    let kind = params.kind.map(convert::event_kind_of);
    let mut conn = state.connection().await?;
    let rows = vendor_events::list(&mut conn, params.account.as_deref(), kind, before, limit + 1).await?;
    Ok(Json(extract::page(rows, limit, |row| row.id.to_string(), convert::vendor_event)))
}

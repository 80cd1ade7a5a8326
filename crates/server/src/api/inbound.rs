//! `/inbound`: what people wrote and pressed.

use axum::{Json, extract::State};
use model::Phone;
use serde::Deserialize;
use store::inbound;
use utoipa::IntoParams;
use utoipa_axum::{router::OpenApiRouter, routes};

use crate::{
    auth::{Caller, Role},
    extract::{self, Params},
    problem::{Answer, Problem},
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
    /// From this phone.
    from: Option<String>,
    /// How many items, at most 500.
    limit: Option<i64>,
    /// `next` of the page before.
    after: Option<String>,
}

/// Lists replies and clicks, the newest first.
#[utoipa::path(
    get, path = "/inbound", tag = "inbound", params(ListParams),
    responses((status = 200, body = ::api::List<::api::Inbound>))
)]
async fn list(
    State(state): State<AppState>,
    caller: Caller,
    Params(params): Params<ListParams>,
) -> Answer<Json<::api::List<::api::Inbound>>> {
    caller.needs(Role::Viewer)?;
    let limit = extract::limit(params.limit)?;
    let before = extract::after(params.after.as_deref())?;
    let from: Option<Phone> = params
        .from
        .as_deref()
        .map(str::parse)
        .transpose()
        .map_err(|_| Problem::query("from", "is not a phone number in international form"))?;
    let mut conn = state.connection().await?;
    let rows = inbound::list(&mut conn, params.account.as_deref(), from, before, limit + 1).await?;
    Ok(Json(extract::page(rows, limit, |row| row.id.to_string(), show)))
}

fn show(row: inbound::Inbound) -> ::api::Inbound {
    ::api::Inbound {
        id: row.id,
        account: row.account,
        from: format!("+{}", row.phone),
        to: row.sender,
        kind: row.kind,
        text: row.text,
        is_click: row.is_click,
        vendor_id: row.vendor_id,
        in_reply_to: row.in_reply_to,
        received_at: row.received_at,
        task_id: row.task_id,
        no: row.no,
    }
}

//! `/codes`: what vendors' codes mean, and what is done about them.

use axum::{Json, extract::State};
use serde::Deserialize;
use utoipa::IntoParams;
use utoipa_axum::{router::OpenApiRouter, routes};
use vendors::{CodeEntry, Vendor, codes};

use crate::{
    auth::{Caller, Role},
    extract::{self, Params},
    problem::{Answer, Problem},
    state::AppState,
};

/// What stands for the vendor of our own codes.
const OURS: &str = "campaignd";

/// The calls.
pub fn routes() -> OpenApiRouter<AppState> {
    OpenApiRouter::new().routes(routes!(list))
}

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct ListParams {
    /// Of this vendor; `campaignd` for our own.
    vendor: Option<String>,
    /// What this code means to each vendor.
    code: Option<String>,
    /// A part of the code, its name or its meaning.
    q: Option<String>,
    /// How many items, at most 500.
    limit: Option<i64>,
    /// `next` of the page before.
    after: Option<String>,
}

/// Lists codes, or says what one means.
#[utoipa::path(
    get, path = "/codes", tag = "codes", params(ListParams),
    responses((status = 200, body = ::api::List<::api::Code>))
)]
async fn list(
    State(_): State<AppState>,
    caller: Caller,
    Params(params): Params<ListParams>,
) -> Answer<Json<::api::List<::api::Code>>> {
    caller.needs(Role::Viewer)?;
    let limit = extract::limit(params.limit)?;
    let skip: usize = extract::after(params.after.as_deref())?.unwrap_or(0);
    let vendor = params.vendor.as_deref();
    if vendor.is_some_and(|name| name != OURS && Vendor::from_name(name).is_none()) {
        let known = Vendor::ALL.map(Vendor::as_str).join(", ");
        return Err(Problem::query("vendor", format!("must be one of {known}, {OURS}")));
    }
    let entries = match &params.code {
        Some(code) => meanings(code),
        None => codes::all().collect(),
    };
    let q = params.q.map(|q| q.to_lowercase());
    let found: Vec<::api::Code> = entries
        .iter()
        .map(show)
        .filter(|code| vendor.is_none_or(|vendor| code.vendor == vendor))
        .filter(|code| q.as_deref().is_none_or(|q| matches(code, q)))
        .collect();
    let limit = usize::try_from(limit).unwrap_or(usize::MAX);
    let next = (found.len() > skip.saturating_add(limit)).then(|| (skip + limit).to_string());
    let items = found.into_iter().skip(skip).take(limit).collect();
    Ok(Json(::api::List { items, next }))
}

/// What a code means to each vendor; one of ours means the same to all.
fn meanings(code: &str) -> Vec<CodeEntry> {
    let mut found: Vec<CodeEntry> = Vec::new();
    for entry in Vendor::ALL.into_iter().filter_map(|vendor| codes::find(vendor, code)) {
        let is_known = found.iter().any(|known| (known.vendor, known.code) == (entry.vendor, entry.code));
        if !is_known {
            found.push(entry);
        }
    }
    found
}

fn matches(code: &::api::Code, q: &str) -> bool {
    [&code.code, &code.name, &code.meaning].iter().any(|text| text.to_lowercase().contains(q))
}

fn show(entry: &CodeEntry) -> ::api::Code {
    ::api::Code {
        vendor: entry.vendor.map_or(OURS, Vendor::as_str).to_owned(),
        layer: entry.layer.as_str().to_owned(),
        code: entry.code.to_owned(),
        name: entry.name.unwrap_or_default().to_owned(),
        meaning: entry.meaning.to_owned(),
        disposition: entry.what_is_done(),
        advice: entry.advice.to_owned(),
    }
}

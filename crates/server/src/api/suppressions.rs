//! `/suppressions`: numbers that get nothing, from any account.

use axum::{Json, extract::State, http::StatusCode};
use model::{FieldError, Phone, phone_input};
use serde::Deserialize;
use store::suppressions::{self, Filter, Reason};
use utoipa::IntoParams;
use utoipa_axum::{router::OpenApiRouter, routes};

use super::suppression_files;
use crate::{
    auth::{Caller, Role},
    convert,
    extract::{self, Body, Params, Segment},
    problem::{Answer, Problem},
    state::{AppState, commit},
};

/// The calls.
pub fn routes() -> OpenApiRouter<AppState> {
    OpenApiRouter::new().routes(routes!(list, add)).routes(routes!(remove)).merge(suppression_files::routes())
}

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct ListParams {
    /// One or more reasons, with commas between them.
    reason: Option<String>,
    /// Listed by this source: `reply`, `import`, `api`, whatever was told.
    source: Option<String>,
    /// This number.
    phone: Option<String>,
    /// How many items, at most 500. Ignored by the export, which has all.
    limit: Option<i64>,
    /// `next` of the page before.
    pub after: Option<String>,
}

impl ListParams {
    /// What they ask for.
    pub fn filter(&self) -> Answer<Filter> {
        let phone = self.phone.as_deref().map(|text| {
            text.parse().map_err(|_| Problem::query("phone", "is not a phone number in international form"))
        });
        let reasons = self.reason.iter().flat_map(|text| text.split(',')).map(read_reason);
        Ok(Filter {
            reasons: reasons.collect::<Answer<_>>()?,
            source: self.source.clone(),
            phone: phone.transpose()?,
        })
    }
}

fn read_reason(word: &str) -> Answer<Reason> {
    const ALL: [::api::SuppressionReason; 4] = ::api::SuppressionReason::ALL;
    let reason = ALL.into_iter().find(|reason| reason.as_str() == word.trim());
    reason.map(convert::suppression_reason_of).ok_or_else(|| {
        let words = ALL.map(::api::SuppressionReason::as_str).join(", ");
        Problem::query("reason", format!("must be of {words}, with commas between them"))
    })
}

/// Lists the numbers that get nothing, in their order.
#[utoipa::path(
    get, path = "/suppressions", tag = "suppressions", params(ListParams),
    responses((status = 200, body = ::api::List<::api::Suppression>))
)]
async fn list(
    State(state): State<AppState>,
    caller: Caller,
    Params(params): Params<ListParams>,
) -> Answer<Json<::api::List<::api::Suppression>>> {
    caller.needs(Role::Viewer)?;
    let limit = extract::limit(params.limit)?;
    let after = extract::after(params.after.as_deref())?;
    let filter = params.filter()?;
    let now = state.clock.now();
    let mut conn = state.connection().await?;
    let rows = suppressions::list(&mut conn, &filter, now, after, limit + 1).await?;
    Ok(Json(extract::page(rows, limit, |row| row.phone.as_i64().to_string(), show)))
}

/// A listed number as it is shown.
pub fn show(row: suppressions::Suppression) -> ::api::Suppression {
    ::api::Suppression {
        phone: row.phone.to_string(),
        reason: convert::suppression_reason(row.reason),
        source: row.source,
        created_at: row.created_at,
        expires_at: row.expires_at,
    }
}

/// Lists a number. One that is listed already keeps its reason, unless that ends sooner.
#[utoipa::path(
    post, path = "/suppressions", tag = "suppressions", request_body = ::api::NewSuppression,
    responses((status = 201, body = ::api::Suppression))
)]
async fn add(
    State(state): State<AppState>,
    caller: Caller,
    Body(new): Body<::api::NewSuppression>,
) -> Answer<(StatusCode, Json<::api::Suppression>)> {
    caller.needs(Role::Marketer)?;
    let now = state.clock.now();
    let phone = phone_input::normalise(&new.phone, None)
        .map_err(|problem| Problem::fields(vec![FieldError::new("phone", problem.to_string())]))?;
    if new.expires_at.is_some_and(|at| at <= now) {
        return Err(Problem::field("expires_at", "must lie in the future"));
    }
    let reason = new.reason.map_or(Reason::Manual, convert::suppression_reason_of);
    let source = new.source.unwrap_or_else(|| "api".to_owned());
    let of_phone = Filter { phone: Some(phone), ..Filter::default() };
    let mut tx = state.begin().await?;
    suppressions::add(&mut tx, &[phone], reason, &source, new.expires_at, now).await?;
    let listed = suppressions::list(&mut tx, &of_phone, now, None, 1).await?.into_iter().next();
    commit(tx).await?;
    let listed =
        listed.ok_or_else(|| Problem::conflict("the number was taken off the list at this moment"))?;
    Ok((StatusCode::CREATED, Json(show(listed))))
}

/// Takes a number off the list.
#[utoipa::path(
    delete, path = "/suppressions/{phone}", tag = "suppressions", params(("phone" = String, Path)),
    responses((status = 204))
)]
async fn remove(State(state): State<AppState>, caller: Caller, Segment(text): Segment) -> Answer<StatusCode> {
    caller.needs(Role::Operator)?;
    let phone: Phone = text
        .parse()
        .map_err(|error: model::phone::NotAPhone| Problem::new(StatusCode::NOT_FOUND, error.to_string()))?;
    let mut conn = state.connection().await?;
    if suppressions::remove(&mut conn, phone).await? {
        tracing::info!(phone = phone.masked(), "a suppression was removed");
        return Ok(StatusCode::NO_CONTENT);
    }
    Err(Problem::new(StatusCode::NOT_FOUND, format!("{phone} is not on the suppression list")))
}

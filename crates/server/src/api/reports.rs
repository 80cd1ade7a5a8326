//! Reports: a task in numbers, over time, and beside the other tasks of its campaign.

use axum::{Json, extract::State};
use chrono::{DateTime, SecondsFormat, Utc};
use serde::Deserialize;
use store::{
    campaigns, tasks,
    timelines::{self, Step},
};
use utoipa::IntoParams;
use utoipa_axum::{router::OpenApiRouter, routes};

use super::PageParams;
use crate::{
    auth::{Caller, Role},
    convert,
    extract::{self, Id, Params},
    problem::{Answer, Problem},
    state::AppState,
};

/// Buckets of one page of a timeline at the most: a day of minutes.
const LIMIT_BUCKETS: i64 = 1500;

/// The calls.
pub fn routes() -> OpenApiRouter<AppState> {
    OpenApiRouter::new().routes(routes!(report)).routes(routes!(timeline)).routes(routes!(compare))
}

/// Shows what came of a task: counts, rates in per cent, and each error with what to do about it.
#[utoipa::path(
    get, path = "/tasks/{id}/report", tag = "reports", params(("id" = i64, Path)),
    responses((status = 200, body = ::api::TaskReport))
)]
async fn report(
    State(state): State<AppState>,
    caller: Caller,
    Id(id): Id,
) -> Answer<Json<::api::TaskReport>> {
    caller.needs(Role::Viewer)?;
    let mut conn = state.connection().await?;
    let task = tasks::get(&mut conn, id).await?.ok_or_else(|| Problem::no("task", id))?;
    let vendor = state.account(&task.account).map(|account| account.vendor);
    let error = |(code, count): &(String, i64)| convert::reported_error(vendor, code.clone(), *count);
    let errors = task.errors.iter().map(error).collect();
    Ok(Json(::api::TaskReport { summary: convert::summary(task, state.clock.now()), errors }))
}

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct TimelineParams {
    /// `minute` unless told, or `hour`.
    #[serde(default)]
    #[param(value_type = Option<::api::TimelineStep>, inline)]
    by: ::api::TimelineStep,
    /// From this minute on.
    from: Option<DateTime<Utc>>,
    /// Before this minute.
    to: Option<DateTime<Utc>>,
    /// How many items, at most 1,500, which is what there are unless told.
    limit: Option<i64>,
    /// `next` of the page before.
    after: Option<String>,
}

/// Shows how a task went: what each minute, or hour, added to its counts.
///
/// Minutes in which nothing changed are left out. Empty for a task whose `details_removed_at` is set, and for one that ran
/// before timelines were kept.
#[utoipa::path(
    get, path = "/tasks/{id}/timeline", tag = "reports", params(("id" = i64, Path), TimelineParams),
    responses((status = 200, body = ::api::List<::api::TimelineBucket>))
)]
async fn timeline(
    State(state): State<AppState>,
    caller: Caller,
    Id(id): Id,
    Params(params): Params<TimelineParams>,
) -> Answer<Json<::api::List<::api::TimelineBucket>>> {
    caller.needs(Role::Viewer)?;
    let limit = params.limit.unwrap_or(LIMIT_BUCKETS);
    if !(1..=LIMIT_BUCKETS).contains(&limit) {
        return Err(Problem::query("limit", format!("must be 1 to {LIMIT_BUCKETS}")));
    }
    let step = match params.by {
        ::api::TimelineStep::Minute => Step::Minute,
        ::api::TimelineStep::Hour => Step::Hour,
    };
    let after: Option<DateTime<Utc>> = extract::after(params.after.as_deref())?;
    let goes_on = after.and_then(|at| at.checked_add_signed(step.length()));
    let from = params.from.max(goes_on);
    let mut conn = state.connection().await?;
    tasks::get(&mut conn, id).await?.ok_or_else(|| Problem::no("task", id))?;
    let rows = timelines::read(&mut conn, id, step, from, params.to, limit + 1).await?;
    let key = |row: &timelines::Bucket| row.at.to_rfc3339_opts(SecondsFormat::Secs, true);
    Ok(Json(extract::page(rows, limit, key, |row| bucket(&row))))
}

fn bucket(row: &timelines::Bucket) -> ::api::TimelineBucket {
    let timelines::Bucket { at, accepted, sent, delivered, read, failed } = *row;
    ::api::TimelineBucket { at, accepted, sent, delivered, read, failed }
}

/// Compares the tasks of a campaign, the newest first: one line for each firing of a recurring one.
#[utoipa::path(
    get, path = "/campaigns/{id}/report", tag = "reports", params(("id" = i64, Path), PageParams),
    responses((status = 200, body = ::api::List<::api::TaskSummary>))
)]
async fn compare(
    State(state): State<AppState>,
    caller: Caller,
    Id(id): Id,
    Params(params): Params<PageParams>,
) -> Answer<Json<::api::List<::api::TaskSummary>>> {
    caller.needs(Role::Viewer)?;
    let limit = extract::limit(params.limit)?;
    let before = extract::after(params.after.as_deref())?;
    let mut conn = state.connection().await?;
    campaigns::get(&mut conn, id).await?.ok_or_else(|| Problem::no("campaign", id))?;
    let filter = tasks::Filter { campaign_id: Some(id), ..tasks::Filter::default() };
    let rows = tasks::list(&mut conn, &filter, before, limit + 1).await?;
    let now = state.clock.now();
    Ok(Json(extract::page(rows, limit, |row| row.id.to_string(), |row| convert::summary(row, now))))
}

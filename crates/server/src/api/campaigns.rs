//! `/campaigns`.

use axum::{Json, extract::State, http::StatusCode};
use chrono::{DateTime, Utc};
use serde::Deserialize;
use store::{campaigns, firings};
use utoipa::IntoParams;
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{launches, previews, trials};
use crate::{
    auth::{Caller, Role},
    convert, definition,
    extract::{self, Body, Id, IdempotencyKey, Params},
    idempotency::Keyed,
    problem::{Answer, Problem},
    state::{AppState, commit},
    template_use,
};

/// The calls.
pub fn routes() -> OpenApiRouter<AppState> {
    OpenApiRouter::new()
        .routes(routes!(create, list))
        .routes(routes!(get, change, delete))
        .routes(routes!(previews::preview))
        .routes(routes!(trials::test))
        .routes(routes!(launches::launch))
}

/// Creates a campaign, and launches it when asked to.
#[utoipa::path(
    post, path = "/campaigns", tag = "campaigns",
    params(("Idempotency-Key" = Option<String>, Header, description = "Makes a repetition safe.")),
    request_body = ::api::NewCampaign,
    responses((status = 201, body = ::api::Campaign))
)]
async fn create(
    State(state): State<AppState>,
    caller: Caller,
    IdempotencyKey(key): IdempotencyKey,
    Body(new): Body<::api::NewCampaign>,
) -> Answer<(StatusCode, Json<::api::Campaign>)> {
    caller.needs(Role::Marketer)?;
    let fingerprint = serde_json::to_vec(&new).unwrap_or_default();
    let keyed = Keyed::new(key, "campaigns", &[&fingerprint]);
    let mut tx = state.begin().await?;
    let earlier = match &keyed {
        Some(keyed) => keyed.claim(&mut tx, state.clock.now()).await?,
        None => None,
    };
    let (id, is_launched) = match earlier {
        Some(id) => (id, false),
        None => {
            let launch = new.launch;
            let id = write(&state, &mut tx, new).await?;
            if let Some(keyed) = &keyed {
                keyed.complete(&mut tx, id).await?;
            }
            if launch {
                launches::launch_in(&state, &mut tx, id).await?;
            }
            (id, launch)
        }
    };
    let campaign = campaigns::get(&mut tx, id).await?.ok_or_else(|| Problem::no("campaign", id))?;
    hooks::point!("launch.before_commit", if is_launched);
    commit(tx).await?;
    hooks::point!("launch.after_commit", if is_launched);
    if is_launched {
        (state.live.wake)(&campaign.definition.account);
    }
    Ok((StatusCode::CREATED, Json(convert::campaign(campaign, state.clock.now()))))
}

async fn write(state: &AppState, conn: &mut store::PgConnection, new: ::api::NewCampaign) -> Answer<i64> {
    let mut wanted = definition::from_request(new);
    let checked = definition::check(state, conn, &mut wanted).await?;
    template_use::refuse(&checked.template)?;
    hold_audience(conn, wanted.audience_id).await?;
    Ok(campaigns::create(conn, &wanted, state.clock.now()).await?)
}

/// Keeps the audience from being deleted before the campaign that names it is there.
async fn hold_audience(conn: &mut store::PgConnection, audience_id: i64) -> Answer<()> {
    match campaigns::hold_audience(conn, audience_id).await? {
        None => Ok(()),
        Some(why) => Err(definition::unusable(audience_id, why)),
    }
}

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct ListParams {
    /// `draft` or `launched`.
    #[param(value_type = Option<::api::CampaignState>)]
    state: Option<::api::CampaignState>,
    /// A part of the name.
    q: Option<String>,
    /// How many items, at most 500.
    limit: Option<i64>,
    /// `next` of the page before.
    after: Option<String>,
}

/// Lists campaigns, the newest first.
#[utoipa::path(
    get, path = "/campaigns", tag = "campaigns", params(ListParams),
    responses((status = 200, body = ::api::List<::api::Campaign>))
)]
async fn list(
    State(state): State<AppState>,
    caller: Caller,
    Params(params): Params<ListParams>,
) -> Answer<Json<::api::List<::api::Campaign>>> {
    caller.needs(Role::Viewer)?;
    let limit = extract::limit(params.limit)?;
    let before = extract::after(params.after.as_deref())?;
    let wanted = params.state.map(convert::campaign_state_of);
    let mut conn = state.connection().await?;
    let rows = campaigns::list(&mut conn, wanted, params.q.as_deref(), before, limit + 1).await?;
    let now = state.clock.now();
    let show = |row| convert::campaign(row, now);
    Ok(Json(extract::page(rows, limit, |row| row.id.to_string(), show)))
}

/// Shows a campaign.
#[utoipa::path(
    get, path = "/campaigns/{id}", tag = "campaigns", params(("id" = i64, Path)),
    responses((status = 200, body = ::api::Campaign))
)]
async fn get(State(state): State<AppState>, caller: Caller, Id(id): Id) -> Answer<Json<::api::Campaign>> {
    caller.needs(Role::Viewer)?;
    let mut conn = state.connection().await?;
    let campaign = campaigns::get(&mut conn, id).await?.ok_or_else(|| Problem::no("campaign", id))?;
    Ok(Json(convert::campaign(campaign, state.clock.now())))
}

/// Changes a draft, or when and how fast a launched campaign is sent whose task is still scheduled.
///
/// Of a launched campaign only `schedule`, `sending_window`, `expires_at`, `messages_per_second` and `priority` may be changed.
/// No schedule any more: it starts at once. What limits its rate and hours holds for a firing that runs already as well.
#[utoipa::path(
    patch, path = "/campaigns/{id}", tag = "campaigns", params(("id" = i64, Path)),
    request_body = ::api::CampaignChange,
    responses((status = 200, body = ::api::Campaign))
)]
async fn change(
    State(state): State<AppState>,
    caller: Caller,
    Id(id): Id,
    Body(change): Body<::api::CampaignChange>,
) -> Answer<Json<::api::Campaign>> {
    caller.needs(Role::Marketer)?;
    let mut tx = state.begin().await?;
    campaigns::lock(&mut tx, id).await?;
    let campaign = campaigns::get(&mut tx, id).await?.ok_or_else(|| Problem::no("campaign", id))?;
    let is_draft = campaign.state == model::campaign::CampaignState::Draft;
    let scheduled = if is_draft { None } else { Some(hold_scheduled(&mut tx, &campaign, &change).await?) };
    let is_rescheduled = change.schedule.is_some();
    let mut wanted = definition::changed(campaign.definition, change);
    let checked = definition::check(&state, &mut tx, &mut wanted).await?;
    match scheduled {
        None => {
            template_use::refuse(&checked.template)?;
            hold_audience(&mut tx, wanted.audience_id).await?;
            campaigns::update_draft(&mut tx, id, &wanted).await?;
        }
        Some(task_id) => {
            // Not a word of the schedule: its time stays, also where firings before it were left out.
            let starts_at =
                if is_rescheduled { Some(first_start(&wanted, state.clock.now())?) } else { None };
            campaigns::update_timing(&mut tx, id, &wanted).await?;
            firings::reschedule(&mut tx, task_id, starts_at, wanted.expires_at).await?;
            tracing::info!(campaign.id = id, task.id = task_id, starts_at = ?starts_at, "a scheduled task was changed");
        }
    }
    let changed = campaigns::get(&mut tx, id).await?.ok_or_else(|| Problem::no("campaign", id))?;
    commit(tx).await?;
    if !is_draft {
        (state.live.wake)(&changed.definition.account);
    }
    Ok(Json(convert::campaign(changed, state.clock.now())))
}

/// When a campaign starts by its schedule; at once without any.
fn first_start(definition: &campaigns::Definition, now: DateTime<Utc>) -> Answer<DateTime<Utc>> {
    let first = definition.schedule.as_ref().map(|schedule| schedule.first(now)).transpose();
    Ok(first.map_err(|error| Problem::fields(vec![error]))?.unwrap_or(now))
}

/// The scheduled task of a launched campaign, locked, if the change is one that may still be made.
async fn hold_scheduled(
    conn: &mut store::PgConnection,
    campaign: &campaigns::Campaign,
    change: &::api::CampaignChange,
) -> Answer<i64> {
    let fixed = definition::fixed_by_launch(change);
    if fixed.is_empty()
        && let Some(task_id) = firings::hold_scheduled(conn, campaign.id).await?
    {
        return Ok(task_id);
    }
    let why = if fixed.is_empty() { "none of its tasks is scheduled any more" } else { "the rest is fixed" };
    let detail = format!(
        "campaign {} has been launched: while its task is scheduled, {} may be changed; {why}",
        campaign.id,
        definition::CHANGEABLE.join(", ")
    );
    let message = "is fixed by the launch";
    let fields = fixed
        .into_iter()
        .map(|field| ::api::ProblemField { field: field.to_owned(), message: message.to_owned() });
    let problem = Problem::conflict(detail).with_errors(fields.collect());
    Err(match campaign.task_id {
        Some(task_id) => problem.with_task(task_id),
        None => problem,
    })
}

/// Deletes a draft.
#[utoipa::path(
    delete, path = "/campaigns/{id}", tag = "campaigns", params(("id" = i64, Path)),
    responses((status = 204))
)]
async fn delete(State(state): State<AppState>, caller: Caller, Id(id): Id) -> Answer<StatusCode> {
    caller.needs(Role::Marketer)?;
    let mut tx = state.begin().await?;
    campaigns::lock(&mut tx, id).await?;
    let campaign = campaigns::get(&mut tx, id).await?.ok_or_else(|| Problem::no("campaign", id))?;
    if campaign.state != model::campaign::CampaignState::Draft {
        return Err(not_a_draft(&campaign));
    }
    if !campaigns::delete_draft(&mut tx, id).await? {
        let detail = format!("campaign {id} has trial sends, whose results are kept: leave it as a draft");
        return Err(Problem::conflict(detail));
    }
    commit(tx).await?;
    Ok(StatusCode::NO_CONTENT)
}

fn not_a_draft(campaign: &campaigns::Campaign) -> Problem {
    let detail = format!("campaign {} has been launched: only drafts may be deleted", campaign.id);
    let problem = Problem::conflict(detail);
    match campaign.task_id {
        Some(task_id) => problem.with_task(task_id),
        None => problem,
    }
}

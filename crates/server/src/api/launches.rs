//! Launching: a campaign gets its task.

use axum::{Json, extract::State, http::StatusCode};
use chrono::{DateTime, Utc};
use store::{
    campaigns::{self, Campaign},
    tasks::{self, Launched},
};

use crate::{
    auth::{Caller, Role},
    definition,
    extract::{Id, IdempotencyKey},
    idempotency::Keyed,
    problem::{Answer, Problem},
    state::{AppState, commit},
    template_use,
};

/// Launches a campaign: its task runs at once, or waits for the schedule.
#[utoipa::path(
    post, path = "/campaigns/{id}/launch", tag = "campaigns", params(("id" = i64, Path)),
    responses((status = 202, body = ::api::TaskStarted))
)]
pub async fn launch(
    State(state): State<AppState>,
    caller: Caller,
    Id(id): Id,
    IdempotencyKey(key): IdempotencyKey,
) -> Answer<(StatusCode, Json<::api::TaskStarted>)> {
    caller.needs(Role::Marketer)?;
    let keyed = Keyed::new(key, format!("campaigns/{id}/launch"), &[]);
    let mut tx = state.begin().await?;
    let earlier = match &keyed {
        Some(keyed) => keyed.claim(&mut tx, state.clock.now()).await?,
        None => None,
    };
    if let Some(task_id) = earlier {
        return Ok((StatusCode::ACCEPTED, Json(::api::TaskStarted { task_id })));
    }
    let (task_id, account) = launch_in(&state, &mut tx, id).await?;
    if let Some(keyed) = &keyed {
        keyed.complete(&mut tx, task_id).await?;
    }
    commit(tx).await?;
    (state.live.wake)(&account);
    tracing::info!(campaign.id = id, task.id = task_id, account.name = account, "launched");
    Ok((StatusCode::ACCEPTED, Json(::api::TaskStarted { task_id })))
}

/// Launches within a transaction; the task and the account that sends.
pub async fn launch_in(state: &AppState, conn: &mut store::PgConnection, id: i64) -> Answer<(i64, String)> {
    campaigns::lock(conn, id).await?;
    let campaign = campaigns::get(conn, id).await?.ok_or_else(|| Problem::no("campaign", id))?;
    let now = state.clock.now();
    let starts_at = if campaign.task_id.is_none() { may_start(state, &campaign, now)? } else { None };
    let audience_id = campaign.definition.audience_id;
    // A draft may be older than what is known of its template.
    if campaign.task_id.is_none() {
        template_use::refuse_draft(conn, &campaign.definition).await?;
    }
    campaigns::adopt_category(conn, id).await?;
    match tasks::launch(conn, id, starts_at, now).await? {
        Launched::Task(task_id) => Ok((task_id, campaign.definition.account)),
        Launched::Already(task_id) => {
            let detail = format!("campaign {id} has been launched already: its task is {task_id}");
            Err(Problem::conflict(detail).with_task(task_id))
        }
        Launched::Unusable(why) => Err(definition::unusable(audience_id, why)),
        Launched::NoCampaign => Err(Problem::no("campaign", id)),
    }
}

/// When it starts, unless time or the configuration have overtaken the draft.
fn may_start(state: &AppState, campaign: &Campaign, now: DateTime<Utc>) -> Answer<Option<DateTime<Utc>>> {
    let definition = &campaign.definition;
    let account = state.account(&definition.account);
    if account.is_none_or(|account| account.sender(&definition.sender).is_none()) {
        return Err(Problem::conflict(format!(
            "the configuration no longer has account `{}` with sender `{}`: change the draft",
            definition.account, definition.sender
        )));
    }
    if definition.expires_at.is_some_and(|at| at <= now) {
        return Err(Problem::conflict("the campaign has expired: change its `expires_at`"));
    }
    let starts_at = definition.schedule.as_ref().map(|schedule| schedule.first(now)).transpose();
    starts_at.map_err(|error| Problem::fields(vec![error]))
}

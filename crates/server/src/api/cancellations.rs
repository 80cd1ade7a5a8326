//! Cancelling a task, and what becomes of the recurrence that it belongs to.

use axum::{Json, extract::State, http::StatusCode};
use chrono::{DateTime, Utc};
use model::task::Command;
use serde::Deserialize;
use store::{
    PgConnection, campaigns, firings,
    tasks::{self, Commanded},
};
use utoipa::{IntoParams, ToSchema};

use super::tasks::load;
use crate::{
    auth::{Caller, Role},
    definition,
    extract::{Id, Params},
    problem::{Answer, Problem},
    state::{AppState, commit},
};

/// What becomes of a recurring campaign one of whose tasks is cancelled.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
enum Recurrence {
    /// It goes on: the firing after a cancelled one is scheduled.
    Continue,
    /// It ends: the scheduled firing is cancelled too.
    End,
}

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct CancelParams {
    /// What becomes of a recurring campaign: `continue` schedules the firing after a cancelled one, `end` cancels the
    /// scheduled firing too. Unless told only this task is cancelled: a scheduled firing is then the last, and the
    /// firing after one that has begun stays scheduled.
    #[param(value_type = Option<Recurrence>, inline)]
    recurrence: Option<Recurrence>,
}

/// Takes nobody more, for good. What is open ends normally.
#[utoipa::path(
    post, path = "/tasks/{id}/cancel", tag = "tasks", params(("id" = i64, Path), CancelParams),
    responses((status = 202, body = ::api::Task))
)]
pub async fn cancel(
    State(state): State<AppState>,
    caller: Caller,
    Id(id): Id,
    Params(params): Params<CancelParams>,
) -> Answer<(StatusCode, Json<::api::Task>)> {
    caller.needs(Role::Marketer)?;
    let mut tx = state.begin().await?;
    let now = state.clock.now();
    let (account, changed) = match tasks::command(&mut tx, id, Command::Cancel, now).await? {
        Commanded::Done { account, changed } => (account, changed),
        Commanded::Refused(refused) => return Err(Problem::conflict(refused.to_string()).with_task(id)),
        Commanded::NoTask => return Err(Problem::no("task", id)),
    };
    let task = load(&state, &mut tx, id).await?;
    let mut cancelled = vec![id];
    match params.recurrence {
        // One that had begun has its successor; one that was cancelled before has had its answer.
        Some(Recurrence::Continue) if changed && task.started_at.is_none() => {
            schedule_next(&mut tx, &task, now).await?;
        }
        Some(Recurrence::End) => {
            // The one that is scheduled may start at this moment, and write its own successor.
            while let Some(next) = firings::hold_scheduled(&mut tx, task.campaign_id).await? {
                tasks::command(&mut tx, next, Command::Cancel, now).await?;
                cancelled.push(next);
            }
        }
        Some(Recurrence::Continue) | None => {}
    }
    commit(tx).await?;
    (state.live.stop_tasks)(&account, cancelled).await;
    (state.live.wake)(&account);
    tracing::info!(task.id = id, account.name = account, recurrence = ?params.recurrence, "a task was cancelled");
    Ok((StatusCode::ACCEPTED, Json(task)))
}

/// Schedules the firing after a scheduled one that is cancelled.
async fn schedule_next(conn: &mut PgConnection, task: &::api::Task, now: DateTime<Utc>) -> Answer<()> {
    let id = task.campaign_id;
    let campaign = campaigns::get(conn, id).await?.ok_or_else(|| Problem::no("campaign", id))?;
    let after = task.starts_at.map_or(now, |at| at.max(now));
    let Some(schedule) = campaign.definition.schedule else { return Ok(()) };
    let next = schedule.next_firing(after).map_err(|error| Problem::fields(vec![error]))?;
    if let Some(next) = next
        && firings::schedule(conn, id, next, now).await?.is_none()
    {
        return Err(definition::unusable(campaign.definition.audience_id, campaigns::Unusable::Missing));
    }
    Ok(())
}

//! `/tasks`.

use axum::{Json, extract::State, http::StatusCode};
use model::task::{Command, TaskState};
use serde::Deserialize;
use store::{
    PgConnection, halts,
    tasks::{self, Commanded},
};
use utoipa::IntoParams;
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{cancellations, decisions, events};
use crate::{
    auth::{Caller, Role},
    convert, daily,
    extract::{self, Id, Params},
    problem::{Answer, Problem},
    state::{AppState, commit},
};

/// The calls.
pub fn routes() -> OpenApiRouter<AppState> {
    OpenApiRouter::new()
        .routes(routes!(list))
        .routes(routes!(get))
        .routes(routes!(pause))
        .routes(routes!(resume))
        .routes(routes!(cancellations::cancel))
        .routes(routes!(events::events))
        .routes(routes!(decisions::retry_failed))
        .routes(routes!(decisions::resolve))
}

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct ListParams {
    /// One or more states, with commas between them.
    state: Option<String>,
    /// Of this campaign.
    campaign_id: Option<i64>,
    /// A part of the campaign's name.
    q: Option<String>,
    /// Of this account.
    account: Option<String>,
    /// How many items, at most 500.
    limit: Option<i64>,
    /// `next` of the page before.
    after: Option<String>,
}

/// Lists tasks with their progress, the newest first.
#[utoipa::path(
    get, path = "/tasks", tag = "tasks", params(ListParams),
    responses((status = 200, body = ::api::List<::api::Task>))
)]
async fn list(
    State(state): State<AppState>,
    caller: Caller,
    Params(params): Params<ListParams>,
) -> Answer<Json<::api::List<::api::Task>>> {
    caller.needs(Role::Viewer)?;
    let limit = extract::limit(params.limit)?;
    let before = extract::after(params.after.as_deref())?;
    let filter = tasks::Filter {
        states: params.state.as_deref().map(read_states).transpose()?.unwrap_or_default(),
        campaign_id: params.campaign_id,
        q: params.q,
        account: params.account,
    };
    let mut conn = state.connection().await?;
    let rows = tasks::list(&mut conn, &filter, before, limit + 1).await?;
    let page = extract::page(rows, limit, |row| row.id.to_string(), |row| row);
    let held: Vec<i64> = page.items.iter().filter(|task| task.halted).map(|task| task.id).collect();
    let holding = if held.is_empty() { Vec::new() } else { halts::holding_any(&mut conn, &held).await? };
    let full = daily::full(&state, &mut conn, &page.items).await?;
    let show = |task: tasks::Task| {
        let of_task: Vec<_> = holding.iter().filter(|(id, _)| *id == task.id).map(|(_, halt)| halt).collect();
        let full_until = full.until(&task);
        convert::task(&state, task, &of_task, full_until)
    };
    Ok(Json(::api::List { items: page.items.into_iter().map(show).collect(), next: page.next }))
}

fn read_states(text: &str) -> Answer<Vec<TaskState>> {
    const ALL: [TaskState; 6] = [
        TaskState::Scheduled,
        TaskState::Running,
        TaskState::Paused,
        TaskState::Halted,
        TaskState::Completed,
        TaskState::Cancelled,
    ];
    let read = |word: &str| {
        ALL.into_iter().find(|state| state.as_str() == word.trim()).ok_or_else(|| {
            let words = ALL.map(TaskState::as_str).join(", ");
            Problem::query("state", format!("must be of {words}, with commas between them"))
        })
    };
    text.split(',').map(read).collect()
}

/// Shows a task with its progress.
#[utoipa::path(
    get, path = "/tasks/{id}", tag = "tasks", params(("id" = i64, Path)),
    responses((status = 200, body = ::api::Task))
)]
async fn get(State(state): State<AppState>, caller: Caller, Id(id): Id) -> Answer<Json<::api::Task>> {
    caller.needs(Role::Viewer)?;
    let mut conn = state.connection().await?;
    Ok(Json(load(&state, &mut conn, id).await?))
}

/// Reads a task as the interface shows it.
pub async fn load(state: &AppState, conn: &mut PgConnection, id: i64) -> Answer<::api::Task> {
    let task = tasks::get(conn, id).await?.ok_or_else(|| Problem::no("task", id))?;
    let holding = if task.halted { halts::holding(conn, id).await? } else { Vec::new() };
    let full_until = daily::full(state, conn, std::slice::from_ref(&task)).await?.until(&task);
    Ok(convert::task(state, task, &holding.iter().collect::<Vec<_>>(), full_until))
}

/// Takes nobody more, for a while. What is open ends normally.
#[utoipa::path(
    post, path = "/tasks/{id}/pause", tag = "tasks", params(("id" = i64, Path)),
    responses((status = 202, body = ::api::Task))
)]
async fn pause(
    State(state): State<AppState>,
    caller: Caller,
    Id(id): Id,
) -> Answer<(StatusCode, Json<::api::Task>)> {
    command(&state, caller, id, Command::Pause, false).await
}

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct ResumeParams {
    /// Lift the halts that hold the task.
    #[serde(default)]
    lift: bool,
}

/// Goes on. Refused while a halt holds the task, unless it is lifted with `lift=true`.
#[utoipa::path(
    post, path = "/tasks/{id}/resume", tag = "tasks", params(("id" = i64, Path), ResumeParams),
    responses((status = 202, body = ::api::Task))
)]
async fn resume(
    State(state): State<AppState>,
    caller: Caller,
    Id(id): Id,
    Params(params): Params<ResumeParams>,
) -> Answer<(StatusCode, Json<::api::Task>)> {
    command(&state, caller, id, Command::Resume, params.lift).await
}

async fn command(
    state: &AppState,
    caller: Caller,
    id: i64,
    command: Command,
    lift: bool,
) -> Answer<(StatusCode, Json<::api::Task>)> {
    caller.needs(if lift { Role::Operator } else { Role::Marketer })?;
    let mut tx = state.begin().await?;
    let account = match tasks::command(&mut tx, id, command, state.clock.now()).await? {
        Commanded::Done { account, .. } => account,
        Commanded::Refused(refused) => return Err(Problem::conflict(refused.to_string()).with_task(id)),
        Commanded::NoTask => return Err(Problem::no("task", id)),
    };
    if command == Command::Resume {
        lift_or_refuse(&mut tx, id, lift).await?;
    }
    let task = load(state, &mut tx, id).await?;
    commit(tx).await?;
    if command == Command::Pause {
        (state.live.stop_tasks)(&account, vec![id]).await;
    }
    (state.live.wake)(&account);
    tracing::info!(task.id = id, account.name = account, command = ?command, lift, "an operator's command");
    Ok((StatusCode::ACCEPTED, Json(task)))
}

/// Lifts what holds the task, or names it.
async fn lift_or_refuse(conn: &mut PgConnection, id: i64, lift: bool) -> Answer<()> {
    let holding = halts::holding(conn, id).await?;
    if lift {
        for halt in holding {
            halts::lift(conn, halt.id).await?;
        }
        return Ok(());
    }
    if holding.is_empty() {
        return Ok(());
    }
    let name = |halt: &halts::Halt| ::api::ProblemField {
        field: format!("halts/{}", halt.id),
        message: convert::halt_reason(halt),
    };
    let detail = "the task is halted: lift its halts first, or resume it with lift=true";
    Err(Problem::conflict(detail).with_task(id).with_errors(holding.iter().map(name).collect()))
}

//! An operator's decisions: failed messages are taken again, unknown ones are decided.

use axum::{Json, extract::State, http::StatusCode};
use model::{
    FieldError, Phone,
    disposition::MessageFacts,
    message::Message,
    status::MessageState,
    task::{Phase, Refused},
};
use serde::Deserialize;
use store::{
    campaigns,
    decisions::{self, After, Candidate, Decided, Decision},
    recipients, tasks,
};
use utoipa::IntoParams;
use vendors::{Vendor, codes};

use super::tasks::load;
use crate::{
    auth::{Caller, Role},
    extract::{Body, Id, Params},
    problem::{Answer, Problem},
    state::{AppState, commit},
};

/// Messages that are moved in one transaction.
const SLICE: i64 = 1000;
/// How often a slice is read again because a report came in between.
const TRIES: u32 = 5;
/// Phones that one decision may name.
const LIMIT_PHONES: usize = 10_000;

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct RetryParams {
    /// Only count them.
    #[serde(default)]
    dry_run: bool,
    /// Only those with this last code.
    code: Option<String>,
}

/// Takes failed messages again, but those that would fail again: invalid numbers, opt-outs, bad data.
#[utoipa::path(
    post, path = "/tasks/{id}/retry-failed", tag = "tasks", params(("id" = i64, Path), RetryParams),
    responses((status = 202, body = ::api::RetriedFailed))
)]
pub async fn retry_failed(
    State(state): State<AppState>,
    caller: Caller,
    Id(id): Id,
    Params(params): Params<RetryParams>,
) -> Answer<(StatusCode, Json<::api::RetriedFailed>)> {
    caller.needs(Role::Marketer)?;
    let task = open_task(&state, id, true).await?;
    let may_be_retried = retriable(&state, &task).await?;
    let run = Run {
        state: &state,
        task_id: id,
        from: MessageState::Failed,
        code: params.code.as_deref(),
        nos: None,
        decision: Decision::TryAgain,
        is_dry: params.dry_run,
    };
    let retried = run.all(may_be_retried).await?;
    if !params.dry_run {
        tracing::info!(task.id = id, retried, "failed messages are taken again");
        (state.live.wake)(&task.account);
    }
    let task = load(&state, &mut *state.connection().await?, id).await?;
    Ok((StatusCode::ACCEPTED, Json(::api::RetriedFailed { task, retried })))
}

/// Decides what unknown messages are.
#[utoipa::path(
    post, path = "/tasks/{id}/resolve", tag = "tasks", params(("id" = i64, Path)),
    request_body = ::api::ResolveRequest,
    responses((status = 202, body = ::api::Resolved))
)]
pub async fn resolve(
    State(state): State<AppState>,
    caller: Caller,
    Id(id): Id,
    Body(request): Body<::api::ResolveRequest>,
) -> Answer<(StatusCode, Json<::api::Resolved>)> {
    caller.needs(Role::Operator)?;
    let decision = match request.resolution {
        ::api::Resolution::Sent => Decision::Accepted,
        ::api::Resolution::Failed => Decision::Failed,
        ::api::Resolution::Resend => Decision::Resend,
    };
    let task = open_task(&state, id, decision == Decision::Resend).await?;
    let nos = match request.to {
        Some(phones) => Some(numbers(&state, &task, &phones).await?),
        None => None,
    };
    let run = Run {
        state: &state,
        task_id: id,
        from: MessageState::Unknown,
        code: None,
        nos: nos.as_deref(),
        decision,
        is_dry: false,
    };
    let resolved = run.all(|_| true).await?;
    tracing::info!(task.id = id, resolved, decision = ?decision, "unknown messages were decided");
    (state.live.wake)(&task.account);
    let task = load(&state, &mut *state.connection().await?, id).await?;
    Ok((StatusCode::ACCEPTED, Json(::api::Resolved { task, resolved })))
}

/// The task, unless it is over and somebody is to be sent to.
async fn open_task(state: &AppState, id: i64, to_send: bool) -> Answer<tasks::Task> {
    let task = tasks::get(&mut *state.connection().await?, id).await?;
    let task = task.ok_or_else(|| Problem::no("task", id))?;
    if to_send && matches!(task.phase, Phase::Cancelled | Phase::Expired) {
        return Err(over(id, Refused { state: task.state() }));
    }
    Ok(task)
}

fn over(id: i64, refused: Refused) -> Problem {
    Problem::conflict(format!("{refused}: nobody is sent to any more")).with_task(id)
}

/// Judges each failure as it was judged when it came, by its code, its text and the message.
async fn retriable(state: &AppState, task: &tasks::Task) -> Answer<impl Fn(&Candidate) -> bool + use<>> {
    let campaign = campaigns::get(&mut *state.connection().await?, task.campaign_id).await?;
    let campaign = campaign.ok_or_else(|| Problem::no("campaign", task.campaign_id))?;
    let is_marketing = campaign.definition.category == model::campaign::Category::Marketing;
    let message = Message::parse(&campaign.definition.message).map_err(Problem::fields)?;
    let facts: MessageFacts = message.facts(is_marketing);
    let vendor: Vendor = state
        .account(&task.account)
        .map(|account| account.vendor)
        .ok_or_else(|| Problem::conflict(format!("the configuration has no account `{}`", task.account)))?;
    Ok(move |candidate: &Candidate| codes::may_be_retried(vendor, &candidate.code, &candidate.reason, &facts))
}

/// The recipients' numbers of the phones that the task has.
async fn numbers(state: &AppState, task: &tasks::Task, phones: &[String]) -> Answer<Vec<i32>> {
    if phones.len() > LIMIT_PHONES {
        return Err(Problem::field(
            "to",
            format!("may name {LIMIT_PHONES} phones at once: leave it out for all"),
        ));
    }
    let mut errors = Vec::new();
    let mut read: Vec<Phone> = Vec::with_capacity(phones.len());
    for (i, text) in phones.iter().enumerate() {
        match text.parse() {
            Ok(phone) => read.push(phone),
            Err(error) => errors.push(FieldError::new(format!("to[{i}]"), format!("{error}"))),
        }
    }
    if !errors.is_empty() {
        return Err(Problem::fields(errors));
    }
    let mut conn = state.connection().await?;
    let found = recipients::find_phones(&mut conn, task.audience_id, &read).await?;
    Ok(found.into_iter().map(|(_, no)| no).collect())
}

/// One decision on all messages of a task that it concerns, slice by slice.
struct Run<'a> {
    state: &'a AppState,
    task_id: i64,
    from: MessageState,
    code: Option<&'a str>,
    nos: Option<&'a [i32]>,
    decision: Decision,
    is_dry: bool,
}

impl Run<'_> {
    /// Moves those that `concerns` picks; how many.
    async fn all(&self, concerns: impl Fn(&Candidate) -> bool) -> Answer<i64> {
        let mut after: After = (String::new(), 0);
        let mut moved = 0;
        while let Some((next, n)) = self.slice(&after, &concerns).await? {
            after = next;
            moved += n;
        }
        Ok(moved)
    }

    /// The next slice: where it ended, and how many were moved; none: there are no more.
    async fn slice(
        &self,
        after: &After,
        concerns: impl Fn(&Candidate) -> bool,
    ) -> Answer<Option<(After, i64)>> {
        for _ in 0..TRIES {
            let mut tx = self.state.begin().await?;
            let page =
                decisions::candidates(&mut tx, self.task_id, self.from, self.code, self.nos, after, SLICE)
                    .await?;
            let Some(last) = page.last() else { return Ok(None) };
            let next = (last.code.clone(), last.standing.no);
            let picked: Vec<Candidate> = page.into_iter().filter(|one| concerns(one)).collect();
            let n = i64::try_from(picked.len()).unwrap_or(i64::MAX);
            if self.is_dry || picked.is_empty() {
                return Ok(Some((next, n)));
            }
            let now = self.state.clock.now();
            match decisions::decide(&mut tx, self.task_id, &picked, self.decision, now).await? {
                Decided::Done => {
                    commit(tx).await?;
                    return Ok(Some((next, n)));
                }
                Decided::Changed => {}
                Decided::Refused(refused) => return Err(over(self.task_id, refused)),
            }
        }
        Err(Problem::conflict("reports of these messages keep coming in: try again in a moment"))
    }
}

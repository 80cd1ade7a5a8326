//! Trial sends: the message to a few numbers, now, before everybody gets it.

use std::collections::BTreeSet;

use axum::{Json, extract::State, http::StatusCode};
use model::{FieldError, Phone, phone_input};
use store::{campaigns, trials};

use crate::{
    auth::{Caller, Role},
    definition,
    extract::{Body, Id, IdempotencyKey},
    idempotency::Keyed,
    problem::{Answer, Problem},
    state::{AppState, commit},
    template_use,
};

/// Numbers of one trial.
const LIMIT_NUMBERS: usize = 20;

/// Sends the message now to the named numbers, with the values of row 1, or `row`, as a hidden task of its own.
#[utoipa::path(
    post, path = "/campaigns/{id}/test", tag = "campaigns", params(("id" = i64, Path)),
    request_body = ::api::TestRequest,
    responses((status = 202, body = ::api::TaskStarted))
)]
pub async fn test(
    State(state): State<AppState>,
    caller: Caller,
    Id(id): Id,
    IdempotencyKey(key): IdempotencyKey,
    Body(request): Body<::api::TestRequest>,
) -> Answer<(StatusCode, Json<::api::TaskStarted>)> {
    caller.needs(Role::Marketer)?;
    let to = numbers(&request.to)?;
    let row = request.row.unwrap_or(1);
    let fingerprint = serde_json::to_vec(&request).unwrap_or_default();
    let keyed = Keyed::new(key, format!("campaigns/{id}/test"), &[&fingerprint]);
    let mut tx = state.begin().await?;
    let now = state.clock.now();
    let earlier = match &keyed {
        Some(keyed) => keyed.claim(&mut tx, now).await?,
        None => None,
    };
    if let Some(task_id) = earlier {
        return Ok((StatusCode::ACCEPTED, Json(::api::TaskStarted { task_id })));
    }
    let campaign = campaigns::get(&mut tx, id).await?.ok_or_else(|| Problem::no("campaign", id))?;
    let account = campaign.definition.account.clone();
    let mut wanted = campaign.definition;
    // A trial goes now, whenever the campaign does.
    (wanted.schedule, wanted.expires_at) = (None, None);
    let checked = definition::check(&state, &mut tx, &mut wanted).await?;
    template_use::refuse(&checked.template)?;
    let task_id = trials::start(&mut tx, id, row, &to, now).await?.ok_or_else(|| {
        Problem::field("row", format!("the campaign's audience has no recipient {row}; the first is 1"))
    })?;
    if let Some(keyed) = &keyed {
        keyed.complete(&mut tx, task_id).await?;
    }
    commit(tx).await?;
    (state.live.wake)(&account);
    tracing::info!(campaign.id = id, task.id = task_id, numbers = to.len(), "a trial send");
    Ok((StatusCode::ACCEPTED, Json(::api::TaskStarted { task_id })))
}

/// The numbers, each once.
fn numbers(given: &[String]) -> Answer<Vec<Phone>> {
    if given.is_empty() || given.len() > LIMIT_NUMBERS {
        return Err(Problem::field("to", format!("must name 1 to {LIMIT_NUMBERS} numbers")));
    }
    let (mut phones, mut errors) = (BTreeSet::new(), Vec::new());
    for (index, text) in given.iter().enumerate() {
        match phone_input::normalise(text, None) {
            Ok(phone) => {
                phones.insert(phone);
            }
            Err(problem) => errors.push(FieldError::new(format!("to[{index}]"), problem.to_string())),
        }
    }
    if errors.is_empty() { Ok(phones.into_iter().collect()) } else { Err(Problem::fields(errors)) }
}

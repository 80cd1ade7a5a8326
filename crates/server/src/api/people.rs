//! `/people`: what names a person is erased on request.

use axum::{Json, extract::State};
use model::{Phone, phone_input};
use store::people::{self, Erased, Erasure};
use utoipa_axum::{router::OpenApiRouter, routes};

use crate::{
    auth::{Caller, Role},
    extract::Segment,
    problem::{Answer, Problem},
    state::{AppState, commit},
};

/// The calls.
pub fn routes() -> OpenApiRouter<AppState> {
    OpenApiRouter::new().routes(routes!(erase))
}

/// Erases what names a person, in all audiences and tasks. Counts stay; an opt-out stays as well, because it keeps the
/// promise not to write again. 409 while the person is being sent to.
#[utoipa::path(
    delete, path = "/people/{phone}", tag = "people", params(("phone" = String, Path)),
    responses((status = 200, body = ::api::PersonErased))
)]
async fn erase(
    State(state): State<AppState>,
    caller: Caller,
    Segment(text): Segment,
) -> Answer<Json<::api::PersonErased>> {
    caller.needs(Role::Operator)?;
    let phone: Phone = text
        .parse()
        .or_else(|_| phone_input::normalise(&text, None))
        .ok()
        .filter(|phone| !people::is_erased(*phone))
        .ok_or_else(|| {
            Problem::field("phone", "is not a phone number in international form, such as +919876543210")
        })?;
    let mut tx = state.begin().await?;
    let erased = match people::erase(&mut tx, phone, state.clock.now()).await? {
        Erasure::Done(erased) => erased,
        Erasure::InFlight { task_id } => {
            let detail = format!(
                "task {task_id} is sending to this person at this moment: try again in a minute, or pause the task first"
            );
            return Err(Problem::conflict(detail).with_task(task_id));
        }
    };
    commit(tx).await?;
    tracing::info!(phone = phone.masked(), erased.recipients, erased.messages, "a person was erased");
    Ok(Json(show(&erased)))
}

fn show(erased: &Erased) -> ::api::PersonErased {
    ::api::PersonErased {
        recipients: erased.recipients,
        messages: erased.messages,
        inbound: erased.inbound,
        callbacks: erased.callbacks,
        rejects: erased.rejects,
        suppression_kept: erased.suppression_kept,
        withheld_until: erased.withheld_until,
    }
}

//! `/tasks/{id}/messages`: per-recipient results, as pages and as a file.

use axum::{Json, extract::State, response::Response};
use chrono::{DateTime, SecondsFormat, Utc};
use model::{Phone, phone_input};
use serde::Deserialize;
use store::{messages, messages::Filter, people, tasks};
use utoipa::IntoParams;
use utoipa_axum::{router::OpenApiRouter, routes};

use super::exports;
use crate::{
    auth::{Caller, Role},
    convert::{self, CodeNames},
    extract::{self, Id, Params},
    problem::{Answer, Problem},
    state::AppState,
};

/// Rows of one page of the export.
const EXPORT_PAGE: i32 = 5000;
const HEADER: &str = "no,to,state,attempts,vendor_id,code,code_name,reason,retry_at,accepted_at,sent_at,delivered_at,\
                      read_at,failed_at,unknown_since\n";

/// The calls.
pub fn routes() -> OpenApiRouter<AppState> {
    OpenApiRouter::new().routes(routes!(list)).routes(routes!(export))
}

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct ListParams {
    /// Exactly in this state.
    #[param(value_type = Option<::api::MessageState>)]
    state: Option<::api::MessageState>,
    /// Failed, retrying or unknown with this last code.
    code: Option<String>,
    /// To this phone.
    to: Option<String>,
    /// How many items, at most 500. Ignored by the export, which has all.
    limit: Option<i64>,
    /// `next` of the page before.
    after: Option<String>,
}

impl ListParams {
    fn filter(&self) -> Answer<Filter> {
        let to = self.to.as_deref().map(read_phone).transpose()?;
        let code = self.code.clone().filter(|code| !code.is_empty());
        Ok(Filter { place: self.state.map(convert::place_of), code, to })
    }
}

/// Reads a phone; a plus that a query has turned into a space is forgiven.
fn read_phone(text: &str) -> Answer<Phone> {
    text.parse().or_else(|_| phone_input::normalise(text, None)).map_err(|_| {
        Problem::query("to", "is not a phone number in international form, such as +919876543210")
    })
}

/// A message as it is shown: where a person was erased, the word stands instead of the number.
fn show(row: messages::Message, names: &mut CodeNames) -> ::api::Message {
    let is_erased = people::is_erased(row.to);
    let mut shown = convert::message(row, names);
    if is_erased {
        people::ERASED.clone_into(&mut shown.to);
        shown.reason = Some(people::ERASED.to_owned());
    }
    shown
}

/// Lists a task's messages by the recipients' numbers.
///
/// A page may have fewer items than `limit`, or none, though more follow: only a `next` of null says that it was the
/// last. Empty for a task whose `details_removed_at` is set: retention has removed them.
#[utoipa::path(
    get, path = "/tasks/{id}/messages", tag = "tasks", params(("id" = i64, Path), ListParams),
    responses((status = 200, body = ::api::List<::api::Message>))
)]
async fn list(
    State(state): State<AppState>,
    caller: Caller,
    Id(id): Id,
    Params(params): Params<ListParams>,
) -> Answer<Json<::api::List<::api::Message>>> {
    caller.needs(Role::Viewer)?;
    let limit = extract::limit(params.limit)?;
    let after: i32 = extract::after(params.after.as_deref())?.unwrap_or(0);
    let filter = params.filter()?;
    let mut conn = state.connection().await?;
    let task = tasks::get(&mut conn, id).await?.ok_or_else(|| Problem::no("task", id))?;
    let most = i32::try_from(limit).unwrap_or(i32::MAX);
    let page = messages::list(&mut conn, id, &filter, after, most).await?;
    let mut names = CodeNames::new(&state, &task.account);
    let items = page.items.into_iter().map(|row| show(row, &mut names)).collect();
    Ok(Json(::api::List { items, next: page.next.map(|no| no.to_string()) }))
}

/// A task's messages as a CSV file.
#[utoipa::path(
    get, path = "/tasks/{id}/messages.csv", tag = "tasks", params(("id" = i64, Path), ListParams),
    responses((status = 200, content_type = "text/csv", body = String))
)]
async fn export(
    State(state): State<AppState>,
    caller: Caller,
    Id(id): Id,
    Params(params): Params<ListParams>,
) -> Answer<Response> {
    caller.needs(Role::Viewer)?;
    let filter = params.filter()?;
    let after: i32 = extract::after(params.after.as_deref())?.unwrap_or(0);
    let task =
        tasks::get(&mut *state.connection().await?, id).await?.ok_or_else(|| Problem::no("task", id))?;
    let of_page = state.clone();
    exports::csv(&state, &format!("task-{id}-messages.csv"), HEADER, after, move |after| {
        page(of_page.clone(), id, task.account.clone(), filter.clone(), after)
    })
}

async fn page(
    state: AppState,
    task_id: i64,
    account: String,
    filter: Filter,
    after: i32,
) -> Answer<exports::Page<i32>> {
    let mut conn = state.connection().await?;
    let page = messages::list(&mut conn, task_id, &filter, after, EXPORT_PAGE).await?;
    drop(conn);
    let mut names = CodeNames::new(&state, &account);
    let bytes = exports::records(page.items.into_iter().map(|row| record(show(row, &mut names))))?;
    Ok((bytes, page.next))
}

fn record(message: ::api::Message) -> [String; 15] {
    let text = Option::unwrap_or_default;
    [
        message.no.to_string(),
        message.to,
        message.state.as_str().to_owned(),
        message.attempts.to_string(),
        text(message.vendor_id),
        text(message.code),
        text(message.code_name),
        text(message.reason),
        time(message.retry_at),
        time(message.accepted_at),
        time(message.sent_at),
        time(message.delivered_at),
        time(message.read_at),
        time(message.failed_at),
        time(message.unknown_since),
    ]
}

fn time(at: Option<DateTime<Utc>>) -> String {
    at.map(|at| at.to_rfc3339_opts(SecondsFormat::AutoSi, true)).unwrap_or_default()
}

//! `/audiences`: CSV files in, recipients out.

use std::{io, time::Duration};

use axum::{
    Json,
    body::Bytes,
    extract::{DefaultBodyLimit, FromRequest as _, Multipart, Request, State},
    http::{HeaderMap, StatusCode, header},
    response::Response,
};
use futures::{Stream, StreamExt as _};
use scheduler::import::{ImportRequest, Running};
use serde::Deserialize;
use store::{
    audiences::{self, Deletion, Status},
    rejects,
};
use utoipa::IntoParams;
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{PageParams, exports};
use crate::{
    auth::{Caller, Role},
    convert,
    extract::{self, Id, IdempotencyKey, Params},
    idempotency::Keyed,
    problem::{Answer, Problem},
    state::{AppState, commit},
};

/// Rows of one page of the rejects.
const REJECTS_PAGE: i64 = 2000;
/// Of an upload that has failed already, so much is still read, so that its sender sees the answer.
const DRAINED_BYTES: usize = 64 * 1024 * 1024;
/// How often a repeated request looks whether the first one's import has ended.
const POLL: Duration = Duration::from_millis(200);

/// The calls.
pub fn routes() -> OpenApiRouter<AppState> {
    OpenApiRouter::new()
        .routes(routes!(list, create))
        .layer(DefaultBodyLimit::disable())
        .routes(routes!(get, delete))
        .routes(routes!(export_rejects))
}

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct CreateParams {
    /// A name for people; an uploaded form's file name unless told.
    name: Option<String>,
    /// The region whose country code a number without one gets: `IN`.
    default_region: Option<String>,
    /// The column of the phones; else found by its name.
    phone_column: Option<String>,
    /// Answer only when the import has ended.
    #[serde(default)]
    wait: bool,
}

/// Imports a CSV file, as the body itself or as the form field `file`.
#[utoipa::path(
    post, path = "/audiences", tag = "audiences",
    params(CreateParams, ("Idempotency-Key" = Option<String>, Header, description = "Makes a repetition safe.")),
    request_body(content = String, content_type = "text/csv"),
    responses(
        (status = 201, body = ::api::Audience, description = "With wait=true: the import has ended."),
        (status = 202, body = ::api::Audience, description = "The file is here and is being imported.")
    )
)]
async fn create(
    State(state): State<AppState>,
    caller: Caller,
    Params(params): Params<CreateParams>,
    IdempotencyKey(key): IdempotencyKey,
    request: Request,
) -> Answer<(StatusCode, Json<::api::Audience>)> {
    caller.needs(Role::Marketer)?;
    let (headers, query) = (request.headers().clone(), request.uri().query().unwrap_or_default().to_owned());
    check_size(&state, &headers)?;
    let fingerprint =
        [query.as_bytes(), raw(&headers, header::CONTENT_LENGTH), raw(&headers, header::CONTENT_TYPE)];
    let keyed = Keyed::new(key, "audiences", &fingerprint);
    if let Some(answer) = repeated(&state, keyed.as_ref(), params.wait).await? {
        drain(&mut request.into_body().into_data_stream()).await;
        return Ok(answer);
    }
    let running = match upload(&state, &params, keyed.as_ref(), request, &headers).await {
        Ok(running) => running,
        Err(problem) => {
            if let Some(keyed) = &keyed {
                keyed.release(&mut *state.connection().await?).await?;
            }
            return Err(problem);
        }
    };
    let id = running.audience_id();
    if params.wait {
        running.outcome().await;
    }
    answer(&state, id, params.wait).await
}

/// Refuses at once what says itself that it is too large.
fn check_size(state: &AppState, headers: &HeaderMap) -> Answer<()> {
    let limit = state.importer.max_upload_bytes();
    if content_length(headers).is_some_and(|bytes| bytes > limit) {
        let detail = format!("the file has more than {limit} bytes (server.max_upload_bytes): split it");
        return Err(Problem::new(StatusCode::PAYLOAD_TOO_LARGE, detail));
    }
    Ok(())
}

fn content_length(headers: &HeaderMap) -> Option<u64> {
    headers.get(header::CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

fn raw(headers: &HeaderMap, name: header::HeaderName) -> &[u8] {
    headers.get(name).map(axum::http::HeaderValue::as_bytes).unwrap_or_default()
}

/// The answer to a request that was carried out already. An import that failed is tried anew.
async fn repeated(
    state: &AppState,
    keyed: Option<&Keyed>,
    wait: bool,
) -> Answer<Option<(StatusCode, Json<::api::Audience>)>> {
    let Some(keyed) = keyed else { return Ok(None) };
    let Some(id) = keyed.claim(&mut *state.connection().await?, state.clock.now()).await? else {
        return Ok(None);
    };
    loop {
        let audience = audiences::get(&mut *state.connection().await?, id).await?;
        match audience.map(|audience| audience.status) {
            None | Some(Status::Failed) => return Ok(None),
            Some(Status::Importing) if wait => tokio::time::sleep(POLL).await,
            Some(_) => return answer(state, id, wait).await.map(Some),
        }
    }
}

async fn answer(state: &AppState, id: i64, wait: bool) -> Answer<(StatusCode, Json<::api::Audience>)> {
    let audience = audiences::get(&mut *state.connection().await?, id).await?;
    let audience = audience.ok_or_else(|| Problem::no("audience", id))?;
    let status = if wait { StatusCode::CREATED } else { StatusCode::ACCEPTED };
    Ok((status, Json(convert::audience(audience))))
}

async fn upload(
    state: &AppState,
    params: &CreateParams,
    keyed: Option<&Keyed>,
    request: Request,
    headers: &HeaderMap,
) -> Answer<Running> {
    let content_type = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or("");
    let kind = content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    match kind.as_str() {
        "multipart/form-data" => upload_form(state, params, keyed, request).await,
        "application/json" | "application/x-www-form-urlencoded" => Err(Problem::new(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "send the file as the body with `Content-Type: text/csv`, or as the form field `file`",
        )),
        _ => {
            let mut stream =
                request.into_body().into_data_stream().map(|piece| piece.map_err(io::Error::other));
            feed(state, params, None, keyed, content_length(headers), &mut stream).await
        }
    }
}

async fn upload_form(
    state: &AppState,
    params: &CreateParams,
    keyed: Option<&Keyed>,
    request: Request,
) -> Answer<Running> {
    let malformed =
        |text: String| Problem::new(StatusCode::BAD_REQUEST, format!("the form cannot be read: {text}"));
    let mut form = Multipart::from_request(request, state)
        .await
        .map_err(|rejection| malformed(rejection.body_text()))?;
    while let Some(field) = form.next_field().await.map_err(|error| malformed(error.body_text()))? {
        if field.name() == Some("file") {
            let file_name = field.file_name().map(str::to_owned);
            let mut stream = field.map(|piece| piece.map_err(io::Error::other));
            return feed(state, params, file_name.as_deref(), keyed, None, &mut stream).await;
        }
    }
    Err(Problem::new(StatusCode::BAD_REQUEST, "the form has no field `file`"))
}

/// Begins the audience and hands the file over. The sender is gone when this is dropped: the import then fails.
async fn feed(
    state: &AppState,
    params: &CreateParams,
    file_name: Option<&str>,
    keyed: Option<&Keyed>,
    bytes_total: Option<u64>,
    stream: &mut (impl Stream<Item = io::Result<Bytes>> + Unpin),
) -> Answer<Running> {
    let name = params.name.as_deref().or(file_name).unwrap_or_default();
    let import = ImportRequest::new(
        name,
        params.default_region.as_deref(),
        params.phone_column.as_deref(),
        bytes_total,
    )
    .map_err(Problem::fields)?;
    let import = state.importer.start(import).await?;
    if let Some(keyed) = keyed {
        keyed.complete(&mut *state.connection().await?, import.audience_id()).await?;
    }
    let running = import.feed(&mut *stream).await;
    drain(stream).await;
    Ok(running)
}

/// Reads on what an import that has failed left unread: many senders look for an answer only when they have sent all.
async fn drain<E>(stream: &mut (impl Stream<Item = Result<Bytes, E>> + Unpin)) {
    let mut left = DRAINED_BYTES;
    while let Some(Ok(piece)) = stream.next().await {
        match left.checked_sub(piece.len()) {
            Some(less) => left = less,
            None => return,
        }
    }
}

/// Lists audiences, the newest first.
#[utoipa::path(
    get, path = "/audiences", tag = "audiences", params(PageParams),
    responses((status = 200, body = ::api::List<::api::Audience>))
)]
async fn list(
    State(state): State<AppState>,
    caller: Caller,
    Params(params): Params<PageParams>,
) -> Answer<Json<::api::List<::api::Audience>>> {
    caller.needs(Role::Viewer)?;
    let limit = extract::limit(params.limit)?;
    let before = extract::after(params.after.as_deref())?;
    let mut conn = state.connection().await?;
    let rows = audiences::list(&mut conn, before, limit + 1).await?;
    Ok(Json(extract::page(rows, limit, |row| row.id.to_string(), convert::audience)))
}

/// Shows an audience.
#[utoipa::path(
    get, path = "/audiences/{id}", tag = "audiences", params(("id" = i64, Path)),
    responses((status = 200, body = ::api::Audience))
)]
async fn get(State(state): State<AppState>, caller: Caller, Id(id): Id) -> Answer<Json<::api::Audience>> {
    caller.needs(Role::Viewer)?;
    let mut conn = state.connection().await?;
    let audience = audiences::get(&mut conn, id).await?.ok_or_else(|| Problem::no("audience", id))?;
    Ok(Json(convert::audience(audience)))
}

/// Deletes an audience that no draft, scheduled or unfinished campaign uses.
#[utoipa::path(
    delete, path = "/audiences/{id}", tag = "audiences", params(("id" = i64, Path)),
    responses((status = 204))
)]
async fn delete(State(state): State<AppState>, caller: Caller, Id(id): Id) -> Answer<StatusCode> {
    caller.needs(Role::Marketer)?;
    let mut tx = state.begin().await?;
    match audiences::delete(&mut tx, id).await? {
        Deletion::Deleted => {}
        Deletion::NotFound => return Err(Problem::no("audience", id)),
        Deletion::InUse { campaign_id } => {
            let detail = format!(
                "campaign {campaign_id} uses audience {id}: delete the draft, or cancel its task or let it end"
            );
            return Err(Problem::conflict(detail));
        }
    }
    commit(tx).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// The rows of the file that named nobody new, with the reason of each.
#[utoipa::path(
    get, path = "/audiences/{id}/rejects.csv", tag = "audiences", params(("id" = i64, Path)),
    responses((status = 200, content_type = "text/csv", body = String))
)]
async fn export_rejects(State(state): State<AppState>, caller: Caller, Id(id): Id) -> Answer<Response> {
    caller.needs(Role::Viewer)?;
    let audience = audiences::get(&mut *state.connection().await?, id).await?;
    audience.ok_or_else(|| Problem::no("audience", id))?;
    let of_page = state.clone();
    exports::csv(&state, &format!("audience-{id}-rejects.csv"), "line,reason,phone,raw\n", 0, move |after| {
        rejects_page(of_page.clone(), id, after)
    })
}

async fn rejects_page(state: AppState, id: i64, after: i64) -> Answer<exports::Page<i64>> {
    let mut conn = state.connection().await?;
    let rows = rejects::page_after(&mut conn, id, after, REJECTS_PAGE).await?;
    drop(conn);
    let is_full = i64::try_from(rows.len()).is_ok_and(|n| n == REJECTS_PAGE);
    let next = rows.last().filter(|_| is_full).map(|last| last.line);
    let bytes =
        exports::records(rows.into_iter().map(|row| [row.line.to_string(), row.reason, row.phone, row.raw]))?;
    Ok((bytes, next))
}

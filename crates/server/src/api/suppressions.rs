//! `/suppressions`: numbers that get nothing, from any account.

use axum::{
    Json,
    body::Bytes,
    extract::{DefaultBodyLimit, State},
    http::StatusCode,
};
use model::{
    FieldError, Phone,
    phone_input::{self, Region},
};
use serde::Deserialize;
use store::suppressions::{self, Reason};
use utoipa::IntoParams;
use utoipa_axum::{router::OpenApiRouter, routes};

use crate::{
    auth::{Caller, Role},
    convert,
    extract::{self, Body, Params, Segment},
    problem::{Answer, Problem},
    state::{AppState, commit},
};

/// The most that a file of numbers may have: some millions of them.
const LIMIT_FILE_BYTES: usize = 64 * 1024 * 1024;
/// Numbers that are written in one statement.
const CHUNK: usize = 10_000;
/// Rows without a number that are named.
const LIMIT_REJECTS: usize = 100;
/// By which names the phones' column is found.
const PHONE_NAMES: [&str; 8] =
    ["phone", "mobile", "msisdn", "whatsapp", "number", "telephone", "contact", "to"];

/// The calls.
pub fn routes() -> OpenApiRouter<AppState> {
    OpenApiRouter::new()
        .routes(routes!(list, add))
        .routes(routes!(remove))
        .merge(OpenApiRouter::new().routes(routes!(import)).layer(DefaultBodyLimit::max(LIMIT_FILE_BYTES)))
}

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct ListParams {
    /// Listed for this reason.
    #[param(value_type = Option<::api::SuppressionReason>)]
    reason: Option<::api::SuppressionReason>,
    /// This number.
    phone: Option<String>,
    /// How many items, at most 500.
    limit: Option<i64>,
    /// `next` of the page before.
    after: Option<String>,
}

/// Lists the numbers that get nothing, in their order.
#[utoipa::path(
    get, path = "/suppressions", tag = "suppressions", params(ListParams),
    responses((status = 200, body = ::api::List<::api::Suppression>))
)]
async fn list(
    State(state): State<AppState>,
    caller: Caller,
    Params(params): Params<ListParams>,
) -> Answer<Json<::api::List<::api::Suppression>>> {
    caller.needs(Role::Viewer)?;
    let limit = extract::limit(params.limit)?;
    let after = extract::after(params.after.as_deref())?;
    let phone = params.phone.as_deref().map(|text| {
        text.parse().map_err(|_| Problem::query("phone", "is not a phone number in international form"))
    });
    let reason = params.reason.map(convert::suppression_reason_of);
    let now = state.clock.now();
    let mut conn = state.connection().await?;
    let rows = suppressions::list(&mut conn, reason, phone.transpose()?, now, after, limit + 1).await?;
    Ok(Json(extract::page(rows, limit, |row| row.phone.as_i64().to_string(), show)))
}

fn show(row: suppressions::Suppression) -> ::api::Suppression {
    ::api::Suppression {
        phone: row.phone.to_string(),
        reason: convert::suppression_reason(row.reason),
        source: row.source,
        created_at: row.created_at,
        expires_at: row.expires_at,
    }
}

/// Lists a number. One that is listed already keeps its reason, unless that ends sooner.
#[utoipa::path(
    post, path = "/suppressions", tag = "suppressions", request_body = ::api::NewSuppression,
    responses((status = 201, body = ::api::Suppression))
)]
async fn add(
    State(state): State<AppState>,
    caller: Caller,
    Body(new): Body<::api::NewSuppression>,
) -> Answer<(StatusCode, Json<::api::Suppression>)> {
    caller.needs(Role::Marketer)?;
    let now = state.clock.now();
    let phone = phone_input::normalise(&new.phone, None)
        .map_err(|problem| Problem::fields(vec![FieldError::new("phone", problem.to_string())]))?;
    if new.expires_at.is_some_and(|at| at <= now) {
        return Err(Problem::field("expires_at", "must lie in the future"));
    }
    let reason = new.reason.map_or(Reason::Manual, convert::suppression_reason_of);
    let source = new.source.unwrap_or_else(|| "api".to_owned());
    let mut tx = state.begin().await?;
    suppressions::add(&mut tx, &[phone], reason, &source, new.expires_at, now).await?;
    let listed = suppressions::list(&mut tx, None, Some(phone), now, None, 1).await?.into_iter().next();
    commit(tx).await?;
    let listed =
        listed.ok_or_else(|| Problem::conflict("the number was taken off the list at this moment"))?;
    Ok((StatusCode::CREATED, Json(show(listed))))
}

/// Takes a number off the list.
#[utoipa::path(
    delete, path = "/suppressions/{phone}", tag = "suppressions", params(("phone" = String, Path)),
    responses((status = 204))
)]
async fn remove(State(state): State<AppState>, caller: Caller, Segment(text): Segment) -> Answer<StatusCode> {
    caller.needs(Role::Operator)?;
    let phone: Phone = text
        .parse()
        .map_err(|error: model::phone::NotAPhone| Problem::new(StatusCode::NOT_FOUND, error.to_string()))?;
    let mut conn = state.connection().await?;
    if suppressions::remove(&mut conn, phone).await? {
        tracing::info!(phone = phone.masked(), "a suppression was removed");
        return Ok(StatusCode::NO_CONTENT);
    }
    Err(Problem::new(StatusCode::NOT_FOUND, format!("{phone} is not on the suppression list")))
}

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct ImportParams {
    /// Why; `manual` unless told.
    #[param(value_type = Option<::api::SuppressionReason>)]
    reason: Option<::api::SuppressionReason>,
    /// Who lists them; `import` unless told.
    source: Option<String>,
    /// Whose country code a number without one gets.
    default_region: Option<String>,
    /// The column of the phones; else found by its name.
    phone_column: Option<String>,
}

/// Lists the numbers of a CSV file, all or none.
#[utoipa::path(
    post, path = "/suppressions/import", tag = "suppressions", params(ImportParams),
    request_body(content = String, content_type = "text/csv"),
    responses((status = 200, body = ::api::SuppressionsImported))
)]
async fn import(
    State(state): State<AppState>,
    caller: Caller,
    Params(params): Params<ImportParams>,
    file: Result<Bytes, axum::extract::rejection::BytesRejection>,
) -> Answer<Json<::api::SuppressionsImported>> {
    caller.needs(Role::Marketer)?;
    let file = file.map_err(|rejection| {
        let detail = format!("the file could not be read, or has more than {LIMIT_FILE_BYTES} bytes");
        Problem::new(rejection.status(), detail)
    })?;
    let region: Option<Region> = params
        .default_region
        .as_deref()
        .map(str::parse)
        .transpose()
        .map_err(|error: FieldError| Problem::fields(vec![error]))?;
    let column = params.phone_column;
    let read = tokio::task::spawn_blocking(move || read_file(&file, column.as_deref(), region)).await;
    let interrupted =
        |_| Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "the import was interrupted: try again");
    let (mut imported, phones) = read.map_err(interrupted)??;
    let reason = params.reason.map_or(Reason::Manual, convert::suppression_reason_of);
    let source = params.source.unwrap_or_else(|| "import".to_owned());
    let now = state.clock.now();
    let mut tx = state.begin().await?;
    for chunk in phones.chunks(CHUNK) {
        let added = suppressions::add(&mut tx, chunk, reason, &source, None, now).await?;
        imported.added += i64::try_from(added).unwrap_or(0);
    }
    commit(tx).await?;
    imported.known = imported.read - imported.rejected - imported.added;
    Ok(Json(imported))
}

/// The file's numbers, in their order and each once, so that two imports cannot wait for each other.
fn read_file(
    file: &[u8],
    column: Option<&str>,
    region: Option<Region>,
) -> Answer<(::api::SuppressionsImported, Vec<Phone>)> {
    let unreadable = |error: &csv::Error| {
        let line = error.position().map(|position| format!(", line {}", position.line())).unwrap_or_default();
        Problem::new(StatusCode::UNPROCESSABLE_ENTITY, format!("the file is no CSV in UTF-8{line}"))
    };
    let file = file.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(file);
    let mut reader = csv::ReaderBuilder::new().flexible(true).from_reader(file);
    let header = reader.headers().map_err(|error| unreadable(&error))?.clone();
    let at = phone_column(&header, column)?;
    let mut imported = ::api::SuppressionsImported::default();
    let mut phones = Vec::new();
    for record in reader.records() {
        let record = record.map_err(|error| unreadable(&error))?;
        imported.read += 1;
        match phone_input::normalise(record.get(at).unwrap_or_default(), region) {
            Ok(phone) => phones.push(phone),
            Err(problem) => {
                imported.rejected += 1;
                if imported.rejects.len() < LIMIT_REJECTS {
                    let line = record.position().map_or(0, |position| position.line().cast_signed());
                    imported.rejects.push(::api::RejectedLine { line, reason: problem.to_string() });
                }
            }
        }
    }
    phones.sort_unstable();
    phones.dedup();
    Ok((imported, phones))
}

fn phone_column(header: &csv::StringRecord, given: Option<&str>) -> Answer<usize> {
    let folded = |name: &str| name.trim().to_lowercase().replace([' ', '_', '-'], "");
    let position = |wanted: &str| header.iter().position(|name| folded(name) == folded(wanted));
    let found = match given {
        Some(given) => position(given),
        None => PHONE_NAMES.iter().find_map(|name| position(name)),
    };
    found.ok_or_else(|| {
        let message = match given {
            Some(given) => format!("there is no column `{given}` in the file's header"),
            None => format!("no column is named {}: name it", PHONE_NAMES.join(", ")),
        };
        Problem::field("phone_column", message)
    })
}

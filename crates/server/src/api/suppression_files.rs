//! `/suppressions/import` and `/suppressions.csv`: numbers that get nothing, as files. What is exported can be imported.

use axum::{
    Json,
    body::Bytes,
    extract::{DefaultBodyLimit, State},
    http::StatusCode,
    response::Response,
};
use chrono::{DateTime, SecondsFormat, Utc};
use csv::StringRecord;
use model::{
    FieldError,
    phone_input::{self, Region},
};
use serde::Deserialize;
use store::suppressions::{self, Filter, Listing, Reason};
use utoipa::IntoParams;
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{
    exports,
    suppressions::{ListParams, show},
};
use crate::{
    auth::{Caller, Role},
    convert,
    extract::{self, Params},
    problem::{Answer, Problem},
    state::{AppState, commit},
};

/// The most that a file of numbers may have: some millions of them.
const LIMIT_FILE_BYTES: usize = 64 * 1024 * 1024;
/// Numbers that are written in one statement.
const CHUNK: usize = 10_000;
/// Rows without a number that are named.
const LIMIT_REJECTS: usize = 100;
/// Rows of one page of the export.
const EXPORT_PAGE: i64 = 5000;
const HEADER: &str = "phone,reason,source,created_at,expires_at\n";
/// By which names the phones' column is found.
const PHONE_NAMES: [&str; 8] =
    ["phone", "mobile", "msisdn", "whatsapp", "number", "telephone", "contact", "to"];

/// The calls.
pub fn routes() -> OpenApiRouter<AppState> {
    OpenApiRouter::new()
        .routes(routes!(export))
        .merge(OpenApiRouter::new().routes(routes!(import)).layer(DefaultBodyLimit::max(LIMIT_FILE_BYTES)))
}

/// The numbers that get nothing as a CSV file.
#[utoipa::path(
    get, path = "/suppressions.csv", tag = "suppressions", params(ListParams),
    responses((status = 200, content_type = "text/csv", body = String))
)]
async fn export(
    State(state): State<AppState>,
    caller: Caller,
    Params(params): Params<ListParams>,
) -> Answer<Response> {
    caller.needs(Role::Viewer)?;
    let filter = params.filter()?;
    let after: i64 = extract::after(params.after.as_deref())?.unwrap_or(0);
    let of_page = state.clone();
    exports::csv(&state, "suppressions.csv", HEADER, after, move |after| {
        page(of_page.clone(), filter.clone(), after)
    })
}

async fn page(state: AppState, filter: Filter, after: i64) -> Answer<exports::Page<i64>> {
    let mut conn = state.connection().await?;
    let rows = suppressions::list(&mut conn, &filter, state.clock.now(), Some(after), EXPORT_PAGE).await?;
    drop(conn);
    let is_full = i64::try_from(rows.len()).is_ok_and(|rows| rows == EXPORT_PAGE);
    let next = rows.last().filter(|_| is_full).map(|row| row.phone.as_i64());
    Ok((exports::records(rows.into_iter().map(record))?, next))
}

fn record(row: suppressions::Suppression) -> [String; 5] {
    let time = |at: DateTime<Utc>| at.to_rfc3339_opts(SecondsFormat::AutoSi, true);
    let shown = show(row);
    let expires_at = shown.expires_at.map(time).unwrap_or_default();
    [shown.phone, shown.reason.as_str().to_owned(), shown.source, time(shown.created_at), expires_at]
}

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct ImportParams {
    /// Why, where the file's column `reason` does not say; `manual` unless told.
    #[param(value_type = Option<::api::SuppressionReason>)]
    reason: Option<::api::SuppressionReason>,
    /// Who lists them; `import` unless told.
    source: Option<String>,
    /// Whose country code a number without one gets.
    default_region: Option<String>,
    /// The column of the phones; else found by its name.
    phone_column: Option<String>,
    /// When they end by themselves, where the file's column `expires_at` does not say; never unless told.
    expires_at: Option<DateTime<Utc>>,
}

/// Lists the numbers of a CSV file, all or none.
///
/// A column `reason` with one of the four words and a column `expires_at` with a time (RFC 3339) hold for their row.
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
    let now = state.clock.now();
    if params.expires_at.is_some_and(|at| at <= now) {
        return Err(Problem::query("expires_at", "must lie in the future"));
    }
    let source = params.source.clone().unwrap_or_else(|| "import".to_owned());
    let reader = Reader::new(&params, now)?;
    let read = tokio::task::spawn_blocking(move || reader.read(&file)).await;
    let interrupted =
        |_| Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "the import was interrupted: try again");
    let (mut imported, listings) = read.map_err(interrupted)??;
    let mut tx = state.begin().await?;
    for chunk in listings.chunks(CHUNK) {
        let added = suppressions::add_all(&mut tx, chunk.to_vec(), &source, now).await?.len();
        imported.added += i64::try_from(added).unwrap_or(0);
    }
    commit(tx).await?;
    imported.known = imported.read - imported.rejected - imported.added;
    Ok(Json(imported))
}

/// What is meant where a file's rows do not say.
struct Reader {
    region: Option<Region>,
    phone_column: Option<String>,
    reason: Reason,
    expires_at: Option<DateTime<Utc>>,
    now: DateTime<Utc>,
}

/// Where the columns are.
struct Columns {
    phone: usize,
    reason: Option<usize>,
    expires_at: Option<usize>,
}

impl Reader {
    fn new(params: &ImportParams, now: DateTime<Utc>) -> Answer<Self> {
        let region = params.default_region.as_deref().map(str::parse).transpose();
        Ok(Self {
            region: region.map_err(|error: FieldError| Problem::fields(vec![error]))?,
            phone_column: params.phone_column.clone(),
            reason: params.reason.map_or(Reason::Manual, convert::suppression_reason_of),
            expires_at: params.expires_at,
            now,
        })
    }

    /// The file's numbers, in their order, so that two imports cannot wait for each other.
    fn read(&self, file: &[u8]) -> Answer<(::api::SuppressionsImported, Vec<Listing>)> {
        let unreadable = |error: &csv::Error| {
            let line =
                error.position().map(|position| format!(", line {}", position.line())).unwrap_or_default();
            Problem::new(StatusCode::UNPROCESSABLE_ENTITY, format!("the file is no CSV in UTF-8{line}"))
        };
        let file = file.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(file);
        let mut reader = csv::ReaderBuilder::new().flexible(true).from_reader(file);
        let header = reader.headers().map_err(|error| unreadable(&error))?.clone();
        let columns = columns(&header, self.phone_column.as_deref())?;
        let mut imported = ::api::SuppressionsImported::default();
        let mut listings = Vec::new();
        for record in reader.records() {
            let record = record.map_err(|error| unreadable(&error))?;
            imported.read += 1;
            match self.listing(&record, &columns) {
                Ok(listing) => listings.push(listing),
                Err(reason) => {
                    imported.rejected += 1;
                    if imported.rejects.len() < LIMIT_REJECTS {
                        let line = record.position().map_or(0, |position| position.line().cast_signed());
                        imported.rejects.push(::api::RejectedLine { line, reason });
                    }
                }
            }
        }
        listings.sort_unstable_by_key(|listing| listing.phone);
        Ok((imported, listings))
    }

    fn listing(&self, record: &StringRecord, columns: &Columns) -> Result<Listing, String> {
        let cell = |at: Option<usize>| at.and_then(|at| record.get(at)).map(str::trim).unwrap_or_default();
        let text = record.get(columns.phone).unwrap_or_default();
        let phone = phone_input::normalise(text, self.region).map_err(|problem| problem.to_string())?;
        let word = cell(columns.reason);
        let reason = ::api::SuppressionReason::ALL.into_iter().find(|reason| reason.as_str() == word);
        let expires_at = match cell(columns.expires_at) {
            "" => self.expires_at,
            text => {
                let at: DateTime<Utc> = text.parse().map_err(|_| {
                    "expires_at is no time such as 2026-12-31T00:00:00Z: mend it, or leave it empty"
                        .to_owned()
                })?;
                if at <= self.now {
                    return Err("expires_at lies in the past: the number would not be listed".to_owned());
                }
                Some(at)
            }
        };
        Ok(Listing { phone, reason: reason.map_or(self.reason, convert::suppression_reason_of), expires_at })
    }
}

fn columns(header: &StringRecord, given: Option<&str>) -> Answer<Columns> {
    let folded = |name: &str| name.trim().to_lowercase().replace([' ', '_', '-'], "");
    let position = |wanted: &str| header.iter().position(|name| folded(name) == folded(wanted));
    let phone = match given {
        Some(given) => position(given),
        None => PHONE_NAMES.iter().find_map(|name| position(name)),
    };
    let phone = phone.ok_or_else(|| {
        let message = match given {
            Some(given) => format!("there is no column `{given}` in the file's header"),
            None => format!("no column is named {}: name it", PHONE_NAMES.join(", ")),
        };
        Problem::field("phone_column", message)
    })?;
    Ok(Columns { phone, reason: position("reason"), expires_at: position("expires_at") })
}

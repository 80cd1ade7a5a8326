//! Bodies, queries and ids, with problems that name the field.

use axum::{
    body::Bytes,
    extract::{FromRequest, FromRequestParts, Path, Query, Request, rejection::BytesRejection},
    http::{StatusCode, request::Parts},
};
use serde::de::DeserializeOwned;

use crate::problem::{Answer, Problem};

/// The most that a JSON body may have.
pub const LIMIT_JSON_BYTES: usize = 2 * 1024 * 1024;
/// Items of a page, where the query does not say.
const DEFAULT_PAGE: i64 = 50;
/// Items of a page at the most.
const LIMIT_PAGE: i64 = 500;

/// A JSON body; an empty one stands for `{}`.
pub struct Body<T>(pub T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequest<S> for Body<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        let bytes =
            Bytes::from_request(request, state).await.map_err(|rejection| body_problem(&rejection))?;
        read(&bytes).map(Self)
    }
}

fn body_problem(rejection: &BytesRejection) -> Problem {
    match rejection.status() {
        StatusCode::PAYLOAD_TOO_LARGE => Problem::new(
            StatusCode::PAYLOAD_TOO_LARGE,
            format!("the body has more than {LIMIT_JSON_BYTES} bytes"),
        ),
        status => Problem::new(status, "the body could not be read"),
    }
}

fn read<T: DeserializeOwned>(bytes: &[u8]) -> Answer<T> {
    let bytes = if bytes.trim_ascii().is_empty() { b"{}" } else { bytes };
    refuse_nul(bytes)?;
    let mut deserializer = serde_json::Deserializer::from_slice(bytes);
    let value = serde_path_to_error::deserialize(&mut deserializer).map_err(|error| {
        let path = error.path().to_string();
        json_problem(&path, &error.into_inner())
    })?;
    deserializer.end().map_err(|error| json_problem(".", &error))?;
    Ok(value)
}

/// Refuses the one character that the database cannot keep in a text.
fn refuse_nul(bytes: &[u8]) -> Answer<()> {
    const ESCAPED: &[u8] = b"\\u0000";
    if !bytes.windows(ESCAPED.len()).any(|window| window == ESCAPED) {
        return Ok(());
    }
    // The backslash may be escaped itself; what is no JSON is refused with its own words.
    let Ok(value) = serde_json::from_slice::<serde_json::Value>(bytes) else { return Ok(()) };
    match path_of_nul(&value) {
        Some(path) => {
            let field = if path.is_empty() { "." } else { path.trim_start_matches('.') };
            Err(Problem::field(field, "holds the character U+0000: remove it"))
        }
        None => Ok(()),
    }
}

fn path_of_nul(value: &serde_json::Value) -> Option<String> {
    match value {
        serde_json::Value::String(text) => text.contains('\0').then(String::new),
        serde_json::Value::Array(items) => items
            .iter()
            .enumerate()
            .find_map(|(index, item)| path_of_nul(item).map(|path| format!("[{index}]{path}"))),
        serde_json::Value::Object(members) => members.iter().find_map(|(key, item)| {
            let path = if key.contains('\0') { Some(String::new()) } else { path_of_nul(item) };
            path.map(|path| format!(".{}{path}", key.replace('\0', "")))
        }),
        _ => None,
    }
}

fn json_problem(path: &str, error: &serde_json::Error) -> Problem {
    let text = error.to_string();
    if !error.is_data() {
        return Problem::new(StatusCode::BAD_REQUEST, format!("the body is no JSON: {text}"));
    }
    // serde names a missing or unknown field in its text alone; it is only shown better here.
    let named = ["missing field `", "unknown field `"]
        .iter()
        .find_map(|prefix| text.strip_prefix(prefix)?.split('`').next());
    let field = match (path, named) {
        (".", Some(named)) => named.to_owned(),
        (path, Some(named)) if !path.ends_with(named) => format!("{path}.{named}"),
        (path, _) => path.to_owned(),
    };
    Problem::field(&field, text)
}

/// The query.
pub struct Params<T>(pub T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequestParts<S> for Params<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, Problem> {
        if parts.uri.query().is_some_and(|query| query.contains("%00")) {
            return Err(Problem::new(
                StatusCode::BAD_REQUEST,
                "the query holds the character U+0000: remove it",
            ));
        }
        match Query::<T>::try_from_uri(&parts.uri) {
            Ok(Query(params)) => Ok(Self(params)),
            Err(rejection) => Err(query_problem(&rejection.body_text())),
        }
    }
}

/// The field stands in the text alone, as `…: limit: invalid digit found in string`; it is only shown better here.
fn query_problem(text: &str) -> Problem {
    let text = text.strip_prefix("Failed to deserialize query string: ").unwrap_or(text);
    let is_name = |text: &str| text.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
    match text.split_once(": ") {
        Some((field, message)) if is_name(field) => Problem::query(field, format!("is wrong: {message}")),
        _ => Problem::new(StatusCode::BAD_REQUEST, format!("the query cannot be read: {text}")),
    }
}

/// The one part of the path that varies, as text.
pub struct Segment(pub String);

impl<S: Send + Sync> FromRequestParts<S> for Segment {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let unreadable = |_| Problem::new(StatusCode::NOT_FOUND, "the path is no UTF-8: nothing is there");
        let Path(text) = Path::<String>::from_request_parts(parts, state).await.map_err(unreadable)?;
        Ok(Self(text))
    }
}

/// The two parts of the path that vary, as texts.
pub struct Segments(pub String, pub String);

impl<S: Send + Sync> FromRequestParts<S> for Segments {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let unreadable = |_| Problem::new(StatusCode::NOT_FOUND, "the path is no UTF-8: nothing is there");
        let Path((first, second)) =
            Path::<(String, String)>::from_request_parts(parts, state).await.map_err(unreadable)?;
        if first.contains('\0') || second.contains('\0') {
            return Err(Problem::new(
                StatusCode::NOT_FOUND,
                "the path holds the character U+0000: nothing is there",
            ));
        }
        Ok(Self(first, second))
    }
}

/// The id in the path.
pub struct Id(pub i64);

impl<S: Send + Sync> FromRequestParts<S> for Id {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let Segment(text) = Segment::from_request_parts(parts, state).await?;
        text.parse().map(Self).map_err(|_| {
            Problem::new(StatusCode::NOT_FOUND, format!("`{text}` is no id: ids are whole numbers"))
        })
    }
}

/// How many items a page has.
pub fn limit(given: Option<i64>) -> Answer<i64> {
    match given {
        None => Ok(DEFAULT_PAGE),
        Some(limit) if (1..=LIMIT_PAGE).contains(&limit) => Ok(limit),
        Some(_) => Err(Problem::query("limit", format!("must be 1 to {LIMIT_PAGE}"))),
    }
}

/// Where a page begins: the cursor of the page before. Opaque to callers.
pub fn after<T: std::str::FromStr>(given: Option<&str>) -> Answer<Option<T>> {
    given
        .map(|text| {
            text.parse().map_err(|_| Problem::query("after", "is not the `next` of a page: begin without it"))
        })
        .transpose()
}

/// A page of what was read with `limit` + 1: whether there is more shows in the item too many.
pub fn page<T, U>(
    mut rows: Vec<T>,
    limit: i64,
    key: impl Fn(&T) -> String,
    show: impl FnMut(T) -> U,
) -> ::api::List<U> {
    let limit = usize::try_from(limit).unwrap_or(usize::MAX);
    let has_more = rows.len() > limit;
    rows.truncate(limit);
    let next = rows.last().filter(|_| has_more).map(key);
    ::api::List { items: rows.into_iter().map(show).collect(), next }
}

/// The Idempotency-Key header.
pub struct IdempotencyKey(pub Option<String>);

/// Characters of an Idempotency-Key.
const LIMIT_KEY: usize = 255;

impl<S: Send + Sync> FromRequestParts<S> for IdempotencyKey {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, Problem> {
        let Some(value) = parts.headers.get("idempotency-key") else { return Ok(Self(None)) };
        match value.to_str() {
            Ok(key) if (1..=LIMIT_KEY).contains(&key.len()) => Ok(Self(Some(key.to_owned()))),
            _ => Err(Problem::new(
                StatusCode::BAD_REQUEST,
                format!("the header Idempotency-Key must have 1 to {LIMIT_KEY} printable ASCII characters"),
            )),
        }
    }
}

//! CSV files that are streamed page by page: in constant memory, however many rows there are.

use axum::{
    body::{Body, Bytes},
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse as _, Response},
};
use futures::{Stream, StreamExt as _, stream};

use crate::{
    problem::{Answer, Problem},
    state::AppState,
};

/// A page of an export: its bytes, and where the next one begins; none: it was the last.
pub type Page<C> = (Vec<u8>, Option<C>);

/// A CSV file whose pages `next` writes, each from where the one before ended.
///
/// An error after the first byte cuts the connection, so that a broken file is never taken for a whole one.
pub fn csv<C, N, F>(
    state: &AppState,
    file_name: &str,
    header_line: &'static str,
    first: C,
    next: N,
) -> Answer<Response>
where
    C: Send + 'static,
    N: Fn(C) -> F + Send + 'static,
    F: Future<Output = Answer<Page<C>>> + Send + 'static,
{
    let permit = state.exports.clone().try_acquire_owned().map_err(|_| {
        Problem::new(StatusCode::SERVICE_UNAVAILABLE, "too many exports are under way: try again in a moment")
    })?;
    let head = stream::iter([Ok(Bytes::from_static(header_line.as_bytes()))]);
    let rest = pages(first, next).map(move |page| {
        // Held until the file has ended or its reader has gone.
        let _held = &permit;
        page
    });
    let mut response = Body::from_stream(head.chain(rest)).into_response();
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/csv; charset=utf-8"));
    if let Ok(disposition) = HeaderValue::from_str(&format!("attachment; filename=\"{file_name}\"")) {
        headers.insert(header::CONTENT_DISPOSITION, disposition);
    }
    Ok(response)
}

fn pages<C, N, F>(first: C, next: N) -> impl Stream<Item = Result<Bytes, std::io::Error>> + Send
where
    C: Send + 'static,
    N: Fn(C) -> F + Send + 'static,
    F: Future<Output = Answer<Page<C>>> + Send + 'static,
{
    stream::unfold((Some(first), next), |(cursor, next)| async move {
        match next(cursor?).await {
            Ok((bytes, cursor)) => Some((Ok(Bytes::from(bytes)), (cursor, next))),
            Err(_) => {
                let error = std::io::Error::other("the export broke off; the log says why");
                Some((Err(error), (None, next)))
            }
        }
    })
}

/// Writes records as CSV.
pub fn records<R: AsRef<[u8]>>(rows: impl Iterator<Item = impl IntoIterator<Item = R>>) -> Answer<Vec<u8>> {
    let mut writer =
        csv::WriterBuilder::new().terminator(csv::Terminator::Any(b'\n')).from_writer(Vec::new());
    for row in rows {
        writer.write_record(row).map_err(|error| unwritable(&error))?;
    }
    writer.into_inner().map_err(|error| unwritable(error.error()))
}

fn unwritable(error: &dyn std::fmt::Display) -> Problem {
    tracing::error!(%error, "a CSV record could not be written");
    Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "the export could not be written; the log says why")
}

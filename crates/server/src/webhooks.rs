//! Vendors' callbacks: authenticated by the token in their path, read for sense, stored durably, answered 200.
//!
//! Nothing else happens here; whoever owns the account applies them in order. An answer of 503 makes vendors repeat.

use std::{sync::atomic::Ordering, time::Duration};

use axum::{
    Router,
    body::Body,
    extract::{Path, State, rejection::PathRejection},
    http::{HeaderMap, StatusCode, header},
    routing::post,
};
use futures::StreamExt as _;
use vendors::callback;

use crate::{
    problem::{Answer, Problem},
    state::AppState,
};

/// The most that a callback may have: the largest that a vendor documents is far below.
const LIMIT_BYTES: usize = 3 * 1024 * 1024;
/// How long a callback's body may take to come, and how long storing it may take.
const TIMEOUT: Duration = Duration::from_secs(10);

/// `/webhooks/{account}/{token}`.
pub fn routes() -> Router<AppState> {
    Router::new().route("/webhooks/{account}/{token}", post(receive))
}

async fn receive(
    State(state): State<AppState>,
    path: Result<Path<(String, String)>, PathRejection>,
    headers: HeaderMap,
    body: Body,
) -> Answer<StatusCode> {
    // One answer for an unknown account, a wrong token and what is no text, so that nobody can try names.
    let (name, token) = path.map(|Path(parts)| parts).unwrap_or_default();
    let known = state.account(&name);
    let expected = known.and_then(|account| account.webhook_token.as_ref());
    let (Some(account), Some(true)) = (known, expected.map(|expected| expected.is(&token))) else {
        state.counters.foreign_webhooks.fetch_add(1, Ordering::Relaxed);
        return Err(Problem::new(
            StatusCode::NOT_FOUND,
            "no account has this callback URL; `campaignd account show NAME --reveal` prints the right one",
        ));
    };
    let text = match read(&headers, body).await {
        Ok(text) => text,
        Err(problem) => {
            let too_large = problem.status() == StatusCode::PAYLOAD_TOO_LARGE;
            state.counters.webhook(&name, |c| if too_large { &c.too_large } else { &c.malformed });
            return Err(problem);
        }
    };
    if let Err(malformed) = callback::parse(account.vendor, text.as_bytes()) {
        state.counters.webhook(&name, |counters| &counters.malformed);
        tracing::warn!(account.name = name, error = %malformed, "a callback cannot be read");
        return Err(Problem::new(StatusCode::BAD_REQUEST, malformed.to_string()));
    }
    let stored = tokio::time::timeout(TIMEOUT, (state.inbox)(name.clone(), text)).await;
    let reason = match stored {
        Ok(Ok(())) => {
            state.counters.webhook(&name, |counters| &counters.stored);
            return Ok(StatusCode::OK);
        }
        Ok(Err(error)) => error.to_string(),
        Err(_) => "storing it took too long".to_owned(),
    };
    state.counters.webhook(&name, |counters| &counters.not_stored);
    tracing::warn!(
        account.name = name,
        error = reason,
        "a callback was not stored; the vendor is asked to repeat it"
    );
    Err(Problem::new(StatusCode::SERVICE_UNAVAILABLE, "the callback was not stored: send it again"))
}

async fn read(headers: &HeaderMap, body: Body) -> Answer<String> {
    let too_large = || {
        Problem::new(
            StatusCode::PAYLOAD_TOO_LARGE,
            format!("a callback may have at most {LIMIT_BYTES} bytes"),
        )
    };
    let told =
        headers.get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse::<usize>().ok());
    if told.is_some_and(|bytes| bytes > LIMIT_BYTES) {
        return Err(too_large());
    }
    let collected = tokio::time::timeout(TIMEOUT, collect(body)).await;
    let bytes = collected
        .map_err(|_| Problem::new(StatusCode::REQUEST_TIMEOUT, "the body took too long to come"))?
        .map_err(|_| Problem::new(StatusCode::BAD_REQUEST, "the body broke off"))?
        .ok_or_else(too_large)?;
    let text = String::from_utf8(bytes)
        .map_err(|_| Problem::new(StatusCode::BAD_REQUEST, "the body is no UTF-8"))?;
    if text.contains('\0') {
        return Err(Problem::new(StatusCode::BAD_REQUEST, "the body holds a NUL: it is no JSON"));
    }
    Ok(text)
}

/// The body; none when it has more than a callback may have.
async fn collect(body: Body) -> Result<Option<Vec<u8>>, axum::Error> {
    let mut stream = body.into_data_stream();
    let mut bytes = Vec::new();
    while let Some(piece) = stream.next().await {
        bytes.extend_from_slice(&piece?);
        if bytes.len() > LIMIT_BYTES {
            return Ok(None);
        }
    }
    Ok(Some(bytes))
}

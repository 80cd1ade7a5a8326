//! Vendors' callbacks: authenticated by the token in their path, read for sense, stored durably, answered 200.
//!
//! Nothing else happens here; whoever owns the account applies them in order. An answer of 503 makes vendors repeat.

use std::{
    borrow::Cow,
    convert::Infallible,
    sync::atomic::Ordering,
    task::{Context, Poll},
    time::Duration,
};

use axum::{
    Router,
    body::{Body, BodyDataStream, HttpBody as _},
    extract::{Request, State},
    http::{HeaderMap, Method, StatusCode, header},
    response::{IntoResponse as _, Response},
    routing::post,
};
use futures::{FutureExt as _, StreamExt as _, future::BoxFuture};
use percent_encoding::percent_decode_str;
use tower_service::Service;
use vendors::callback;

use crate::{
    problem::{Answer, Problem},
    state::AppState,
};

/// The most that a callback may have: the largest that a vendor documents is far below.
const LIMIT_BYTES: usize = 3 * 1024 * 1024;
/// How long a callback's body may take to come, and how long storing it may take.
const TIMEOUT: Duration = Duration::from_secs(10);
/// What is refused unread is read to its end all the same, up to this size and for so long: who still writes when the
/// connection is closed sees it break, and never the answer.
const LINGER_BYTES: usize = 16 * 1024 * 1024;
const LINGER: Duration = Duration::from_secs(5);

/// `/webhooks/{account}/{token}`, among the other routes: [`Front`] takes what it can before they are asked.
pub fn routes() -> Router<AppState> {
    let handle = async |State(state): State<AppState>, request: Request| receive(&state, request).await;
    Router::new().route("/webhooks/{account}/{token}", post(handle))
}

/// All that is served: callbacks before everything else, because they come by the thousand each second and need none
/// of what the interface for people and programs needs.
#[derive(Clone)]
pub struct Front {
    state: AppState,
    others: Router,
}

impl Front {
    /// Serves callbacks itself and leaves all else to `others`.
    pub fn new(state: AppState, others: Router) -> Self {
        Self { state, others }
    }
}

impl Service<Request> for Front {
    type Response = Response;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        // A router is always ready.
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request) -> Self::Future {
        if request.method() == Method::POST && place(request.uri().path()).is_some() {
            let state = self.state.clone();
            return Box::pin(async move { Ok(receive(&state, request).await.into_response()) });
        }
        self.others.call(request).boxed()
    }
}

/// The account's name and the token in `/webhooks/{account}/{token}`.
fn place(path: &str) -> Option<(&str, &str)> {
    path.strip_prefix("/webhooks/")?.split_once('/').filter(|(_, token)| !token.contains('/'))
}

/// A part of a path as it was meant; nothing when it is no text.
fn decoded(part: &str) -> Cow<'_, str> {
    percent_decode_str(part).decode_utf8().unwrap_or_default()
}

async fn receive(state: &AppState, request: Request) -> Answer<StatusCode> {
    let (head, body) = request.into_parts();
    let (name, token) = place(head.uri.path()).unwrap_or_default();
    let (name, token) = (decoded(name), decoded(token));
    let (name, token) = (name.as_ref(), token.as_ref());
    let known = state.account(name);
    let expected = known.and_then(|account| account.webhook_token.as_ref());
    // One answer for an unknown account, a wrong token and what is no text, so that nobody can try names.
    let (Some(account), Some(true)) = (known, expected.map(|expected| expected.is(token))) else {
        state.counters.foreign_webhooks.fetch_add(1, Ordering::Relaxed);
        discard(&head.headers, &mut body.into_data_stream()).await;
        return Err(Problem::new(
            StatusCode::NOT_FOUND,
            "no account has this callback URL; `campaignd account show NAME --reveal` prints the right one",
        ));
    };
    let text = match read(&head.headers, body).await {
        Ok(text) => text,
        Err(problem) => {
            let too_large = problem.status() == StatusCode::PAYLOAD_TOO_LARGE;
            state.counters.webhook(name, |c| if too_large { &c.too_large } else { &c.malformed });
            return Err(problem);
        }
    };
    if let Err(malformed) = callback::check(account.vendor, text.as_bytes()) {
        state.counters.webhook(name, |counters| &counters.malformed);
        tracing::warn!(account.name = name, error = %malformed, "a callback cannot be read");
        return Err(Problem::new(StatusCode::BAD_REQUEST, malformed.to_string()));
    }
    let stored = tokio::time::timeout(TIMEOUT, (state.inbox)(name.to_owned(), text)).await;
    let reason = match stored {
        Ok(Ok(())) => {
            state.counters.webhook(name, |counters| &counters.stored);
            return Ok(StatusCode::OK);
        }
        Ok(Err(error)) => error.to_string(),
        Err(_) => "storing it took too long".to_owned(),
    };
    state.counters.webhook(name, |counters| &counters.not_stored);
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
    let mut stream = body.into_data_stream();
    if told.is_some_and(|bytes| bytes > LIMIT_BYTES) {
        discard(headers, &mut stream).await;
        return Err(too_large());
    }
    let collected = tokio::time::timeout(TIMEOUT, collect(&mut stream)).await;
    let bytes = collected
        .map_err(|_| Problem::new(StatusCode::REQUEST_TIMEOUT, "the body took too long to come"))?
        .map_err(|_| Problem::new(StatusCode::BAD_REQUEST, "the body broke off"))?;
    let Some(bytes) = bytes else {
        discard(headers, &mut stream).await;
        return Err(too_large());
    };
    let text = String::from_utf8(bytes)
        .map_err(|_| Problem::new(StatusCode::BAD_REQUEST, "the body is no UTF-8"))?;
    if text.contains('\0') {
        return Err(Problem::new(StatusCode::BAD_REQUEST, "the body holds a NUL: it is no JSON"));
    }
    Ok(text)
}

/// The body; none when it has more than a callback may have.
async fn collect(stream: &mut BodyDataStream) -> Result<Option<Vec<u8>>, axum::Error> {
    let Some(first) = stream.next().await.transpose()? else { return Ok(Some(Vec::new())) };
    let mut bytes = Vec::from(first);
    // Nearly always it came in one piece with its head.
    while !stream.is_end_stream() && bytes.len() <= LIMIT_BYTES {
        let Some(piece) = stream.next().await else { break };
        bytes.extend_from_slice(&piece?);
    }
    Ok(Some(bytes).filter(|bytes| bytes.len() <= LIMIT_BYTES))
}

/// Reads what is still to come and forgets it.
async fn discard(headers: &HeaderMap, stream: &mut BodyDataStream) {
    // Who waits to be told to go on has written nothing yet, and is not to begin.
    if headers.contains_key(header::EXPECT) {
        return;
    }
    let read = async {
        let mut bytes = 0;
        while bytes < LINGER_BYTES
            && let Some(Ok(piece)) = stream.next().await
        {
            bytes += piece.len();
        }
    };
    // The answer follows in any case.
    let _ = tokio::time::timeout(LINGER, read).await;
}

#[cfg(test)]
mod tests {
    use super::place;

    #[test]
    fn a_callback_has_an_account_and_a_token() {
        assert_eq!(place("/webhooks/main/token"), Some(("main", "token")));
        assert_eq!(place("/webhooks/main/"), Some(("main", "")));
        for path in ["/", "/webhooks", "/webhooks/main", "/webhooks/a/b/c", "/api/webhooks/a/b"] {
            assert_eq!(place(path), None, "{path}");
        }
    }
}

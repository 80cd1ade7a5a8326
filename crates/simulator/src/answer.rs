//! The answer of a vendor's call, and the ways in which it can fail to reach the caller.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::Response;
use bytes::Bytes;
use futures::StreamExt as _;
use serde::Serialize;
use serde_json::Value;

use crate::faults::FaultAction;
use crate::pump;
use crate::world::World;

const HOUR: Duration = Duration::from_secs(3_600);

/// Tells the server to end the connection instead of answering.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Break {
    Close,
    Reset,
}

#[derive(Clone, Copy)]
enum Ending {
    Normal,
    Hang(Duration),
    Break(Break),
    Half,
    Large(u64),
}

/// An answer that was decided, before it is sent.
pub(crate) struct Answer {
    pub(crate) status: u16,
    content_type: &'static str,
    retry_after: Option<Box<HeaderValue>>,
    body: Bytes,
    ending: Ending,
    /// Time until the answer leaves.
    pub(crate) pause: Duration,
    /// Messages whose first report goes out before this answer.
    pub(crate) early: Vec<u32>,
}

impl Answer {
    fn new(status: u16, content_type: &'static str, body: Bytes) -> Answer {
        let (ending, pause, early) = (Ending::Normal, Duration::ZERO, Vec::new());
        Answer { status, content_type, retry_after: None, body, ending, pause, early }
    }

    pub(crate) fn json(status: u16, body: &impl Serialize) -> Answer {
        Answer::new(status, "application/json", serde_json::to_vec(body).unwrap_or_default().into())
    }

    pub(crate) fn retry_after(mut self, seconds: Option<u32>) -> Answer {
        self.retry_after = seconds.map(|seconds| Box::new(seconds.into()));
        self
    }

    /// What a fault does instead of accepting. `error` makes the vendor's own error for a status.
    pub(crate) fn instead(
        action: Option<&FaultAction>,
        error: impl FnOnce(u16, &str) -> Answer,
    ) -> Option<Answer> {
        match action? {
            FaultAction::HttpStatus { status, retry_after_seconds, body } => {
                let mut answer = error(*status, "refused on purpose").retry_after(*retry_after_seconds);
                if let Some(body) = body {
                    answer.body = Bytes::copy_from_slice(body.as_bytes());
                }
                Some(answer)
            }
            FaultAction::Throttle { retry_after } => {
                let mut answer = error(429, "throttled on purpose");
                answer.retry_after = HeaderValue::from_str(retry_after).ok().map(Box::new);
                Some(answer)
            }
            FaultAction::HangBeforeAccept { for_ms } => {
                let mut answer = error(504, "hung on purpose");
                answer.ending = Ending::Hang(for_ms.map_or(HOUR, Duration::from_millis));
                Some(answer)
            }
            FaultAction::CloseBeforeAccept => {
                let mut answer = error(502, "closed on purpose");
                answer.ending = Ending::Break(Break::Close);
                Some(answer)
            }
            _ => None,
        }
    }

    /// What a fault does to the answer after the messages were accepted.
    pub(crate) fn spoiled(
        mut self,
        action: Option<&FaultAction>,
        error: impl FnOnce(u16, &str) -> Answer,
    ) -> Answer {
        let html = "<html><head><title>Bad Gateway</title></head><body><h1>Bad Gateway</h1></body></html>";
        match action {
            Some(FaultAction::StatusAfterAccept { status }) => {
                return Answer { early: self.early, ..error(*status, "failed on purpose") };
            }
            Some(FaultAction::HangAfterAccept { for_ms }) => {
                self.ending = Ending::Hang(for_ms.map_or(HOUR, Duration::from_millis));
            }
            Some(FaultAction::CloseAfterAccept) => self.ending = Ending::Break(Break::Close),
            Some(FaultAction::ResetAfterAccept) => self.ending = Ending::Break(Break::Reset),
            Some(FaultAction::HalfBody) => self.ending = Ending::Half,
            Some(FaultAction::LargeBody { bytes }) => self.ending = Ending::Large(*bytes),
            Some(FaultAction::RepeatIds) => self.body = with_one_id(&self.body),
            Some(FaultAction::GarbageBody) => {
                self.body = Bytes::from_static(b"\x1f\x8b{\"ret_co\x00\xff\xfe");
            }
            Some(FaultAction::HtmlBody { status }) => {
                self.status = status.unwrap_or(200);
                self.content_type = "text/html";
                self.body = Bytes::from_static(html.as_bytes());
            }
            _ => {}
        }
        self
    }

    /// Waits, reports early, and answers or fails to.
    pub(crate) async fn deliver(mut self, world: &Arc<World>) -> Response {
        if !self.early.is_empty() {
            // In a task of its own: when the caller dies meanwhile, its reports are due all the same.
            let (world, early) = (Arc::clone(world), std::mem::take(&mut self.early));
            let posting = tokio::spawn(async move {
                for sequence in early {
                    pump::post_first_report(&world, sequence).await;
                }
            });
            let _ = posting.await;
        }
        if !self.pause.is_zero() {
            tokio::time::sleep(self.pause).await;
        }
        match self.ending {
            Ending::Normal => self.response(),
            Ending::Half => self.half_response(),
            Ending::Large(bytes) => self.large_response(bytes),
            Ending::Hang(time) => {
                tokio::time::sleep(time).await;
                broken(Break::Close)
            }
            Ending::Break(kind) => broken(kind),
        }
    }

    fn response(self) -> Response {
        let mut response = Response::new(Body::from(self.body));
        *response.status_mut() = StatusCode::from_u16(self.status).unwrap_or(StatusCode::OK);
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(self.content_type));
        if let Some(retry_after) = self.retry_after {
            headers.insert(header::RETRY_AFTER, *retry_after);
        }
        response
    }

    /// Spaces without end nearly, in parts, so that nobody is told how many there are.
    fn large_response(self, bytes: u64) -> Response {
        const PART: &[u8] = &[b' '; 65_536];
        let parts = (0..bytes.div_ceil(PART.len() as u64)).map(|_| Ok::<_, std::io::Error>(PART));
        let mut response = self.response();
        *response.body_mut() = Body::from_stream(futures::stream::iter(parts));
        response
    }

    /// Announces the whole body and sends half of it.
    fn half_response(self) -> Response {
        let length = self.body.len();
        let half = self.body.slice(..length / 2);
        // The half is written only once the body has nothing ready, so the end comes a little later.
        let end = async {
            tokio::time::sleep(Duration::from_millis(5)).await;
            Err(std::io::Error::other("broken off on purpose"))
        };
        let parts = futures::stream::iter([Ok(half)]).chain(futures::stream::once(end));
        let mut response = self.response();
        *response.body_mut() = Body::from_stream(parts);
        response.headers_mut().insert(header::CONTENT_LENGTH, HeaderValue::from(length));
        response
    }
}

fn broken(kind: Break) -> Response {
    let mut response = Response::new(Body::empty());
    response.extensions_mut().insert(kind);
    response
}

/// The answer with the same id for each of its messages.
fn with_one_id(body: &[u8]) -> Bytes {
    fn replace(value: &mut Value) {
        match value {
            Value::Object(fields) => {
                for (name, value) in fields {
                    match value {
                        Value::String(id) if name == "id" || name == "sid" => *id = "the-same-id".to_owned(),
                        value => replace(value),
                    }
                }
            }
            Value::Array(items) => items.iter_mut().for_each(replace),
            _ => {}
        }
    }
    let mut document = serde_json::from_slice(body).unwrap_or(Value::Null);
    replace(&mut document);
    serde_json::to_vec(&document).unwrap_or_default().into()
}

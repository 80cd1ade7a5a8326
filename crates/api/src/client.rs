//! The typed client of the HTTP interface, for the command line and tests.
//!
//! One function per call of the interface. It never repeats a call by itself: whoever creates something hands in an
//! idempotency key and may then repeat safely. No answer is read without a limit.

mod audiences;
mod campaigns;
mod error;
mod event_webhooks;
mod events;
mod others;
mod reports;
mod suppressions;
mod tasks;
mod templates;

use std::time::Duration;

use bytes::Bytes;
use futures::{Stream, StreamExt};
use reqwest::{Method, RequestBuilder, Response, Url, header};
use serde::{Serialize, de::DeserializeOwned};

pub use self::{
    audiences::ImportAudience,
    error::ClientError,
    reports::TimelineFilter,
    suppressions::{ImportSuppressions, SuppressionFilter},
    tasks::{MessageFilter, RetryFailed, TaskFilter},
    templates::{EventFilter, TemplateFilter},
};

/// How long a connection may take.
const CONNECT: Duration = Duration::from_secs(5);
/// How long an ordinary call may take. Imports, exports and events may take as long as they like.
const TOTAL: Duration = Duration::from_secs(60);
/// No JSON answer is longer: a page has 500 items at the most.
const MAX_ANSWER_BYTES: usize = 64 * 1024 * 1024;

/// Which page of a list.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Page {
    /// How many items, at most 500; none: 50.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limit: Option<u32>,
    /// `next` of the page before.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub after: Option<String>,
}

/// A way to one campaignd. Cheap to clone.
#[derive(Clone)]
pub struct Client {
    base: Url,
    token: Option<String>,
    http: reqwest::Client,
}

impl std::fmt::Debug for Client {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Client").field("base", &self.base.as_str()).finish_non_exhaustive()
    }
}

impl Client {
    /// A client of the campaignd at `base`, such as `http://127.0.0.1:8080`. Nothing is called yet.
    ///
    /// # Errors
    /// `base` is no http or https URL.
    pub fn new(base: &str, token: Option<&str>) -> Result<Self, ClientError> {
        let wrong = |reason: String| ClientError::Address { url: base.to_owned(), reason };
        let mut url = Url::parse(base).map_err(|error| wrong(error.to_string()))?;
        if !matches!(url.scheme(), "http" | "https") || url.cannot_be_a_base() {
            return Err(wrong("it does not begin with http:// or https://".to_owned()));
        }
        if !url.path().ends_with('/') {
            url.set_path(&format!("{}/", url.path()));
        }
        let http = reqwest::Client::builder()
            .connect_timeout(CONNECT)
            .retry(reqwest::retry::never())
            .redirect(reqwest::redirect::Policy::none())
            .user_agent(concat!("campaignd/", env!("CARGO_PKG_VERSION")))
            .build()
            .map_err(|error| wrong(error.to_string()))?;
        Ok(Self { base: url, token: token.map(str::to_owned), http })
    }

    /// Where the daemon is.
    #[must_use]
    pub fn base(&self) -> &Url {
        &self.base
    }

    fn url(&self, segments: &[&str]) -> Url {
        let mut url = self.base.clone();
        if let Ok(mut path) = url.path_segments_mut() {
            path.pop_if_empty().extend(segments);
        }
        url
    }

    /// A call below `/api/v1`; each segment is escaped.
    fn request(&self, method: Method, segments: &[&str]) -> RequestBuilder {
        let all: Vec<&str> = ["api", "v1"].iter().chain(segments).copied().collect();
        let request = self.http.request(method, self.url(&all));
        match &self.token {
            Some(token) => request.bearer_auth(token),
            None => request,
        }
    }

    async fn get<T: DeserializeOwned>(
        &self,
        segments: &[&str],
        query: &impl Serialize,
    ) -> Result<T, ClientError> {
        self.answer(self.request(Method::GET, segments).query(query).timeout(TOTAL)).await
    }

    async fn post<T: DeserializeOwned>(
        &self,
        segments: &[&str],
        body: &impl Serialize,
        idempotency_key: Option<&str>,
    ) -> Result<T, ClientError> {
        let request = self.request(Method::POST, segments).json(body).timeout(TOTAL);
        self.answer(keyed(request, idempotency_key)).await
    }

    async fn delete(&self, segments: &[&str]) -> Result<(), ClientError> {
        self.send(self.request(Method::DELETE, segments).timeout(TOTAL)).await.map(drop)
    }

    /// Sends, and reads the answer as JSON.
    async fn answer<T: DeserializeOwned>(&self, request: RequestBuilder) -> Result<T, ClientError> {
        let response = self.send(request).await?;
        let url = response.url().clone();
        let body = self.body(response).await?;
        serde_json::from_slice(&body).map_err(|error| {
            ClientError::unexpected(&url, format!("the answer is not what is expected: {error}"))
        })
    }

    /// Sends; an answer that is no success is an error.
    async fn send(&self, request: RequestBuilder) -> Result<Response, ClientError> {
        let response = request.send().await.map_err(|error| ClientError::transport(&self.base, &error))?;
        if response.status().is_success() {
            return Ok(response);
        }
        let (status, url) = (response.status(), response.url().clone());
        let body = self.body(response).await?;
        Err(ClientError::refused(&url, status, &body, self.token.is_some()))
    }

    async fn body(&self, response: Response) -> Result<Vec<u8>, ClientError> {
        let url = response.url().clone();
        let mut body = Vec::new();
        let mut chunks = response.bytes_stream();
        while let Some(chunk) = chunks.next().await {
            body.extend_from_slice(&chunk.map_err(|error| ClientError::transport(&self.base, &error))?);
            if body.len() > MAX_ANSWER_BYTES {
                return Err(ClientError::unexpected(&url, "the answer is too long".to_owned()));
            }
        }
        Ok(body)
    }

    /// A streamed answer, such as an export.
    async fn download(
        &self,
        request: RequestBuilder,
    ) -> Result<impl Stream<Item = Result<Bytes, ClientError>> + Send + use<>, ClientError> {
        let response = self.send(request).await?;
        let base = self.base.clone();
        Ok(response
            .bytes_stream()
            .map(move |chunk| chunk.map_err(|error| ClientError::transport(&base, &error))))
    }

    /// Whether the daemon is ready to work.
    ///
    /// # Errors
    /// It cannot be reached, or says that it is not ready.
    pub async fn ready(&self) -> Result<(), ClientError> {
        self.send(self.http.get(self.url(&["readyz"])).timeout(CONNECT)).await.map(drop)
    }
}

fn keyed(request: RequestBuilder, idempotency_key: Option<&str>) -> RequestBuilder {
    match idempotency_key {
        Some(key) => request.header("Idempotency-Key", key),
        None => request,
    }
}

/// A CSV body that is streamed; with its length where that is known, so that the server can show progress.
fn csv(request: RequestBuilder, body: reqwest::Body, bytes: Option<u64>) -> RequestBuilder {
    let request = request.header(header::CONTENT_TYPE, "text/csv").body(body);
    match bytes {
        Some(bytes) => request.header(header::CONTENT_LENGTH, bytes),
        None => request,
    }
}

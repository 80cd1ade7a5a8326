//! One HTTP client per account, and what a call that brought no whole answer means.
//!
//! What is posted goes over kept-alive connections of our own, which cost a third of the general client's time; that
//! client does the rest: reading lists and tokens, and all of an account that is reached through a proxy.
//!
//! Here is decided what nothing may blur: whether a byte of the request can have left. Only a failure to connect is
//! "not sent"; everything after it (reset, hang, half an answer) is unknown. Never a retry, never a redirect.

use std::{error::Error, fmt, time::Duration};

use ::http::Uri;
use bytes::{Bytes, BytesMut};
use chrono::DateTime;
use model::{
    Clock,
    disposition::{Disposition, Rule},
    verdict::{Failure, Verdict},
};
use reqwest::{
    RequestBuilder, Response,
    header::{self, HeaderMap, HeaderName, HeaderValue},
    redirect,
};
use tokio::time::Instant;

use crate::{
    AccountConfig, Timeouts, codes,
    connections::{Connections, Failed},
    http1, read,
};

/// Idle connections are closed before the vendors do it, so that no request is written into a closing one.
pub const POOL_IDLE: Duration = Duration::from_secs(20);
/// An answer about one message.
pub const SINGLE_ANSWER_BYTES: usize = 1024 * 1024;
/// An answer about a batch, or a list.
pub const BATCH_ANSWER_BYTES: usize = 4 * 1024 * 1024;
const USER_AGENT: &str = concat!("campaignd/", env!("CARGO_PKG_VERSION"));
/// Bounds of what a vendor may ask for by Retry-After.
const RETRY_AFTER_SECONDS: (u64, u64) = (1, 3600);

/// Why an account's client cannot be made.
#[derive(Debug, thiserror::Error)]
#[error("cannot make the HTTP client of account `{account}`: {reason}")]
pub struct NotConnected {
    /// The account's name.
    pub account: String,
    /// What is wrong, without secrets.
    pub reason: String,
}

/// A complete answer.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub retry_after: Option<Duration>,
    pub body: Bytes,
}

/// A call that brought no complete answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// One of `codes::ours`.
    pub code: &'static str,
    pub reason: String,
    /// No byte of the request left.
    pub not_sent: bool,
}

impl Fault {
    fn unknown(code: &'static str, reason: impl Into<String>) -> Self {
        Self { code, reason: reason.into(), not_sent: false }
    }

    /// The verdict on a message that the failed call carried.
    pub fn verdict(&self) -> Verdict {
        verdict_by_rule(self.code, &self.reason, codes::judge_ours(self.code), None)
    }
}

/// Where something is posted, with the headers that every call there bears.
#[derive(Clone)]
pub struct Endpoint {
    url: String,
    /// Scheme and host.
    origin: Uri,
    headers: HeaderMap,
    /// The first line and the headers of each request, but for its length.
    head: Vec<u8>,
}

impl fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Endpoint").field("url", &self.url).finish_non_exhaustive()
    }
}

/// The HTTP client of one account.
pub struct Http {
    client: reqwest::Client,
    /// None: everything goes through the proxy.
    connections: Option<Connections>,
    clock: Clock,
    timeouts: Timeouts,
    pub account: String,
    pub base_url: String,
}

impl fmt::Debug for Http {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The client would show its proxy, password and all.
        f.debug_struct("Http")
            .field("account", &self.account)
            .field("base_url", &self.base_url)
            .finish_non_exhaustive()
    }
}

impl Http {
    pub fn new(config: &AccountConfig, clock: Clock) -> Result<Self, NotConnected> {
        // Fails when a provider is installed already, which is what is wanted.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let refused = |reason: &str| NotConnected { account: config.name.clone(), reason: reason.to_owned() };
        let mut builder = reqwest::Client::builder()
            .retry(reqwest::retry::never())
            .redirect(redirect::Policy::none())
            .http1_only()
            .no_proxy()
            .connect_timeout(config.timeouts.connect)
            .timeout(config.timeouts.total)
            .pool_idle_timeout(POOL_IDLE)
            .pool_max_idle_per_host(config.max_in_flight)
            .tcp_nodelay(true)
            .user_agent(USER_AGENT);
        if let Some(proxy) = &config.proxy {
            let proxy = reqwest::Proxy::all(proxy.expose())
                .map_err(|_| refused("`proxy` is not a URL such as http://127.0.0.1:3128"))?;
            builder = builder.proxy(proxy);
        }
        let client = builder.build().map_err(|error| refused(&innermost(&error)))?;
        let connections = match &config.proxy {
            Some(_) => None,
            None => Some(
                Connections::new(config.timeouts.connect, config.max_in_flight)
                    .map_err(|error| refused(&read::brief(&error.to_string())))?,
            ),
        };
        let (account, base_url) = (config.name.clone(), config.base_url.clone());
        Ok(Self { client, connections, clock, timeouts: config.timeouts, account, base_url })
    }

    /// Where JSON is posted to, with the headers that every call there bears.
    pub fn endpoint(&self, url: &str, mut headers: HeaderMap) -> Result<Endpoint, NotConnected> {
        let refused = || NotConnected {
            account: self.account.clone(),
            reason: "`base_url` is not a URL such as https://api.example.com".to_owned(),
        };
        let uri: Uri = url.parse().map_err(|_| refused())?;
        let authority = uri.authority().ok_or_else(refused)?;
        let path = uri.path_and_query().ok_or_else(refused)?;
        let host = HeaderValue::from_str(authority.as_str()).map_err(|_| refused())?;
        headers.insert(header::HOST, host);
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        headers.insert(header::ACCEPT, HeaderValue::from_static("*/*"));
        headers.insert(header::USER_AGENT, HeaderValue::from_static(USER_AGENT));
        let mut head = format!("POST {path} HTTP/1.1\r\n").into_bytes();
        for (name, value) in &headers {
            put_header(&mut head, name.as_str(), value.as_bytes());
        }
        Ok(Endpoint { url: url.to_owned(), origin: uri, headers, head })
    }

    /// Posts once, and reads at most `limit_bytes` of the answer, until `deadline`. `secret` is a header of this call.
    pub async fn post(
        &self,
        endpoint: &Endpoint,
        secret: Option<(&'static str, &str)>,
        body: Bytes,
        limit_bytes: usize,
        deadline: Instant,
    ) -> Result<Answer, Fault> {
        let secret = match secret.map(|(name, value)| (name, HeaderValue::from_str(value))) {
            Some((name, Ok(value))) => Some((name, value)),
            Some((name, Err(_))) => {
                let reason = format!("`{name}` holds characters that fit in no HTTP header");
                return Err(Fault { code: codes::CONNECT_FAILED, reason, not_sent: true });
            }
            None => None,
        };
        let Some(connections) = &self.connections else {
            let mut headers = endpoint.headers.clone();
            headers.remove(header::HOST);
            if let Some((name, mut value)) = secret {
                value.set_sensitive(true);
                headers.insert(HeaderName::from_static(name), value);
            }
            let request = self.client.post(&endpoint.url).headers(headers).body(body);
            // Boxed: every call would be as large as this rare one.
            return Box::pin(self.call(request, limit_bytes, deadline)).await;
        };
        let request = written(endpoint, secret.as_ref().map(|(name, value)| (*name, value)), &body);
        let answer = connections.exchange(&endpoint.origin, &request, limit_bytes, deadline).await;
        let answer = answer.map_err(|failed| fault_of(failed, limit_bytes))?;
        let retry_after = answer.retry_after.as_deref().and_then(|text| self.seconds(text));
        Ok(Answer { status: answer.status, retry_after, body: answer.body })
    }

    pub fn get(&self, url: &str) -> RequestBuilder {
        self.client.get(url)
    }

    pub fn clock(&self) -> &Clock {
        &self.clock
    }

    /// When a call that starts now must be over.
    pub fn deadline(&self) -> Instant {
        Instant::now() + self.timeouts.total
    }

    /// Whether so much of a call's time is left that its answer may still come.
    ///
    /// A call that is begun too late ends as unknown; one that is not begun can simply be tried again.
    pub fn is_worth_beginning(&self, deadline: Instant) -> bool {
        const LEAST_SHARE: u32 = 4;
        deadline.saturating_duration_since(Instant::now()) >= self.timeouts.total / LEAST_SHARE
    }

    /// Why a header value cannot be sent; the value is a secret and is not repeated.
    pub fn unfit_header(&self, key: &str) -> NotConnected {
        let reason = format!("`{key}` holds characters that fit in no HTTP header");
        NotConnected { account: self.account.clone(), reason }
    }

    /// Calls once, and reads at most `limit_bytes` of the answer, until `deadline`.
    pub async fn call(
        &self,
        request: RequestBuilder,
        limit_bytes: usize,
        deadline: Instant,
    ) -> Result<Answer, Fault> {
        let left = deadline.saturating_duration_since(Instant::now());
        let response = request.timeout(left).send().await.map_err(|error| fault(&error))?;
        let status = response.status().as_u16();
        let retry_after = self.retry_after(response.headers());
        let body = read_body(response, limit_bytes).await?;
        Ok(Answer { status, retry_after, body })
    }

    fn retry_after(&self, headers: &HeaderMap) -> Option<Duration> {
        self.seconds(headers.get(header::RETRY_AFTER)?.to_str().ok()?.trim())
    }

    /// What Retry-After asks for, within bounds.
    fn seconds(&self, text: &str) -> Option<Duration> {
        let seconds = match text.parse::<f64>() {
            Ok(seconds) if seconds.is_finite() && seconds >= 0.0 => seconds.ceil() as u64,
            Ok(_) => return None,
            Err(_) => {
                let at = DateTime::parse_from_rfc2822(text).ok()?;
                let left = at.to_utc() - self.clock.now();
                u64::try_from(left.num_seconds()).unwrap_or(0)
            }
        };
        let (least, most) = RETRY_AFTER_SECONDS;
        Some(Duration::from_secs(seconds.clamp(least, most)))
    }
}

async fn read_body(mut response: Response, limit_bytes: usize) -> Result<Bytes, Fault> {
    let too_large = || too_large(limit_bytes);
    if response.content_length().is_some_and(|length| length > limit_bytes as u64) {
        return Err(too_large());
    }
    let mut body = BytesMut::new();
    while let Some(chunk) = response.chunk().await.map_err(|error| fault(&error))? {
        if body.len() + chunk.len() > limit_bytes {
            return Err(too_large());
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body.freeze())
}

fn too_large(limit_bytes: usize) -> Fault {
    Fault::unknown(codes::ANSWER_TOO_LARGE, format!("more than {limit_bytes} bytes"))
}

/// Whether the request can have left: only where no connection stood it cannot.
fn fault_of(failed: Failed, limit_bytes: usize) -> Fault {
    match failed {
        Failed::Connecting(cause) => {
            let code = if is_tls(&*cause) { codes::TLS_FAILED } else { codes::CONNECT_FAILED };
            Fault { code, reason: root(&*cause), not_sent: true }
        }
        Failed::Late => Fault::unknown(codes::NO_ANSWER, "no whole answer in time"),
        Failed::Exchanging(http1::Broken::TooLarge) => too_large(limit_bytes),
        Failed::Exchanging(broken) => Fault::unknown(codes::CONNECTION_LOST, root(&broken)),
    }
}

/// A request as it goes over the wire.
fn written(endpoint: &Endpoint, secret: Option<(&str, &HeaderValue)>, body: &[u8]) -> Vec<u8> {
    const MORE: usize = 512;
    let mut request = Vec::with_capacity(endpoint.head.len() + body.len() + MORE);
    request.extend_from_slice(&endpoint.head);
    if let Some((name, value)) = secret {
        put_header(&mut request, name, value.as_bytes());
    }
    put_header(&mut request, "content-length", body.len().to_string().as_bytes());
    request.extend_from_slice(b"\r\n");
    request.extend_from_slice(body);
    request
}

/// A header's value has no line break: its type says so.
fn put_header(request: &mut Vec<u8>, name: &str, value: &[u8]) {
    request.extend_from_slice(name.as_bytes());
    request.extend_from_slice(b": ");
    request.extend_from_slice(value);
    request.extend_from_slice(b"\r\n");
}

/// The root cause in words.
fn root(error: &(dyn Error + 'static)) -> String {
    match error.source() {
        Some(cause) => root(cause),
        None => read::brief(&error.to_string()),
    }
}

/// Whether the request can have left, by the kind of error and never by its text.
///
/// A connect timeout is both `is_connect` and `is_timeout`, so the order matters.
fn fault(error: &reqwest::Error) -> Fault {
    let reason = innermost(error);
    if error.is_builder() {
        return Fault { code: codes::CONNECT_FAILED, reason, not_sent: true };
    }
    if error.is_connect() {
        let code = if is_tls(error) { codes::TLS_FAILED } else { codes::CONNECT_FAILED };
        return Fault { code, reason, not_sent: true };
    }
    if error.is_timeout() {
        return Fault::unknown(codes::NO_ANSWER, "no whole answer in time");
    }
    if error.is_decode() && !has_io_cause(error) {
        return Fault::unknown(codes::UNREADABLE_ANSWER, reason);
    }
    Fault::unknown(codes::CONNECTION_LOST, reason)
}

fn causes(error: &reqwest::Error) -> impl Iterator<Item = &(dyn Error + 'static)> {
    fn next<'a>(cause: &&'a (dyn Error + 'static)) -> Option<&'a (dyn Error + 'static)> {
        let cause: &'a (dyn Error + 'static) = *cause;
        cause.source()
    }
    std::iter::successors(error.source(), next)
}

/// Layers of I/O errors hide their cause from `source`, so each is opened.
fn is_tls(error: &(dyn Error + 'static)) -> bool {
    let opened = error.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref);
    error.is::<rustls::Error>()
        || opened.is_some_and(|inner| is_tls(inner))
        || error.source().is_some_and(is_tls)
}

fn has_io_cause(error: &reqwest::Error) -> bool {
    causes(error).any(<dyn Error>::is::<std::io::Error>)
}

/// The root cause in words. The outer layers name the URL, which may hold a signature.
fn innermost(error: &reqwest::Error) -> String {
    causes(error)
        .last()
        .map_or_else(|| "the request cannot be made".to_owned(), |cause| read::brief(&cause.to_string()))
}

/// The verdict on a message whose outcome one of our own codes names.
pub fn verdict_of_ours(code: &'static str, reason: &str) -> Verdict {
    verdict_by_rule(code, reason, codes::judge_ours(code), None)
}

/// What an HTTP status means that no vendor documents, by what HTTP itself says about it.
pub enum Undocumented {
    /// It was not processed, and no other message fares better: the address or the account is wrong.
    NotHere,
    /// It was not processed: this request is refused.
    Refused,
    /// Nobody can say.
    Unclear,
}

/// Sorts a status that stands in none of the vendor's documents.
///
/// 303 says that the call was processed and 302 leaves it open, while 301, 307 and 308 ask to send it elsewhere; 408
/// may come from a proxy that has passed the call on.
pub fn undocumented(status: u16) -> Undocumented {
    match status {
        301 | 307 | 308 | 401..=407 | 410 | 421 | 426 | 451 => Undocumented::NotHere,
        408 | 499 => Undocumented::Unclear,
        400..=499 => Undocumented::Refused,
        _ => Undocumented::Unclear,
    }
}

/// The verdict that a code's rule asks for.
pub fn verdict_by_rule(code: &str, reason: &str, rule: Rule, retry_after: Option<Duration>) -> Verdict {
    let failure = Failure { code: code.to_owned(), reason: read::brief(reason), rule, retry_after };
    match rule.disposition {
        Disposition::Unknown => Verdict::Unknown(failure),
        _ => Verdict::Refused(failure),
    }
}

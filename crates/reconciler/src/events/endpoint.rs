//! The way to one webhook: a signed request to an address that was looked at, and what came of it.
//!
//! A name is resolved here, and the connection goes to an address that passed: a name that means another address a moment
//! later leads nowhere. No redirect is followed and no proxy of the environment is used, which would both go round that.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use chrono::{DateTime, Utc};
use reqwest::{
    StatusCode, Url,
    dns::{Addrs, Name, Resolve, Resolving},
    redirect,
};
use tokio::sync::Semaphore;

use super::{
    addresses::is_public,
    webhook::{Webhook, is_public_host},
};

/// From the beginning of a request until its answer has been read.
const TIMEOUT: Duration = Duration::from_secs(15);
/// Until a connection stands.
const CONNECT: Duration = Duration::from_secs(5);
/// An unused connection is kept this long.
const POOL_IDLE: Duration = Duration::from_secs(30);
/// Of an answer, no more is read. It is ignored; reading it lets the connection be used again.
const LIMIT_ANSWER_BYTES: usize = 64 * 1024;
/// Characters of an error that are kept.
const LIMIT_ERROR: usize = 200;
/// Who calls.
const USER_AGENT: &str = concat!("campaignd/", env!("CARGO_PKG_VERSION"));
/// Said where a name leads into our own networks.
const NOT_PUBLIC: &str =
    "the URL leads to an address that is not of the public network (see allow_private_urls)";

/// A webhook and the way to it.
pub struct Endpoint {
    /// The webhook.
    pub webhook: Webhook,
    client: reqwest::Client,
    url: Url,
    /// Requests at once.
    pub(crate) in_flight: Arc<Semaphore>,
}

impl std::fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Endpoint").field("webhook", &self.webhook).finish_non_exhaustive()
    }
}

/// A webhook that cannot be called.
#[derive(Debug, thiserror::Error)]
#[error("the event webhook `{0}` cannot be called: its HTTP client could not be made")]
pub struct NotMade(String);

/// What came of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tried {
    /// The HTTP status, where there was one.
    pub status: Option<u16>,
    /// What went wrong; none: it was taken.
    pub error: Option<String>,
}

impl Tried {
    /// The webhook took it.
    #[must_use]
    pub fn is_delivered(&self) -> bool {
        self.error.is_none()
    }

    /// The webhook wants nothing more of it.
    #[must_use]
    pub fn is_gone(&self) -> bool {
        self.status == Some(StatusCode::GONE.as_u16())
    }

    fn failed(error: impl Into<String>) -> Self {
        let error: String = error.into();
        Self { status: None, error: Some(error.chars().take(LIMIT_ERROR).collect()) }
    }

    fn answered(status: StatusCode) -> Self {
        let error = (!status.is_success()).then(|| format!("it answered {status}"));
        Self { status: Some(status.as_u16()), error }
    }
}

impl Endpoint {
    /// The way to `webhook`.
    ///
    /// # Errors
    /// The HTTP client cannot be made.
    pub fn new(webhook: Webhook) -> Result<Self, NotMade> {
        // Fails when a provider is installed already, which is what is wanted.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let not_made = || NotMade(webhook.name.clone());
        let resolver = Resolver { allow_private: webhook.allow_private_urls };
        let client = reqwest::Client::builder()
            .retry(reqwest::retry::never())
            .redirect(redirect::Policy::none())
            .no_proxy()
            .http1_only()
            .dns_resolver(Arc::new(resolver))
            .connect_timeout(CONNECT)
            .timeout(TIMEOUT)
            .pool_idle_timeout(POOL_IDLE)
            .pool_max_idle_per_host(webhook.max_in_flight)
            .user_agent(USER_AGENT)
            .build()
            .map_err(|_| not_made())?;
        let url = Url::parse(webhook.url()).map_err(|_| not_made())?;
        let in_flight = Arc::new(Semaphore::new(webhook.max_in_flight));
        Ok(Self { webhook, client, url, in_flight })
    }

    /// Posts a body once, signed at `now`. It never fails: whatever comes is an outcome.
    pub async fn post(&self, id: &str, body: Vec<u8>, now: DateTime<Utc>) -> Tried {
        if !self.webhook.allow_private_urls && !is_public_host(&self.url) {
            return Tried::failed(NOT_PUBLIC);
        }
        let timestamp = now.timestamp();
        let sent = self
            .client
            .post(self.url.clone())
            .header("content-type", "application/json")
            .header("webhook-id", id)
            .header("webhook-timestamp", timestamp.to_string())
            .header("webhook-signature", self.webhook.key.sign(id, timestamp, &body))
            .body(body)
            .send()
            .await;
        match sent {
            Ok(mut response) => {
                let status = response.status();
                let mut read = 0;
                while let Ok(Some(chunk)) = response.chunk().await {
                    read += chunk.len();
                    if read > LIMIT_ANSWER_BYTES {
                        break;
                    }
                }
                Tried::answered(status)
            }
            Err(error) => Tried::failed(reason(&error)),
        }
    }
}

/// Why there was no answer, without the URL: its query may be a secret.
fn reason(error: &reqwest::Error) -> String {
    if error.is_timeout() {
        return format!("no answer within {} s", TIMEOUT.as_secs());
    }
    let mut innermost: &dyn std::error::Error = error;
    while let Some(source) = innermost.source() {
        innermost = source;
    }
    let attempted = if error.is_connect() { "no connection" } else { "no answer" };
    let is_outermost = innermost.is::<reqwest::Error>();
    if is_outermost { attempted.to_owned() } else { format!("{attempted}: {innermost}") }
}

/// Resolves names to addresses that may be called.
struct Resolver {
    allow_private: bool,
}

impl Resolve for Resolver {
    fn resolve(&self, name: Name) -> Resolving {
        let allow_private = self.allow_private;
        Box::pin(async move {
            // The port is put in from the URL.
            let found: Vec<SocketAddr> = tokio::net::lookup_host((name.as_str(), 0)).await?.collect();
            // All of them, or none: an answer that mixes in an address of ours is meant to be tried until that one is met.
            if !allow_private && found.iter().any(|address| !is_public(address.ip())) {
                return Err(NOT_PUBLIC.into());
            }
            let addresses: Addrs = Box::new(found.into_iter());
            Ok(addresses)
        })
    }
}

#[cfg(test)]
mod tests {
    use tokio::{
        io::{AsyncReadExt as _, AsyncWriteExt as _},
        net::TcpListener,
    };
    use vendors::secret::Secret;

    use super::*;
    use crate::events::{signature::SigningKey, webhook::WebhookSettings};

    const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

    fn endpoint(url: String, allow_private_urls: bool) -> Endpoint {
        let webhook = Webhook::try_from(WebhookSettings {
            name: "crm".to_owned(),
            url: Secret::new(url),
            secret: Secret::new(SECRET),
            events: None,
            allow_private_urls,
            max_batch_events: None,
            max_in_flight: None,
        });
        Endpoint::new(webhook.unwrap()).unwrap()
    }

    fn now() -> DateTime<Utc> {
        DateTime::from_timestamp(1_795_000_000, 0).unwrap()
    }

    /// Answers one connection with `answer`; what it was sent.
    async fn answer_once(listener: TcpListener, answer: &'static str) -> String {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut got = Vec::new();
        while !got.ends_with(b"{\"a\":1}") {
            let mut piece = [0; 4096];
            let n = stream.read(&mut piece).await.unwrap();
            got.extend_from_slice(&piece[..n]);
        }
        stream.write_all(answer.as_bytes()).await.unwrap();
        String::from_utf8(got).unwrap()
    }

    async fn tried(answer: &'static str) -> (Tried, String) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/hook?key=hush", listener.local_addr().unwrap());
        let endpoint = endpoint(url, true);
        let body = b"{\"a\":1}".to_vec();
        tokio::join!(endpoint.post("msg_1", body, now()), answer_once(listener, answer))
    }

    #[tokio::test]
    async fn a_request_bears_its_id_its_time_and_its_signature() {
        let (tried, got) = tried("HTTP/1.1 204 No Content\r\n\r\n").await;
        assert_eq!(tried, Tried { status: Some(204), error: None });
        assert!(got.starts_with("POST /hook?key=hush HTTP/1.1\r\n"), "{got}");
        let signature = key_of_tests().sign("msg_1", 1_795_000_000, b"{\"a\":1}");
        for header in [
            "webhook-id: msg_1".to_owned(),
            "webhook-timestamp: 1795000000".to_owned(),
            format!("webhook-signature: {signature}"),
            "content-type: application/json".to_owned(),
        ] {
            assert!(got.contains(&header), "{header} is not in {got}");
        }
    }

    fn key_of_tests() -> SigningKey {
        SigningKey::parse(&Secret::new(SECRET)).unwrap()
    }

    #[tokio::test]
    async fn a_redirect_is_not_followed_and_gone_is_known() {
        let (moved, _) =
            tried("HTTP/1.1 302 Found\r\nlocation: http://127.0.0.1:1/\r\ncontent-length: 0\r\n\r\n").await;
        assert_eq!((moved.status, moved.is_delivered()), (Some(302), false));
        let (gone, _) = tried("HTTP/1.1 410 Gone\r\ncontent-length: 0\r\n\r\n").await;
        assert!(gone.is_gone() && !gone.is_delivered());
    }

    #[tokio::test]
    async fn a_name_that_leads_to_this_machine_is_not_called() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let endpoint = endpoint(format!("https://localhost:{port}/hook?key=hush"), false);
        let tried = endpoint.post("msg_1", b"{}".to_vec(), now()).await;
        let error = tried.error.unwrap();
        assert!(error.contains("not of the public network") && !error.contains("hush"), "{error}");
        let called = tokio::time::timeout(Duration::from_millis(50), listener.accept()).await;
        assert!(called.is_err(), "the address was called");
    }
}

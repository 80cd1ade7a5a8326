//! Kept-alive connections to one vendor, for the calls that send.
//!
//! A call drives its own connection, so that no second task is woken for it. One connection carries one call at a time,
//! and a call that ends early takes its connection with it. Nothing is ever written twice: only a request that hyper
//! hands back unwritten, because the vendor closed an idle connection, goes to another one.

use std::{
    future::{Future, poll_fn},
    pin::Pin,
    sync::{Mutex, PoisonError},
    task::Poll,
    time::Duration,
};

use bytes::{Bytes, BytesMut};
use http_body_util::Full;
use hyper::{
    Request, Response, Uri,
    body::{Body as _, Incoming},
    client::conn::http1::{self, SendRequest},
};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder, MaybeHttpsStream};
use hyper_util::{client::legacy::connect::HttpConnector, rt::TokioIo};
use tokio::{net::TcpStream, time::Instant};
use tower_service::Service as _;

use crate::http::POOL_IDLE;

type Stream = MaybeHttpsStream<TokioIo<TcpStream>>;
type Driver = http1::Connection<Stream, Full<Bytes>>;
type Cause = Box<dyn std::error::Error + Send + Sync>;

/// Read at once at the most; answers are small.
const READ_BUFFER_BYTES: usize = 16 * 1024;

/// Why an exchange brought no whole answer.
pub enum Broken {
    /// No connection stands: no byte of the request left.
    Connecting(Cause),
    /// It failed when the request may have left.
    Exchanging(hyper::Error),
    /// The answer is larger than the caller wants.
    TooLarge,
}

/// The connections to one vendor.
pub struct Connections {
    connector: HttpsConnector<HttpConnector>,
    connect_timeout: Duration,
    idle: Mutex<Vec<Connection>>,
    most_idle: usize,
}

struct Connection {
    sender: SendRequest<Full<Bytes>>,
    driver: Option<Pin<Box<Driver>>>,
    idle_since: Instant,
}

impl Connections {
    /// Keeps up to `most_idle` of them open between calls.
    ///
    /// # Errors
    /// The system's certificates cannot be used.
    pub fn new(connect_timeout: Duration, most_idle: usize) -> std::io::Result<Self> {
        let mut tcp = HttpConnector::new();
        tcp.enforce_http(false);
        tcp.set_nodelay(true);
        let connector = HttpsConnectorBuilder::new()
            .with_provider_and_platform_verifier(rustls::crypto::ring::default_provider())?
            .https_or_http()
            .enable_http1()
            .wrap_connector(tcp);
        Ok(Self { connector, connect_timeout, idle: Mutex::default(), most_idle })
    }

    /// Sends the request to `origin` once and reads at most `limit_bytes` of the answer.
    pub async fn exchange(
        &self,
        origin: &Uri,
        mut request: Request<Full<Bytes>>,
        limit_bytes: usize,
    ) -> Result<(Response<()>, Bytes), Broken> {
        while let Some(mut connection) = self.take() {
            match connection.exchange(request, limit_bytes).await {
                Ok(answer) => {
                    self.put(connection);
                    return Ok(answer);
                }
                Err((broken, None)) => return Err(broken),
                Err((_, Some(unwritten))) => request = unwritten,
            }
        }
        let mut connection = self.connect(origin).await.map_err(Broken::Connecting)?;
        // On a new connection a request that comes back is not worth a closer look: it counts as lost.
        let answer = connection.exchange(request, limit_bytes).await.map_err(|(broken, _)| broken)?;
        self.put(connection);
        Ok(answer)
    }

    async fn connect(&self, origin: &Uri) -> Result<Connection, Cause> {
        let mut connector = self.connector.clone();
        let connecting = async {
            poll_fn(|cx| connector.poll_ready(cx)).await?;
            connector.call(origin.clone()).await
        };
        let stream = tokio::time::timeout(self.connect_timeout, connecting).await??;
        let mut builder = http1::Builder::new();
        let (sender, driver) = builder.read_buf_exact_size(Some(READ_BUFFER_BYTES)).handshake(stream).await?;
        Ok(Connection { sender, driver: Some(Box::pin(driver)), idle_since: Instant::now() })
    }

    /// The one used last: the others may grow old and be closed.
    fn take(&self) -> Option<Connection> {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        let youngest = idle.pop()?;
        if youngest.idle_since.elapsed() < POOL_IDLE {
            return Some(youngest);
        }
        idle.clear();
        None
    }

    fn put(&self, mut connection: Connection) {
        if connection.sender.is_closed() || connection.driver.is_none() {
            return;
        }
        connection.idle_since = Instant::now();
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        if idle.len() < self.most_idle {
            idle.push(connection);
        }
    }
}

impl Connection {
    /// On failure the request too, when not a byte of it was written.
    async fn exchange(
        &mut self,
        request: Request<Full<Bytes>>,
        limit_bytes: usize,
    ) -> Result<(Response<()>, Bytes), (Broken, Option<Request<Full<Bytes>>>)> {
        let Self { sender, driver, .. } = self;
        if let Err(error) = drive(driver, sender.ready()).await {
            return Err((Broken::Exchanging(error), Some(request)));
        }
        let sending = sender.try_send_request(request);
        let response = drive(driver, sending).await.map_err(|mut failed| {
            let unwritten = failed.take_message();
            (Broken::Exchanging(failed.into_error()), unwritten)
        })?;
        let (head, body) = response.into_parts();
        let body = drive(driver, read(body, limit_bytes)).await.map_err(|broken| (broken, None))?;
        Ok((Response::from_parts(head, ()), body))
    }
}

/// Lets `work` and the connection that it waits for go on in turn, in one task.
async fn drive<T>(driver: &mut Option<Pin<Box<Driver>>>, work: impl Future<Output = T>) -> T {
    let mut work = std::pin::pin!(work);
    poll_fn(|cx| {
        if let Poll::Ready(done) = work.as_mut().poll(cx) {
            return Poll::Ready(done);
        }
        let Some(connection) = driver.as_mut() else { return Poll::Pending };
        if connection.as_mut().poll(cx).is_ready() {
            *driver = None;
        }
        work.as_mut().poll(cx)
    })
    .await
}

async fn read(mut body: Incoming, limit_bytes: usize) -> Result<Bytes, Broken> {
    if body.size_hint().lower() > limit_bytes as u64 {
        return Err(Broken::TooLarge);
    }
    // Most answers are one frame, which is not copied.
    let mut first: Option<Bytes> = None;
    let mut rest = BytesMut::new();
    while let Some(frame) = poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)).await {
        let Ok(data) = frame.map_err(Broken::Exchanging)?.into_data() else { continue };
        if first.as_ref().map_or(0, Bytes::len) + rest.len() + data.len() > limit_bytes {
            return Err(Broken::TooLarge);
        }
        match &first {
            None => first = Some(data),
            Some(_) => rest.extend_from_slice(&data),
        }
    }
    let first = first.unwrap_or_default();
    Ok(if rest.is_empty() { first } else { [first, rest.freeze()].concat().into() })
}

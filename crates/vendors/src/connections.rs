//! Kept-alive connections to one vendor, for the calls that send.
//!
//! One connection carries one call at a time, and a call that ends early takes its connection with it. Nothing is ever
//! written twice: an idle connection that the vendor has closed is seen before a byte is written to it.

use std::{
    future::poll_fn,
    pin::{Pin, pin},
    sync::{Mutex, PoisonError},
    task::Poll,
    time::Duration,
};

use ::http::Uri;
use bytes::BytesMut;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder, MaybeHttpsStream};
use hyper_util::{client::legacy::connect::HttpConnector, rt::TokioIo};
use tokio::{
    io::{AsyncRead as _, ReadBuf},
    net::TcpStream,
    time::{Instant, Sleep},
};
use tower_service::Service as _;

use crate::{
    http::POOL_IDLE,
    http1::{self, Answer},
};

type Stream = TokioIo<MaybeHttpsStream<TokioIo<TcpStream>>>;
type Cause = Box<dyn std::error::Error + Send + Sync>;

/// When the time is over, what has come by then is still read. A process that stood still finds the time over before it
/// finds the answer, which tells what became of the call.
const GRACE: Duration = Duration::from_millis(50);

/// Why an exchange brought no whole answer.
pub enum Failed {
    /// No connection stands: no byte of the request left.
    Connecting(Cause),
    /// The request left, and no whole answer came in time.
    Late,
    /// The request may have left.
    Exchanging(http1::Broken),
}

/// The connections to one vendor.
pub struct Connections {
    connector: HttpsConnector<HttpConnector>,
    connect_timeout: Duration,
    #[expect(
        clippy::vec_box,
        reason = "each call takes one out and moves it about with itself, with room for TLS"
    )]
    idle: Mutex<Vec<Box<Connection>>>,
    most_idle: usize,
}

struct Connection {
    stream: Stream,
    unread: BytesMut,
    idle_since: Instant,
    /// The end of the time for its call. Kept from call to call: to put off a timer costs less than to set and remove one.
    alarm: Pin<Box<Sleep>>,
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

    /// Writes the request to `origin` once and reads at most `limit_bytes` of the answer's body, all until `deadline`.
    ///
    /// Time that runs out while there is no connection yet is a failure to connect: nothing was sent.
    pub async fn exchange(
        &self,
        origin: &Uri,
        request: &[u8],
        limit_bytes: usize,
        deadline: Instant,
    ) -> Result<Answer, Failed> {
        let mut connection = loop {
            let Some(mut idle) = self.take() else {
                break Box::pin(self.connect(origin, deadline)).await.map_err(Failed::Connecting)?;
            };
            if idle.is_quiet().await {
                break idle;
            }
        };
        // A process that stood still meanwhile must not begin what others have given up.
        if Instant::now() >= deadline {
            return Err(Failed::Connecting("the time for the call was over before it began".into()));
        }
        let Connection { stream, unread, alarm, .. } = &mut *connection;
        alarm.as_mut().reset(deadline);
        let answer = {
            let mut exchange = pin!(http1::exchange(stream, request, unread, limit_bytes));
            tokio::select! {
                biased;
                in_time = &mut exchange => Ok(in_time),
                () = alarm => tokio::time::timeout(GRACE, exchange).await,
            }
        };
        let answer = answer.map_err(|_| Failed::Late)?.map_err(Failed::Exchanging)?;
        if answer.is_reusable {
            self.put(connection);
        }
        Ok(answer)
    }

    async fn connect(&self, origin: &Uri, deadline: Instant) -> Result<Box<Connection>, Cause> {
        let mut connector = self.connector.clone();
        let connecting = async {
            poll_fn(|cx| connector.poll_ready(cx)).await?;
            connector.call(origin.clone()).await
        };
        let stream = tokio::time::timeout_at(deadline.min(Instant::now() + self.connect_timeout), connecting)
            .await??;
        Ok(Box::new(Connection {
            stream: TokioIo::new(stream),
            unread: BytesMut::new(),
            idle_since: Instant::now(),
            alarm: Box::pin(tokio::time::sleep_until(deadline)),
        }))
    }

    /// The one used last: the others may grow old and be closed.
    fn take(&self) -> Option<Box<Connection>> {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        let youngest = idle.pop()?;
        if youngest.idle_since.elapsed() < POOL_IDLE {
            return Some(youngest);
        }
        idle.clear();
        None
    }

    fn put(&self, mut connection: Box<Connection>) {
        connection.idle_since = Instant::now();
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        if idle.len() < self.most_idle {
            idle.push(connection);
        }
    }
}

impl Connection {
    /// Whether the vendor has neither closed it nor said anything unasked.
    async fn is_quiet(&mut self) -> bool {
        let mut byte = [0; 1];
        poll_fn(|cx| {
            let read = Pin::new(&mut self.stream).poll_read(cx, &mut ReadBuf::new(&mut byte));
            Poll::Ready(read.is_pending())
        })
        .await
    }
}

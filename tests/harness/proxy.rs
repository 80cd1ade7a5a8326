//! A TCP proxy on 127.0.0.1 that misbehaves as told, in front of a vendor or of PostgreSQL.
//!
//! It runs in a thread of its own, so that a test that blocks does not stop it. It knows no protocol: a request is what a
//! client writes, and its answer begins with the first byte that comes back. Dropping it closes every connection.

use std::{
    io,
    net::{Ipv4Addr, SocketAddr},
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::Relaxed},
    },
    thread::JoinHandle,
    time::Duration,
};

use store::testing::TestDatabase;
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _},
    net::{TcpListener, TcpSocket, TcpStream, UnixStream},
    sync::{mpsc, watch},
    time::timeout,
};

use super::daemon::free_port;

/// A client that has written nothing for so long has written its request.
const QUIET: Duration = Duration::from_millis(100);
/// A connection that is not taken within this time finds the queue full.
const FULL: Duration = Duration::from_millis(200);
const BUFFER_BYTES: usize = 64 * 1024;

/// How the proxy behaves. A change holds for open connections too, from the next byte on.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Way {
    /// Hands on everything in both directions.
    Forward,
    /// Nobody listens; open connections are reset.
    Refuse,
    /// A queue that is full and never gets shorter: connecting takes for ever. Open connections are reset.
    FullBacklog,
    /// Takes connections and what is written, hands on nothing and never answers.
    BlackHole,
    /// Resets a connection before a byte of it is read.
    ResetBeforeReading,
    /// Reads the request, hands on nothing, resets.
    ResetAfterReading,
    /// Hands on the request, waits for the answer's first byte, and resets.
    ResetInsteadOfAnswer,
    /// Hands on the request, keeps the answer for itself, and stays silent.
    HangInsteadOfAnswer,
    /// Hands on the request and half of the answer's first piece, then closes.
    HalfAnswer,
    /// Hands on the request, and the answer a byte at a time, with this pause after each.
    Drip(Duration),
    /// Half-open: what comes from either side, a close too, stays unread and is handed on after the thaw.
    Freeze,
}

impl Way {
    fn has_listener(self) -> bool {
        !matches!(self, Self::Refuse | Self::FullBacklog)
    }
}

/// Where the proxy leads.
#[derive(Clone, Debug)]
enum Target {
    Tcp(SocketAddr),
    Unix(PathBuf),
}

/// What holds for all connections now.
#[derive(Clone, Copy, Debug)]
struct Order {
    way: Way,
    /// Raised to reset whatever is open.
    cuts: u64,
}

#[derive(Debug, Default)]
struct Counters {
    accepted: AtomicUsize,
    open: AtomicUsize,
    heard_bytes: AtomicU64,
}

/// A new order, and where to say that it holds.
type Command = (Order, std::sync::mpsc::Sender<()>);

/// The proxy while it lives.
#[derive(Debug)]
pub struct Proxy {
    port: u16,
    order: std::sync::Mutex<Order>,
    commands: Option<mpsc::UnboundedSender<Command>>,
    counters: Arc<Counters>,
    thread: Option<JoinHandle<()>>,
}

impl Proxy {
    /// In front of a vendor's stand-in, by its URL: `http://127.0.0.1:1234`.
    pub fn to_url(url: &str) -> Self {
        let address = url.trim_start_matches("http://").trim_end_matches('/');
        Self::to_address(address.parse().unwrap_or_else(|error| panic!("{url}: {error}")))
    }

    /// In front of a TCP address.
    pub fn to_address(address: SocketAddr) -> Self {
        Self::start(Target::Tcp(address))
    }

    /// In front of the tests' PostgreSQL, which listens at a Unix socket.
    pub fn to_database(database: &TestDatabase) -> Self {
        let options = database.connect_options();
        match options.get_socket() {
            Some(folder) => Self::to_socket(folder.join(format!(".s.PGSQL.{}", options.get_port()))),
            None => {
                Self::to_address(format!("{}:{}", options.get_host(), options.get_port()).parse().unwrap())
            }
        }
    }

    /// In front of a Unix socket.
    pub fn to_socket(path: PathBuf) -> Self {
        Self::start(Target::Unix(path))
    }

    fn start(target: Target) -> Self {
        let order = Order { way: Way::Forward, cuts: 0 };
        let (commands, queue) = mpsc::unbounded_channel();
        let counters = Arc::new(Counters::default());
        let (port, counted) = (free_port(), Arc::clone(&counters));
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(run(port, target, queue, order, counted));
        });
        let proxy = Self {
            port,
            order: std::sync::Mutex::new(order),
            commands: Some(commands),
            counters,
            thread: Some(thread),
        };
        // Returns when it listens.
        proxy.set(Way::Forward);
        proxy
    }

    /// Its URL, in place of a vendor's.
    pub fn url(&self) -> String {
        format!("http://{}", self.address())
    }

    /// Where it listens, also while nobody is let in.
    pub fn address(&self) -> SocketAddr {
        (Ipv4Addr::LOCALHOST, self.port).into()
    }

    /// A URL of this database that leads through the proxy.
    pub fn database_url(&self, database: &TestDatabase) -> String {
        let user = database.connect_options().get_username().to_owned();
        format!("postgres://{user}@{}/{}?sslmode=disable", self.address(), database.name())
    }

    /// Changes its behaviour, which holds when this returns.
    pub fn set(&self, way: Way) {
        self.change(|order| order.way = way);
    }

    /// Resets every open connection; new ones are treated as before.
    pub fn cut_all(&self) {
        self.change(|order| order.cuts += 1);
    }

    /// Connections taken so far.
    pub fn accepted(&self) -> usize {
        self.counters.accepted.load(Relaxed)
    }

    /// Connections open now.
    pub fn open(&self) -> usize {
        self.counters.open.load(Relaxed)
    }

    /// Bytes read from clients so far: more of them than before means that somebody has called.
    pub fn heard_bytes(&self) -> u64 {
        self.counters.heard_bytes.load(Relaxed)
    }

    fn change(&self, change: impl FnOnce(&mut Order)) {
        let mut order = self.order.lock().unwrap();
        change(&mut order);
        let (done, is_done) = std::sync::mpsc::channel();
        self.commands.as_ref().expect("open until dropped").send((*order, done)).unwrap();
        is_done.recv().expect("the proxy's thread lives");
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        drop(self.commands.take());
        let ended = self.thread.take().map(JoinHandle::join);
        if ended.is_some_and(|ended| ended.is_err()) && !std::thread::panicking() {
            panic!("the proxy's thread panicked");
        }
    }
}

/// Who may knock.
enum Door {
    Shut,
    Open(TcpListener),
    /// The listener, and those who fill its queue.
    Full {
        _listener: TcpListener,
        _queue: Vec<TcpStream>,
    },
}

impl Door {
    async fn fitting(self, way: Way, port: u16) -> Self {
        match (self, way) {
            (Self::Open(listener), way) if way.has_listener() => Self::Open(listener),
            (full @ Self::Full { .. }, Way::FullBacklog) => full,
            (other, way) => {
                // Closed before the port is taken again.
                drop(other);
                match way {
                    Way::Refuse => Self::Shut,
                    Way::FullBacklog => Self::full(port).await,
                    _ => Self::Open(listen(port, 1024)),
                }
            }
        }
    }

    /// Linux lets one more into a queue than it is long; whoever knocks then is left unheard.
    async fn full(port: u16) -> Self {
        let listener = listen(port, 0);
        let mut queue = Vec::new();
        while let Ok(joined) = timeout(FULL, TcpStream::connect((Ipv4Addr::LOCALHOST, port))).await {
            queue.push(joined.unwrap());
            assert!(queue.len() < 16, "a queue of no length has taken {} connections", queue.len());
        }
        Self::Full { _listener: listener, _queue: queue }
    }

    async fn accept(&self) -> TcpStream {
        match self {
            Self::Open(listener) => listener.accept().await.unwrap().0,
            Self::Shut | Self::Full { .. } => std::future::pending().await,
        }
    }
}

fn listen(port: u16, backlog: u32) -> TcpListener {
    let socket = TcpSocket::new_v4().unwrap();
    // Connections that were cut a moment ago still have the port.
    socket.set_reuseaddr(true).unwrap();
    socket.bind((Ipv4Addr::LOCALHOST, port).into()).unwrap();
    socket.listen(backlog).unwrap()
}

/// Obeys until the proxy is dropped.
async fn run(
    port: u16,
    target: Target,
    mut commands: mpsc::UnboundedReceiver<Command>,
    order: Order,
    counters: Arc<Counters>,
) {
    let (orders, _) = watch::channel(order);
    let mut door = Door::Shut;
    loop {
        tokio::select! {
            biased;
            command = commands.recv() => {
                let Some((order, done)) = command else { return };
                orders.send_replace(order);
                door = door.fitting(order.way, port).await;
                // Whoever asked may have gone.
                let _ = done.send(());
            }
            client = door.accept() => {
                counters.accepted.fetch_add(1, Relaxed);
                tokio::spawn(serve(client, target.clone(), orders.subscribe(), Arc::clone(&counters)));
            }
        }
    }
}

/// How a connection ends.
#[derive(Clone, Copy, Debug, PartialEq)]
enum End {
    Close,
    Reset,
}

/// One connection as its two directions see it.
struct Connection {
    orders: watch::Receiver<Order>,
    counters: Arc<Counters>,
    /// Something was swallowed: once behaviour changes, nothing sensible can follow.
    is_spoilt: AtomicBool,
}

async fn serve(
    mut client: TcpStream,
    target: Target,
    orders: watch::Receiver<Order>,
    counters: Arc<Counters>,
) {
    counters.open.fetch_add(1, Relaxed);
    // A small answer must not wait for the acknowledgement of the one before.
    let _ = client.set_nodelay(true);
    let connection = Connection { orders, counters, is_spoilt: AtomicBool::new(false) };
    let end = tokio::select! {
        biased;
        end = connection.is_ended_by_order() => end,
        end = connection.converse(&mut client, target) => end,
    };
    if end == End::Reset {
        // Closing discards what is unsent and tells the other side so.
        let _ = client.set_zero_linger();
    }
    connection.counters.open.fetch_sub(1, Relaxed);
}

impl Connection {
    fn way(&self) -> Way {
        self.orders.borrow().way
    }

    async fn is_ended_by_order(&self) -> End {
        let mut orders = self.orders.clone();
        let first = *orders.borrow();
        loop {
            if orders.changed().await.is_err() {
                return End::Close;
            }
            let now = *orders.borrow_and_update();
            let is_spoilt = self.is_spoilt.load(Relaxed) && now.way != Way::Freeze;
            if now.cuts != first.cuts || !now.way.has_listener() || is_spoilt {
                return End::Reset;
            }
        }
    }

    async fn converse(&self, client: &mut TcpStream, target: Target) -> End {
        self.thawed().await;
        match self.way() {
            Way::ResetBeforeReading => End::Reset,
            Way::BlackHole | Way::ResetAfterReading => {
                let (reader, _) = client.split();
                self.upwards(reader, tokio::io::sink()).await
            }
            _ => match target {
                Target::Tcp(address) => match TcpStream::connect(address).await {
                    Ok(mut server) => {
                        let _ = server.set_nodelay(true);
                        let (reader, writer) = server.split();
                        self.both_ways(client, reader, writer).await
                    }
                    Err(_) => End::Reset,
                },
                Target::Unix(path) => match UnixStream::connect(path).await {
                    Ok(mut server) => {
                        let (reader, writer) = server.split();
                        self.both_ways(client, reader, writer).await
                    }
                    Err(_) => End::Reset,
                },
            },
        }
    }

    async fn both_ways(
        &self,
        client: &mut TcpStream,
        server: impl AsyncRead + Unpin,
        to_server: impl AsyncWrite + Unpin,
    ) -> End {
        let (reader, writer) = client.split();
        let (up, down) = (self.upwards(reader, to_server), self.downwards(server, writer));
        tokio::pin!(up, down);
        // One direction may be closed while the other still speaks; a reset ends both.
        tokio::select! {
            end = &mut up => if end == End::Reset { end } else { down.await },
            end = &mut down => if end == End::Reset { end } else { up.await },
        }
    }

    /// From the client to the server, until either closes.
    async fn upwards(&self, mut client: impl AsyncRead + Unpin, mut server: impl AsyncWrite + Unpin) -> End {
        let mut buffer = vec![0; BUFFER_BYTES];
        loop {
            if self.way() == Way::ResetBeforeReading {
                // A byte would have to be read to know that it is there; it is read and forgotten.
                return match client.read(&mut buffer[..1]).await {
                    Ok(0) => End::Close,
                    _ => End::Reset,
                };
            }
            let Ok(read) = self.read(&mut client, &mut buffer).await else { return End::Reset };
            let Some(n) = read else { continue };
            if n == 0 {
                return if server.shutdown().await.is_ok() { End::Close } else { End::Reset };
            }
            self.counters.heard_bytes.fetch_add(n as u64, Relaxed);
            self.thawed().await;
            match self.way() {
                Way::BlackHole => self.is_spoilt.store(true, Relaxed),
                Way::ResetBeforeReading => return End::Reset,
                Way::ResetAfterReading => {
                    while let Ok(Ok(1..)) = timeout(QUIET, client.read(&mut buffer)).await {}
                    return End::Reset;
                }
                _ if server.write_all(&buffer[..n]).await.is_err() => return End::Reset,
                _ => {}
            }
        }
    }

    /// From the server to the client, until either closes.
    async fn downwards(
        &self,
        mut server: impl AsyncRead + Unpin,
        mut client: impl AsyncWrite + Unpin,
    ) -> End {
        let mut buffer = vec![0; BUFFER_BYTES];
        loop {
            let Ok(read) = self.read(&mut server, &mut buffer).await else { return End::Reset };
            let Some(n) = read else { continue };
            self.thawed().await;
            let way = self.way();
            if n == 0 && way == Way::HangInsteadOfAnswer {
                self.is_spoilt.store(true, Relaxed);
                std::future::pending::<()>().await;
            }
            if n == 0 {
                return if client.shutdown().await.is_ok() { End::Close } else { End::Reset };
            }
            let written = match way {
                Way::ResetInsteadOfAnswer | Way::ResetBeforeReading | Way::ResetAfterReading => {
                    return End::Reset;
                }
                Way::HangInsteadOfAnswer | Way::BlackHole => {
                    self.is_spoilt.store(true, Relaxed);
                    Ok(())
                }
                Way::HalfAnswer => {
                    let half = client.write_all(&buffer[..n / 2]).await;
                    let shut = client.shutdown().await;
                    self.is_spoilt.store(true, Relaxed);
                    half.and(shut)
                }
                Way::Drip(pause) => self.drip(&mut client, &buffer[..n], pause).await,
                _ => client.write_all(&buffer[..n]).await,
            };
            if written.is_err() {
                return End::Reset;
            }
            if way == Way::HalfAnswer {
                return End::Close;
            }
        }
    }

    /// What has come; none when the behaviour changed meanwhile. While frozen, nothing is read.
    async fn read(
        &self,
        from: &mut (impl AsyncRead + Unpin),
        buffer: &mut [u8],
    ) -> io::Result<Option<usize>> {
        self.thawed().await;
        let mut orders = self.orders.clone();
        let _ = orders.borrow_and_update();
        tokio::select! {
            biased;
            _ = orders.changed() => Ok(None),
            read = from.read(buffer) => read.map(Some),
        }
    }

    async fn thawed(&self) {
        let mut orders = self.orders.clone();
        // An error means that the proxy is being dropped, and this connection with it.
        let _ = orders.wait_for(|order| order.way != Way::Freeze).await;
    }

    async fn drip(
        &self,
        client: &mut (impl AsyncWrite + Unpin),
        bytes: &[u8],
        pause: Duration,
    ) -> io::Result<()> {
        let mut orders = self.orders.clone();
        for byte in bytes {
            self.thawed().await;
            client.write_all(&[*byte]).await?;
            let is_other = orders.wait_for(|order| !matches!(order.way, Way::Drip(_) | Way::Freeze));
            // As soon as the behaviour changes, the rest follows at once.
            let _ = timeout(pause, is_other).await;
        }
        Ok(())
    }
}

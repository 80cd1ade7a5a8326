//! What an operator puts in front of several nodes: each connection goes to a node that takes it.

use std::{
    net::{Ipv4Addr, SocketAddr},
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use tokio::{
    io::copy_bidirectional,
    net::{TcpListener, TcpStream},
    task::JoinHandle,
    time::timeout,
};

/// A node that does not take a connection within this time is passed over.
const PATIENCE: Duration = Duration::from_millis(500);

/// A balancer; ends with this value.
#[derive(Debug)]
pub struct Balancer {
    port: u16,
    nodes: Arc<Mutex<Vec<u16>>>,
    work: JoinHandle<()>,
}

impl Balancer {
    /// Starts one without nodes.
    pub fn start() -> Self {
        let listener = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        listener.set_nonblocking(true).unwrap();
        let port = listener.local_addr().unwrap().port();
        let nodes = Arc::default();
        let work = tokio::spawn(run(TcpListener::from_std(listener).unwrap(), Arc::clone(&nodes)));
        Self { port, nodes, work }
    }

    /// One node more, by its port. It need not live.
    pub fn add(&self, port: u16) {
        self.nodes.lock().unwrap().push(port);
    }

    /// Where all nodes are reached.
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }
}

impl Drop for Balancer {
    fn drop(&mut self) {
        self.work.abort();
    }
}

async fn run(listener: TcpListener, nodes: Arc<Mutex<Vec<u16>>>) {
    let turn = Arc::new(AtomicUsize::new(0));
    loop {
        let Ok((client, _)) = listener.accept().await else { continue };
        let (nodes, turn) = (nodes.lock().unwrap().clone(), Arc::clone(&turn));
        tokio::spawn(serve(client, nodes, turn));
    }
}

/// The next in turn, or the one after it; a client that nobody takes is closed.
async fn serve(mut client: TcpStream, nodes: Vec<u16>, turn: Arc<AtomicUsize>) {
    let first = turn.fetch_add(1, Ordering::Relaxed);
    for offset in 0..nodes.len() {
        let port = nodes[(first + offset) % nodes.len()];
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        if let Ok(Ok(mut node)) = timeout(PATIENCE, TcpStream::connect(address)).await {
            let _ = copy_bidirectional(&mut client, &mut node).await;
            return;
        }
    }
}

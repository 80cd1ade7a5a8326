//! What is seen of a daemon whose database is away, and when it is back.

use std::{
    net::SocketAddr,
    time::{Duration, Instant},
};

use reqwest::{Method, StatusCode};
use serde_json::json;
use simulator::Vendor;
use tokio::{
    net::{TcpListener, TcpStream},
    sync::watch,
    task::JoinSet,
};

use super::{World, wait_until, within};

/// A vendor that has heard nothing for so long hears nothing: a sender that sends does so many times a second.
const QUIET: Duration = Duration::from_secs(3);
/// How soon everything works again once the database is back.
pub const RECOVERY: Duration = Duration::from_secs(10);

/// A firewall that can forget connections: they stay open, nothing passes through them any more, and nobody is told. New ones
/// are let through.
#[derive(Debug)]
pub struct Firewall {
    address: SocketAddr,
    forgotten: watch::Sender<u64>,
    // Ends with it.
    _doorkeeper: JoinSet<()>,
}

impl Firewall {
    /// In front of `target`.
    pub async fn before(target: SocketAddr) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let (forgotten, orders) = watch::channel(0);
        let mut doorkeeper = JoinSet::new();
        doorkeeper.spawn(async move {
            let mut connections = JoinSet::new();
            loop {
                let (client, _) = listener.accept().await.unwrap();
                connections.spawn(pass(client, target, orders.clone()));
            }
        });
        Self { address, forgotten, _doorkeeper: doorkeeper }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Forgets all connections that are open now.
    pub fn forget(&self) {
        self.forgotten.send_modify(|times| *times += 1);
    }
}

async fn pass(mut client: TcpStream, target: SocketAddr, mut orders: watch::Receiver<u64>) {
    orders.mark_unchanged();
    let Ok(mut server) = TcpStream::connect(target).await else { return };
    tokio::select! {
        _ = tokio::io::copy_bidirectional(&mut client, &mut server) => {}
        _ = orders.changed() => std::future::pending().await,
    }
}

impl World {
    /// What `/readyz` answers.
    pub async fn readiness(&self) -> (StatusCode, String) {
        let answer = self.call(Method::GET, "/readyz").send().await.unwrap();
        (answer.status(), answer.text().await.unwrap())
    }

    /// Waits until the daemon says that it is not ready, and why.
    pub async fn is_not_ready(&self, deadline: Duration) -> String {
        wait_until("it says that it is not ready", deadline, async || {
            let (status, why) = self.readiness().await;
            (status == StatusCode::SERVICE_UNAVAILABLE).then_some(why)
        })
        .await
    }

    /// Waits until calls that were under way have ended and no other reaches the vendors, though somebody is queued.
    pub async fn nothing_leaves(&self) {
        let mut last = (self.simulator.requests_total(), Instant::now());
        // A call under way ends within the vendor's timeout; none begins.
        wait_until("no call leaves any more", within(25), async || {
            let now = self.simulator.requests_total();
            if now != last.0 {
                last = (now, Instant::now());
            }
            (last.1.elapsed() >= QUIET).then_some(())
        })
        .await;
    }

    /// Waits until calls leave again and the daemon is ready. The database is back since now.
    pub async fn comes_back(&self, what: &str) {
        let (before, back) = (self.simulator.requests_total(), Instant::now());
        let sends = async || (self.simulator.requests_total() > before).then_some(());
        wait_until("it sends again", RECOVERY, sends).await;
        let after = back.elapsed();
        let is_ready = async || (self.readiness().await.0 == StatusCode::OK).then_some(());
        wait_until("it is ready again", RECOVERY.saturating_sub(after), is_ready).await;
        println!("{what}: it sends again {after:?} after the database was back");
    }

    /// How a callback of Exotel about nobody's message is answered.
    pub async fn answer_to_a_callback(&self) -> StatusCode {
        let account = self.account(0);
        assert_eq!(account.vendor, Vendor::Exotel);
        let report = json!({"callback_type": "dlr", "sid": "nobodys", "to": "+919876000000", "exo_status_code": 30_002,
                            "exo_detailed_status": "EX_MESSAGE_DELIVERED", "timestamp": "1795000000"});
        let path = format!("/webhooks/{}/{}", account.name, account.webhook_token());
        let body = json!({"whatsapp": {"messages": [report]}}).to_string();
        self.call(Method::POST, &path).body(body).send().await.unwrap().status()
    }
}

//! The handle of a running simulator. Dropping it ends the server at once, as a vendor's outage would.

use std::collections::{BTreeMap, HashMap};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use crate::callbacks::CallbackCounts;
use crate::faults::FaultRule;
use crate::inbound::{self, Inbound};
use crate::ledger::{AcceptedMessage, Arrival, Duplicate};
use crate::options::{CallbackOptions, SimulatorOptions};
use crate::samples::SeenRequest;
use crate::vendor::Vendor;
use crate::world::World;
use crate::{pump, server};

/// Why a simulator could not start.
#[derive(Debug, thiserror::Error)]
pub enum SimulatorError {
    /// The port is taken or not allowed.
    #[error(
        "the simulator cannot listen on 127.0.0.1:{port}: {source}; choose another port, or 0 for a free one"
    )]
    Listen {
        /// The port that was asked for.
        port: u16,
        /// What the system said.
        source: std::io::Error,
    },
}

/// A running simulator.
pub struct Simulator {
    world: Arc<World>,
    address: SocketAddr,
    server: JoinHandle<()>,
    pump: JoinHandle<()>,
}

impl Simulator {
    /// Binds 127.0.0.1 and serves in the background.
    pub async fn start(options: SimulatorOptions) -> Result<Simulator, SimulatorError> {
        let port = options.port;
        let failed = |source| SimulatorError::Listen { port, source };
        let listener = TcpListener::bind(("127.0.0.1", port)).await.map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        let world = Arc::new(World::new(options));
        let server = tokio::spawn(server::serve(listener, world.clone()));
        let pump = tokio::spawn(pump::run(world.clone()));
        Ok(Simulator { world, address, server, pump })
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Base URL of all vendors, without a slash at the end.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Base URL for an account of this vendor; the same for all, their paths differ.
    #[must_use]
    pub fn url_of(&self, _vendor: Vendor) -> String {
        self.url()
    }

    /// Base URL of Exotel.
    #[must_use]
    pub fn exotel_url(&self) -> String {
        self.url()
    }

    /// Base URL of sobot.io.
    #[must_use]
    pub fn sobot_io_url(&self) -> String {
        self.url()
    }

    /// Base URL of sobot.in.
    #[must_use]
    pub fn sobot_in_url(&self) -> String {
        self.url()
    }

    /// Messages accepted so far, by all vendors.
    #[must_use]
    pub fn accepted_total(&self) -> u64 {
        self.world.ledger.accepted_total()
    }

    /// Messages accepted so far by one vendor.
    #[must_use]
    pub fn accepted_total_of(&self, vendor: Vendor) -> u64 {
        self.world.ledger.accepted_of(vendor)
    }

    /// How often each recipient (digits as a number) was accepted, over all vendors.
    #[must_use]
    pub fn accepted_by_recipient(&self) -> HashMap<u64, u32> {
        self.world.ledger.accepted_by_recipient()
    }

    /// Recipients who were accepted more than once for one account and template.
    #[must_use]
    pub fn duplicates(&self) -> Vec<Duplicate> {
        self.world.ledger.duplicates()
    }

    /// Every accepted message, in order. For millions of them ask [`Simulator::visit_messages`].
    #[must_use]
    pub fn messages(&self) -> Vec<AcceptedMessage> {
        let mut all = Vec::new();
        self.visit_messages(|message| all.push(message));
        all
    }

    /// Calls `visit` for every accepted message, in order.
    pub fn visit_messages(&self, mut visit: impl FnMut(AcceptedMessage)) {
        let ledger = &self.world.ledger;
        ledger.visit(|sequence, record, custom| visit(ledger.message(sequence, record, custom)));
    }

    /// Every send request in the order of arrival, for rate checks.
    #[must_use]
    pub fn arrivals(&self) -> Vec<Arrival> {
        self.world.ledger.arrivals()
    }

    /// Send requests that arrived, those beyond the kept ones included.
    #[must_use]
    pub fn requests_total(&self) -> u64 {
        self.world.ledger.arrivals_total()
    }

    /// The last send requests, whole, oldest first.
    #[must_use]
    pub fn requests(&self) -> Vec<SeenRequest> {
        self.world.samples.all()
    }

    /// Body of the last send request to a vendor.
    #[must_use]
    pub fn last_body(&self, vendor: Vendor) -> Option<Bytes> {
        self.requests().into_iter().rev().find(|seen| seen.vendor == vendor).map(|seen| seen.body)
    }

    /// Replaces the faults.
    pub fn set_faults(&self, rules: Vec<FaultRule>) {
        self.world.set_faults(rules);
    }

    /// The faults in force, each with how often it has happened.
    #[must_use]
    pub fn faults(&self) -> Vec<(FaultRule, u64)> {
        self.world.faults().rules()
    }

    /// Registers callback URLs: keys as in [`SimulatorOptions::callback_urls`].
    pub fn set_callback_urls<K, V>(&self, urls: impl IntoIterator<Item = (K, V)>)
    where
        K: Into<String>,
        V: Into<String>,
    {
        let urls: BTreeMap<String, String> =
            urls.into_iter().map(|(key, url)| (key.into(), url.into())).collect();
        self.world.register_callback_urls(urls);
    }

    /// Options for the reports of messages accepted from now on.
    pub fn set_callbacks(&self, options: CallbackOptions) {
        self.world.set_callback_options(options);
    }

    /// How far the status reports have come.
    #[must_use]
    pub fn callbacks(&self) -> CallbackCounts {
        self.world.callbacks.counts()
    }

    /// Posts every report of one vendor's messages, or of all, once more; returns how many.
    #[must_use]
    pub fn replay_callbacks(&self, vendor: Option<Vendor>) -> u64 {
        pump::replay(&self.world, vendor)
    }

    /// Fires an inbound message and returns the status of the answer.
    ///
    /// # Errors
    /// Without an address, for a kind that the vendor does not have, or when nobody answers.
    pub async fn send_inbound(&self, inbound: &Inbound) -> Result<u16, String> {
        inbound::fire(&self.world, inbound).await
    }

    /// Makes all tokens of sobot.io invalid.
    pub fn invalidate_tokens(&self) {
        self.world.tokens.invalidate(None);
    }

    /// True once every planned report was acknowledged or given up; false when the time is over before.
    pub async fn wait_until_idle(&self, within: Duration) -> bool {
        tokio::time::timeout(within, self.world.callbacks.idle()).await.is_ok()
    }

    /// True once at least so many messages were accepted; false when the time is over before.
    pub async fn wait_for_accepted(&self, count: u64, within: Duration) -> bool {
        tokio::time::timeout(within, self.world.ledger.accepted_at_least(count)).await.is_ok()
    }

    /// Comes back when the server ends by itself, which it does not: for `campaignd simulate` to wait on.
    pub async fn run(&mut self) {
        let _ = (&mut self.server).await;
    }

    /// Ends server, connections and callbacks, and frees the port.
    pub async fn shutdown(mut self) {
        self.server.abort();
        self.pump.abort();
        let _ = (&mut self.server).await;
        let _ = (&mut self.pump).await;
    }
}

impl Drop for Simulator {
    fn drop(&mut self) {
        self.server.abort();
        self.pump.abort();
    }
}

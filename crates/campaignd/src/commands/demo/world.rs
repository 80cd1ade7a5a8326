//! The demo's world: what runs, and how it is taken down again.

use std::time::Duration;

use anyhow::Context as _;
use api::client::Client;
use simulator::{CallbackOptions, RangeMs, Simulator, SimulatorOptions, Vendor};
use store::private_cluster::TemporaryDataDir;
use tokio::{net::TcpListener, task::JoinHandle, time::Instant};
use tokio_util::sync::CancellationToken;

use crate::{
    commands::serve::serve_on,
    config::{Config, Environment},
    system,
};

/// initdb and the first start take a second or two, on a slow machine more.
const START: Duration = Duration::from_secs(90);

/// What runs. Take it down with [`World::end`].
pub struct World {
    pub client: Client,
    pub simulator: Simulator,
    pub config: Config,
    pub folder: TemporaryDataDir,
    token: String,
    stop: CancellationToken,
    daemon: JoinHandle<anyhow::Result<()>>,
}

impl World {
    /// Starts everything; returns when the daemon is ready.
    pub async fn start(messages_per_second: u32, stop: &CancellationToken) -> anyhow::Result<Self> {
        let folder = TemporaryDataDir::create("demo")?;
        let listener =
            TcpListener::bind(("127.0.0.1", 0)).await.context("taking a free port of 127.0.0.1")?;
        let public_url = format!("http://{}", listener.local_addr().context("asking for the port")?);
        let simulator = Simulator::start(stand_ins()).await?;
        let token = system::new_uuid().simple().to_string();
        let config = configuration(&folder, &public_url, &simulator.url(), &token, messages_per_second)?;
        for (key, account) in [("exotel", 0), ("sobot_io", 1), ("sobot_in", 2)] {
            let url = config.accounts.get(account).and_then(|account| account.callback_url(&public_url));
            simulator.set_callback_urls(url.map(|url| (key, url)));
        }
        let client = Client::new(&public_url, Some(&token))?;
        // A token of its own: Ctrl-C is heard by the demo, which then ends the daemon.
        let own_stop = CancellationToken::new();
        let daemon = tokio::spawn(serve_on(listener, config.clone(), own_stop.clone()));
        let mut world = Self { client, simulator, config, folder, token, stop: own_stop, daemon };
        let ready = tokio::select! {
            ready = world.is_ready() => ready,
            () = stop.cancelled() => Err(anyhow::anyhow!("interrupted before it had started")),
        };
        match ready {
            Ok(()) => Ok(world),
            Err(error) => {
                // Why the daemon ended says more than that it is not ready.
                world.end().await?;
                Err(error)
            }
        }
    }

    async fn is_ready(&mut self) -> anyhow::Result<()> {
        let deadline = Instant::now() + START;
        loop {
            match self.client.ready().await {
                Ok(()) => return Ok(()),
                Err(error) if self.daemon.is_finished() || Instant::now() > deadline => {
                    return Err(anyhow::Error::from(error).context("starting campaignd"));
                }
                Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
            }
        }
    }

    /// The administrator's token.
    pub fn token(&self) -> &str {
        &self.token
    }

    /// Ends the daemon in order, then the stand-ins, and removes the folder.
    pub async fn end(self) -> anyhow::Result<()> {
        self.stop.cancel();
        let ended = self.daemon.await.context("ending campaignd")?;
        self.simulator.shutdown().await;
        drop(self.folder);
        ended
    }
}

/// Vendors as they are on a good day: quick, with a few that fail, some reports twice or in the wrong order.
fn stand_ins() -> SimulatorOptions {
    let latency = RangeMs { min: 5, max: 20 };
    SimulatorOptions {
        latency_ms: Vendor::ALL.into_iter().map(|vendor| (vendor, latency)).collect(),
        callbacks: CallbackOptions {
            delivered: 0.97,
            read: 0.5,
            failed: 0.02,
            duplicates: 0.02,
            reordered: 0.02,
            delay_ms: RangeMs { min: 100, max: 800 },
            ..CallbackOptions::default()
        },
        ..SimulatorOptions::default()
    }
}

fn configuration(
    folder: &TemporaryDataDir,
    public_url: &str,
    vendor_url: &str,
    token: &str,
    messages_per_second: u32,
) -> anyhow::Result<Config> {
    let webhook_token = system::new_uuid().simple().to_string();
    let data_dir = folder.path().join("data");
    let text = format!(
        r#"
[server]
listen = "127.0.0.1:0"
public_url = "{public_url}"
[database]
data_dir = "{data_dir}"
[[accounts]]
name = "exotel-demo"
vendor = "exotel"
base_url = "{vendor_url}"
account_sid = "acme"
api_key = "exotel-key"
api_token = "exotel-token"
webhook_token = "{webhook_token}"
max_in_flight = 64
[[accounts.senders]]
from = "+919999000001"
messages_per_second = {messages_per_second}
[[accounts]]
name = "sobot-io-demo"
vendor = "sobot_io"
base_url = "{vendor_url}"
app_id = "sobot-app"
app_key = "sobot-app-key"
waba_id = "100200300"
webhook_token = "{webhook_token}"
max_in_flight = 64
[[accounts.senders]]
from = "400500600"
messages_per_second = {messages_per_second}
[[accounts]]
name = "sobot-in-demo"
vendor = "sobot_in"
base_url = "{vendor_url}"
access_key = "inbox-access-key"
secret_key = "inbox-secret-key"
webhook_token = "{webhook_token}"
max_in_flight = 64
[[accounts.senders]]
from = "919999000003"
messages_per_second = {messages_per_second}
"#,
        data_dir = data_dir.display()
    );
    // The demo is the same wherever it runs: of the environment it takes nothing but its own administrator.
    let environment = Environment::from([("CAMPAIGND_ADMIN_TOKEN".to_owned(), token.to_owned())]);
    Ok(Config::from_text(&text, None, &environment)?)
}

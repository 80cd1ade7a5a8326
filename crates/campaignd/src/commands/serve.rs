//! `serve`: the daemon's start and end.
//!
//! Here the process takes what it needs from the machine: configuration, data_dir, database server, port, signals.
//! What it does with them stands in `daemon`.

use std::sync::Arc;

use anyhow::Context as _;
use clap::Args;
use store::{
    Database,
    private_cluster::{DataDirLock, PrivateCluster},
};
use tokio::{
    net::TcpListener,
    signal::unix::{SignalKind, signal},
};
use tokio_util::sync::CancellationToken;

use super::database::{configured, private_options};
use crate::{
    config::Config,
    context::{Context, Outcome},
    daemon, system,
};

/// Arguments of `serve`.
#[derive(Debug, Args)]
pub struct ServeArgs {
    /// Listen here instead of where the configuration says
    #[arg(long, value_name = "ADDRESS:PORT")]
    listen: Option<std::net::SocketAddr>,
}

pub async fn run(context: &Context, args: &ServeArgs) -> anyhow::Result<Outcome> {
    let mut config = context.config()?;
    if let Some(listen) = args.listen {
        config.server.listen = listen;
    }
    let stop = stop_on_signal()?;
    serve(config, stop).await?;
    Ok(Outcome::Done)
}

/// Binds where the configuration says, and runs a daemon until `stop`.
async fn serve(config: Config, stop: CancellationToken) -> anyhow::Result<()> {
    if let Some(file) = &config.file {
        tracing::info!(file = %file.display(), accounts = config.accounts.len(), "configuration read");
    }
    for warning in &config.warnings {
        tracing::warn!("{warning}");
    }
    let listen = config.server.listen;
    let listener = TcpListener::bind(listen).await.with_context(|| {
        format!("listening on {listen} (server.listen): is another campaignd running? Choose another port or stop that one")
    })?;
    serve_on(listener, config, stop).await
}

/// Runs a daemon on a port that is bound already, until `stop`.
pub async fn serve_on(listener: TcpListener, config: Config, stop: CancellationToken) -> anyhow::Result<()> {
    let address = listener.local_addr().context("asking for the port")?;
    let data_dir = config.database.data_dir.clone();
    let lock = tokio::task::spawn_blocking(move || DataDirLock::take(&data_dir)).await??;
    let node = lock.node_id(system::new_uuid())?;
    let (database, cluster) = open(&config, &lock).await?;
    let parts = daemon::Parts {
        config: Arc::new(config),
        database: database.clone(),
        node,
        clock: system::clock(),
        random: system::random(),
        listener,
        lock,
    };
    tracing::info!(%address, node = %node, "campaignd {} starts", env!("CARGO_PKG_VERSION"));
    let ended = daemon::run(parts, stop).await;
    database.close().await;
    if let Some(cluster) = cluster {
        cluster.stop().await;
    }
    tracing::info!("campaignd has stopped");
    ended
}

/// The pools, and the private server where no URL is configured. A database by URL need not answer yet.
async fn open(config: &Config, lock: &DataDirLock) -> anyhow::Result<(Database, Option<PrivateCluster>)> {
    if let Some(url) = &config.database.url {
        return Ok((configured(config, url.expose())?, None));
    }
    let cluster = PrivateCluster::start_with_lock(private_options(config), lock.clone()).await?;
    tracing::info!(url = cluster.url_for_display(), "private PostgreSQL runs");
    Ok((Database::open(&cluster.connect_options()), Some(cluster)))
}

/// Cancelled by SIGTERM and SIGINT. A second one ends the process at once: what was open becomes unknown.
pub fn stop_on_signal() -> anyhow::Result<CancellationToken> {
    let stop = CancellationToken::new();
    let mut terminate = signal(SignalKind::terminate()).context("listening for SIGTERM")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("listening for SIGINT")?;
    let asked = stop.clone();
    tokio::spawn(async move {
        loop {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
            if asked.is_cancelled() {
                tracing::warn!("stopping at once; requests that are open become unknown");
                std::process::exit(1);
            }
            tracing::info!("stopping: what is under way ends first; a second signal stops at once");
            asked.cancel();
        }
    });
    Ok(stop)
}

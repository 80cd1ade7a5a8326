//! The database for the commands that work without the daemon: by URL, or the private cluster, running or started
//! for the while.

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use store::{
    Database,
    private_cluster::{ClusterError, PrivateCluster, PrivateClusterOptions},
};

use crate::config::Config;

/// An open database. Close it, so that a private server that was started for it is stopped in order.
#[derive(Debug)]
pub struct Opened {
    pub database: Database,
    cluster: Option<PrivateCluster>,
}

impl Opened {
    /// The configured database, which need not be up to date.
    pub async fn open(config: &Config) -> anyhow::Result<Self> {
        if let Some(url) = &config.database.url {
            return Ok(Self { database: configured(config, url.expose())?, cluster: None });
        }
        match PrivateCluster::start(private_options(config)).await {
            Ok(cluster) => {
                Ok(Self { database: Database::open(&cluster.connect_options()), cluster: Some(cluster) })
            }
            // The daemon runs, and its server with it.
            Err(ClusterError::InUse { data_dir, owner }) => match running_url(&data_dir) {
                Some(url) => Ok(Self { database: by_url(&url)?, cluster: None }),
                None => Err(ClusterError::InUse { data_dir, owner }.into()),
            },
            Err(error) => Err(error.into()),
        }
    }

    /// Gives everything back.
    pub async fn close(self) {
        self.database.close().await;
        if let Some(cluster) = self.cluster {
            cluster.stop().await;
        }
    }
}

/// The pools over the database of the configuration's URL. Nothing is connected yet.
pub fn configured(config: &Config, url: &str) -> anyhow::Result<Database> {
    if !config.database.pooler {
        return by_url(url);
    }
    let migrations = config.database.migrations_url.as_ref().map(|url| options(url.expose())).transpose()?;
    Ok(Database::open_behind_pooler(&options(url)?, migrations))
}

/// The pools over a server by URL. Nothing is connected yet.
fn by_url(url: &str) -> anyhow::Result<Database> {
    Ok(Database::open(&options(url)?))
}

fn options(url: &str) -> anyhow::Result<store::ConnectOptions> {
    // The driver's own error may quote the URL, which holds a password.
    url.parse().map_err(|_| {
        anyhow::anyhow!(
            "the database's URL cannot be read: it should look like postgres://user:password@host:5432/name"
        )
    })
}

/// How the configuration wants its private cluster.
pub fn private_options(config: &Config) -> PrivateClusterOptions {
    PrivateClusterOptions {
        data_dir: config.database.data_dir.clone(),
        binaries: config.database.binaries.clone(),
        ..PrivateClusterOptions::default()
    }
}

/// The URL of the private server that runs under `data_dir`, from the file that it keeps while it runs.
fn running_url(data_dir: &Path) -> Option<String> {
    let text = std::fs::read_to_string(data_dir.join("postgres/postmaster.pid")).ok()?;
    let socket_dir = PathBuf::from(text.lines().nth(4)?.trim());
    let mut url = reqwest::Url::parse("postgres://campaignd@localhost:5432/campaignd").ok()?;
    url.query_pairs_mut().append_pair("host", socket_dir.to_str()?).append_pair("sslmode", "disable");
    Some(url.into())
}

/// Says that a statement failed for want of a schema or of a connection, with the remedy.
pub fn explained(error: store::Error) -> anyhow::Error {
    anyhow::Error::from(error).context("the database did not do it: is it reachable, and its schema current? `campaignd check` tells, `campaignd migrate` makes it current")
}

/// Waits for an answer of the database, for commands that a person waits for.
pub async fn connection(
    database: &Database,
) -> anyhow::Result<impl std::ops::DerefMut<Target = store::PgConnection> + use<>> {
    database.general.acquire().await.context("connecting to the database")
}

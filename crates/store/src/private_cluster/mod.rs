//! The private PostgreSQL: a cluster under `data_dir` for the daemon that was given no database URL.
//! It listens on a Unix socket only, runs as an unprivileged user even when campaignd is root, is started again when it
//! dies, and is adopted when a killed campaignd left it running. Two daemons never share one `data_dir`.
//! It must never delete or rewrite a cluster that it did not just make, and never start a second server over a living one.

mod binaries;
mod data_dir;
mod die_with_parent;
mod error;
mod initdb;
mod process;
mod settings;
mod socket;
mod spawn;
mod supervisor;
mod user;

use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::time::Duration;

use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use sqlx::postgres::{PgConnectOptions, PgSslMode};
use sqlx::{ConnectOptions, Connection};
use tokio::sync::{oneshot, watch};
use tokio::time::{Instant, sleep};

pub use data_dir::{DataDirLock, TemporaryDataDir, node_id};
pub use error::ClusterError;
use supervisor::Supervisor;
pub(crate) use supervisor::bring_up_detached;

/// The database and the role that campaignd uses in its private cluster.
pub const DATABASE: &str = "campaignd";
/// The number in the socket's file name. The directory is ours alone, so the number is free to be the usual one.
pub(crate) const PORT: u16 = 5432;
/// How long a server that says it is ready may still refuse its first client (an adopted one may be shutting down).
const FIRST_CONNECTION: Duration = Duration::from_secs(30);

/// What a private cluster needs to know.
#[derive(Clone, Debug, Default)]
pub struct PrivateClusterOptions {
    /// The daemon's folder; made when it is missing.
    pub data_dir: PathBuf,
    /// The folder that holds `initdb` and `postgres`; `None` looks for it.
    pub binaries: Option<PathBuf>,
    /// Server settings on top of ours, as in postgresql.conf.
    pub settings: Vec<(String, String)>,
}

/// What the supervisor knows about the server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ClusterState {
    /// It is being started for the first time.
    Starting,
    /// It takes connections.
    Running {
        /// The postmaster's process id.
        pid: u32,
    },
    /// It ended without being asked to and is being started again.
    Restarting {
        /// Why it is down, for people.
        reason: String,
    },
    /// It was stopped by us and stays so.
    Stopped,
}

/// A running private PostgreSQL and the lock on its `data_dir`. Dropping it asks the server to stop; `stop` also waits.
#[derive(Debug)]
pub struct PrivateCluster {
    socket_dir: PathBuf,
    lock: DataDirLock,
    stop: mpsc::Sender<()>,
    state: watch::Receiver<ClusterState>,
}

impl PrivateCluster {
    /// Takes the lock on `data_dir`, then does what `start_with_lock` does.
    pub async fn start(options: PrivateClusterOptions) -> Result<Self, ClusterError> {
        let data_dir = options.data_dir.clone();
        let lock = blocking(move || DataDirLock::take(&data_dir)).await?;
        Self::start_with_lock(options, lock).await
    }

    /// Makes the cluster when it is missing, adopts or starts its server, and makes the database when it is missing.
    pub async fn start_with_lock(
        options: PrivateClusterOptions,
        lock: DataDirLock,
    ) -> Result<Self, ClusterError> {
        let held = lock.clone();
        let plan = blocking(move || supervisor::Plan::prepare(&options, held)).await?;
        let (stop, stop_asked) = mpsc::channel();
        let (report, state) = watch::channel(ClusterState::Starting);
        let (first, first_outcome) = oneshot::channel();
        std::thread::Builder::new()
            .name("pg-supervisor".to_owned())
            .spawn(move || Supervisor::new(plan, stop_asked, report).run(first))
            .map_err(|source| {
                ClusterError::io(
                    "start the thread that watches the private PostgreSQL",
                    Path::new(""),
                    source,
                )
            })?;
        let socket_dir = first_outcome.await.map_err(|_| ClusterError::SupervisorDied)??;
        let cluster = Self { socket_dir, lock, stop, state };
        cluster.create_database().await?;
        Ok(cluster)
    }

    /// How to reach the `campaignd` database of this cluster.
    #[must_use]
    pub fn connect_options(&self) -> PgConnectOptions {
        connect_options(&self.socket_dir, DATABASE)
    }

    /// The same as a URL that psql takes; it holds no secret.
    #[must_use]
    pub fn url_for_display(&self) -> String {
        url(&self.socket_dir, DATABASE)
    }

    /// The lock on `data_dir`, for what else lives there.
    #[must_use]
    pub fn lock(&self) -> &DataDirLock {
        &self.lock
    }

    /// The server's state as it changes.
    #[must_use]
    pub fn state(&self) -> watch::Receiver<ClusterState> {
        self.state.clone()
    }

    /// The postmaster's process id while it runs.
    #[must_use]
    pub fn postmaster_pid(&self) -> Option<u32> {
        match *self.state.borrow() {
            ClusterState::Running { pid } => Some(pid),
            _ => None,
        }
    }

    /// Stops the server (fast shutdown) and returns when it is gone. Close the pools first.
    pub async fn stop(mut self) {
        // The supervisor that cannot hear this has ended already; `wait_for` then returns at once.
        let _ = self.stop.send(());
        let _ = self.state.wait_for(|state| *state == ClusterState::Stopped).await;
    }

    async fn create_database(&self) -> Result<(), ClusterError> {
        let maintenance = connect_options(&self.socket_dir, "postgres");
        let deadline = Instant::now() + FIRST_CONNECTION;
        let mut connection = loop {
            match maintenance.connect().await {
                Ok(connection) => break connection,
                Err(_) if Instant::now() < deadline => sleep(Duration::from_millis(50)).await,
                Err(source) => return Err(ClusterError::sql("connect to the private PostgreSQL", source)),
            }
        };
        let made = create_database_if_missing(&mut connection).await;
        // The work is done; a connection that ends badly loses nothing.
        let _ = connection.close().await;
        made.map_err(|source| ClusterError::sql("create the database campaignd", source))
    }
}

async fn create_database_if_missing(connection: &mut sqlx::PgConnection) -> Result<(), sqlx::Error> {
    let exists: bool =
        sqlx::query_scalar("SELECT EXISTS (SELECT 1 FROM pg_database WHERE datname = 'campaignd')")
            .fetch_one(&mut *connection)
            .await?;
    if !exists {
        sqlx::query("CREATE DATABASE campaignd").execute(connection).await?;
    }
    Ok(())
}

/// How to reach the private cluster that another process runs under `data_dir`; `None` when none takes connections there.
#[must_use]
pub fn running(data_dir: &Path) -> Option<PgConnectOptions> {
    let cluster = std::fs::canonicalize(data_dir).ok()?.join(initdb::CLUSTER_FOLDER);
    let file = process::PidFile::read(&cluster).ok()??;
    let socket_dir = file.socket_dir?;
    process::is_ready(&cluster, &socket_dir, file.pid).then(|| connect_options(&socket_dir, DATABASE))
}

/// How to reach `database` through the socket in `socket_dir`.
pub(crate) fn connect_options(socket_dir: &Path, database: &str) -> PgConnectOptions {
    PgConnectOptions::new_without_pgpass()
        .socket(socket_dir)
        .port(PORT)
        .username(DATABASE)
        .database(database)
        .ssl_mode(PgSslMode::Disable)
}

/// The same as a URL.
pub(crate) fn url(socket_dir: &Path, database: &str) -> String {
    let socket_dir = socket_dir.to_string_lossy();
    format!(
        "postgres://{DATABASE}@localhost:{PORT}/{database}?host={}",
        utf8_percent_encode(&socket_dir, NON_ALPHANUMERIC)
    )
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, ClusterError> + Send + 'static,
) -> Result<T, ClusterError> {
    tokio::task::spawn_blocking(work).await.map_err(|_| ClusterError::SupervisorDied)?
}

#[cfg(test)]
mod tests {
    use super::spawn::Lifetime;
    use super::*;

    #[tokio::test]
    async fn a_running_server_is_adopted_and_replaced_when_it_dies() {
        let folder = crate::testing::data_dir("adopt");
        let data_dir = std::fs::canonicalize(folder.path()).unwrap();
        let options =
            PrivateClusterOptions { data_dir: data_dir.clone(), ..PrivateClusterOptions::default() };
        PrivateCluster::start(options.clone()).await.unwrap().stop().await;
        let command = supervisor::server_command(&data_dir, &options).unwrap();
        let mut left = command.spawn(Lifetime::UntilStopped).unwrap();

        let cluster = PrivateCluster::start(options).await.unwrap();
        assert_eq!(cluster.postmaster_pid(), Some(left.id()));
        let old = left.id();
        left.kill().unwrap();
        left.wait().unwrap();
        let mut state = cluster.state();
        let again = state.wait_for(|state| matches!(state, ClusterState::Running { pid } if *pid != old));
        tokio::time::timeout(FIRST_CONNECTION, again).await.unwrap().unwrap();
        cluster.connect_options().connect().await.unwrap().ping().await.unwrap();
        cluster.stop().await;
    }
}

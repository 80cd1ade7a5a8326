//! The database server of a run, which is restarted now and then, and what the run takes from the machine.

use std::{
    fmt, fs,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use sqlx::{AssertSqlSafe, ConnectOptions as _, Connection as _};
use store::{
    private_cluster::{PrivateCluster, PrivateClusterOptions, TemporaryDataDir},
    testing,
};

use super::Dice;
use crate::harness::{wait_until, within};

/// A PostgreSQL with every safeguard on, watched by this process.
pub struct Cluster {
    cluster: PrivateCluster,
    folder: TemporaryDataDir,
}

impl Cluster {
    pub async fn start() -> Self {
        let folder = testing::data_dir("soak");
        let settings = [("max_connections", "300"), ("shared_buffers", "64MB")];
        let settings = settings.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec();
        let options = PrivateClusterOptions { data_dir: folder.path().to_owned(), binaries: None, settings };
        Self { cluster: PrivateCluster::start(options).await.unwrap(), folder }
    }

    pub fn data_dir(&self) -> &Path {
        self.folder.path()
    }

    /// An empty database; its URL.
    pub async fn new_database(&self, number: usize) -> String {
        let mut connection = self.cluster.connect_options().connect().await.unwrap();
        let create = AssertSqlSafe(format!("CREATE DATABASE soak_{number}"));
        sqlx::raw_sql(create).execute(&mut connection).await.unwrap();
        connection.close().await.unwrap();
        self.cluster.url_for_display().replace("/campaignd?", &format!("/soak_{number}?"))
    }

    pub async fn stop(self) {
        let running = async || self.cluster.postmaster_pid();
        wait_until("the database runs", within(30), running).await;
        self.cluster.stop().await;
    }
}

/// Restarts of the database: fast, immediate, and by SIGKILL, in turn.
pub struct Restarts {
    every: Option<Duration>,
    last: Instant,
    pub count: usize,
    dice: Dice,
}

impl Restarts {
    pub fn new(every: Option<Duration>, dice: Dice) -> Self {
        Self { every, last: Instant::now(), count: 0, dice }
    }

    /// Restarts it when it is time. The supervisor of the cluster starts it again.
    pub fn step(&mut self, cluster: &Cluster) {
        let is_due = self.every.is_some_and(|every| self.last.elapsed() > every);
        let Some(pid) = cluster.cluster.postmaster_pid().filter(|_| is_due) else { return };
        let signal = *self.dice.pick(&[Signal::SIGINT, Signal::SIGQUIT, Signal::SIGKILL]);
        self.last = Instant::now();
        self.count += usize::from(kill(Pid::from_raw(pid.cast_signed()), signal).is_ok());
    }
}

/// What was taken from the machine, over time.
#[derive(Debug, Default)]
pub struct Growth {
    /// The steady daemon's memory in KiB, at each look.
    memory_kib: Vec<u64>,
    /// All files of the database, in KiB.
    files_kib: Vec<u64>,
}

impl Growth {
    pub fn look(&mut self, steady: Option<u32>, folder: &Path) {
        if let Some(kib) = steady.and_then(memory_kib) {
            self.memory_kib.push(kib);
        }
        self.files_kib.push(size_kib(folder));
    }

    /// The steady daemon's memory in MiB after a fifth of the run, at its highest, and at the end.
    pub fn memory_mib(&self) -> Option<[u64; 3]> {
        let early = *self.memory_kib.get(self.memory_kib.len() / 5)?;
        Some([early, *self.memory_kib.iter().max()?, *self.memory_kib.last()?].map(|kib| kib / 1024))
    }

    /// The database's files in MiB at the beginning, at their largest, and at the end.
    pub fn files_mib(&self) -> Option<[u64; 3]> {
        let files = &self.files_kib;
        Some([*files.first()?, *files.iter().max()?, *files.last()?].map(|kib| kib / 1024))
    }
}

impl fmt::Display for Growth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let last = |kib: &[u64]| kib.last().map_or(0, |kib| kib / 1024);
        let (memory, files) = (last(&self.memory_kib), last(&self.files_kib));
        write!(f, "the steady daemon has {memory} MiB, the database's files {files} MiB")
    }
}

/// The resident memory of a process.
pub fn memory_kib(pid: u32) -> Option<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find(|line| line.starts_with("VmRSS:"))?;
    line.split_whitespace().nth(1)?.parse().ok()
}

/// The sizes of all files below a folder; what vanishes meanwhile does not count.
fn size_kib(folder: &Path) -> u64 {
    let mut folders: Vec<PathBuf> = vec![folder.to_owned()];
    let mut bytes = 0;
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
            match entry.metadata() {
                Ok(found) if found.is_dir() => folders.push(entry.path()),
                Ok(found) => bytes += found.len(),
                Err(_) => {}
            }
        }
    }
    bytes / 1024
}

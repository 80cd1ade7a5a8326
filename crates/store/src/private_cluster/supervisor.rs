//! The thread that starts the server, watches it for life, starts it again when it dies, and stops it when asked.
//! One thread for all of it, because the kernel's death signal follows the thread that started the child.
//! It must never start a server while another runs over the same cluster.

use std::path::{Path, PathBuf};
use std::process::Child;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use tokio::sync::{oneshot, watch};

use super::binaries::Binaries;
use super::data_dir::DataDirLock;
use super::error::ClusterError;
use super::initdb::{self, CLUSTER_FOLDER};
use super::process::{self, PidFile, Whose, identify, signal};
use super::spawn::{Lifetime, ServerCommand};
use super::user::ServerUser;
use super::{ClusterState, PrivateClusterOptions, socket};

const LOOK_EVERY: Duration = Duration::from_millis(20);
const WATCH_EVERY: Duration = Duration::from_millis(100);
const ROTATE_EVERY: Duration = Duration::from_secs(60);
/// Crash recovery replays up to `max_wal_size` of log.
const START_LIMIT: Duration = Duration::from_secs(600);
/// A server that is shutting down writes a checkpoint first.
const MAKE_ROOM_LIMIT: Duration = Duration::from_secs(120);
/// Processes without a postmaster notice it soon, unless they are busy; then they are told.
const ORPHANS_GRACE: Duration = Duration::from_secs(3);
/// Processes that we cannot see may still hold the shared memory for a moment.
const START_ATTEMPTS: u32 = 5;
const STEPS_OF_STOPPING: [(Signal, Duration); 3] = [
    (Signal::SIGINT, Duration::from_secs(60)),
    (Signal::SIGQUIT, Duration::from_secs(10)),
    (Signal::SIGKILL, Duration::from_secs(5)),
];
const LONGEST_RESTART_DELAY: Duration = Duration::from_secs(10);
/// A server that lived this long died of something new.
const LONG_LIFE: Duration = Duration::from_secs(30);

/// What the supervisor needs, made ready before its thread begins.
pub(super) struct Plan {
    command: ServerCommand,
    lock: DataDirLock,
}

impl Plan {
    /// Finds programs, user and folders, and makes the cluster when it is missing.
    pub(super) fn prepare(options: &PrivateClusterOptions, lock: DataDirLock) -> Result<Self, ClusterError> {
        let data_dir = lock.data_dir();
        let command = server_command(data_dir, options)?;
        initdb::make_if_missing(data_dir, &command.binaries, &command.user)?;
        Ok(Self { command, lock })
    }
}

/// Finds programs and user for a server under `data_dir`, and checks that they get there.
pub(crate) fn server_command(
    data_dir: &Path,
    options: &PrivateClusterOptions,
) -> Result<ServerCommand, ClusterError> {
    let cluster = data_dir.join(CLUSTER_FOLDER);
    let binaries = Binaries::find(options.binaries.as_deref(), &cluster)?;
    let user = ServerUser::choose(&cluster)?;
    user.check_reach(data_dir, &binaries)?;
    Ok(ServerCommand {
        binaries,
        user,
        socket_dir: socket::choose(data_dir, &std::env::temp_dir())?,
        cluster,
        settings: options.settings.clone(),
        log: data_dir.join("postgres.log"),
    })
}

/// Adopts or starts a server that outlives this process; returns its process id and its socket's folder. For the tests'
/// harness, whose processes share one.
pub(crate) fn bring_up_detached(
    options: &PrivateClusterOptions,
    lock: DataDirLock,
) -> Result<(u32, PathBuf), ClusterError> {
    // Both ends stay here, so that nobody asks us to stop.
    let (_nobody_stops, stop) = std::sync::mpsc::channel();
    let (state, _) = watch::channel(ClusterState::Starting);
    let mut supervisor = Supervisor::new(Plan::prepare(options, lock)?, stop, state);
    supervisor.lifetime = Lifetime::UntilStopped;
    let server = supervisor.bring_up()?;
    Ok((server.pid(), supervisor.command.socket_dir))
}

/// A running server: our child, or one that an earlier campaignd left.
enum Server {
    Child(Child),
    Adopted(u32),
}

/// The thread's state.
pub(super) struct Supervisor {
    command: ServerCommand,
    stop: Receiver<()>,
    stopping: bool,
    state: watch::Sender<ClusterState>,
    lifetime: Lifetime,
    // Held until the server is gone: nobody else may touch the folder before.
    lock: DataDirLock,
}

impl Supervisor {
    pub(super) fn new(plan: Plan, stop: Receiver<()>, state: watch::Sender<ClusterState>) -> Self {
        Self {
            command: plan.command,
            stop,
            stopping: false,
            state,
            lifetime: Lifetime::WithThisThread,
            lock: plan.lock,
        }
    }

    /// Runs until it is asked to stop. The first start's outcome (the socket's folder) goes to `first`.
    pub(super) fn run(mut self, first: oneshot::Sender<Result<PathBuf, ClusterError>>) {
        let server = match self.bring_up() {
            Ok(server) => server,
            Err(error) => {
                // The folder is free before anyone hears of it.
                drop(self);
                let _ = first.send(Err(error));
                return;
            }
        };
        self.report_running(&server);
        let _ = first.send(Ok(self.command.socket_dir.clone()));
        self.keep_up(server);
        tracing::info!(cluster = %self.command.cluster.display(), "the private PostgreSQL is stopped");
        // The folder is free before anyone hears that we are done.
        let Self { state, lock, .. } = self;
        drop(lock);
        state.send_replace(ClusterState::Stopped);
    }

    fn keep_up(&mut self, mut server: Server) {
        let mut delay = Duration::ZERO;
        loop {
            let began = Instant::now();
            let Some(reason) = self.watch(&mut server) else { return self.stop_server(&mut server) };
            if began.elapsed() > LONG_LIFE {
                delay = Duration::ZERO;
            }
            tracing::warn!(%reason, "the private PostgreSQL ended; starting it again");
            self.state.send_replace(ClusterState::Restarting { reason });
            match self.bring_up_again(&mut delay) {
                Some(again) => server = again,
                None => return,
            }
            self.report_running(&server);
        }
    }

    /// Starts the server until it runs, ever more slowly; `None` when we were asked to stop.
    fn bring_up_again(&mut self, delay: &mut Duration) -> Option<Server> {
        loop {
            if self.pause(*delay) {
                return None;
            }
            *delay = (*delay * 2).clamp(Duration::from_millis(100), LONGEST_RESTART_DELAY);
            match self.bring_up() {
                Ok(server) => return Some(server),
                Err(_) if self.stopping => return None,
                Err(error) => {
                    tracing::error!(%error, "the private PostgreSQL does not start; trying again");
                    self.state.send_replace(ClusterState::Restarting { reason: error.to_string() });
                }
            }
        }
    }

    /// Waits until the server ends (why) or we are asked to stop (`None`).
    fn watch(&mut self, server: &mut Server) -> Option<String> {
        let mut rotated = Instant::now();
        loop {
            if let Some(reason) = self.ended(server) {
                return Some(reason);
            }
            if self.pause(WATCH_EVERY) {
                return None;
            }
            if rotated.elapsed() > ROTATE_EVERY {
                rotated = Instant::now();
                if let Err(error) = self.command.rotate_log() {
                    tracing::warn!(log = %self.command.log.display(), %error, "the server's log cannot be rotated");
                }
            }
        }
    }

    fn ended(&self, server: &mut Server) -> Option<String> {
        match server {
            Server::Child(child) => match child.try_wait() {
                Ok(None) => None,
                Ok(Some(status)) => Some(status.to_string()),
                Err(error) => Some(error.to_string()),
            },
            Server::Adopted(pid) => {
                let whose = identify(*pid, &self.command.cluster, &self.command.user);
                matches!(whose, Whose::Gone | Whose::Foreign).then(|| "it is gone".to_owned())
            }
        }
    }

    fn stop_server(&self, server: &mut Server) {
        let pid = server.pid();
        for (step, patience) in STEPS_OF_STOPPING {
            signal(pid, step);
            let deadline = Instant::now() + patience;
            while Instant::now() < deadline {
                if self.ended(server).is_some() {
                    return;
                }
                std::thread::sleep(LOOK_EVERY);
            }
            tracing::warn!(pid, signal = %step, "the private PostgreSQL has not stopped in time");
        }
    }

    fn bring_up(&mut self) -> Result<Server, ClusterError> {
        if let Some(adopted) = self.adopt_or_make_room()? {
            return Ok(adopted);
        }
        self.clear_orphans()?;
        for attempt in 1.. {
            let mut server = Server::Child(self.command.spawn(self.lifetime)?);
            match self.wait_until_ready(&mut server) {
                Ok(()) => return Ok(server),
                Err(error) if self.stopping || attempt == START_ATTEMPTS => return Err(error),
                Err(error) => tracing::debug!(%error, attempt, "the private PostgreSQL did not start"),
            }
            if self.pause(Duration::from_millis(100) * attempt) {
                break;
            }
        }
        Err(ClusterError::StoppedWhileStarting)
    }

    fn wait_until_ready(&mut self, server: &mut Server) -> Result<(), ClusterError> {
        let deadline = Instant::now() + START_LIMIT;
        while !process::is_ready(&self.command.cluster, &self.command.socket_dir, server.pid()) {
            if let Some(status) = self.ended(server) {
                return Err(self.command.failure(format!("did not start ({status})")));
            }
            if self.pause(LOOK_EVERY) || Instant::now() > deadline {
                self.stop_server(server);
                return Err(match self.stopping {
                    true => ClusterError::StoppedWhileStarting,
                    false => self.command.failure("was not ready in time"),
                });
            }
        }
        Ok(())
    }

    /// A server that runs over our cluster is adopted when it is ready; one that shuts down is waited for. A pid file
    /// whose number another program has by now is removed, because PostgreSQL would take it for a living server.
    fn adopt_or_make_room(&mut self) -> Result<Option<Server>, ClusterError> {
        let deadline = Instant::now() + MAKE_ROOM_LIMIT;
        while let Some(file) = PidFile::read(&self.command.cluster)? {
            // It may have been started through another path; clients must go where it listens.
            let socket_dir = file.socket_dir.clone().unwrap_or_else(|| self.command.socket_dir.clone());
            match identify(file.pid, &self.command.cluster, &self.command.user) {
                Whose::Gone => return Ok(None),
                Whose::Foreign => return self.remove_stale_pid_file().map(|()| None),
                Whose::Ours if process::is_ready(&self.command.cluster, &socket_dir, file.pid) => {
                    tracing::info!(pid = file.pid, "adopted the private PostgreSQL that was running already");
                    self.command.socket_dir = socket_dir;
                    return Ok(Some(Server::Adopted(file.pid)));
                }
                Whose::Ours => {}
            }
            if self.pause(LOOK_EVERY) {
                return Err(ClusterError::StoppedWhileStarting);
            }
            if Instant::now() > deadline {
                let what = format!(
                    "has a server already (process {}) that neither answers nor ends; stop it",
                    file.pid
                );
                return Err(self.command.failure(what));
            }
        }
        Ok(None)
    }

    fn remove_stale_pid_file(&self) -> Result<(), ClusterError> {
        if !process::server_processes(&self.command.cluster, &self.command.user).is_empty() {
            // PostgreSQL's own check of the shared memory needs the file; the orphans are dealt with first.
            self.clear_orphans()?;
        }
        let path = PidFile::path(&self.command.cluster);
        tracing::info!(file = %path.display(), "removing the pid file of a server that is gone");
        match std::fs::remove_file(&path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                Err(ClusterError::io("remove the stale file", &path, error))
            }
            _ => Ok(()),
        }
    }

    /// Waits for processes that outlived their postmaster, then tells them to quit (they have no one to work for).
    fn clear_orphans(&self) -> Result<(), ClusterError> {
        let began = Instant::now();
        let steps = [(ORPHANS_GRACE, Signal::SIGQUIT), (ORPHANS_GRACE * 2, Signal::SIGKILL)];
        let mut steps = steps.into_iter().peekable();
        loop {
            let orphans = process::server_processes(&self.command.cluster, &self.command.user);
            if orphans.is_empty() {
                return Ok(());
            }
            if let Some((_, step)) = steps.next_if(|(after, _)| began.elapsed() > *after) {
                tracing::warn!(?orphans, signal = %step, "processes of the dead PostgreSQL do not end by themselves");
                orphans.iter().for_each(|pid| signal(*pid, step));
            }
            if began.elapsed() > ORPHANS_GRACE * 4 {
                return Err(self
                    .command
                    .failure(format!("left processes behind that do not end: {orphans:?}")));
            }
            std::thread::sleep(LOOK_EVERY);
        }
    }

    /// Waits; true when we were asked to stop (or the cluster's handle was dropped).
    fn pause(&mut self, time: Duration) -> bool {
        if !self.stopping {
            self.stopping = !matches!(self.stop.recv_timeout(time), Err(RecvTimeoutError::Timeout));
        }
        self.stopping
    }

    fn report_running(&self, server: &Server) {
        let pid = server.pid();
        tracing::info!(pid, cluster = %self.command.cluster.display(), "the private PostgreSQL is ready");
        self.state.send_replace(ClusterState::Running { pid });
    }
}

impl Server {
    fn pid(&self) -> u32 {
        match self {
            Self::Child(child) => child.id(),
            Self::Adopted(pid) => *pid,
        }
    }
}

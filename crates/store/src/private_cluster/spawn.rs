//! Starts the server's programs: a clean environment, no terminal, a process group of their own (so that Ctrl-C reaches
//! campaignd alone), and a log of bounded size.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom};
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use super::binaries::Binaries;
use super::die_with_parent;
use super::error::ClusterError;
use super::user::ServerUser;
use super::{settings, socket};

/// At most this much log is kept in the current file, and as much in the one before.
const LONGEST_LOG_BYTES: u64 = 8 * 1024 * 1024;
const QUOTED_LOG_BYTES: u64 = 2_000;

/// How long the server may live.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Lifetime {
    /// Until the calling thread ends.
    WithThisThread,
    /// Until somebody stops it.
    UntilStopped,
}

/// Everything that a start of the server needs.
#[derive(Clone, Debug)]
pub(crate) struct ServerCommand {
    pub(crate) binaries: Binaries,
    pub(crate) user: ServerUser,
    pub(crate) cluster: PathBuf,
    pub(crate) socket_dir: PathBuf,
    pub(crate) settings: Vec<(String, String)>,
    pub(crate) log: PathBuf,
}

impl ServerCommand {
    /// Starts postgres as a child of this process.
    pub(crate) fn spawn(&self, lifetime: Lifetime) -> Result<Child, ClusterError> {
        socket::prepare(&self.socket_dir, &self.user)?;
        self.rotate_log().and_then(|()| self.open_log()).map_or_else(
            |source| Err(ClusterError::io("open the log", &self.log, source)),
            |log| self.spawn_with(log, lifetime),
        )
    }

    fn spawn_with(&self, log: File, lifetime: Lifetime) -> Result<Child, ClusterError> {
        let program = self.binaries.program("postgres");
        let mut command = quiet_command(&program, &self.user);
        command.arg("-D").arg(&self.cluster);
        for (name, value) in settings::all(&self.settings, &self.socket_dir) {
            command.arg("-c").arg(format!("{name}={value}"));
        }
        let copy = log.try_clone().map_err(|source| ClusterError::io("open the log", &self.log, source))?;
        command.stdout(copy).stderr(log);
        if lifetime == Lifetime::WithThisThread {
            die_with_parent::tie_to_this_thread(&mut command);
        }
        command.spawn().map_err(|source| ClusterError::io("start", &program, source))
    }

    fn open_log(&self) -> io::Result<File> {
        OpenOptions::new().append(true).create(true).mode(0o600).open(&self.log)
    }

    /// Keeps the log bounded. The server appends, so the file may be emptied under it.
    pub(crate) fn rotate_log(&self) -> io::Result<()> {
        match fs::metadata(&self.log) {
            Ok(found) if found.len() > LONGEST_LOG_BYTES => {
                fs::copy(&self.log, self.log.with_extension("log.1"))?;
                OpenOptions::new().write(true).open(&self.log)?.set_len(0)
            }
            _ => Ok(()),
        }
    }

    /// An error about this server, with the last words of its log.
    pub(crate) fn failure(&self, what: impl Into<String>) -> ClusterError {
        let log_tail = tail(&self.log).unwrap_or_else(|error| format!("(it cannot be read: {error})"));
        ClusterError::Server {
            cluster: self.cluster.clone(),
            what: what.into(),
            log: self.log.clone(),
            log_tail,
        }
    }
}

/// A command as the server's user, in a folder that every user can enter, that cannot reach our terminal or settings.
pub(super) fn quiet_command(program: &Path, user: &ServerUser) -> Command {
    let mut command = Command::new(program);
    command.env_clear().env("LC_ALL", "C").env("TZ", "UTC");
    for name in ["PATH", "LD_LIBRARY_PATH"] {
        if let Some(value) = std::env::var_os(name) {
            command.env(name, value);
        }
    }
    command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .current_dir("/")
        .process_group(0);
    user.apply(&mut command);
    command
}

fn tail(log: &Path) -> io::Result<String> {
    let mut file = File::open(log)?;
    let length_bytes = file.metadata()?.len();
    file.seek(SeekFrom::Start(length_bytes.saturating_sub(QUOTED_LOG_BYTES)))?;
    let mut bytes = Vec::new();
    file.take(QUOTED_LOG_BYTES).read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).trim().to_owned())
}

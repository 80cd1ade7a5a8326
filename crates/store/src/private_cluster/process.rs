//! What the kernel and `postmaster.pid` say about servers over a cluster: is one running, is it ready, did a dead one
//! leave processes behind. Judged by the working folder, which PostgreSQL sets to its cluster; names alone prove nothing.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::error::ClusterError;
use super::socket;
use super::user::ServerUser;

/// What `postmaster.pid` says (PostgreSQL, miscadmin.h, "LOCK_FILE_LINE_").
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct PidFile {
    pub(crate) pid: u32,
    pub(crate) socket_dir: Option<PathBuf>,
    pub(crate) status: String,
}

impl PidFile {
    pub(crate) fn path(cluster: &Path) -> PathBuf {
        cluster.join("postmaster.pid")
    }

    /// Reads it; `None` when there is none, or when it is being written.
    pub(crate) fn read(cluster: &Path) -> Result<Option<Self>, ClusterError> {
        let path = Self::path(cluster);
        match fs::read_to_string(&path) {
            Ok(text) => Ok(Self::parse(&text)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(source) => Err(ClusterError::io("read", &path, source)),
        }
    }

    fn parse(text: &str) -> Option<Self> {
        let mut lines = text.lines().map(str::trim);
        // A server in single-user mode writes its number with a minus sign.
        let pid = lines.next()?.parse::<i32>().ok()?.unsigned_abs();
        let socket_dir = lines.nth(3).filter(|line| !line.is_empty()).map(PathBuf::from);
        let status = lines.nth(2).unwrap_or_default().to_owned();
        Some(Self { pid, socket_dir, status })
    }

    fn says_ready(&self) -> bool {
        self.status == "ready"
    }
}

/// Whose a process is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Whose {
    /// A server process over our cluster.
    Ours,
    /// Some other process that was given a dead server's number, or a dead one that nobody has collected yet.
    Foreign,
    /// No such process.
    Gone,
}

/// Looks at process `pid` with the eyes of the server's user.
pub(crate) fn identify(pid: u32, cluster: &Path, user: &ServerUser) -> Whose {
    let _eyes = user.eyes();
    match fs::read_to_string(format!("/proc/{pid}/comm")) {
        Ok(name) if is_server(&name) && works_in(pid, cluster) => Whose::Ours,
        Ok(_) => Whose::Foreign,
        Err(_) => Whose::Gone,
    }
}

fn is_server(name: &str) -> bool {
    name.starts_with("postgres")
}

fn works_in(pid: u32, cluster: &Path) -> bool {
    match (fs::metadata(format!("/proc/{pid}/cwd")), fs::metadata(cluster)) {
        (Ok(cwd), Ok(own)) => (cwd.dev(), cwd.ino()) == (own.dev(), own.ino()),
        // Dead but not collected yet, or another user's.
        _ => false,
    }
}

/// Whether the server `pid` says that it is ready and its socket answers.
pub(crate) fn is_ready(cluster: &Path, socket_dir: &Path, pid: u32) -> bool {
    matches!(PidFile::read(cluster), Ok(Some(file)) if file.pid == pid && file.says_ready())
        && UnixStream::connect(socket::file(socket_dir)).is_ok()
}

/// The server processes whose working folder is our cluster: without a postmaster they keep its shared memory alive,
/// and PostgreSQL refuses to start until they are gone.
pub(crate) fn server_processes(cluster: &Path, user: &ServerUser) -> Vec<u32> {
    let _eyes = user.eyes();
    let Ok(processes) = fs::read_dir("/proc") else { return Vec::new() };
    let pids = processes.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    pids.filter(|pid| fs::read_to_string(format!("/proc/{pid}/comm")).is_ok_and(|name| is_server(&name)))
        .filter(|pid| works_in(*pid, cluster))
        .collect()
}

/// Sends a signal; a process that is gone already needs none.
pub(crate) fn signal(pid: u32, signal: Signal) {
    let Ok(raw) = i32::try_from(pid) else { return };
    if let Err(error) = kill(Pid::from_raw(raw), signal) {
        tracing::debug!(pid, %signal, %error, "the signal was not delivered");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pid_file_is_read_line_by_line() {
        let text = "4711\n/data/postgres\n1790000000\n5432\n/data/run\n\n  5432001    131072\nready   \n";
        let file = PidFile::parse(text).unwrap();
        assert_eq!(file.pid, 4711);
        assert_eq!(file.socket_dir, Some(PathBuf::from("/data/run")));
        assert!(file.says_ready());
        assert!(!PidFile::parse("4711\n/data/postgres\n").unwrap().says_ready());
        assert_eq!(PidFile::parse(""), None);
    }

    #[test]
    fn a_process_is_told_apart_by_its_working_folder() {
        let here = std::env::current_dir().unwrap();
        let user = ServerUser { uid: 0, gid: 0, name: String::new(), is_other: false };
        // We are no postgres, wherever we stand.
        assert_eq!(identify(std::process::id(), &here, &user), Whose::Foreign);
        assert_eq!(identify(u32::MAX, &here, &user), Whose::Gone);
        assert!(server_processes(&here, &user).is_empty());
    }
}

//! The daemon's folder: who holds it, which node it is, and throw-away folders for demos and tests.
//! Whoever holds the lock is the only living process of that node; a killed process loses it at once.

use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use uuid::Uuid;

use super::error::ClusterError;

const LOCK_FILE: &str = "lock";
const NODE_ID_FILE: &str = "node-id";

/// The exclusive lock on a `data_dir`. Clones share it; it is released with the last of them, or with the process.
#[derive(Clone, Debug)]
pub struct DataDirLock {
    data_dir: PathBuf,
    _file: Arc<File>,
}

impl DataDirLock {
    /// Makes the folder when it is missing and takes its lock, or says who holds it.
    pub fn take(data_dir: &Path) -> Result<Self, ClusterError> {
        create_reachable(data_dir)?;
        let data_dir = fs::canonicalize(data_dir)
            .map_err(|source| ClusterError::io("resolve the data_dir", data_dir, source))?;
        let path = data_dir.join(LOCK_FILE);
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(&path)
            .map_err(|source| ClusterError::io("open the lock file", &path, source))?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                return Err(ClusterError::InUse { owner: owner(&mut file), data_dir });
            }
            Err(TryLockError::Error(source)) => return Err(ClusterError::io("lock", &path, source)),
        }
        // The process id is for the message above only; the lock itself is the kernel's.
        let noted =
            file.set_len(0).and_then(|()| file.write_all(format!("{}\n", std::process::id()).as_bytes()));
        noted.map_err(|source| ClusterError::io("write to the lock file", &path, source))?;
        Ok(Self { data_dir, _file: Arc::new(file) })
    }

    /// The folder, as an absolute path without links.
    #[must_use]
    pub fn data_dir(&self) -> &Path {
        &self.data_dir
    }

    /// This node's id: see `node_id`.
    pub fn node_id(&self, fresh: Uuid) -> Result<Uuid, ClusterError> {
        node_id(&self.data_dir, fresh)
    }
}

fn owner(file: &mut File) -> String {
    let mut text = String::new();
    match file.read_to_string(&mut text) {
        Ok(_) if !text.trim().is_empty() => format!(" (process {})", text.trim()),
        _ => String::new(),
    }
}

/// The id of the node that lives in `data_dir`. A folder without one gets `fresh`, written so that a crash leaves either
/// no id or a whole one. Call it with the lock held.
pub fn node_id(data_dir: &Path, fresh: Uuid) -> Result<Uuid, ClusterError> {
    let path = data_dir.join(NODE_ID_FILE);
    match fs::read_to_string(&path) {
        Ok(text) => return Uuid::parse_str(text.trim()).map_err(|_| ClusterError::NodeId { path }),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(source) => return Err(ClusterError::io("read the node id", &path, source)),
    }
    write_durably(data_dir, &path, &format!("{fresh}\n"))
        .map_err(|source| ClusterError::io("write the node id", &path, source))?;
    Ok(fresh)
}

fn write_durably(folder: &Path, path: &Path, text: &str) -> io::Result<()> {
    let unfinished = path.with_extension("new");
    let mut file =
        OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&unfinished)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    fs::rename(&unfinished, path)?;
    File::open(folder)?.sync_all()
}

/// Makes `folder` and what is missing above it. What root makes can be passed through by everyone, because the database
/// runs as another user; it still cannot be listed, and what lies inside has its own modes.
fn create_reachable(folder: &Path) -> Result<(), ClusterError> {
    let failed = |source| ClusterError::io("make the data_dir", folder, source);
    let missing: Vec<&Path> =
        folder.ancestors().filter(|part| !part.as_os_str().is_empty() && !part.exists()).collect();
    let mode = if nix::unistd::geteuid().is_root() { 0o711 } else { 0o700 };
    for part in missing.into_iter().rev() {
        match DirBuilder::new().mode(mode).create(part) {
            // The umask may have taken away more than we want.
            Ok(()) => fs::set_permissions(part, fs::Permissions::from_mode(mode)).map_err(failed)?,
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(source) => return Err(failed(source)),
        }
    }
    Ok(())
}

/// A fresh folder in the system's temporary directory that the database's user can reach; removed when dropped.
/// For `demo` and tests: a checkout or a home may be closed to that user.
#[derive(Debug)]
pub struct TemporaryDataDir {
    path: PathBuf,
}

impl TemporaryDataDir {
    /// Makes `campaignd-<purpose>-<process>-<number>`.
    pub fn create(purpose: &str) -> Result<Self, ClusterError> {
        Self::create_in(&std::env::temp_dir(), purpose)
    }

    /// The same in `root`, which the database's user must be able to enter.
    pub fn create_in(root: &Path, purpose: &str) -> Result<Self, ClusterError> {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        loop {
            let number = NUMBER.fetch_add(1, Ordering::Relaxed);
            let path = root.join(format!("campaignd-{purpose}-{}-{number}", std::process::id()));
            match DirBuilder::new().mode(0o711).create(&path) {
                Ok(()) => {
                    let opened = fs::set_permissions(&path, fs::Permissions::from_mode(0o711));
                    opened.map_err(|source| ClusterError::io("open up", &path, source))?;
                    return Ok(Self { path });
                }
                // Left over by a process of the same number that was killed.
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(source) => return Err(ClusterError::io("make the folder", &path, source)),
            }
        }
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for TemporaryDataDir {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_dir_all(&self.path) {
            tracing::warn!(folder = %self.path.display(), %error, "the temporary folder stays behind; remove it by hand");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_owner_is_told_who_the_first_is() {
        let folder = TemporaryDataDir::create("lock").unwrap();
        let first = DataDirLock::take(folder.path()).unwrap();
        let message = DataDirLock::take(folder.path()).unwrap_err().to_string();
        assert!(message.contains("in use by another campaignd"), "{message}");
        assert!(message.contains(&std::process::id().to_string()), "{message}");
        let shared = first.clone();
        drop(first);
        assert!(DataDirLock::take(folder.path()).is_err());
        drop(shared);
        DataDirLock::take(folder.path()).unwrap();
    }

    #[test]
    fn a_node_keeps_its_id() {
        let folder = TemporaryDataDir::create("node").unwrap();
        let data_dir = folder.path().join("deep/inside");
        let lock = DataDirLock::take(&data_dir).unwrap();
        let (first, second) = (Uuid::from_u128(1), Uuid::from_u128(2));
        assert_eq!(lock.node_id(first).unwrap(), first);
        assert_eq!(lock.node_id(second).unwrap(), first);
        fs::write(data_dir.join(NODE_ID_FILE), "nonsense").unwrap();
        assert!(matches!(lock.node_id(second), Err(ClusterError::NodeId { .. })));
    }
}

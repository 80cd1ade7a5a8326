//! Who the server runs as. PostgreSQL refuses root, so root becomes the owner of the existing cluster, else `postgres`,
//! else `nobody`; everyone else stays who they are.

use std::fs;
use std::io;
use std::marker::PhantomData;
use std::os::unix::fs::MetadataExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use nix::unistd::{Gid, Uid, User, setfsgid, setfsuid};

use super::binaries::Binaries;
use super::error::ClusterError;
use super::spawn::quiet_command;

/// The user that initdb and postgres run as.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ServerUser {
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    pub(crate) name: String,
    /// We are root and this is somebody else.
    pub(crate) is_other: bool,
}

impl ServerUser {
    /// The user for the cluster in `cluster`, which need not exist yet.
    pub(crate) fn choose(cluster: &Path) -> Result<Self, ClusterError> {
        let owner = fs::metadata(cluster).ok().map(|found| (found.uid(), found.gid()));
        let uid = Uid::effective();
        let user = match owner {
            _ if !uid.is_root() => Self {
                uid: uid.as_raw(),
                gid: Gid::effective().as_raw(),
                name: name_of(uid),
                is_other: false,
            },
            Some((owner, gid)) if owner != 0 => {
                Self { uid: owner, gid, name: name_of(Uid::from_raw(owner)), is_other: true }
            }
            _ => Self::unprivileged()?,
        };
        match owner {
            Some((owner, _)) if owner != user.uid => {
                Err(ClusterError::ForeignOwner { cluster: cluster.to_owned(), owner, user: user.name })
            }
            _ => Ok(user),
        }
    }

    fn unprivileged() -> Result<Self, ClusterError> {
        let found = ["postgres", "nobody"].iter().find_map(|name| User::from_name(name).ok().flatten());
        let user = found.ok_or(ClusterError::NoUser)?;
        Ok(Self { uid: user.uid.as_raw(), gid: user.gid.as_raw(), name: user.name, is_other: true })
    }

    /// Makes `command` run as this user (and without root's groups, which std drops with the user id).
    pub(crate) fn apply(&self, command: &mut Command) {
        if self.is_other {
            command.uid(self.uid).gid(self.gid);
        }
    }

    /// Lets the current thread look at files and processes as this user until the value is dropped. Root in a container
    /// usually lacks CAP_SYS_PTRACE and may not see the working folder of another user's process; that user may.
    pub(crate) fn eyes(&self) -> Option<Eyes> {
        self.is_other.then(|| Eyes {
            old_gid: setfsgid(Gid::from_raw(self.gid)),
            old_uid: setfsuid(Uid::from_raw(self.uid)),
            _stays_here: PhantomData,
        })
    }

    /// Hands a folder that we made to this user.
    pub(crate) fn give(&self, path: &Path) -> Result<(), ClusterError> {
        if !self.is_other {
            return Ok(());
        }
        let given = std::os::unix::fs::chown(path, Some(self.uid), Some(self.gid));
        given.map_err(|source| ClusterError::io("hand over to the database's user", path, source))
    }

    /// Finds out by trying whether this user gets to `data_dir` and to the programs, and names the folder that is closed.
    pub(crate) fn check_reach(&self, data_dir: &Path, binaries: &Binaries) -> Result<(), ClusterError> {
        let program = binaries.program("postgres");
        let mut command = quiet_command(&program, self);
        match command.arg("--version").current_dir(data_dir).output() {
            Ok(_) => Ok(()),
            Err(error) if self.is_other && error.kind() == io::ErrorKind::PermissionDenied => {
                let folder = self.closed_folder(data_dir).or_else(|| self.closed_folder(&binaries.folder));
                let folder = folder.unwrap_or_else(|| data_dir.to_owned());
                Err(ClusterError::Unreachable { folder, user: self.name.clone() })
            }
            Err(source) => Err(ClusterError::io("run", &program, source)),
        }
    }

    /// The first folder on the way to `path` that this user may not pass through, going by the modes.
    fn closed_folder(&self, path: &Path) -> Option<PathBuf> {
        let parts: Vec<&Path> = path.ancestors().collect();
        let closed =
            parts.into_iter().rev().find(|part| fs::metadata(part).is_ok_and(|found| !self.may_pass(&found)));
        closed.map(Path::to_owned)
    }

    fn may_pass(&self, folder: &fs::Metadata) -> bool {
        let bit = match (folder.uid() == self.uid, folder.gid() == self.gid) {
            (true, _) => 0o100,
            (_, true) => 0o010,
            _ => 0o001,
        };
        folder.mode() & bit != 0
    }
}

/// See `ServerUser::eyes`.
pub(crate) struct Eyes {
    old_uid: Uid,
    old_gid: Gid,
    // It concerns one thread and must not be carried to another.
    _stays_here: PhantomData<*const ()>,
}

impl Drop for Eyes {
    fn drop(&mut self) {
        setfsuid(self.old_uid);
        setfsgid(self.old_gid);
    }
}

fn name_of(uid: Uid) -> String {
    User::from_uid(uid).ok().flatten().map_or_else(|| uid.to_string(), |user| user.name)
}

//! The folder of the server's socket: inside `data_dir` when the path is short enough for a socket address, else a
//! folder of our own in the system's temporary directory, whose owner is checked, because anyone may write there.

use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use super::PORT;
use super::error::ClusterError;
use super::user::ServerUser;

/// `sun_path` is 108 bytes with its final NUL.
const LONGEST_SOCKET_PATH_BYTES: usize = 107;

/// The socket's file.
pub(crate) fn file(folder: &Path) -> PathBuf {
    folder.join(format!(".s.PGSQL.{PORT}"))
}

/// Where the socket of the cluster under `data_dir` goes.
pub(crate) fn choose(data_dir: &Path, temporary: &Path) -> Result<PathBuf, ClusterError> {
    let name = format!("campaignd-{:016x}", stable_hash(data_dir.as_os_str().as_bytes()));
    let folders = [data_dir.join("run"), temporary.join(&name), Path::new("/tmp").join(&name)];
    folders.into_iter().find(|folder| fits(folder)).ok_or_else(|| ClusterError::SocketFolder {
        folder: data_dir.to_owned(),
        reason: "its path is too long; use a shorter data_dir".to_owned(),
    })
}

fn fits(folder: &Path) -> bool {
    // The setting is a quoted list, and the command line is text.
    let plain = folder.to_str().is_some_and(|text| !text.contains(['"', '\\', '\n']));
    plain && file(folder).as_os_str().len() <= LONGEST_SOCKET_PATH_BYTES
}

/// Makes the folder, closed to all but the server's user, or checks that it is so.
pub(crate) fn prepare(folder: &Path, user: &ServerUser) -> Result<(), ClusterError> {
    match DirBuilder::new().mode(0o700).create(folder) {
        Ok(()) => return user.give(folder),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
        Err(source) => return Err(ClusterError::io("make the folder", folder, source)),
    }
    let found = fs::symlink_metadata(folder).map_err(|source| ClusterError::io("look at", folder, source))?;
    let refuse = |reason: String| Err(ClusterError::SocketFolder { folder: folder.to_owned(), reason });
    if !found.is_dir() {
        return refuse("it is not a folder; remove it".to_owned());
    }
    // Root may have died between making it and giving it away.
    if found.uid() != user.uid && !(found.uid() == 0 && user.is_other) {
        return refuse(format!("it belongs to user id {}, not to {}; remove it", found.uid(), user.name));
    }
    let closed = fs::set_permissions(folder, fs::Permissions::from_mode(0o700));
    closed.map_err(|source| ClusterError::io("close to others", folder, source))?;
    user.give(folder)
}

/// FNV-1a: the name must be the same after every upgrade, so it may not depend on a library's choice.
pub(crate) fn stable_hash(bytes: &[u8]) -> u64 {
    bytes
        .iter()
        .fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_short_path_keeps_the_socket_at_home_and_a_long_one_moves_it() {
        let temporary = Path::new("/tmp");
        assert_eq!(
            choose(Path::new("/var/lib/campaignd"), temporary).unwrap(),
            Path::new("/var/lib/campaignd/run")
        );
        let long = PathBuf::from(format!("/{}", "x".repeat(100)));
        let moved = choose(&long, temporary).unwrap();
        assert!(moved.starts_with("/tmp") && fits(&moved), "{moved:?}");
        assert_eq!(moved, choose(&long, temporary).unwrap());
        assert_eq!(moved, choose(&long, &long).unwrap());
        assert_ne!(moved, choose(&long.join("y"), temporary).unwrap());
    }

    #[test]
    fn the_longest_allowed_path_is_allowed() {
        let home = "/".to_owned() + &"x".repeat(LONGEST_SOCKET_PATH_BYTES - 1 - "/.s.PGSQL.5432".len());
        assert!(fits(Path::new(&home)));
        assert!(!fits(Path::new(&(home + "x"))));
    }

    #[test]
    fn a_folder_that_is_somebody_elses_is_refused() {
        let own = ServerUser { uid: 12_345, gid: 12_345, name: "other".to_owned(), is_other: false };
        let folder = crate::private_cluster::TemporaryDataDir::create("socket").unwrap();
        let message = prepare(folder.path(), &own).unwrap_err().to_string();
        assert!(message.contains("belongs to user id"), "{message}");
    }
}

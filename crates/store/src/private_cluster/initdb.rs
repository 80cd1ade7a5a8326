//! Makes the cluster: into a temporary name first, renamed when it is whole, so that a crash in between leaves nothing
//! that looks like a cluster.

use std::fs::{self, DirBuilder, File};
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;

use super::DATABASE;
use super::binaries::Binaries;
use super::error::ClusterError;
use super::spawn::quiet_command;
use super::user::ServerUser;

/// The cluster's folder within `data_dir`.
pub(crate) const CLUSTER_FOLDER: &str = "postgres";
const UNFINISHED: &str = "postgres.unfinished";

/// Makes the cluster in `data_dir` unless it is there. Call it with the lock held.
pub(crate) fn make_if_missing(
    data_dir: &Path,
    binaries: &Binaries,
    user: &ServerUser,
) -> Result<(), ClusterError> {
    let cluster = data_dir.join(CLUSTER_FOLDER);
    if cluster.exists() {
        return Ok(());
    }
    let unfinished = data_dir.join(UNFINISHED);
    if unfinished.exists() {
        let removed = fs::remove_dir_all(&unfinished);
        removed.map_err(|source| ClusterError::io("remove the unfinished cluster", &unfinished, source))?;
    }
    let made = DirBuilder::new().mode(0o700).create(&unfinished);
    made.map_err(|source| ClusterError::io("make the folder", &unfinished, source))?;
    user.give(&unfinished)?;
    run_initdb(&unfinished, binaries, user)?;
    // One request for the whole file system is several times faster than initdb's own, file by file.
    File::open(&unfinished)
        .and_then(|folder| Ok(nix::unistd::syncfs(folder)?))
        .map_err(|source| ClusterError::io("write out the new cluster", &unfinished, source))?;
    fs::rename(&unfinished, &cluster)
        .and_then(|()| File::open(data_dir)?.sync_all())
        .map_err(|source| ClusterError::io("rename the new cluster to", &cluster, source))
}

fn run_initdb(cluster: &Path, binaries: &Binaries, user: &ServerUser) -> Result<(), ClusterError> {
    let program = binaries.program("initdb");
    let mut command = quiet_command(&program, user);
    command.args(["-U", DATABASE, "-E", "UTF8", "--locale=C", "--auth-local=trust", "--auth-host=reject"]);
    command.args(["--data-checksums", "--no-sync"]).arg("-D").arg(cluster);
    let output = command.output().map_err(|source| ClusterError::io("run", &program, source))?;
    if output.status.success() {
        return Ok(());
    }
    let said = [output.stderr, output.stdout].concat();
    Err(ClusterError::Initdb {
        cluster: cluster.to_owned(),
        output: String::from_utf8_lossy(&said).trim().to_owned(),
    })
}

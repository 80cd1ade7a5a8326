//! Why the private PostgreSQL could not be had: what was attempted on what, and what to do about it.
//! Nothing here holds a secret; the server's own last words are quoted from its log.

use std::path::{Path, PathBuf};

/// Everything that can keep a private cluster from running.
#[derive(Debug, thiserror::Error)]
pub enum ClusterError {
    /// No folder holds both programs.
    #[error(
        "no PostgreSQL server was found (looked for initdb and postgres in {searched}). Install it with \
         `apt-get install postgresql`, name its folder in the configuration, or give the URL of a database that runs already"
    )]
    NoBinaries {
        /// Where we looked.
        searched: String,
    },
    /// The programs are there but too old.
    #[error("the PostgreSQL in {} is version {found}; campaignd needs 14 or newer. Install a newer one with `apt-get install postgresql`", .folder.display())]
    TooOld {
        /// The folder of the programs.
        folder: PathBuf,
        /// Their major version.
        found: u32,
    },
    /// The cluster is of another major version than the programs.
    #[error(
        "the cluster in {} was made by PostgreSQL {made_by}, but only version {found} is installed. Install it with \
         `apt-get install postgresql-{made_by}`, or move the data over with pg_dump", .cluster.display()
    )]
    VersionMismatch {
        /// The cluster's folder.
        cluster: PathBuf,
        /// The major version that made it.
        made_by: u32,
        /// The major version at hand.
        found: u32,
    },
    /// Another daemon holds the folder.
    #[error("the data_dir {} is in use by another campaignd{owner}. Stop that one, or give this one a data_dir of its own", .data_dir.display())]
    InUse {
        /// The folder.
        data_dir: PathBuf,
        /// The holder as " (process 123)", or empty when it is unknown.
        owner: String,
    },
    /// We are root, and the user that the server runs as cannot get there.
    #[error(
        "the user {user}, as whom PostgreSQL runs because it refuses to run as root, cannot enter {}. Use a data_dir that \
         every user can reach, such as /var/lib/campaignd, or open the folder with `chmod o+x {}`, or run campaignd as an ordinary user",
        .folder.display(), .folder.display()
    )]
    Unreachable {
        /// The folder that is closed.
        folder: PathBuf,
        /// The user who stands before it.
        user: String,
    },
    /// We are root and there is nobody to become.
    #[error(
        "PostgreSQL refuses to run as root, and there is neither a user `postgres` nor a user `nobody` to run it as. Run campaignd as an ordinary user"
    )]
    NoUser,
    /// The cluster belongs to somebody else.
    #[error("the cluster in {} belongs to user id {owner}, but PostgreSQL would run as {user}. Run campaignd as that user, or hand the folder over with `chown -R {user} {}`", .cluster.display(), .cluster.display())]
    ForeignOwner {
        /// The cluster's folder.
        cluster: PathBuf,
        /// The numeric owner.
        owner: u32,
        /// The user that we would use.
        user: String,
    },
    /// The folder for the socket cannot be trusted or is too long.
    #[error("{} cannot hold the socket of the private PostgreSQL: {reason}", .folder.display())]
    SocketFolder {
        /// The folder.
        folder: PathBuf,
        /// What is wrong and what to do.
        reason: String,
    },
    /// A system call failed.
    #[error("cannot {attempt} {}: {source}", .path.display())]
    Io {
        /// What was attempted.
        attempt: &'static str,
        /// On what.
        path: PathBuf,
        /// The system's answer.
        source: std::io::Error,
    },
    /// initdb failed.
    #[error("initdb could not make a cluster in {}: {output}", .cluster.display())]
    Initdb {
        /// The cluster's folder.
        cluster: PathBuf,
        /// What it said.
        output: String,
    },
    /// The server did not come up, or would not make room.
    #[error("the private PostgreSQL in {} {what}; its log {} ends with: {log_tail}", .cluster.display(), .log.display())]
    Server {
        /// The cluster's folder.
        cluster: PathBuf,
        /// What happened.
        what: String,
        /// The log's path.
        log: PathBuf,
        /// The last lines of the log.
        log_tail: String,
    },
    /// The node's id file holds something else.
    #[error("{} does not hold a node id (a UUID). Restore it, or remove it to give this node a new id", .path.display())]
    NodeId {
        /// The file.
        path: PathBuf,
    },
    /// The server refused a statement of ours.
    #[error("cannot {attempt}: {source}")]
    Sql {
        /// What was attempted.
        attempt: &'static str,
        /// The server's answer.
        source: sqlx::Error,
    },
    /// It was stopped while it was being started.
    #[error("the private PostgreSQL was asked to stop while it was starting")]
    StoppedWhileStarting,
    /// Our own thread ended without a word.
    #[error("the thread that watches the private PostgreSQL ended unexpectedly; start campaignd again")]
    SupervisorDied,
}

impl ClusterError {
    pub(super) fn io(attempt: &'static str, path: &Path, source: std::io::Error) -> Self {
        Self::Io { attempt, path: path.to_owned(), source }
    }

    pub(super) fn sql(attempt: &'static str, source: sqlx::Error) -> Self {
        Self::Sql { attempt, source }
    }
}

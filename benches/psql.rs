//! The database as anybody sees it: through psql, on the daemon's own socket.

use std::{
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context as _, Result, ensure};

/// A way to the database of a private cluster.
#[derive(Clone)]
pub struct Psql {
    program: PathBuf,
    /// Where the socket is.
    pub socket_dir: PathBuf,
    /// The server's first process.
    pub postmaster: u32,
}

impl Psql {
    /// To the cluster that runs under `data_dir`.
    pub fn to(data_dir: &Path) -> Result<Self> {
        let options = store::private_cluster::running(data_dir).context("no private PostgreSQL runs")?;
        let socket_dir = options.get_socket().context("the cluster has a socket")?.clone();
        let lock = std::fs::read_to_string(socket_dir.join(".s.PGSQL.5432.lock"))?;
        let postmaster = lock.lines().next().unwrap_or_default().trim().parse()?;
        Ok(Self { program: find_program()?, socket_dir, postmaster })
    }

    /// The command, connected.
    pub fn command(&self) -> Command {
        let mut command = Command::new(&self.program);
        command.arg("-h").arg(&self.socket_dir).args(["-p", "5432", "-U", "campaignd", "-d", "campaignd"]);
        command.args(["-X", "-A", "-t", "-q", "-v", "ON_ERROR_STOP=1"]).stdin(Stdio::null());
        command
    }

    /// What a statement answers, as text.
    pub fn ask(&self, statement: &str) -> Result<String> {
        let output = self.command().args(["-c", statement]).output()?;
        let error = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "psql: {}", error.trim());
        Ok(String::from_utf8(output.stdout)?.trim().to_owned())
    }

    /// How many bytes the log has ever had.
    pub fn wal_bytes(&self) -> Result<f64> {
        Ok(self.ask("SELECT pg_current_wal_insert_lsn() - '0/0'")?.parse()?)
    }

    /// What makes a commit durable, as the server has it set.
    pub fn durability(&self) -> Result<String> {
        let names = ["fsync", "synchronous_commit", "full_page_writes"];
        let settings = names.map(|name| Ok(format!("{name}={}", self.ask(&format!("SHOW {name}"))?)));
        Ok(settings.into_iter().collect::<Result<Vec<String>>>()?.join(" "))
    }
}

fn find_program() -> Result<PathBuf> {
    let folders = std::fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let mut found: Vec<PathBuf> = folders.map(|folder| folder.path().join("bin/psql")).collect();
    found.retain(|path| path.exists());
    found.sort();
    let in_path = Command::new("psql").arg("--version").output().is_ok();
    let program = found.pop().or_else(|| in_path.then(|| PathBuf::from("psql")));
    program.context("psql is missing: apt-get install postgresql-client")
}

//! PgBouncer in transaction mode between the daemons of one world and PostgreSQL.

use std::{
    fs,
    io::{Read as _, Write as _},
    net::TcpStream,
    os::unix::fs::{PermissionsExt as _, chown},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Duration,
};

use nix::unistd::{User, geteuid};
use store::testing::TestDatabase;

use super::{daemon::free_port, wait_until, within};

/// Where packages put it.
const PLACES: [&str; 3] = ["/usr/sbin/pgbouncer", "/usr/bin/pgbouncer", "/usr/local/bin/pgbouncer"];

/// A PgBouncer of one test; ended with this value.
#[derive(Debug)]
pub struct Pooler {
    child: Child,
    port: u16,
    folder: PathBuf,
    database: String,
}

impl Pooler {
    /// Starts one in front of the database, with its own files in `folder`, and waits until it listens.
    pub async fn start(database: &TestDatabase, folder: &Path) -> Self {
        let program = PLACES.iter().find(|place| Path::new(place).exists());
        let program = program.expect("pgbouncer is missing: scripts/ensure.sh pgbouncer brings it");
        let folder = folder.join("pooler");
        fs::create_dir(&folder).unwrap();
        let port = free_port();
        let file = folder.join("pgbouncer.ini");
        fs::write(&file, settings(database, port)).unwrap();
        let mut command = Command::new(program);
        // It refuses to be root, and takes over the user that it is told.
        if geteuid().is_root() {
            let user = ["postgres", "nobody"].iter().find_map(|name| User::from_name(name).ok().flatten());
            let user = user.expect("there is a user postgres or nobody");
            for path in [&folder, &file] {
                chown(path, Some(user.uid.as_raw()), Some(user.gid.as_raw())).unwrap();
            }
            command.arg("-u").arg(&user.name);
        }
        fs::set_permissions(&folder, fs::Permissions::from_mode(0o755)).unwrap();
        let log = fs::File::create(folder.join("log.txt")).unwrap();
        command.arg(&file).stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log);
        let child = command.spawn().unwrap();
        let name = database.name().to_owned();
        let mut pooler = Self { child, port, folder, database: name };
        pooler.listens().await;
        pooler
    }

    /// The address that a daemon is given.
    pub fn url(&self) -> String {
        format!("postgres://campaignd@127.0.0.1:{}/{}?sslmode=disable", self.port, self.database)
    }

    async fn listens(&mut self) {
        wait_until("the pooler listens", within(15), async || {
            let ended = self.child.try_wait().unwrap();
            assert!(ended.is_none(), "the pooler ended ({ended:?}):\n{}", self.log());
            // What asks for TLS is answered with one byte, by which it is known to live.
            let mut stream = TcpStream::connect(("127.0.0.1", self.port)).ok()?;
            stream.set_read_timeout(Some(Duration::from_secs(2))).ok()?;
            stream.write_all(&[0, 0, 0, 8, 0x04, 0xd2, 0x16, 0x2f]).ok()?;
            stream.read_exact(&mut [0]).ok()
        })
        .await;
    }

    /// What it has logged.
    pub fn log(&self) -> String {
        fs::read_to_string(self.folder.join("log.txt")).unwrap_or_default()
    }
}

/// As a cautious operator writes it, with so few connections to the server that each is shared by many.
fn settings(database: &TestDatabase, port: u16) -> String {
    let options = database.connect_options();
    let host =
        options.get_socket().map_or_else(|| options.get_host().to_owned(), |path| path.display().to_string());
    let (name, server_port, user) = (database.name(), options.get_port(), options.get_username());
    format!(
        "[databases]\n{name} = host={host} port={server_port} dbname={name} user={user}\n\
         [pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {port}\nunix_socket_dir =\nauth_type = any\n\
         pool_mode = transaction\ndefault_pool_size = 8\nmax_client_conn = 400\nserver_round_robin = 1\n\
         server_reset_query_always = 0\nlog_connections = 0\nlog_disconnections = 0\n"
    )
}

impl Drop for Pooler {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("--- log of the pooler:\n{}", self.log());
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

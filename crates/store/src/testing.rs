//! Databases for tests, in every crate: a fresh one per test, cloned from a template in which the migrations have run.
//! All test processes of a run share one PostgreSQL, in memory or in the system's temporary directory (never in the checkout,
//! which the database's user may not be able to enter); the first starts it, and a small script ends it some seconds after
//! the last.
//! `CAMPAIGND_TEST_DATABASE_URL` names a server to use instead. Nothing here may be called by the program itself.
#![expect(clippy::expect_used, reason = "a test without its database should panic and say why")]

mod fill;
mod sizes;

use std::fmt::Write as _;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use nix::sys::statvfs::statvfs;
use sqlx::migrate::Migrator;
use sqlx::postgres::PgConnectOptions;
use sqlx::{AssertSqlSafe, ConnectOptions, Connection, PgConnection};
use tokio::sync::OnceCell;

pub use fill::{Filled, fill};
pub use sizes::{Size, sizes};

use crate::Database;
use crate::private_cluster::{
    self, DataDirLock, PrivateCluster, PrivateClusterOptions, TemporaryDataDir, bring_up_detached,
};

static MIGRATIONS: Migrator = sqlx::migrate!("../../migrations");
const SERVER_VARIABLE: &str = "CAMPAIGND_TEST_DATABASE_URL";
const REAPER: &str = include_str!("testing/reaper.sh");
/// Held while the template is made. The number only has to be ours.
const TEMPLATE_LOCK: i64 = 0x0063_616d_7061_6967;
/// Linux keeps files in memory here; containers often have very little of it.
const MEMORY: &str = "/dev/shm";
const PLENTY_BYTES: u64 = 2 * 1024 * 1024 * 1024;
/// Cloning fails while somebody looks at the template.
const CLONE_ATTEMPTS: u32 = 100;

/// A database of this test alone, dropped with this value.
#[derive(Debug)]
pub struct TestDatabase {
    options: PgConnectOptions,
    maintenance: PgConnectOptions,
    name: String,
}

/// A fresh database with the current schema.
pub async fn database() -> TestDatabase {
    let server = server().await;
    TestDatabase::create(server, Some(&server.template)).await
}

/// A fresh database without any schema.
pub async fn empty_database() -> TestDatabase {
    TestDatabase::create(server().await, None).await
}

impl TestDatabase {
    async fn create(server: &Server, template: Option<&str>) -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let name = format!("test_{}_{number}", std::process::id());
        let maintenance = server.maintenance.clone();
        let mut connection = maintenance.connect().await.expect("the tests' PostgreSQL takes a connection");
        // A killed process of the same number may have left its own.
        execute(&mut connection, format!("DROP DATABASE IF EXISTS {name} WITH (FORCE)")).await;
        let template = template.unwrap_or("template0");
        clone(&mut connection, &name, template).await;
        // It has done its work; how it ends does not matter.
        let _ = connection.close().await;
        Self { options: maintenance.clone().database(&name), maintenance, name }
    }

    /// How to reach it.
    #[must_use]
    pub fn connect_options(&self) -> PgConnectOptions {
        self.options.clone()
    }

    /// The same as a URL, for a daemon's configuration.
    #[must_use]
    pub fn url(&self) -> String {
        match self.options.get_socket() {
            Some(socket_dir) => private_cluster::url(socket_dir, &self.name),
            None => self.options.to_url_lossy().to_string(),
        }
    }

    /// The store's pools over it.
    #[must_use]
    pub fn open(&self) -> Database {
        Database::open(&self.options)
    }

    /// A single connection to it.
    pub async fn connect(&self) -> PgConnection {
        self.options.connect().await.expect("the test's database takes a connection")
    }

    /// Its name within the server.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }
}

impl Drop for TestDatabase {
    fn drop(&mut self) {
        let (maintenance, name) = (self.maintenance.clone(), self.name.clone());
        // The test's own runtime may be ending; what fails here is removed with the whole server.
        let dropper = std::thread::spawn(move || {
            let Ok(runtime) = tokio::runtime::Builder::new_current_thread().enable_all().build() else {
                return;
            };
            runtime.block_on(async {
                if let Ok(mut connection) = maintenance.connect().await {
                    let statement = AssertSqlSafe(format!("DROP DATABASE IF EXISTS {name} WITH (FORCE)"));
                    let _ = sqlx::raw_sql(statement).execute(&mut connection).await;
                    let _ = connection.close().await;
                }
            });
        });
        let _ = dropper.join();
    }
}

async fn clone(connection: &mut PgConnection, name: &str, template: &str) {
    for attempt in 1.. {
        let statement = AssertSqlSafe(format!("CREATE DATABASE {name} TEMPLATE {template}"));
        let Err(error) = sqlx::raw_sql(statement).execute(&mut *connection).await else { return };
        // 55006: "source database is being accessed by other users".
        let busy = error.as_database_error().is_some_and(|error| error.code().as_deref() == Some("55006"));
        assert!(busy && attempt < CLONE_ATTEMPTS, "cannot clone {template}: {error}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

async fn execute(connection: &mut PgConnection, statement: String) {
    let outcome = sqlx::raw_sql(AssertSqlSafe(statement.clone())).execute(connection).await;
    outcome.unwrap_or_else(|error| panic!("`{statement}` failed: {error}"));
}

/// A real cluster of this test alone, with every safeguard on: for tests that kill things.
#[derive(Debug)]
pub struct DurableCluster {
    /// The running cluster.
    pub cluster: PrivateCluster,
    folder: TemporaryDataDir,
}

/// Starts one in a folder of its own.
pub async fn durable_cluster() -> DurableCluster {
    let folder = data_dir("durable");
    let settings = vec![("shared_buffers".to_owned(), "32MB".to_owned())];
    let options = PrivateClusterOptions { data_dir: folder.path().to_owned(), binaries: None, settings };
    let cluster = PrivateCluster::start(options).await.unwrap_or_else(|error| panic!("{error}"));
    DurableCluster { cluster, folder }
}

impl DurableCluster {
    /// Its `data_dir`.
    #[must_use]
    pub fn data_dir(&self) -> &Path {
        self.folder.path()
    }

    /// Stops the server, then removes the folder.
    pub async fn stop(self) {
        self.cluster.stop().await;
    }
}

/// The server of this test process.
struct Server {
    maintenance: PgConnectOptions,
    template: String,
    // Its lock tells the reaper that somebody is here; the kernel releases it with the process.
    _user: Option<File>,
}

async fn server() -> &'static Server {
    static SERVER: OnceCell<Server> = OnceCell::const_new();
    SERVER.get_or_init(start_server).await
}

async fn start_server() -> Server {
    let (maintenance, user) = match std::env::var(SERVER_VARIABLE) {
        Ok(url) => (url.parse().unwrap_or_else(|error| panic!("{SERVER_VARIABLE}: {error}")), None),
        Err(_) => {
            let joined = tokio::task::spawn_blocking(join_shared_server).await;
            let (socket_dir, user) = joined.expect("the tests' PostgreSQL starts");
            (private_cluster::connect_options(&socket_dir, "postgres"), Some(user))
        }
    };
    let template = make_template(&maintenance).await;
    Server { maintenance, template, _user: user }
}

/// Makes the template unless it is there; its name says which migrations it holds.
async fn make_template(maintenance: &PgConnectOptions) -> String {
    let template = format!("campaignd_{}", schema_hash());
    let mut connection = maintenance.connect().await.expect("the tests' PostgreSQL takes a connection");
    execute(&mut connection, format!("SELECT pg_advisory_lock({TEMPLATE_LOCK})")).await;
    let exists: bool = sqlx::query_scalar("SELECT EXISTS (SELECT 1 FROM pg_database WHERE datname = $1)")
        .bind(&template)
        .fetch_one(&mut connection)
        .await
        .expect("pg_database can be read");
    if !exists {
        let unfinished = format!("{template}_unfinished");
        execute(&mut connection, format!("DROP DATABASE IF EXISTS {unfinished} WITH (FORCE)")).await;
        execute(&mut connection, format!("CREATE DATABASE {unfinished} TEMPLATE template0")).await;
        let database = Database::open(&maintenance.clone().database(&unfinished));
        database.migrate().await.unwrap_or_else(|error| panic!("the migrations fail: {error:?}"));
        database.close().await;
        execute(&mut connection, format!("ALTER DATABASE {unfinished} RENAME TO {template}")).await;
        execute(&mut connection, format!("ALTER DATABASE {template} ALLOW_CONNECTIONS false")).await;
    }
    // Closing it releases the lock.
    let _ = connection.close().await;
    template
}

fn schema_hash() -> String {
    let mut seen = String::new();
    for migration in MIGRATIONS.iter() {
        write!(seen, "{} {:?} ", migration.version, migration.checksum).expect("a String takes everything");
    }
    // FNV-1a over the migrations' own checksums.
    let hash = seen.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    format!("{hash:016x}")
}

/// Joins the run's server or starts it: the socket's folder, and the lock that says that we use it.
fn join_shared_server() -> (PathBuf, File) {
    let folder = root().join(shared_name());
    let user = become_user(&folder);
    let starting = open(&folder.join("starting"));
    starting.lock().expect("the lock on the start can be taken");
    let lock = DataDirLock::take(&folder).unwrap_or_else(|error| panic!("{error}"));
    let options =
        PrivateClusterOptions { data_dir: folder.clone(), binaries: None, settings: fast_settings() };
    let (_, socket_dir) = bring_up_detached(&options, lock).unwrap_or_else(|error| panic!("{error}"));
    start_reaper(&folder);
    (socket_dir, user)
}

/// The tests' folder for clusters: memory where there is plenty, because a cluster is some thousand files and a clone some
/// 300 (0.02 s there, 0.5 s on a slow disk); else the temporary directory.
fn root() -> PathBuf {
    let free_bytes = || statvfs(MEMORY).map_or(0, |found| found.blocks_available() * found.fragment_size());
    let chosen_before = || Path::new(MEMORY).join(shared_name()).exists();
    match std::env::var_os("TMPDIR") {
        None if chosen_before() || free_bytes() >= PLENTY_BYTES => PathBuf::from(MEMORY),
        _ => std::env::temp_dir(),
    }
}

fn shared_name() -> String {
    format!("campaignd-tests-{}", nix::unistd::geteuid())
}

/// A folder for a daemon or a cluster of one test, removed with the value. A crash of a process is a crash there too.
#[must_use]
pub fn data_dir(purpose: &str) -> TemporaryDataDir {
    TemporaryDataDir::create_in(&root(), purpose).unwrap_or_else(|error| panic!("{error}"))
}

/// Takes the shared lock on the folder's `users`, making the folder when it is missing.
fn become_user(folder: &Path) -> File {
    for _ in 0..1_000 {
        make_folder(folder);
        let path = folder.join("users");
        let Ok(user) = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(&path)
        else {
            // The reaper removed the folder a moment ago.
            continue;
        };
        // Waits while the reaper is at work.
        user.lock_shared().expect("the lock on the users can be taken");
        let held = user.metadata().expect("an open file can be looked at");
        if fs::metadata(&path).is_ok_and(|found| (found.dev(), found.ino()) == (held.dev(), held.ino())) {
            return user;
        }
    }
    panic!("cannot write to {}; remove it", folder.display());
}

fn make_folder(folder: &Path) {
    match DirBuilder::new().mode(0o711).create(folder) {
        Ok(()) => {
            // The umask may have taken too much. A reaper that was faster removed it; then it is made again.
            let _ = fs::set_permissions(folder, fs::Permissions::from_mode(0o711));
        }
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            if let Ok(found) = fs::symlink_metadata(folder) {
                let own = found.is_dir() && found.uid() == nix::unistd::geteuid().as_raw();
                assert!(own, "{} belongs to somebody else; remove it", folder.display());
            }
        }
        Err(error) => panic!("cannot make {}: {error}", folder.display()),
    }
}

fn open(path: &Path) -> File {
    let opened = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path);
    opened.unwrap_or_else(|error| panic!("cannot open {}: {error}", path.display()))
}

/// Starts the reaper unless one lives: it inherits the lock that says so, as its standard input.
fn start_reaper(folder: &Path) {
    let lock = open(&folder.join("reaper"));
    if lock.try_lock().is_err() {
        return;
    }
    let mut command = Command::new("sh");
    command.arg("-c").arg(REAPER).arg("campaignd-tests-reaper").arg(folder);
    command.stdin(lock).stdout(Stdio::null()).stderr(Stdio::null()).current_dir("/").process_group(0);
    #[expect(clippy::zombie_processes, reason = "it outlives this process on purpose")]
    command.spawn().expect("sh can be started");
}

/// Speed for safety: a crash of the machine may cost these databases, a crash of a process may not.
fn fast_settings() -> Vec<(String, String)> {
    let settings = [
        ("fsync", "off"),
        ("synchronous_commit", "off"),
        ("full_page_writes", "off"),
        ("autovacuum", "off"),
        ("shared_buffers", "64MB"),
        ("max_connections", "300"),
        ("max_wal_size", "512MB"),
        // A clone is logged page by page.
        ("wal_compression", "off"),
    ];
    settings.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec()
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn tables(database: &TestDatabase) -> i64 {
        let mut connection = database.connect().await;
        let count = sqlx::query_scalar("SELECT count(*) FROM pg_tables WHERE schemaname = 'public'");
        count.fetch_one(&mut connection).await.unwrap()
    }

    #[tokio::test]
    async fn every_test_has_a_database_of_its_own_with_the_schema() {
        let (first, second) = (database().await, database().await);
        assert!(tables(&first).await > 1);
        execute(&mut first.connect().await, "CREATE TABLE mine ()".to_owned()).await;
        assert_eq!(tables(&first).await, tables(&second).await + 1);
        assert!(first.open().schema_is_current().await.unwrap());
        let by_url: PgConnectOptions = second.url().parse().unwrap();
        let name: String = sqlx::query_scalar("SELECT current_database()")
            .fetch_one(&mut by_url.connect().await.unwrap())
            .await
            .unwrap();
        assert_eq!(name, second.name());
    }

    #[tokio::test]
    async fn an_empty_database_is_empty_and_gone_after_use() {
        let database = empty_database().await;
        assert_eq!(tables(&database).await, 0);
        let options = database.connect_options();
        let open = database.connect().await;
        drop(database);
        assert!(options.connect().await.is_err());
        drop(open);
    }
}

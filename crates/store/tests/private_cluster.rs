//! The private PostgreSQL for real: it starts, it is private, and it survives every way to be killed.
#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a failing helper of a test should panic")]

use std::fs;
use std::io::{BufRead, BufReader, Lines, Write};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, Uid};
use sqlx::postgres::PgConnectOptions;
use sqlx::{AssertSqlSafe, ConnectOptions, Connection, PgConnection};
use store::private_cluster::{
    self, ClusterError, ClusterState, DataDirLock, PrivateCluster, PrivateClusterOptions, TemporaryDataDir,
};
use store::testing::data_dir;

const PATIENCE: Duration = Duration::from_secs(60);
const HOLD_VARIABLE: &str = "CAMPAIGND_TEST_HOLD_CLUSTER_IN";
const NOBODY: u32 = 65_534;

fn options(data_dir: &Path) -> PrivateClusterOptions {
    // Less memory than the default: many of these run beside each other.
    let settings = vec![("shared_buffers".to_owned(), "16MB".to_owned())];
    PrivateClusterOptions { data_dir: data_dir.to_owned(), binaries: None, settings }
}

async fn start(data_dir: &Path) -> PrivateCluster {
    PrivateCluster::start(options(data_dir)).await.unwrap()
}

async fn connect(cluster: &PrivateCluster) -> PgConnection {
    cluster.connect_options().connect().await.unwrap()
}

async fn show(connection: &mut PgConnection, setting: &str) -> String {
    sqlx::query_scalar(AssertSqlSafe(format!("SHOW {setting}"))).fetch_one(connection).await.unwrap()
}

async fn running_other_than(cluster: &PrivateCluster, old: u32) -> u32 {
    let mut state = cluster.state();
    let again = state.wait_for(|state| matches!(state, ClusterState::Running { pid } if *pid != old));
    tokio::time::timeout(PATIENCE, again).await.expect("it runs again in time").unwrap();
    cluster.postmaster_pid().unwrap()
}

fn kill_nine(pid: u32) {
    kill(Pid::from_raw(i32::try_from(pid).unwrap()), Signal::SIGKILL).unwrap();
}

fn wait_until(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !holds() {
        assert!(Instant::now() < deadline, "in {PATIENCE:?} it did not come true that {what}");
        std::thread::yield_now();
    }
}

fn is_alive(pid: u32) -> bool {
    let state = |stat: String| {
        stat.rsplit(')').next().and_then(|rest| rest.split_whitespace().next().map(str::to_owned))
    };
    // A dead one that nobody collected is a zombie.
    fs::read_to_string(format!("/proc/{pid}/stat"))
        .is_ok_and(|stat| state(stat).is_some_and(|state| state != "Z"))
}

#[tokio::test]
async fn a_cluster_is_made_once_and_keeps_what_it_was_told() {
    let folder = data_dir("test");
    let cluster = start(folder.path()).await;
    let pid = cluster.postmaster_pid().unwrap();
    let mut connection = connect(&cluster).await;
    sqlx::query("CREATE TABLE kept AS SELECT 42 AS answer").execute(&mut connection).await.unwrap();
    for (setting, expected) in
        [("fsync", "on"), ("synchronous_commit", "on"), ("data_checksums", "on"), ("listen_addresses", "")]
    {
        assert_eq!(show(&mut connection, setting).await, expected, "{setting}");
    }
    assert_eq!(show(&mut connection, "shared_buffers").await, "16MB");
    assert_ne!(fs::metadata(format!("/proc/{pid}")).unwrap().uid(), 0, "PostgreSQL runs as root");
    connection.close().await.unwrap();
    cluster.stop().await;
    assert!(!is_alive(pid));

    let cluster = start(folder.path()).await;
    let url: PgConnectOptions = cluster.url_for_display().parse().unwrap();
    let mut connection = url.connect().await.unwrap();
    let answer: i32 = sqlx::query_scalar("SELECT answer FROM kept").fetch_one(&mut connection).await.unwrap();
    assert_eq!(answer, 42);
    connection.close().await.unwrap();
    cluster.stop().await;
}

#[tokio::test]
async fn a_second_daemon_is_refused_and_harms_nothing() {
    let folder = data_dir("test");
    let cluster = start(folder.path()).await;
    let error = PrivateCluster::start(options(folder.path())).await.unwrap_err();
    assert!(matches!(error, ClusterError::InUse { .. }), "{error}");
    connect(&cluster).await.ping().await.unwrap();
    let guest = private_cluster::running(folder.path()).unwrap();
    guest.connect().await.unwrap().ping().await.unwrap();
    cluster.stop().await;
    assert!(private_cluster::running(folder.path()).is_none());
    DataDirLock::take(folder.path()).unwrap();
}

#[tokio::test]
async fn a_killed_postmaster_is_started_again_though_a_backend_is_busy() {
    let folder = data_dir("test");
    let cluster = start(folder.path()).await;
    let mut connection = connect(&cluster).await;
    sqlx::query("CREATE TABLE kept AS SELECT 42 AS answer").execute(&mut connection).await.unwrap();
    let backend: i32 =
        sqlx::query_scalar("SELECT pg_backend_pid()").fetch_one(&mut connection).await.unwrap();
    // It computes without ever looking up, so that it does not notice the postmaster's death.
    let busy = tokio::spawn(async move {
        sqlx::query("SELECT count(*) FROM generate_series(1, 1000000) a, generate_series(1, 1000000) b")
            .execute(&mut connection)
            .await
    });
    let mut observer = connect(&cluster).await;
    let deadline = Instant::now() + PATIENCE;
    loop {
        let active: bool = sqlx::query_scalar("SELECT state = 'active' FROM pg_stat_activity WHERE pid = $1")
            .bind(backend)
            .fetch_one(&mut observer)
            .await
            .unwrap();
        if active {
            break;
        }
        assert!(Instant::now() < deadline);
    }
    let old = cluster.postmaster_pid().unwrap();
    kill_nine(old);
    running_other_than(&cluster, old).await;
    assert!(busy.await.unwrap().is_err());
    let mut connection = connect(&cluster).await;
    let answer: i32 = sqlx::query_scalar("SELECT answer FROM kept").fetch_one(&mut connection).await.unwrap();
    assert_eq!(answer, 42);
    cluster.stop().await;
}

#[tokio::test]
async fn a_postmaster_that_is_killed_again_and_again_comes_back() {
    let folder = data_dir("test");
    let cluster = start(folder.path()).await;
    for _ in 0..3 {
        let old = cluster.postmaster_pid().unwrap();
        kill_nine(old);
        running_other_than(&cluster, old).await;
        connect(&cluster).await.ping().await.unwrap();
    }
    cluster.stop().await;
}

#[tokio::test]
async fn a_killed_owner_loses_nothing_and_its_successor_starts_at_once() {
    let folder = data_dir("test");
    let mut first = Holder::start(folder.path(), None);
    let mut connection = first.url.parse::<PgConnectOptions>().unwrap().connect().await.unwrap();
    sqlx::query("CREATE TABLE kept AS SELECT 42 AS answer").execute(&mut connection).await.unwrap();
    first.child.kill().unwrap();
    first.child.wait().unwrap();

    let cluster = start(folder.path()).await;
    let mut connection = connect(&cluster).await;
    let answer: i32 = sqlx::query_scalar("SELECT answer FROM kept").fetch_one(&mut connection).await.unwrap();
    assert_eq!(answer, 42);
    cluster.stop().await;
    wait_until("the first postmaster is gone", || !is_alive(first.postmaster));
}

#[tokio::test]
async fn the_server_dies_with_its_owner() {
    let folder = data_dir("test");
    let mut owner = Holder::start(folder.path(), None);
    assert!(is_alive(owner.postmaster));
    owner.child.kill().unwrap();
    owner.child.wait().unwrap();
    wait_until("the postmaster is gone", || !is_alive(owner.postmaster));
}

#[tokio::test]
async fn an_ordinary_user_needs_nobody_elses_help() {
    if !Uid::effective().is_root() {
        return; // Then every other test here is this one.
    }
    let folder = data_dir("test");
    std::os::unix::fs::chown(folder.path(), Some(NOBODY), Some(NOBODY)).unwrap();
    let data_dir = folder.path().join("data");
    let owner = Holder::start(&data_dir, Some(NOBODY));
    assert_eq!(fs::metadata(format!("/proc/{}", owner.postmaster)).unwrap().uid(), NOBODY);
    assert_eq!(fs::metadata(&data_dir).unwrap().permissions().mode() & 0o777, 0o700);
    let mut connection = owner.url.parse::<PgConnectOptions>().unwrap().connect().await.unwrap();
    connection.ping().await.unwrap();
    connection.close().await.unwrap();
    let postmaster = owner.postmaster;
    owner.end();
    assert!(!is_alive(postmaster));
}

#[tokio::test]
async fn a_long_path_moves_the_socket_not_the_data() {
    let folder = data_dir("test");
    let data_dir = folder.path().join("x".repeat(120)).join("with space, comma and 'quote'");
    let cluster = start(&data_dir).await;
    connect(&cluster).await.ping().await.unwrap();
    assert!(data_dir.join("postgres/PG_VERSION").exists());
    let socket_dir = cluster.connect_options().get_socket().unwrap().clone();
    assert!(!socket_dir.starts_with(&data_dir));
    assert_eq!(fs::metadata(&socket_dir).unwrap().permissions().mode() & 0o777, 0o700);
    cluster.stop().await;
    fs::remove_dir_all(socket_dir).unwrap();
}

#[tokio::test]
async fn odd_characters_in_a_short_path_do_no_harm() {
    let folder = data_dir("t");
    let cluster = start(&folder.path().join("a b,'c' %ü")).await;
    connect(&cluster).await.ping().await.unwrap();
    let url: PgConnectOptions = cluster.url_for_display().parse().unwrap();
    url.connect().await.unwrap().ping().await.unwrap();
    cluster.stop().await;
}

#[tokio::test]
async fn a_pid_file_whose_number_another_program_has_is_no_obstacle() {
    let folder = data_dir("test");
    start(folder.path()).await.stop().await;
    let text = format!("{}\n/elsewhere\n1\n5432\n/elsewhere\n\n1 1\nready   \n", std::process::id());
    fs::write(folder.path().join("postgres/postmaster.pid"), text).unwrap();
    let cluster = start(folder.path()).await;
    connect(&cluster).await.ping().await.unwrap();
    cluster.stop().await;
}

#[tokio::test]
async fn what_a_crashed_initdb_left_is_no_cluster() {
    let folder = data_dir("test");
    let unfinished = folder.path().join("postgres.unfinished");
    fs::create_dir(&unfinished).unwrap();
    fs::write(unfinished.join("PG_VERSION"), "15").unwrap();
    let cluster = start(folder.path()).await;
    connect(&cluster).await.ping().await.unwrap();
    assert!(!unfinished.exists());
    cluster.stop().await;
}

#[tokio::test]
async fn root_is_told_which_folder_is_closed() {
    if !Uid::effective().is_root() {
        return; // Nobody changes users then.
    }
    let folder = data_dir("test");
    let closed = folder.path().join("closed");
    fs::create_dir(&closed).unwrap();
    fs::set_permissions(&closed, fs::Permissions::from_mode(0o700)).unwrap();
    let error = PrivateCluster::start(options(&closed.join("data"))).await.unwrap_err();
    let closed = fs::canonicalize(closed).unwrap();
    assert!(matches!(&error, ClusterError::Unreachable { folder, .. } if *folder == closed), "{error}");
    assert!(error.to_string().contains("chmod o+x"), "{error}");
}

#[tokio::test]
async fn a_setting_that_the_server_refuses_is_reported_with_its_own_words() {
    let folder = data_dir("test");
    let mut options = options(folder.path());
    options.settings.push(("no_such_setting".to_owned(), "1".to_owned()));
    let error = PrivateCluster::start(options).await.unwrap_err();
    assert!(matches!(error, ClusterError::Server { .. }), "{error}");
    assert!(error.to_string().contains("no_such_setting"), "{error}");
    start(folder.path()).await.stop().await;
}

#[tokio::test]
async fn missing_programs_name_the_package() {
    let folder = data_dir("test");
    let options =
        PrivateClusterOptions { binaries: Some(PathBuf::from("/nonexistent")), ..options(folder.path()) };
    let error = PrivateCluster::start(options).await.unwrap_err();
    assert!(error.to_string().contains("apt-get install postgresql"), "{error}");
}

/// Another process that owns a cluster: this test program, running `hold_a_cluster`.
struct Holder {
    child: Child,
    input: Option<ChildStdin>,
    output: Lines<BufReader<ChildStdout>>,
    postmaster: u32,
    url: String,
}

impl Holder {
    fn start(data_dir: &Path, uid: Option<u32>) -> Self {
        // The build folder may be closed to the other user.
        let copy = TemporaryDataDir::create("holder").unwrap();
        let program = copy.path().join("holder");
        fs::copy(std::env::current_exe().unwrap(), &program).unwrap();
        fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
        let mut command = Command::new(program);
        command.args(["--exact", "hold_a_cluster", "--ignored", "--nocapture"]).env(HOLD_VARIABLE, data_dir);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).current_dir("/");
        if let Some(uid) = uid {
            command.uid(uid).gid(uid);
        }
        let mut child = command.spawn().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let line = lines
            .by_ref()
            .map(Result::unwrap)
            .find_map(|line| Some(line.split_once("holding ")?.1.to_owned()));
        let line = line.expect("the holder says that it holds");
        let (pid, url) = line.split_once(' ').unwrap();
        let input = child.stdin.take();
        Self { child, input, output: lines, postmaster: pid.parse().unwrap(), url: url.to_owned() }
    }

    fn end(mut self) {
        self.input.take();
        // It has more to say, and a closed pipe would make it fail.
        assert!(self.output.by_ref().all(|line| line.is_ok()));
        assert!(self.child.wait().unwrap().success());
    }
}

impl Drop for Holder {
    fn drop(&mut self) {
        // Both fail when it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[tokio::test]
#[ignore = "a helper process of the tests above"]
async fn hold_a_cluster() {
    let Some(data_dir) = std::env::var_os(HOLD_VARIABLE) else { return };
    let cluster = start(Path::new(&data_dir)).await;
    let mut output = std::io::stdout();
    writeln!(output, "\nholding {} {}", cluster.postmaster_pid().unwrap(), cluster.url_for_display())
        .unwrap();
    output.flush().unwrap();
    tokio::task::spawn_blocking(|| std::io::stdin().read_line(&mut String::new())).await.unwrap().unwrap();
    cluster.stop().await;
}

//! The database restarts, hangs, loses connections, stands in a lock, keeps an answer for itself or has no room left: no call
//! leaves while outcomes cannot be recorded, and within ten seconds of its return everybody goes on to get one message.

use std::{fs, path::Path, process::Command, time::Instant};

use api::{NewCampaign, Schedule, WaitingFor};
use chrono::{SubsecRound as _, TimeDelta};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use reqwest::{Method, StatusCode};
use simulator::{RangeMs, SimulatorOptions, Vendor};
use sqlx::Connection as _;
use store::{
    private_cluster::{PrivateCluster, PrivateClusterOptions, TemporaryDataDir},
    testing::{self, DurableCluster},
};

use crate::harness::{
    Account, People, World, campaign,
    outage::{Firewall, RECOVERY},
    proxy::{Proxy, Way},
    wait_until, within,
};

const PEOPLE: People = People(3_000);

/// Takes about nine seconds for all.
async fn sending(database_url: String) -> (World, i64) {
    let latency_ms = [(Vendor::Exotel, RangeMs { min: 10, max: 60 })].into();
    let mut options = SimulatorOptions { latency_ms, ..SimulatorOptions::default() };
    // Reports come again until somebody takes them.
    options.callbacks.attempts = 120;
    options.callbacks.retry_delay_ms = 500;
    let account = Account::exotel().set("batch_size", 20).sender("messages_per_second", 350);
    let world = World::new().simulator(options).account(account).database_url(database_url).start().await;
    let audience = world.import_people(PEOPLE).await;
    let task = world.launch(&campaign(world.account(0), audience)).await;
    world.wait_for_task(task, "some are accepted", within(20), |task| task.counts.accepted >= 200).await;
    (world, task)
}

/// Everybody was sent to once and is known to have got it, and the counts are those of the rows.
async fn everybody_got_one(world: &World, task: i64) {
    world.wait_for_completion(task, within(60)).await;
    let all = i64::try_from(PEOPLE.0).unwrap();
    let task =
        world.wait_for_task(task, "all are delivered", within(40), |task| task.counts.delivered == all).await;
    assert_eq!((task.counts.accepted, task.counts.unknown), (all, 0), "{:?}", task.counts);
    PEOPLE.assert_each_accepted_once(&world.simulator.accepted_by_recipient());
    world.audit().await;
}

/// A proxy in front of a server of this test alone, and a URL that leads through it.
fn in_front_of(cluster: &PrivateCluster) -> (Proxy, String) {
    let options = cluster.connect_options();
    let socket = options.get_socket().expect("a private cluster listens at a socket");
    let proxy = Proxy::to_socket(socket.join(format!(".s.PGSQL.{}", options.get_port())));
    let (user, name) = (options.get_username(), options.get_database().unwrap());
    let url = format!("postgres://{user}@{}/{name}?sslmode=disable", proxy.address());
    (proxy, url)
}

async fn restarted(how: Signal) {
    let DurableCluster { cluster, .. } = &testing::durable_cluster().await;
    let (proxy, url) = in_front_of(cluster);
    let (world, task) = sending(url).await;
    // The server is back in a moment; for the daemon it stays away until the proxy lets somebody through.
    let server = cluster.postmaster_pid().expect("the server runs");
    kill(Pid::from_raw(server.cast_signed()), how).unwrap();
    wait_until("the server has ended", within(30), async || {
        (cluster.postmaster_pid() != Some(server)).then_some(())
    })
    .await;
    proxy.set(Way::Refuse);
    world.is_not_ready(within(10)).await;
    world.nothing_leaves().await;
    assert_eq!(world.answer_to_a_callback().await, StatusCode::SERVICE_UNAVAILABLE);
    wait_until("another server runs", within(30), async || cluster.postmaster_pid()).await;
    proxy.set(Way::Forward);
    world.comes_back(&format!("restarted by {how}")).await;
    assert_eq!(world.answer_to_a_callback().await, StatusCode::OK);
    everybody_got_one(&world, task).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn restarted_in_order() {
    restarted(Signal::SIGINT).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn restarted_at_once() {
    restarted(Signal::SIGQUIT).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_connection_is_cut_again_and_again() {
    let database = testing::database().await;
    let proxy = Proxy::to_database(&database);
    let (world, task) = sending(proxy.database_url(&database)).await;
    for _ in 0..20 {
        let before = world.simulator.accepted_total();
        proxy.cut_all();
        // A cut that meets a commit leaves it without an answer; all goes on all the same.
        let goes_on = async || {
            let accepted = world.simulator.accepted_total();
            let all = u64::try_from(PEOPLE.0).unwrap();
            (accepted >= all || accepted > before + 60).then_some(())
        };
        wait_until("it goes on", RECOVERY, goes_on).await;
    }
    everybody_got_one(&world, task).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn frozen_for_a_while() {
    let database = testing::database().await;
    let proxy = Proxy::to_database(&database);
    let (world, task) = sending(proxy.database_url(&database)).await;
    proxy.set(Way::Freeze);
    world.is_not_ready(within(5)).await;
    world.nothing_leaves().await;
    assert_eq!(world.answer_to_a_callback().await, StatusCode::SERVICE_UNAVAILABLE);
    proxy.set(Way::Forward);
    world.comes_back("frozen").await;
    everybody_got_one(&world, task).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn half_open_and_nobody_says_so() {
    let database = testing::database().await;
    let proxy = Proxy::to_database(&database);
    let firewall = Firewall::before(proxy.address()).await;
    let url =
        proxy.database_url(&database).replace(&proxy.address().to_string(), &firewall.address().to_string());
    let (world, task) = sending(url).await;
    for _ in 0..2 {
        // More than could still come of what was under way.
        let enough = world.simulator.accepted_total() + 600;
        let forgotten = Instant::now();
        firewall.forget();
        let goes_on = async || (world.simulator.accepted_total() > enough).then_some(());
        wait_until("it goes on by other connections", RECOVERY + within(5), goes_on).await;
        println!("half-open: 600 more are accepted after {:?}", forgotten.elapsed());
    }
    everybody_got_one(&world, task).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn somebody_holds_a_lock_that_sending_needs() {
    let database = testing::database().await;
    let (world, task) = sending(database.url()).await;
    let mut somebody = database.connect().await;
    let mut holding = somebody.begin().await.unwrap();
    sqlx::query("SELECT FROM commit_marks FOR UPDATE").fetch_all(&mut *holding).await.unwrap();
    let why = world.is_not_ready(within(15)).await;
    assert!(why.contains("outcomes cannot be recorded"), "{why}");
    let waits = |task: &api::Task| task.waiting_for == Some(WaitingFor::Database);
    world.wait_for_task(task, "it says what it waits for", within(10), waits).await;
    world.nothing_leaves().await;
    // Longer than any statement may wait.
    let gave_up = async || world.process(0).log().contains("lock timeout").then_some(());
    wait_until("a statement ends by its limit", within(15), gave_up).await;
    holding.rollback().await.unwrap();
    world.comes_back("a lock").await;
    everybody_got_one(&world, task).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn it_keeps_the_answer_to_a_commit_for_itself() {
    let database = testing::database().await;
    let proxy = Proxy::to_database(&database);
    let (world, task) = sending(proxy.database_url(&database)).await;
    for (point, way) in [
        ("intent.before_commit", Way::ResetInsteadOfAnswer),
        ("outcome.before_commit", Way::ResetInsteadOfAnswer),
        ("intent.before_commit", Way::HangInsteadOfAnswer),
        ("outcome.before_commit", Way::HangInsteadOfAnswer),
    ] {
        let asked = |world: &World| world.process(0).log().matches("a commit was not answered").count();
        let before = asked(&world);
        world.process(0).stop_at(point, 1);
        wait_until("a commit is about to be sent", within(10), async || {
            world.process(0).was_at(point).then_some(())
        })
        .await;
        proxy.set(way);
        world.process(0).let_go(point);
        wait_until("it asks what became of the commit", within(15), async || {
            (asked(&world) > before).then_some(())
        })
        .await;
        proxy.set(Way::Forward);
        world.comes_back(&format!("{way:?} at {point}")).await;
    }
    everybody_got_one(&world, task).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_crowd_of_requests_takes_every_connection_that_there_is_for_them() {
    const LATER: TimeDelta = TimeDelta::minutes(10);
    let database = testing::database().await;
    let account = Account::exotel().set("batch_size", 20).sender("messages_per_second", 1_000);
    let world = World::new().account(account).database_url(database.url()).start().await;
    let audience = world.import(PEOPLE.csv()).await;
    let at = audience.created_at.trunc_subsecs(0) + LATER;
    let schedule = Schedule {
        at: Some(at.format("%Y-%m-%dT%H:%M:%S").to_string()),
        time_zone: Some("UTC".to_owned()),
        ..Schedule::default()
    };
    let later = NewCampaign { schedule: Some(schedule), ..campaign(world.account(0), audience.id) };
    let task = world.launch(&later).await;

    let mut somebody = database.connect().await;
    let mut holding = somebody.begin().await.unwrap();
    sqlx::query("LOCK TABLE inbound IN ACCESS EXCLUSIVE MODE").execute(&mut *holding).await.unwrap();
    let crowd: Vec<_> =
        (0..40).map(|_| tokio::spawn(world.call(Method::GET, "/api/v1/inbound").send())).collect();
    let is_refused = async || {
        let answer = world.call(Method::GET, "/api/v1/tasks").send().await.unwrap();
        (answer.status() == StatusCode::SERVICE_UNAVAILABLE).then_some(())
    };
    wait_until("another request finds no connection", within(30), is_refused).await;
    // The start of the task, its recipients, the sending, leases, callbacks and the probe have connections of their own.
    world.process(0).set_clock_offset_ms(LATER.num_milliseconds());
    let all = u64::try_from(PEOPLE.0).unwrap();
    assert!(world.simulator.wait_for_accepted(all, within(60)).await, "the crowd stopped the sending");
    assert_eq!(world.readiness().await.0, StatusCode::OK);
    assert_eq!(world.answer_to_a_callback().await, StatusCode::OK);
    holding.rollback().await.unwrap();
    for request in crowd {
        request.await.unwrap().unwrap();
    }
    everybody_got_one(&world, task).await;
}

/// A folder in memory with so little room, unmounted with the value.
struct SmallDisk {
    folder: TemporaryDataDir,
}

impl SmallDisk {
    /// None: this machine does not let us mount.
    fn mount(megabytes: u32) -> Option<Self> {
        let folder = testing::data_dir("small-disk");
        let options = format!("size={megabytes}m,mode=0711");
        let mut command = Command::new("mount");
        command.args(["-t", "tmpfs", "-o", &options, "campaignd-test"]).arg(folder.path());
        let mounted = command.output().is_ok_and(|output| output.status.success());
        mounted.then_some(Self { folder })
    }

    fn path(&self) -> &Path {
        self.folder.path()
    }

    /// Writes until nothing fits any more.
    fn fill(&self) {
        let zeros = vec![0; 1 << 20];
        let ballast = self.path().join("ballast");
        let mut ballast = fs::OpenOptions::new().create(true).append(true).open(ballast).unwrap();
        let mut size = zeros.len();
        // The last pages too: of what was freed meanwhile, the database must not live on.
        while size >= 4096 {
            if std::io::Write::write(&mut ballast, &zeros[..size]).is_err() {
                size /= 2;
            }
        }
    }

    fn free(&self) {
        fs::remove_file(self.path().join("ballast")).unwrap();
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // Lazily: a server that has just been stopped may still have a file open.
        let _ = Command::new("umount").arg("-l").arg(self.path()).status();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn its_disk_is_full() {
    let Some(disk) = SmallDisk::mount(400) else {
        println!(
            "SKIPPED: mounting a small tmpfs is refused here (it needs root); a full disk was not tried"
        );
        return;
    };
    // The log is not used anew, so that it needs room.
    let settings = [("shared_buffers", "32MB"), ("max_wal_size", "4GB"), ("min_wal_size", "32MB")];
    let options = PrivateClusterOptions {
        data_dir: disk.path().join("data"),
        binaries: None,
        settings: settings.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec(),
    };
    let cluster = PrivateCluster::start(options).await.unwrap();
    let (_proxy, url) = in_front_of(&cluster);
    let (world, task) = sending(url).await;
    disk.fill();
    // What room there is in files that exist is used up; then the log cannot grow, and the server dies of it and does not come
    // up again.
    let mut somebody = sqlx::PgConnection::connect_with(&cluster.connect_options()).await.unwrap();
    let writes = "SELECT pg_logical_emit_message(false, 'test', repeat('x', 4000000))";
    while sqlx::query(writes).execute(&mut somebody).await.is_ok() {}
    world.is_not_ready(within(30)).await;
    world.nothing_leaves().await;
    assert!(world.simulator.accepted_total() < u64::try_from(PEOPLE.0).unwrap(), "it was full too late");
    disk.free();
    // A server that has died waits for up to ten seconds before it is started again; for ours, the database is back then.
    let is_back = async || {
        let mut connection = sqlx::PgConnection::connect_with(&cluster.connect_options()).await.ok()?;
        connection.ping().await.ok()
    };
    wait_until("the server is up", within(15), is_back).await;
    world.comes_back("a full disk").await;
    everybody_got_one(&world, task).await;
    drop(world);
    cluster.stop().await;
}

//! A daemon that runs its own PostgreSQL: whichever of the two dies, the run ends with everybody once and nothing is left over.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use reqwest::Method;
use simulator::{RangeMs, SimulatorOptions, Vendor};

use crate::harness::{Account, People, World, campaign, wait_until, within};

const PEOPLE: People = People(2_000);

/// Takes about four seconds for all.
fn account() -> Account {
    Account::exotel().set("batch_size", 20).sender("messages_per_second", 500)
}

async fn world() -> World {
    let latency_ms = [(Vendor::Exotel, RangeMs { min: 10, max: 40 })].into();
    let mut options = SimulatorOptions { latency_ms, ..SimulatorOptions::default() };
    // Reports come again until somebody listens.
    options.callbacks.attempts = 60;
    options.callbacks.retry_delay_ms = 500;
    World::new().simulator(options).account(account()).private_cluster().start().await
}

fn data_dir(world: &mut World) -> PathBuf {
    world.daemon().config_file().with_file_name("data")
}

/// The server's process, by the file that it keeps while it runs.
fn running_postmaster(data_dir: &Path) -> Option<i32> {
    let text = fs::read_to_string(data_dir.join("postgres/postmaster.pid")).ok()?;
    text.lines().next()?.parse().ok().filter(|pid| is_server(*pid))
}

fn postmaster(data_dir: &Path) -> i32 {
    running_postmaster(data_dir).unwrap_or_else(|| panic!("no server runs in {}", data_dir.display()))
}

fn is_server(pid: i32) -> bool {
    fs::read_to_string(format!("/proc/{pid}/comm")).is_ok_and(|name| name.starts_with("postgres"))
}

async fn launch_and_wait_for_some(world: &World) -> i64 {
    let audience = world.import_people(PEOPLE).await;
    let task = world.launch(&campaign(world.account(0), audience)).await;
    world.wait_for_task(task, "some are accepted", within(10), |task| task.counts.accepted >= 200).await;
    task
}

/// All are accepted once, as far as the calls had left; whose call died before it left stays unknown.
async fn assert_all_accounted_for(world: &World, task: i64) {
    world.wait_for_completion(task, within(20)).await;
    let accepted = i64::try_from(world.simulator.accepted_total()).unwrap();
    let known = |task: &api::Task| task.counts.delivered == accepted;
    let task = world.wait_for_task(task, "all that was accepted is known", within(15), known).await;
    assert_eq!(task.counts.accepted + task.counts.unknown, task.counts.total, "{:?}", task.counts);
    assert_eq!(crate::harness::assert_nobody_twice(&world.simulator.accepted_by_recipient()), accepted);
    world.audit().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_daemons_death_and_leaves_no_server_behind() {
    let mut world = world().await;
    let task = launch_and_wait_for_some(&world).await;
    let first = postmaster(&data_dir(&mut world));
    world.kill9();
    world.restart().await;
    assert_all_accounted_for(&world, task).await;
    let second = postmaster(&data_dir(&mut world));
    world.stop().await;
    assert!(!is_server(second), "the server {second} runs on after the daemon has stopped");
    assert!(second == first || !is_server(first), "the first server {first} was never ended");
    assert!(!data_dir(&mut world).join("postgres/postmaster.pid").exists());

    // Killed and not started again: its server does not outlive it for long.
    world.restart().await;
    let third = postmaster(&data_dir(&mut world));
    world.kill9();
    wait_until("the server ends by itself", within(10), async || (!is_server(third)).then_some(())).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn its_own_death_in_the_middle_of_a_run() {
    let mut world = world().await;
    let folder = data_dir(&mut world);
    let task = launch_and_wait_for_some(&world).await;
    let readiness = async || world.call(Method::GET, "/readyz").send().await.unwrap().status().as_u16();
    assert_eq!(readiness().await, 200);
    let killed = postmaster(&folder);
    // One death is over in a moment. Killed whenever it has come back, it is away long enough to be missed.
    wait_until("it says that it is not ready", within(10), async || {
        if let Some(server) = running_postmaster(&folder) {
            kill(Pid::from_raw(server), Signal::SIGKILL).unwrap();
        }
        (readiness().await == 503).then_some(())
    })
    .await;
    wait_until("it is ready again", within(10), async || (readiness().await == 200).then_some(())).await;

    world.wait_for_completion(task, within(20)).await;
    let all = i64::try_from(PEOPLE.0).unwrap();
    let done = |task: &api::Task| task.counts.delivered == all;
    let task = world.wait_for_task(task, "all are delivered", within(20), done).await;
    assert_eq!(task.counts.accepted, all);
    PEOPLE.assert_each_accepted_once(&world.simulator.accepted_by_recipient());
    world.audit().await;
    assert_ne!(postmaster(&folder), killed);
    assert!(world.daemon().pid().is_some() && world.daemon().ended().is_none(), "the daemon lives on");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_daemon_on_its_folder() {
    let mut world = world().await;
    let folder = data_dir(&mut world);
    for (arguments, named) in [
        (&["serve", "--listen", "127.0.0.1:0"][..], folder.display().to_string()),
        (&["serve"][..], "is another campaignd running".to_owned()),
    ] {
        let mut command = world.daemon().command(arguments);
        let mut second = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        let ended = async || second.try_wait().unwrap();
        let ended = tokio::time::timeout(within(10), wait_until("it ends", within(20), ended)).await;
        if ended.is_err() {
            second.kill().unwrap();
        }
        let output = second.wait_with_output().unwrap();
        let error = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{error}");
        assert!(error.contains(&named), "{error}");
    }
    // The first goes on as if nothing had been.
    let people = People(500);
    let audience = world.import_people(people).await;
    let task = world.launch(&campaign(world.account(0), audience)).await;
    world.wait_for_completion(task, Duration::from_secs(15)).await;
    people.assert_each_accepted_once(&world.simulator.accepted_by_recipient());
    world.audit().await;
}

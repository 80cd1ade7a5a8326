//! When a standby takes over under a running daemon, what was committed last may be gone. So from its first transaction on
//! nobody is sent to: the tasks are paused, and say why. Once they are resumed, they go on.

use std::{
    fs::{self, OpenOptions},
    io::Write as _,
    os::unix::fs::{MetadataExt as _, chown},
    path::{Path, PathBuf},
};

use api::TaskState;
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};

use crate::harness::{Account, People, World, assert_nobody_twice, campaign, wait_until, within};

const PEOPLE: People = People(1_500);

/// The first line of the file that a server keeps while it runs.
fn postmaster(cluster: &Path) -> Option<i32> {
    fs::read_to_string(cluster.join("postmaster.pid")).ok()?.lines().next()?.parse().ok()
}

/// Has the server come up next as a promoted standby does: it recovers to the end of its log, and writes on another timeline.
fn promote_at_next_start(cluster: &Path) {
    let owner = fs::metadata(cluster).unwrap();
    let signal = cluster.join("recovery.signal");
    fs::write(&signal, "").unwrap();
    chown(&signal, Some(owner.uid()), Some(owner.gid())).unwrap();
    let mut settings = OpenOptions::new().append(true).open(cluster.join("postgresql.auto.conf")).unwrap();
    writeln!(settings, "restore_command = 'false'").unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn and_nobody_is_sent_to_in_between() {
    let account = Account::exotel().set("batch_size", 20).sender("messages_per_second", 150);
    let mut world = World::new().account(account).private_cluster().start().await;
    let cluster: PathBuf = world.daemon().config_file().with_file_name("data").join("postgres");
    let audience = world.import_people(PEOPLE).await;
    let task = world.launch(&campaign(world.account(0), audience)).await;
    world.wait_for_task(task, "some are accepted", within(30), |task| task.counts.accepted >= 100).await;

    promote_at_next_start(&cluster);
    let first = postmaster(&cluster).expect("the server runs");
    kill(Pid::from_raw(first), Signal::SIGKILL).unwrap();
    let other = async || {
        postmaster(&cluster).filter(|pid| *pid != first && !cluster.join("recovery.signal").exists())
    };
    wait_until("another server has taken over", within(30), other).await;
    let requests = world.simulator.requests_total();

    let api = world.api();
    let paused = wait_until("the task is paused", within(40), async || {
        api.task(task).await.ok().filter(|task| task.state == TaskState::Paused)
    })
    .await;
    assert!(paused.pause_reason.is_some_and(|why| why.contains("a standby that took over")));
    assert_eq!(world.simulator.requests_total(), requests, "it went on sending on what a standby knows");
    let left = world.task(task).await.counts;
    assert!(left.queued > 0, "{left:?}");
    world.audit().await;

    world.api().resume_task(task, false).await.unwrap();
    let done = world.wait_for_completion(task, within(40)).await;
    assert_eq!(done.counts.accepted + done.counts.unknown, done.counts.total, "{:?}", done.counts);
    // This standby had everything.
    assert_nobody_twice(&world.simulator.accepted_by_recipient());
    world.audit().await;
}

//! A daemon that starts on a restored backup sends to nobody by itself: running and scheduled tasks are paused and say why,
//! however late it is. Once they are resumed they go on, and nobody is sent to again but those sent to since the backup.

use std::{
    collections::{HashMap, HashSet},
    path::Path,
    process::Command,
};

use api::{NewCampaign, Schedule, Task, TaskState};
use chrono::{DateTime, SubsecRound as _, TimeDelta, Utc};
use simulator::AcceptedMessage;
use store::testing::{self, TestDatabase};

use crate::harness::{Account, People, World, campaign, text, within};

const PEOPLE: People = People(600);

fn account() -> Account {
    Account::exotel().set("batch_size", 20).sender("messages_per_second", 150)
}

/// Runs a program of PostgreSQL's, as an operator would.
fn postgres(program: &str, arguments: &[&str]) {
    let output = Command::new(program).args(arguments).output().unwrap();
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{program} {arguments:?}: {error}");
}

fn dump(database: &TestDatabase, file: &Path) {
    postgres("pg_dump", &["--format", "custom", "--file", file.to_str().unwrap(), &database.url()]);
}

fn restore(file: &Path, database: &TestDatabase) {
    let url = database.url();
    postgres("pg_restore", &["--single-transaction", "--no-owner", "--dbname", &url, file.to_str().unwrap()]);
}

/// One that is sent at `at`.
fn scheduled(world: &World, audience: i64, at: DateTime<Utc>) -> NewCampaign {
    let local = at.format("%Y-%m-%dT%H:%M:%S").to_string();
    let schedule = Schedule { at: Some(local), time_zone: Some("UTC".to_owned()), ..Schedule::default() };
    let campaign = campaign(world.account(0), audience);
    NewCampaign { schedule: Some(schedule), message: text("later"), ..campaign }
}

/// A world in the middle of a task, another one due in some seconds, and a dump of that.
struct Backup {
    world: World,
    running: i64,
    scheduled: i64,
    at: DateTime<Utc>,
    /// How many messages had been accepted before the dump was begun.
    before: usize,
    file: tempfile::TempPath,
}

impl Backup {
    async fn take() -> Self {
        let world = World::new().account(account()).start().await;
        let audience = world.import(PEOPLE.csv()).await;
        let at = audience.created_at.trunc_subsecs(0) + TimeDelta::seconds(12);
        let scheduled = world.launch(&scheduled(&world, audience.id, at)).await;
        let running = world.launch(&campaign(world.account(0), audience.id)).await;
        assert!(world.simulator.wait_for_accepted(100, within(20)).await, "it does not send");
        let before = world.simulator.messages().len();
        let file = tempfile::NamedTempFile::new().unwrap().into_temp_path();
        let database = world.database.as_ref().unwrap();
        tokio::task::block_in_place(|| dump(database, &file));
        Self { world, running, scheduled, at, before, file }
    }

    /// Starts the daemon, waits until its chores have come round after the scheduled task's time, and fails unless both
    /// tasks are paused, say why, and nobody was sent to.
    async fn starts_paused(&mut self) {
        let requests = self.world.simulator.requests_total();
        self.world.restart().await;
        let began = |task: &Task| task.started_at.is_some();
        let late = self.world.wait_for_task(self.scheduled, "its time has passed", within(40), began).await;
        assert!(late.started_at.is_some_and(|started| started >= self.at), "{late:?}");
        for id in [self.running, self.scheduled] {
            let task = self.world.task(id).await;
            assert_eq!(task.state, TaskState::Paused, "{task:?}");
            let reason = task.pause_reason.expect("it says why");
            assert!(reason.contains("restored backup"), "{reason}");
            assert!(task.counts.queued > 0 && task.counts.sending == 0, "{:?}", task.counts);
            let shown =
                tokio::task::block_in_place(|| self.world.daemon().run(&["task", "show", &id.to_string()]));
            let shown = String::from_utf8_lossy(&shown.stdout).into_owned();
            assert!(shown.contains("paused: the database is not the one"), "{shown}");
        }
        assert_eq!(self.world.simulator.requests_total(), requests, "it has sent by itself");
        self.world.audit().await;
    }

    async fn goes_on_when_resumed(self) {
        let Self { world, running, scheduled, before, .. } = self;
        let one = |message: AcceptedMessage| (message.template, message.to);
        let since: HashSet<_> = world.simulator.messages().into_iter().skip(before).map(one).collect();
        for id in [running, scheduled] {
            let resumed = world.api().resume_task(id, false).await.unwrap();
            assert_eq!((resumed.state, resumed.pause_reason), (TaskState::Running, None));
        }
        for id in [running, scheduled] {
            let done = world.wait_for_completion(id, within(40)).await;
            // What was open when the dump was taken is unknown, until a report tells.
            assert_eq!(done.counts.accepted + done.counts.unknown, done.counts.total, "{:?}", done.counts);
        }
        let mut ledger: HashMap<_, u32> = HashMap::new();
        for one in world.simulator.messages().into_iter().map(one) {
            *ledger.entry(one).or_default() += 1;
        }
        let unknown = world.task(running).await.counts.unknown;
        assert!(ledger.len() as i64 + unknown >= 2 * PEOPLE.0 as i64, "somebody was left out");
        for (one, times) in ledger {
            assert!(times == 1 || times == 2 && since.contains(&one), "{one:?} was sent to {times} times");
        }
        world.audit().await;
    }
}

/// The way that docs/OPERATIONS.md names, hours later: the original has sent everything meanwhile, and is lost.
#[tokio::test(flavor = "multi_thread")]
async fn in_another_database() {
    let mut backup = Backup::take().await;
    backup.world.wait_for_completion(backup.running, within(40)).await;
    backup.world.stop().await;
    let copy = testing::empty_database().await;
    tokio::task::block_in_place(|| restore(&backup.file, &copy));
    let lost = backup.world.database.replace(copy).unwrap();
    let (config, urls) = (backup.world.daemon().config_file(), backup.world.database.as_ref().unwrap().url());
    let text = std::fs::read_to_string(&config).unwrap().replace(&lost.url(), &urls);
    std::fs::write(&config, text).unwrap();
    backup.starts_paused().await;
    backup.goes_on_when_resumed().await;
}

/// Over what is there, in the same database: the server, the database and the timeline are the same as before.
#[tokio::test(flavor = "multi_thread")]
async fn in_the_same_database() {
    let mut backup = Backup::take().await;
    backup.world.kill9();
    let database = backup.world.database.as_ref().unwrap();
    let emptied = ["--command", "DROP SCHEMA public CASCADE; CREATE SCHEMA public", &database.url()];
    tokio::task::block_in_place(|| {
        postgres("psql", &emptied);
        restore(&backup.file, database);
    });
    backup.starts_paused().await;
    backup.goes_on_when_resumed().await;
}

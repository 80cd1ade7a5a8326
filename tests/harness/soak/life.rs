//! One daemon of a run with its vendors: campaigns of its three accounts one after another, whatever happens meanwhile, and
//! then everything brought to its end.

use std::{
    ops::Range,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use api::{AudienceStatus, Task, TaskState, client};
use simulator::{RangeMs, SimulatorOptions, Vendor};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::{
    Campaigns, Dice, Plan,
    trouble::{self, Clock},
    verdict::{self, Verdict},
};
use crate::harness::{Account, World, campaign, csv_of, within};

/// Between two tries of what the daemon did not answer.
const AGAIN: Duration = Duration::from_millis(100);
/// An import that takes longer is given up, and made again.
const IMPORT: Duration = Duration::from_secs(30);
/// When nothing goes wrong any more, something must move at least this often until everything has ended.
const STILL: Duration = Duration::from_secs(120);
/// The clock's steps at the end, so that what is to be tried again is due.
const STEP_MS: i64 = 900_000;

/// A campaign that was launched.
#[derive(Clone, Debug)]
pub struct Launched {
    pub task: i64,
    pub vendor: Vendor,
    pub people: Range<usize>,
}

/// A daemon, its vendors and its campaigns.
pub struct Life {
    number: usize,
    pub is_killed: bool,
    /// No more recipients than these.
    share: usize,
    world: World,
    dice: Dice,
}

/// Vendors that need a moment, report in every disorder, and repeat their reports until somebody listens.
fn vendors() -> SimulatorOptions {
    let latency = RangeMs { min: 3, max: 40 };
    let latency_ms = Vendor::ALL.map(|vendor| (vendor, latency)).into();
    let mut options = SimulatorOptions { latency_ms, ..SimulatorOptions::default() };
    let callbacks = &mut options.callbacks;
    (callbacks.attempts, callbacks.retry_delay_ms, callbacks.read) = (250, 500, 0.2);
    (callbacks.early, callbacks.duplicates, callbacks.reordered) = (0.1, 0.1, 0.1);
    options
}

impl Life {
    pub async fn begin(number: usize, url: String, is_killed: bool, share: usize, plan: &Plan) -> Self {
        let exotel = Account::exotel().set("batch_size", 25).set("max_in_flight", 8);
        let sobots =
            [Account::sobot_io(), Account::sobot_in()].map(|account| account.set("max_in_flight", 48));
        let mut worlds = World::new().simulator(vendors()).database_url(url).account(exotel);
        for account in sobots {
            worlds = worlds.account(account);
        }
        let world = worlds.start().await;
        Self { number, is_killed, share, world, dice: Dice::new(plan.seed).of(number) }
    }

    pub fn pid(&mut self) -> Option<u32> {
        self.world.daemon().pid()
    }

    /// Lives until the run is over or its share is sent, and says how it was.
    pub async fn live(mut self, plan: &Plan, over: &CancellationToken) -> (trouble::Troubles, Verdict) {
        let campaigns = Campaigns::default();
        let stop = over.child_token();
        self.world.simulator.set_faults(trouble::faults());
        let next = Arc::new(AtomicUsize::new(0));
        let lanes: Vec<_> = (0..3)
            .map(|number| {
                let lane = Lane {
                    client: self.world.api(),
                    account: self.world.account(number).clone(),
                    campaigns: Arc::clone(&campaigns),
                    next: Arc::clone(&next),
                    share: self.share,
                    most: plan.of_a_campaign,
                    dice: self.dice.of(number),
                    key: format!("life-{}-lane-{number}", self.number),
                };
                tokio::spawn(lane.run(stop.clone()))
            })
            .collect();
        let ended = stop.clone();
        let lanes = tokio::spawn(async move {
            for lane in lanes {
                lane.await.expect("a lane does not panic");
            }
            ended.cancel();
        });
        let meddling =
            trouble::meddle(self.world.api(), Arc::clone(&campaigns), self.dice.of(10), stop.clone());
        let meddling = tokio::spawn(meddling);
        let mut clock = Clock::new(self.number == 0);
        let alive_ms = self.is_killed.then(|| plan.alive_ms.clone());
        let troubles = trouble::befall(&mut self.world, alive_ms, self.dice.of(11), &mut clock, &stop).await;
        lanes.await.expect("the lanes end");
        meddling.await.expect("who meddles ends");
        let campaigns = campaigns.lock().unwrap().clone();
        let open = end(&mut self.world, &campaigns, &mut clock).await;
        let verdict = verdict::judge(&mut self.world, &campaigns, open).await;
        (troubles, verdict)
    }
}

/// Campaigns of one account, one after another.
struct Lane {
    client: client::Client,
    account: Account,
    campaigns: Campaigns,
    /// The first person whom nobody has imported yet.
    next: Arc<AtomicUsize>,
    share: usize,
    most: usize,
    dice: Dice,
    key: String,
}

impl Lane {
    async fn run(mut self, stop: CancellationToken) {
        let mut number = 0;
        while !stop.is_cancelled() {
            let size = self.most / 2 + self.dice.below(self.most / 2 + 1);
            let first = self.next.fetch_add(size, Ordering::Relaxed);
            let people = first..(first + size).min(self.share);
            if people.is_empty() {
                return;
            }
            number += 1;
            let audience = tokio::select! {
                audience = self.import(&people) => audience,
                () = stop.cancelled() => return,
            };
            // A launch is asked for until it is answered: the daemon runs again when nothing befalls it any more.
            let task = self.launch(audience, &format!("{}-{number}", self.key)).await;
            let vendor = self.account.vendor;
            self.campaigns.lock().unwrap().push(Launched { task, vendor, people });
            while !stop.is_cancelled() && !self.is_over(task).await {
                tokio::time::sleep(AGAIN * 2).await;
            }
        }
    }

    /// Imports until it succeeds: an import that broke off is left behind, as an operator would leave it.
    async fn import(&self, people: &Range<usize>) -> i64 {
        let how = client::ImportAudience {
            name: "People".to_owned(),
            default_region: Some("IN".to_owned()),
            phone_column: None,
            wait: true,
        };
        loop {
            let importing = self.client.import_audience(&how, csv_of(people.clone()), None, None);
            match tokio::time::timeout(IMPORT, importing).await {
                Ok(Ok(audience)) if audience.status == AudienceStatus::Ready => return audience.id,
                _ => tokio::time::sleep(AGAIN).await,
            }
        }
    }

    /// Asks until it is answered, always with the same key: it is launched once.
    async fn launch(&self, audience: i64, key: &str) -> i64 {
        let wanted = campaign(&self.account, audience);
        loop {
            if let Ok(campaign) = self.client.create_campaign(&wanted, Some(key)).await {
                return campaign.task_id.expect("a launched campaign has a task");
            }
            tokio::time::sleep(AGAIN).await;
        }
    }

    /// Whether only those are left who wait for their retry.
    async fn is_over(&self, task: i64) -> bool {
        self.client.task(task).await.is_ok_and(|task| {
            let counts = &task.counts;
            task.state == TaskState::Cancelled || counts.queued + counts.sending == 0
        })
    }
}

/// Brings all campaigns to their end; how many recipients were not.
async fn end(world: &mut World, campaigns: &[Launched], clock: &mut Clock) -> i64 {
    world.simulator.set_faults(Vec::new());
    if world.daemon().ended().is_some() {
        world.kill9();
        world.daemon().start();
    }
    let (mut moved, mut before) = (Instant::now(), None);
    let mut stepped = None;
    loop {
        let open = open(world, campaigns).await;
        // What a report or a record tells late may let a task run again: looked at once more when all has been quiet.
        if open == Some(0) {
            quiet(world, campaigns).await;
            if self::open(world, campaigns).await == Some(0) {
                return 0;
            }
        }
        if open != before {
            (moved, before) = (Instant::now(), open);
        }
        if moved.elapsed() > STILL {
            return open.filter(|open| *open != 0).unwrap_or(-1);
        }
        if stepped.is_none_or(|stepped: Instant| stepped.elapsed() > Duration::from_secs(3)) {
            stepped = Some(Instant::now());
            clock.step(world, STEP_MS);
        }
        tokio::time::sleep(AGAIN).await;
    }
}

/// Waits until the vendors have reported everything and the daemon has applied it.
async fn quiet(world: &World, campaigns: &[Launched]) {
    assert!(world.simulator.wait_until_idle(within(300)).await, "reports are left over");
    let mut last = (Instant::now(), String::new());
    let began = Instant::now();
    while last.0.elapsed() < Duration::from_secs(3) && began.elapsed() < STILL {
        let now = counts(world, campaigns).await;
        if now != last.1 {
            last = (Instant::now(), now);
        }
        tokio::time::sleep(AGAIN).await;
    }
}

async fn counts(world: &World, campaigns: &[Launched]) -> String {
    let mut counts = String::new();
    for launched in campaigns {
        let task = world.api().task(launched.task).await;
        counts += &task.map_or_else(|error| error.to_string(), |task| format!("{:?}", task.counts));
    }
    counts
}

/// Lets everything run that stands, and counts those who are not where they will stay; none while that is not known.
async fn open(world: &World, campaigns: &[Launched]) -> Option<i64> {
    let api = world.api();
    for halt in api.halts(&client::Page::default()).await.ok()?.items {
        let _ = api.lift_halt(halt.id).await;
    }
    let mut open = 0;
    for launched in campaigns {
        let task: Task = api.task(launched.task).await.ok()?;
        match task.state {
            TaskState::Completed => {}
            TaskState::Cancelled => open += task.counts.sending,
            _ => {
                if task.state == TaskState::Paused {
                    let _ = api.resume_task(task.id, true).await;
                }
                // Even with nobody left, it is not completed yet.
                open += 1.max(task.counts.queued + task.counts.sending + task.counts.retrying);
            }
        }
    }
    Some(open)
}

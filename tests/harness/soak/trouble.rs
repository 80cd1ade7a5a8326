//! What befalls a daemon: vendors that fail, SIGKILL at any moment and at the points of `hooks`, operators who pause and
//! cancel, a clock that jumps.

use std::{collections::BTreeMap, ops::Range, time::Duration};

use api::client::Client;
use simulator::{FaultAction, FaultRule, Vendor};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::{Campaigns, Dice};
use crate::harness::World;

/// Every point at which the program may be told to die; first those that a start passes.
const POINTS: [&str; 22] = [
    "lease.before_commit",
    "lease.after_commit",
    "settle.before_commit",
    "settle.after_commit",
    "fold.before",
    "intent.before_commit",
    "intent.after_commit",
    "call.before",
    "call.written",
    "call.answered",
    "outcome.before_commit",
    "outcome.after_commit",
    "inbox.before_store",
    "inbox.after_store",
    "apply.before_commit",
    "apply.after_commit",
    "fold.after",
    "import.copying",
    "import.before_commit",
    "import.after_commit",
    "launch.before_commit",
    "launch.after_commit",
];
/// So many of them are passed by every start.
const OF_A_START: usize = 5;

/// What happened to a daemon.
#[derive(Debug, Default)]
pub struct Troubles {
    pub kills: usize,
    pub at_points: BTreeMap<&'static str, usize>,
}

/// The offset of a daemon's clock.
#[derive(Debug)]
pub struct Clock {
    jumps: bool,
    offset_ms: i64,
}

impl Clock {
    /// `jumps`: it does so while everything goes wrong. What a vendor has on record cannot be compared by time then.
    pub fn new(jumps: bool) -> Self {
        Self { jumps, offset_ms: 0 }
    }

    pub fn step(&mut self, world: &mut World, by_ms: i64) {
        self.offset_ms += by_ms;
        world.daemon().set_clock_offset_ms(self.offset_ms);
    }
}

/// Some of everything that vendors do wrong; never so much that a task halts for it. The items of a batch's answer come in
/// their order: they name nobody, so that a refusal among items in another order would be taken for somebody else's.
pub fn faults() -> Vec<FaultRule> {
    let rule = |action, share| FaultRule::new(action).share(share);
    let busy = FaultAction::HttpStatus { status: 429, retry_after_seconds: Some(1), body: None };
    let down = FaultAction::HttpStatus { status: 503, retry_after_seconds: None, body: None };
    let code = |code| FaultAction::MessageCode { code, message: None };
    let mut rules = vec![
        rule(FaultAction::StatusAfterAccept { status: 504 }, 0.003),
        rule(FaultAction::CloseAfterAccept, 0.003),
        rule(FaultAction::CloseBeforeAccept, 0.003),
        rule(FaultAction::ResetAfterAccept, 0.003),
        rule(FaultAction::HangAfterAccept { for_ms: Some(1_500) }, 0.002),
        rule(FaultAction::HangBeforeAccept { for_ms: Some(1_500) }, 0.002),
        rule(FaultAction::GarbageBody, 0.002),
        rule(FaultAction::HtmlBody { status: None }, 0.002),
        rule(FaultAction::HalfBody, 0.003),
        rule(busy, 0.002),
        rule(down, 0.003),
        rule(FaultAction::MissingItems { count: 2 }, 0.01).vendor(Vendor::Exotel),
        rule(FaultAction::ExtraItems { count: 2 }, 0.01).vendor(Vendor::Exotel),
        rule(FaultAction::InvalidateTokens, 0.002).vendor(Vendor::SobotIo),
        rule(code(30_011), 0.01).vendor(Vendor::Exotel),
        rule(FaultAction::CallbackCode { code: 30_013 }, 0.01).vendor(Vendor::Exotel),
    ];
    for vendor in [Vendor::SobotIo, Vendor::SobotIn] {
        rules.push(rule(code(131_056), 0.01).vendor(vendor));
        rules.push(rule(FaultAction::CallbackCode { code: 131_026 }, 0.01).vendor(vendor));
    }
    rules
}

/// Kills the daemon again and again and starts it each time, until `stop`; without `alive_ms` it is left alone. In the end
/// it has been started, unless it has just come to its point.
pub async fn befall(
    world: &mut World,
    alive_ms: Option<Range<u64>>,
    mut dice: Dice,
    clock: &mut Clock,
    stop: &CancellationToken,
) -> Troubles {
    let mut troubles = Troubles::default();
    let Some(alive_ms) = alive_ms else {
        stop.cancelled().await;
        return troubles;
    };
    loop {
        // Often early in its life, while it starts and takes over; else when it sends again.
        let early = alive_ms.start..alive_ms.start + (alive_ms.end - alive_ms.start) / 4;
        let (range, points) =
            if dice.percent(55) { (&early, &POINTS[..OF_A_START]) } else { (&alive_ms, &POINTS[..]) };
        let point = dice.percent(35).then(|| *dice.pick(points));
        // Who is to die at a point is given the time to come there.
        let alive = if point.is_some() { Duration::from_millis(alive_ms.end) } else { dice.millis(range) };
        let nth = u32::try_from(1 + dice.below(2)).unwrap();
        lives_for(world, alive, point.map(|point| (point, nth)), &mut troubles, stop).await;
        if stop.is_cancelled() {
            return troubles;
        }
        kill(world, &mut troubles);
        if clock.jumps && dice.percent(10) {
            // Mostly on, so that retries come due; sometimes back, as a clock that is set right does.
            let by_ms = dice.millis(&(0..20_000)).as_millis();
            clock.step(world, i64::try_from(by_ms).unwrap() - 3_000);
        }
        world.daemon().start();
    }
}

/// Lets it live for so long, or until it comes to the point.
async fn lives_for(
    world: &mut World,
    alive: Duration,
    point: Option<(&'static str, u32)>,
    troubles: &mut Troubles,
    stop: &CancellationToken,
) {
    if let Some((point, nth)) = point {
        world.kill_at(point, nth);
    }
    let began = Instant::now();
    while began.elapsed() < alive && !stop.is_cancelled() {
        tokio::time::sleep(Duration::from_millis(10)).await;
        let Some(status) = world.daemon().ended() else { continue };
        let died_at = point.map(|(point, _)| point).filter(|point| world.daemon().was_at(point));
        let point = died_at.unwrap_or_else(|| panic!("the daemon ended by itself: {status}"));
        *troubles.at_points.entry(point).or_default() += 1;
        return;
    }
    if let Some((point, _)) = point {
        world.daemon().disarm(point);
    }
}

fn kill(world: &mut World, troubles: &mut Troubles) {
    world.kill9();
    troubles.kills += 1;
    for point in POINTS {
        world.daemon().disarm(point);
    }
}

/// An operator who pauses and resumes tasks, and now and then cancels one. Who cannot be reached is left alone.
pub async fn meddle(client: Client, campaigns: Campaigns, mut dice: Dice, stop: CancellationToken) {
    while !stop.is_cancelled() {
        tokio::time::sleep(dice.millis(&(300..2_000))).await;
        let task = campaigns.lock().unwrap().last().map(|launched| launched.task);
        let Some(task) = task else { continue };
        if dice.percent(4) {
            let _ = client.cancel_task(task).await;
        } else if client.pause_task(task).await.is_ok() {
            tokio::time::sleep(dice.millis(&(50..500))).await;
            while !stop.is_cancelled()
                && client.resume_task(task, true).await.is_err_and(|error| error.is_passing())
            {
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
}

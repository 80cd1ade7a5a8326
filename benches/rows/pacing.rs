//! Pacing as the vendor sees it: the most messages in any second, and the mean, at 10, 80 and 1,000 messages a second.
//!
//! Each case has an account of its own. The slow ones run at once, because together they are a small load.

use std::{
    collections::{BTreeMap, btree_map::Entry},
    time::Duration,
};

use anyhow::{Context as _, Result};
use api::TaskState;
use serde_json::json;

use crate::{
    bench::Bench,
    process::NullVendor,
    report::Row,
    world::{Account, World},
};

const RATES: [u64; 3] = [10, 80, 1_000];
const SECONDS: u64 = 10;
const MANY: usize = 10;
const SECOND_US: u64 = 1_000_000;

/// Audiences by their first recipient and their size.
type Audiences = BTreeMap<(u64, u64), i64>;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// One task.
    Alone,
    /// Ten tasks on one sender.
    TenTasks,
    /// Ten senders on one account, a task each.
    TenSenders,
    /// A task that is paused and resumed.
    Pause,
    /// A task, then nothing for a while, then another.
    Idle,
}

#[derive(Clone, Debug)]
struct Case {
    kind: Kind,
    rate: u64,
    batch: u64,
    account: Account,
    from: Vec<String>,
}

fn cases(vendor: &NullVendor) -> Vec<Case> {
    let mut wanted = Vec::new();
    for rate in RATES {
        wanted.extend([(Kind::Alone, rate, 1), (Kind::Alone, rate, 100), (Kind::Pause, rate, 1)]);
        wanted.push((Kind::Idle, rate, 1));
    }
    wanted.extend([(Kind::TenTasks, 80, 1), (Kind::TenSenders, 80, 1), (Kind::Pause, 80, 100)]);
    let case = |(number, (kind, rate, batch)): (usize, (Kind, u64, u64))| {
        let senders = if kind == Kind::TenSenders { MANY } else { 1 };
        let from: Vec<String> =
            (0..senders).map(|sender| format!("+9199990{number:03}{sender:02}")).collect();
        let account = Account::batch(&format!("pace-{number}"), vendor, batch, 64);
        Case { kind, rate, batch, account: account.with_senders(&from, rate), from }
    };
    wanted.into_iter().enumerate().map(case).collect()
}

impl Case {
    fn name(&self) -> String {
        let form = if self.batch > 1 { "batches" } else { "one per call" };
        let kind = match self.kind {
            Kind::Alone => "",
            Kind::TenTasks => ", ten tasks on a sender",
            Kind::TenSenders => ", ten senders",
            Kind::Pause => ", after a pause",
            Kind::Idle => ", after idleness",
        };
        format!("{}/s {form}{kind}", self.rate)
    }

    /// Whether it is a load that others would feel.
    fn is_fast(&self) -> bool {
        self.rate * self.from.len() as u64 > 500
    }

    /// The most messages that any second may have.
    fn bound(&self) -> f64 {
        let rate = self.rate as f64;
        if self.batch > 1 {
            rate + (self.batch as f64).min(rate / 2.0)
        } else {
            rate + (rate * 0.05).max(2.0)
        }
    }

    async fn run(&self, world: &World, audiences: &Audiences) -> Result<()> {
        let tasks = match self.kind {
            Kind::TenTasks | Kind::TenSenders => MANY,
            Kind::Alone | Kind::Pause | Kind::Idle => 1,
        };
        let recipients = self.recipients();
        let audience_of =
            |number| audiences.get(&(self.first(number), recipients)).context("an audience of each size");
        let audience = *audience_of(0)?;
        let mut launched = Vec::new();
        for number in 0..tasks {
            let audience = *audience_of(number)?;
            let from = &self.from[number % self.from.len()];
            launched.push(world.launch(&self.account, audience, json!({"from": from})).await?);
        }
        if self.kind == Kind::Pause {
            for _ in 0..2 {
                tokio::time::sleep(Duration::from_millis(2_500)).await;
                world.api.pause_task(launched[0]).await?;
                tokio::time::sleep(Duration::from_millis(2_500)).await;
                world.api.resume_task(launched[0], false).await?;
            }
        }
        ended(world, &launched).await?;
        if self.kind == Kind::Idle {
            tokio::time::sleep(Duration::from_secs(3)).await;
            launched.push(world.launch(&self.account, audience, json!({})).await?);
            ended(world, &launched).await?;
        }
        Ok(())
    }

    /// The first recipient of a task: tasks of one sender have people of their own, who would have to wait otherwise.
    fn first(&self, task: usize) -> u64 {
        if self.kind == Kind::TenTasks { task as u64 * self.recipients() } else { 0 }
    }

    /// Of each task.
    fn recipients(&self) -> u64 {
        match self.kind {
            Kind::Alone | Kind::Pause | Kind::TenSenders => self.rate * SECONDS,
            Kind::TenTasks => self.rate,
            Kind::Idle => self.rate * 4,
        }
    }
}

async fn ended(world: &World, tasks: &[i64]) -> Result<()> {
    for task in tasks {
        while world.api.task(*task).await?.state != TaskState::Completed {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }
    Ok(())
}

/// All cases; the row is the worst of them.
pub async fn windows(_bench: &mut Bench, name: &str) -> Result<Vec<Row>> {
    let vendor = NullVendor::start_first_in_line()?;
    let made = cases(&vendor);
    let accounts = made.iter().map(|case| case.account.clone()).collect();
    let world = World::start_cold(vendor, accounts).await?;
    let mut audiences = Audiences::new();
    for case in &made {
        for first in (0..MANY).map(|task| case.first(task)) {
            if let Entry::Vacant(entry) = audiences.entry((first, case.recipients())) {
                entry.insert(world.import_from(first, case.recipients()).await?);
            }
        }
    }
    world.vendor.reset(true)?;
    let (fast, slow): (Vec<&Case>, Vec<&Case>) = made.iter().partition(|case| case.is_fast());
    futures::future::try_join_all(slow.iter().map(|case| case.run(&world, &audiences))).await?;
    for case in fast {
        case.run(&world, &audiences).await?;
    }
    let log = String::from_utf8(world.vendor.0.get("/log")?)?;
    let mut calls: BTreeMap<&str, Vec<(u64, u64)>> = BTreeMap::new();
    for line in log.lines() {
        let mut words = line.split(' ');
        let at: u64 = words.next().context("a time")?.parse()?;
        let count: u64 = words.next().context("a count")?.parse()?;
        calls.entry(words.next().unwrap_or_default()).or_default().push((at, count));
    }
    made.iter().map(|case| row(name, case, &calls)).collect()
}

fn row(name: &str, case: &Case, calls: &BTreeMap<&str, Vec<(u64, u64)>>) -> Result<Row> {
    const LEAST_MEAN: f64 = 0.97;
    let (mut most, mut slowest) = (0, f64::INFINITY);
    for from in &case.from {
        let of_sender = calls.get(from.as_str()).with_context(|| format!("no call of {}", case.name()))?;
        most = most.max(most_in_a_second(of_sender));
        slowest = slowest.min(mean(of_sender));
    }
    let (rate, bound) = (case.rate as f64, case.bound());
    // While a task is paused or nothing is to be sent, there is no mean to keep.
    let has_mean = matches!(case.kind, Kind::Alone | Kind::TenTasks | Kind::TenSenders);
    let mean_text = if has_mean { format!(", mean {slowest:.1}") } else { String::new() };
    let mean_goal = if has_mean { format!(", mean >= {:.1}", rate * LEAST_MEAN) } else { String::new() };
    Ok(Row {
        name: format!("{name} {}", case.name()),
        figure: format!("{most} in 1 s{mean_text}"),
        reference: format!("{rate}/s"),
        ratio: Some(most as f64 / rate),
        goal: format!("<= {bound:.0}{mean_goal}"),
        is_met: Some(most as f64 <= bound && (!has_mean || slowest >= rate * LEAST_MEAN)),
        numbers: json!({"most": most, "mean": slowest, "rate": rate}),
        ..Row::default()
    })
}

/// The most messages that any second has, the call at its begin included.
fn most_in_a_second(calls: &[(u64, u64)]) -> u64 {
    let (mut begin, mut inside, mut most) = (0, 0, 0);
    for (at, count) in calls {
        inside += count;
        while calls[begin].0 + SECOND_US <= *at {
            inside -= calls[begin].1;
            begin += 1;
        }
        most = most.max(inside);
    }
    most
}

/// Messages per second: each call is followed by the time that its messages are worth, so the last one is left out.
fn mean(calls: &[(u64, u64)]) -> f64 {
    let (Some(first), Some(last)) = (calls.first(), calls.last()) else { return 0.0 };
    let messages: u64 = calls.iter().map(|(_, count)| count).sum::<u64>() - last.1;
    messages as f64 / (last.0 - first.0) as f64 * 1e6
}

//! Long runs in which everything goes wrong at once: many campaigns through vendors that fail, while daemons are killed and
//! the database restarts; and at the end the account of where everybody is.
//!
//! All daemons of a run have databases of their own in one durable PostgreSQL. Each is a life (`life`) with its campaigns;
//! `trouble` is what befalls it, `verdict` what is said of it afterwards by the vendors' ledger, and `report` the sum.

mod dice;
mod life;
mod machine;
mod report;
mod trouble;
mod verdict;

use std::{ops::Range, sync::Arc, time::Duration};

use futures::future::join_all;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

pub use self::report::Report;
use self::{
    dice::Dice,
    life::Life,
    machine::{Cluster, Growth},
};

/// What a run does.
#[derive(Clone, Debug)]
pub struct Plan {
    /// For so long campaigns are launched and everything goes wrong; what is open then is brought to its end.
    pub lasting: Duration,
    /// No more recipients than these are sent to, in all.
    pub recipients: usize,
    /// Daemons that are killed.
    pub daemons: usize,
    /// Beside them one that is not, for its memory.
    pub has_steady_one: bool,
    /// Recipients of one campaign, at the most.
    pub of_a_campaign: usize,
    /// From one start of a daemon to its next kill; mostly in the first quarter.
    pub alive_ms: Range<u64>,
    /// Between two restarts of the database.
    pub database_restarts: Option<Duration>,
    /// Where chance begins.
    pub seed: u64,
    /// Says from time to time how far it is.
    pub is_told: bool,
}

/// Runs the plan to its end.
pub async fn run(plan: Plan) -> Report {
    let began = Instant::now();
    let cluster = Cluster::start().await;
    let over = CancellationToken::new();
    let share = plan.recipients / (plan.daemons + usize::from(plan.has_steady_one));
    let mut lives = Vec::new();
    for number in 0..plan.daemons + usize::from(plan.has_steady_one) {
        let is_killed = number < plan.daemons;
        let url = cluster.new_database(number).await;
        lives.push(Life::begin(number, url, is_killed, share, &plan).await);
    }
    let mut growth = Growth::default();
    let steady = lives.iter_mut().find(|life| !life.is_killed).and_then(Life::pid);
    let folder = cluster.data_dir().to_owned();
    let mut restarts = machine::Restarts::new(plan.database_restarts, Dice::new(plan.seed));
    let ended = CancellationToken::new();
    let lives = async {
        let lived = join_all(lives.into_iter().map(|life| life.live(&plan, &over))).await;
        ended.cancel();
        lived
    };
    let watch = async {
        let mut told = Instant::now();
        while !ended.is_cancelled() {
            tokio::time::sleep(Duration::from_millis(500)).await;
            if began.elapsed() > plan.lasting {
                over.cancel();
            } else {
                restarts.step(&cluster);
            }
            growth.look(steady, &folder);
            if plan.is_told && told.elapsed() > Duration::from_secs(10) {
                told = Instant::now();
                let seconds = began.elapsed().as_secs();
                eprintln!("{seconds:>5} s: {growth}, {} restarts of the database", restarts.count);
            }
        }
    };
    let (lived, ()) = tokio::join!(lives, watch);
    let mut report = Report { database_restarts: restarts.count, seed: plan.seed, ..Report::default() };
    for life in lived {
        report.add(life);
    }
    growth.look(steady, &folder);
    report.growth = growth;
    report.seconds = began.elapsed().as_secs();
    cluster.stop().await;
    report
}

/// Shared by the parts of one life.
type Campaigns = Arc<std::sync::Mutex<Vec<life::Launched>>>;

//! What rows share: the world they measure, the audiences in it, the runs that several of them read.

use std::collections::BTreeMap;

use anyhow::Result;

use crate::{
    args::Args,
    rows::{self, Mode, Runs},
    world::World,
};

/// How much is measured.
#[derive(Clone, Copy, Debug)]
pub struct Sizes {
    /// Messages of a run, one per call.
    pub single: u64,
    /// Messages of a run, 100 per call.
    pub batch: u64,
    /// Messages that get statuses, one per post.
    pub callbacks: u64,
    /// Messages that get statuses, 100 per post.
    pub batch_callbacks: u64,
    /// Tasks in the database whose pages are looked at, of 10,000 messages each.
    pub tasks: i64,
    /// Messages of a run beside other queues.
    pub peers: u64,
    /// Rows of an import.
    pub import: u64,
    /// Recipients of the campaigns whose memory is looked at, in turn.
    pub memory: &'static [u64],
    /// Runs of each.
    pub rounds: usize,
}

const SMALL: Sizes = Sizes {
    single: 100_000,
    batch: 500_000,
    callbacks: 60_000,
    batch_callbacks: 200_000,
    tasks: 100,
    peers: 50_000,
    import: 1_000_000,
    memory: &[100_000, 1_000_000],
    rounds: 3,
};
const FULL: Sizes = Sizes {
    single: 200_000,
    batch: 1_000_000,
    callbacks: 200_000,
    batch_callbacks: 1_000_000,
    tasks: 1_000,
    peers: 200_000,
    import: 1_000_000,
    memory: &[100_000, 1_000_000, 10_000_000],
    rounds: 5,
};

/// The rows' common ground. One world serves all rows that want nothing special of it.
pub struct Bench {
    /// What was asked for.
    pub args: Args,
    /// How much is measured.
    pub sizes: Sizes,
    /// What makes a commit durable, as the common world's database has it set.
    pub durability: Option<String>,
    world: Option<World>,
    audiences: BTreeMap<u64, i64>,
    runs: Vec<(Mode, bool, Runs)>,
    /// What one status per post came to, once measured.
    pub callbacks_per_second: Option<f64>,
}

impl Bench {
    /// Nothing is started yet.
    pub fn new(args: Args) -> Self {
        let mut sizes = if args.is_full { FULL } else { SMALL };
        sizes.rounds = args.rounds.unwrap_or(sizes.rounds);
        sizes.single = args.messages.unwrap_or(sizes.single);
        sizes.peers = args.messages.unwrap_or(sizes.peers);
        Self {
            args,
            sizes,
            durability: None,
            world: None,
            audiences: BTreeMap::new(),
            runs: Vec::new(),
            callbacks_per_second: None,
        }
    }

    /// The common world, started when it is first needed.
    pub async fn world(&mut self) -> Result<&World> {
        if self.world.is_none() {
            let in_flight = self.args.in_flight;
            let world = World::start(|vendor| rows::accounts(vendor, in_flight)).await?;
            let durability = world.psql.durability()?;
            println!("durability: {durability}");
            self.durability = Some(durability);
            self.world = Some(world);
        }
        self.world.as_ref().ok_or_else(|| anyhow::anyhow!("the world has just been started"))
    }

    /// An audience of so many recipients in the common world.
    pub async fn audience(&mut self, recipients: u64) -> Result<i64> {
        if let Some(id) = self.audiences.get(&recipients) {
            return Ok(*id);
        }
        let id = self.world().await?.import(recipients).await?;
        self.audiences.insert(recipients, id);
        Ok(id)
    }

    /// The runs of a mode: made once, and with the references where any row that comes first wants them.
    pub async fn runs(&mut self, mode: Mode, with_reference: bool) -> Result<Runs> {
        let known = self.runs.iter().find(|(known, has, _)| *known == mode && (*has || !with_reference));
        if let Some((_, _, runs)) = known {
            return Ok(runs.clone());
        }
        let runs = rows::runs(self, mode, with_reference).await?;
        self.runs.push((mode, with_reference, runs.clone()));
        Ok(runs)
    }
}

//! What every promise needs: a world of a daemon, a database and vendors; helpers to fill it, to wait and to compare.
//!
//! `World::new().start().await` is all that most tests need. It never talks to the program but by its command line, its
//! configuration file, signals and HTTP. Processes are ended by their id when a world is dropped, also by a panic.

pub mod account;
pub mod balancer;
pub mod callbacks;
pub mod campaign;
pub mod daemon;
pub mod fronted;
pub mod hooks;
pub mod ledger;
pub mod outage;
pub mod people;
pub mod pooler;
pub mod proxy;
pub mod receiver;
pub mod soak;
pub mod wait;
pub mod world;
pub mod writers;

pub use self::{
    account::Account,
    balancer::Balancer,
    campaign::{campaign, template, text},
    ledger::{assert_nobody_twice, places},
    people::{People, csv_of, phone},
    pooler::Pooler,
    receiver::Receiver,
    wait::{wait_until, within},
    world::World,
};

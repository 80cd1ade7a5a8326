//! Each vendor gets each recipient's message once, in its own documented form, and reports it up to `read`.

use api::{Counts, Task};
use simulator::{CallbackOptions, SimulatorOptions, Vendor};

use crate::harness::{Account, People, World, campaign, within};

const PEOPLE: People = People(1_000);

/// Everybody reads; all requests are kept.
fn readers() -> SimulatorOptions {
    let callbacks = CallbackOptions { read: 1.0, ..CallbackOptions::default() };
    SimulatorOptions { callbacks, kept_requests: 5_000, ..SimulatorOptions::default() }
}

/// Sends to everybody and waits until everybody has read.
async fn send_to_all(account: Account) -> (World, Task) {
    let world = World::new().simulator(readers()).account(account.clone()).start().await;
    let audience = world.import_people(PEOPLE).await;
    let task = world.launch(&campaign(&account, audience)).await;
    world.wait_for_completion(task, within(30)).await;
    let all = i64::try_from(PEOPLE.0).unwrap();
    let task =
        world.wait_for_task(task, "everybody has read", within(20), |task| task.counts.read == all).await;
    let everybody =
        Counts { total: all, accepted: all, sent: all, delivered: all, read: all, ..Counts::default() };
    assert_eq!(task.counts, everybody);
    assert_eq!(task.errors, []);
    assert!(task.ended_at.is_some());
    PEOPLE.assert_each_accepted_once(&world.simulator.accepted_by_recipient());
    world.audit().await;
    (world, task)
}

#[tokio::test(flavor = "multi_thread")]
async fn exotel_in_batches() {
    let (world, _) = send_to_all(Account::exotel().set("batch_size", 60)).await;
    assert_eq!(world.simulator.accepted_total_of(Vendor::Exotel), 1_000);
}

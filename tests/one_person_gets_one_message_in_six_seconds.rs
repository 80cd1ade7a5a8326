//! Two campaigns of one sender to the same people: whoever got the first one's message gets the other's six seconds later at
//! the earliest, and waits for it as queued. Another sender does not wait.

use std::collections::HashMap;

use api::NewCampaign;
use simulator::{AcceptedMessage, CallbackOptions, SimulatorOptions};

use crate::harness::{Account, People, World, campaign, people::digits, within};

const PAIR_US: u64 = 6_000_000;
const PEOPLE: People = People(120);

async fn world(account: Account) -> World {
    let callbacks = CallbackOptions { enabled: false, ..CallbackOptions::default() };
    let options = SimulatorOptions { callbacks, ..SimulatorOptions::default() };
    World::new().simulator(options).account(account).start().await
}

/// The shortest time between two messages of one sender to one person.
fn shortest(messages: &[AcceptedMessage]) -> u64 {
    let mut last: HashMap<(&str, u64), u64> = HashMap::new();
    let gaps = messages.iter().filter_map(|message| {
        let before = last.insert((&message.from, message.to), message.at_us);
        before.map(|before| message.at_us - before)
    });
    gaps.min().expect("nobody got two messages")
}

async fn two_campaigns(account: Account) -> World {
    let world = world(account).await;
    let audience = world.import_people(PEOPLE).await;
    let first = world.launch(&campaign(world.account(0), audience)).await;
    let second = world.launch(&campaign(world.account(0), audience)).await;
    // While they wait they are queued, and no attempt is used up.
    let waits = |task: &api::Task| task.counts.queued > 0 && task.counts.accepted + task.counts.queued == 120;
    for task in [first, second] {
        world
            .wait_for_task(task, "it sends or waits", within(5), |task| {
                task.counts.sending == 0 && waits(task) || task.counts.accepted == 120
            })
            .await;
    }
    for task in [first, second] {
        let done = world.wait_for_completion(task, within(20)).await;
        assert_eq!(done.counts.accepted, 120, "{:?}", done.counts);
        let messages =
            world.api().messages(task, &api::client::MessageFilter::default()).await.unwrap().items;
        assert!(messages.iter().all(|message| message.attempts == 1), "{messages:?}");
    }
    let gap = shortest(&world.simulator.messages());
    assert!(gap >= PAIR_US, "only {} ms between two messages to one person", gap / 1_000);
    world.audit().await;
    world
}

#[tokio::test(flavor = "multi_thread")]
async fn by_single_calls() {
    two_campaigns(Account::sobot_in()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn by_batches() {
    two_campaigns(Account::exotel().set("batch_size", 30)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn but_from_another_sender_at_once() {
    let world = world(Account::sobot_io().also_from("987654321")).await;
    let audience = world.import_people(PEOPLE).await;
    let one = campaign(world.account(0), audience);
    let other = NewCampaign { from: "987654321".to_owned(), ..one.clone() };
    let (one, other) = (world.launch(&one).await, world.launch(&other).await);
    for task in [one, other] {
        world.wait_for_completion(task, within(5)).await;
    }
    let ledger = world.simulator.accepted_by_recipient();
    assert!((0..PEOPLE.0).all(|number| ledger[&digits(number)] == 2));
    world.audit().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn also_when_the_process_was_killed_between_them() {
    let mut world = world(Account::sobot_in()).await;
    let audience = world.import_people(PEOPLE).await;
    // Of the first the last call alone stays open, and of the second nobody is taken before the kill.
    let first = world.launch(&campaign(world.account(0), audience)).await;
    world.wait_for_task(first, "the first one is sent", within(5), |task| task.counts.accepted == 120).await;
    world.kill9();
    world.restart().await;
    let second = world.launch(&campaign(world.account(0), audience)).await;
    world.wait_for_completion(second, within(20)).await;
    let gap = shortest(&world.simulator.messages());
    assert!(gap >= PAIR_US, "only {} ms between two messages to one person", gap / 1_000);
    world.audit().await;
}

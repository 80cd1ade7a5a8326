//! A small campaign of high priority leaves within a second while a large one of its sender runs, and the large one goes on.

use std::time::{Duration, Instant};

use api::{NewCampaign, Priority};
use simulator::{CallbackOptions, SimulatorOptions};

use crate::harness::{Account, People, World, campaign, csv_of, people::digits, wait_until, within};

const MANY: usize = 50_000;

async fn beside(priority: Priority, account: Account) {
    let callbacks = CallbackOptions { enabled: false, ..CallbackOptions::default() };
    let options = SimulatorOptions { callbacks, ..SimulatorOptions::default() };
    let world = World::new().simulator(options).account(account).start().await;
    let many = world.import_people(People(MANY)).await;
    let few = world.import(csv_of(MANY..MANY + 20)).await.id;
    let large = NewCampaign { priority: Some(priority), ..campaign(world.account(0), many) };
    let large = world.launch(&large).await;
    assert!(world.simulator.wait_for_accepted(100, within(20)).await, "the large one does not send");

    let urgent = NewCampaign { priority: Some(Priority::High), ..campaign(world.account(0), few) };
    let urgent = world.launch(&urgent).await;
    let launched = Instant::now();
    let is_urgent = |to: u64| to >= digits(MANY);
    let took = wait_until("the urgent one's first call leaves", within(10), async || {
        let messages = world.simulator.messages();
        messages.iter().any(|message| is_urgent(message.to)).then(|| launched.elapsed())
    })
    .await;
    assert!(took < Duration::from_secs(1), "it left only after {took:?}");
    world.wait_for_completion(urgent, within(10)).await;
    // The large one had its share meanwhile, goes on, and is far from its end.
    let (messages, first) = wait_until("the large one goes on", within(10), async || {
        let messages = world.simulator.messages();
        let first = messages.iter().position(|message| is_urgent(message.to)).unwrap();
        let goes_on = messages[first..].iter().any(|message| !is_urgent(message.to));
        goes_on.then_some((messages, first))
    })
    .await;
    let last = messages.iter().rposition(|message| is_urgent(message.to)).unwrap();
    assert!(last - first < 20 * 4, "{} messages were between the urgent ones", last - first - 19);
    assert!(world.task(large).await.counts.queued > 0, "the large one was over too early");
    world.api().cancel_task(large).await.unwrap();
    world.wait_for_task(large, "open calls end", within(10), |task| task.counts.sending == 0).await;
    world.audit().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn by_single_calls_beside_a_low_one() {
    beside(Priority::Low, Account::sobot_in().sender("messages_per_second", 80)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn by_batches_beside_a_normal_one() {
    beside(Priority::Normal, Account::exotel().sender("messages_per_second", 80)).await;
}

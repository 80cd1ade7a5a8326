//! No second at the vendor holds more messages than the sender's rate and one burst, and the rate is used.

use simulator::{Arrival, CallbackOptions, SimulatorOptions};

use crate::harness::{Account, People, World, campaign, csv_of, within};

const SECOND_US: u64 = 1_000_000;

/// Sends to everybody at the rate; returns the vendor's arrivals.
async fn arrivals(account: Account, people: People) -> Vec<Arrival> {
    let callbacks = CallbackOptions { enabled: false, ..CallbackOptions::default() };
    let options = SimulatorOptions { callbacks, ..SimulatorOptions::default() };
    let world = World::new().simulator(options).account(account.clone()).start().await;
    let audience = world.import_people(people).await;
    let task = world.launch(&campaign(&account, audience)).await;
    world.wait_for_completion(task, within(30)).await;
    people.assert_each_accepted_once(&world.simulator.accepted_by_recipient());
    world.audit().await;
    world.simulator.arrivals()
}

/// The same for several campaigns of the account at once; none of them has a rate of its own.
async fn arrivals_of_tasks(account: Account, tasks: usize, people: People) -> Vec<Arrival> {
    let callbacks = CallbackOptions { enabled: false, ..CallbackOptions::default() };
    let options = SimulatorOptions { callbacks, ..SimulatorOptions::default() };
    let world = World::new().simulator(options).account(account.clone()).start().await;
    let mut ids = Vec::new();
    for number in 0..tasks {
        // To others each: one person gets one message in six seconds.
        let audience = world.import(csv_of(number * people.0..(number + 1) * people.0)).await.id;
        ids.push(world.launch(&campaign(&account, audience)).await);
    }
    for id in ids {
        world.wait_for_completion(id, within(30)).await;
    }
    world.audit().await;
    let arrivals = world.simulator.arrivals();
    assert_eq!(arrivals.iter().map(|arrival| usize::from(arrival.accepted)).sum::<usize>(), tasks * people.0);
    arrivals
}

/// The most messages in any window of one second.
fn busiest_second(arrivals: &[Arrival]) -> u64 {
    let window = |first: usize| {
        let end = arrivals[first].at_us + SECOND_US;
        arrivals[first..]
            .iter()
            .take_while(|arrival| arrival.at_us < end)
            .map(|a| u64::from(a.messages))
            .sum()
    };
    (0..arrivals.len()).map(window).max().unwrap()
}

/// Messages a second between the first and the last arrival, the first one's own not counted.
fn mean_rate(arrivals: &[Arrival]) -> f64 {
    let (first, last) = (arrivals.first().unwrap(), arrivals.last().unwrap());
    let messages: u32 = arrivals[1..].iter().map(|arrival| u32::from(arrival.messages)).sum();
    f64::from(messages) / (last.at_us - first.at_us) as f64 * SECOND_US as f64
}

#[tokio::test(flavor = "multi_thread")]
async fn by_single_calls() {
    let account = Account::sobot_io().sender("messages_per_second", 80);
    let arrivals = arrivals(account, People(320)).await;
    let (busiest, mean) = (busiest_second(&arrivals), mean_rate(&arrivals));
    assert!(busiest <= 84, "{busiest} messages in one second at 80/s");
    assert!(mean >= 72.0, "{mean:.1}/s on the whole at 80/s");
}

#[tokio::test(flavor = "multi_thread")]
async fn by_batches() {
    let batch = 50;
    let account = Account::exotel().set("batch_size", batch).sender("messages_per_second", 200);
    let arrivals = arrivals(account, People(1_000)).await;
    let (busiest, mean) = (busiest_second(&arrivals), mean_rate(&arrivals));
    assert!(busiest <= 200 + batch, "{busiest} messages in one second at 200/s");
    assert!(mean >= 180.0, "{mean:.1}/s on the whole at 200/s");
}

#[tokio::test(flavor = "multi_thread")]
async fn by_several_campaigns_together() {
    let account = Account::sobot_in().sender("messages_per_second", 80);
    let arrivals = arrivals_of_tasks(account, 3, People(100)).await;
    let (busiest, mean) = (busiest_second(&arrivals), mean_rate(&arrivals));
    assert!(busiest <= 84, "{busiest} messages in one second at 80/s");
    assert!(mean >= 72.0, "{mean:.1}/s on the whole at 80/s");
}

#[tokio::test(flavor = "multi_thread")]
async fn by_the_accounts_calls() {
    let account = Account::exotel().set("batch_size", 10).set("requests_per_second", 20);
    let calls: Vec<Arrival> = arrivals(account, People(800)).await;
    let calls: Vec<Arrival> = calls.into_iter().map(|call| Arrival { messages: 1, ..call }).collect();
    let (busiest, mean) = (busiest_second(&calls), mean_rate(&calls));
    assert!(busiest <= 22, "{busiest} calls in one second at 20/s");
    assert!(mean >= 18.0, "{mean:.1} calls a second on the whole at 20/s");
}

#[tokio::test(flavor = "multi_thread")]
async fn by_a_campaign_that_wants_to_be_slower_than_its_sender() {
    let account = Account::sobot_io().sender("messages_per_second", 200);
    let callbacks = CallbackOptions { enabled: false, ..CallbackOptions::default() };
    let options = SimulatorOptions { callbacks, ..SimulatorOptions::default() };
    let world = World::new().simulator(options).account(account.clone()).start().await;
    let audience = world.import_people(People(150)).await;
    let mut slow = campaign(&account, audience);
    slow.messages_per_second = Some(40.0);
    let task = world.launch(&slow).await;
    world.wait_for_completion(task, within(30)).await;
    world.audit().await;
    let arrivals = world.simulator.arrivals();
    let (busiest, mean) = (busiest_second(&arrivals), mean_rate(&arrivals));
    assert!(busiest <= 44, "{busiest} messages in one second at 40/s");
    assert!(mean >= 36.0, "{mean:.1}/s on the whole at 40/s");
}

//! A listed number gets nothing: looked at whenever somebody is taken, so that it counts from the moment it is listed.

use std::ops::Range;

use api::{Category, MessageState, NewCampaign, NewSuppression, Suppression, SuppressionReason};
use simulator::{FaultAction, FaultRule, SimulatorOptions};

use crate::harness::{
    Account, People, World, assert_nobody_twice, campaign, csv_of, people::digits, phone, places, within,
};

async fn list(world: &World, number: usize, reason: SuppressionReason) -> Suppression {
    let new = NewSuppression { phone: phone(number), reason: Some(reason), source: None, expires_at: None };
    world.api().add_suppression(&new, None).await.unwrap()
}

async fn list_file(world: &World, numbers: Range<usize>) {
    let wanted = i64::try_from(numbers.len()).unwrap();
    let imported = world.api().import_suppressions(csv_of(numbers), None, None).await.unwrap();
    assert_eq!((imported.read, imported.added, imported.rejected), (wanted, wanted, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn listed_before_the_run() {
    let people = People(600);
    let world = World::new().account(Account::exotel()).start().await;
    let listed = list(&world, 0, SuppressionReason::Manual).await;
    assert_eq!((listed.phone, listed.reason), (phone(0), SuppressionReason::Manual));
    list(&world, 1, SuppressionReason::OptOut).await;
    list(&world, 2, SuppressionReason::Complaint).await;
    list_file(&world, 100..150).await;
    let is_listed = |number: usize| number < 3 || (100..150).contains(&number);

    let audience = world.import_people(people).await;
    let task = world.launch(&campaign(world.account(0), audience)).await;
    let task = world.wait_for_completion(task, within(15)).await;
    assert_eq!((task.counts.suppressed, task.counts.accepted), (53, 547));
    people.assert_each_accepted_once_but(&world.simulator.accepted_by_recipient(), is_listed);
    let mut suppressed = world.phones(task.id, MessageState::Suppressed).await;
    suppressed.sort_unstable();
    assert_eq!(suppressed, (0..people.0).filter(|number| is_listed(*number)).map(digits).collect::<Vec<_>>());
    world.audit().await;

    // Taken off the list, a number is reached again; who opted out of marketing gets what is no marketing.
    world.api().remove_suppression(&phone(0)).await.unwrap();
    let audience = world.import(csv_of(0..4)).await.id;
    let message = crate::harness::text("Your parcel has left");
    let news =
        NewCampaign { category: Some(Category::Utility), message, ..campaign(world.account(0), audience) };
    let task = world.launch(&news).await;
    let task = world.wait_for_completion(task, within(10)).await;
    assert_eq!((task.counts.suppressed, task.counts.accepted), (1, 3));
    let ledger = world.simulator.accepted_by_recipient();
    assert_eq!(
        [0, 1, 2, 3].map(|number| ledger.get(&digits(number)).copied()),
        [Some(1), Some(1), None, Some(2)]
    );
    world.audit().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn listed_during_the_run() {
    let people = People(1_500);
    let last = 1_400..1_500;
    let account = Account::exotel().set("batch_size", 20).sender("messages_per_second", 300);
    let world = World::new().account(account).start().await;
    let audience = world.import_people(people).await;
    let task = world.launch(&campaign(world.account(0), audience)).await;
    world.wait_for_task(task, "some are accepted", within(10), |task| task.counts.accepted >= 100).await;
    list_file(&world, last.clone()).await;
    let running = world.task(task).await;
    assert!(running.counts.queued > 100, "the last ones were taken before they were listed: {running:?}");

    let task = world.wait_for_completion(task, within(15)).await;
    assert_eq!((task.counts.suppressed, task.counts.accepted), (100, 1_400));
    assert_eq!(places(&task.counts), task.counts.total);
    let ledger = world.simulator.accepted_by_recipient();
    people.assert_each_accepted_once_but(&ledger, |number| last.contains(&number));
    world.audit().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn listed_while_it_waits_to_be_tried_again() {
    let people = People(200);
    // Too many messages to one person: tried again after some seconds.
    let fault = FaultRule::new(FaultAction::MessageCode { code: 131_056, message: None });
    let options = SimulatorOptions {
        faults: vec![fault.recipients([phone(7), phone(8)]).limit(2)],
        ..SimulatorOptions::default()
    };
    let world = World::new().simulator(options).account(Account::sobot_io()).start().await;
    let audience = world.import_people(people).await;
    let task = world.launch(&campaign(world.account(0), audience)).await;
    let others_done = |task: &api::Task| task.counts.retrying == 2 && task.counts.accepted == 198;
    world.wait_for_task(task, "two wait to be tried again", within(10), others_done).await;
    list(&world, 7, SuppressionReason::Invalid).await;

    let task = world.wait_for_completion(task, within(15)).await;
    assert_eq!((task.counts.suppressed, task.counts.accepted, task.counts.failed), (1, 199, 0));
    let ledger = world.simulator.accepted_by_recipient();
    assert_eq!(assert_nobody_twice(&ledger), 199);
    people.assert_each_accepted_once_but(&ledger, |number| number == 7);
    world.audit().await;
}

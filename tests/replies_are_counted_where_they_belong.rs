//! Who answers counts once as `replied`, who presses a button once as `clicked`, at the message that is answered: the one that
//! the vendor names, else the last one that the person got.

use api::{Counts, client::Page};
use simulator::Vendor;

use crate::harness::{Account, People, World, campaign, people, wait_until, within};

const PEOPLE: People = People(20);

/// Waits until the task counts so many (replied, clicked).
async fn counts(world: &World, task: i64, wanted: (i64, i64)) -> Counts {
    let what = format!("task {task} counts {wanted:?} as replied and clicked");
    let is_so = |counts: &Counts| (counts.replied, counts.clicked) == wanted;
    world.wait_for_task(task, &what, within(10), |task| is_so(&task.counts)).await.counts
}

/// Waits until so many things that people sent are listed.
async fn listed(world: &World, wanted: usize) {
    wait_until("all that people sent is listed", within(10), async || {
        (world.api().inbound(&Page::default()).await.unwrap().items.len() == wanted).then_some(())
    })
    .await;
}

async fn sent_to_all(world: &World, audience: i64) -> i64 {
    let task = world.launch(&campaign(world.account(0), audience)).await;
    world.wait_for_completion(task, within(20)).await;
    world.all_reports_are_applied(task).await;
    task
}

#[tokio::test(flavor = "multi_thread")]
async fn at_the_last_message_or_the_one_that_is_named() {
    let account = Account::sobot_io();
    let world = World::new().account(account.clone()).start().await;
    let audience = world.import_people(PEOPLE).await;
    let first = sent_to_all(&world, audience).await;

    world.person_sends(&world.text_of(&account, 3, "Thank you")).await;
    world.person_sends(&world.text_of(&account, 3, "When do you open?")).await;
    world.person_sends(&world.text_of(&account, 4, "Yes").kind("interactive")).await;
    world.person_sends(&world.text_of(&account, 5, "Ann").kind("flow")).await;
    listed(&world, 4).await;
    counts(&world, first, (2, 1)).await;

    let second = sent_to_all(&world, audience).await;
    world.person_sends(&world.text_of(&account, 3, "Again?")).await;
    counts(&world, second, (1, 0)).await;
    // The press of a button says which message it belongs to.
    let filter =
        api::client::MessageFilter { to: Some(format!("+{}", people::digits(7))), ..Default::default() };
    let message = world.api().messages(first, &filter).await.unwrap().items.remove(0);
    let mut press = world.text_of(&account, 7, "Buy now").kind("button");
    press.about = message.vendor_id.expect("it was accepted");
    world.person_sends(&press).await;
    world.person_sends(&press).await;
    let shown = counts(&world, first, (2, 2)).await;
    assert_eq!(shown.accepted, 20, "an answer moves nobody: {shown:?}");
    // Somebody whom nothing was sent to.
    world.person_sends(&world.text_of(&account, 70_000, "Who are you?")).await;
    listed(&world, 8).await;
    let unmatched = world.api().inbound(&Page::default()).await.unwrap().items.remove(0);
    assert_eq!((unmatched.task_id, unmatched.no), (None, None), "{unmatched:?}");
    counts(&world, first, (2, 2)).await;
    counts(&world, second, (1, 0)).await;
    world.audit().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn of_every_vendor() {
    let world = World::new().start().await;
    let audience = world.import_people(PEOPLE).await;
    for (number, vendor) in Vendor::ALL.into_iter().enumerate() {
        let account = [Account::exotel(), Account::sobot_io(), Account::sobot_in()]
            .into_iter()
            .position(|account| account.vendor == vendor)
            .map(|place| world.account(place).clone())
            .expect("there is an account of each vendor");
        let task = world.launch(&campaign(&account, audience)).await;
        world.wait_for_completion(task, within(20)).await;
        world.person_sends(&world.text_of(&account, number, "Hello")).await;
        counts(&world, task, (1, 0)).await;
    }
    world.audit().await;
}

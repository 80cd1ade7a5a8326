//! `on_unknown = "resend"`: what is unknown for ten minutes is sent once more, as a second attempt, and never a third time.

use std::ops::Range;

use api::{Message, MessageState, OnUnknown, Task, client::ClientError, client::MessageFilter};
use simulator::{CallbackOptions, FaultAction, FaultRule, SimulatorOptions};

use crate::harness::{Account, World, campaign, csv_of, people, wait_until, within};

const MINUTE_MS: i64 = 60_000;

/// A vendor that keeps no records and posts no reports; calls to these recipients are lost, each so many times.
async fn world(lost: &[(FaultAction, usize, u64)]) -> World {
    let lost = lost.iter().map(|(action, number, times)| {
        FaultRule::new(action.clone()).recipients([people::phone(*number)]).limit(*times)
    });
    let callbacks = CallbackOptions { enabled: false, ..CallbackOptions::default() };
    let options = SimulatorOptions { callbacks, faults: lost.collect(), ..SimulatorOptions::default() };
    World::new().simulator(options).account(Account::sobot_in()).start().await
}

/// Launches a campaign to these people and waits until all but so many are accepted.
async fn launch(world: &World, on_unknown: OnUnknown, people: Range<usize>, unknown: i64) -> i64 {
    let audience = world.import(csv_of(people)).await.id;
    let mut campaign = campaign(world.account(0), audience);
    campaign.on_unknown = Some(on_unknown);
    let task = world.launch(&campaign).await;
    let is_over = |task: &Task| task.counts.unknown == unknown && has_all(task);
    world.wait_for_task(task, "the rest is unknown", within(20), is_over).await;
    task
}

fn has_all(task: &Task) -> bool {
    task.counts.accepted + task.counts.unknown == task.counts.total
}

async fn calls_are(world: &World, wanted: u64) {
    let found = async || (world.simulator.requests_total() >= wanted).then_some(());
    wait_until("everybody who is due is sent to again", within(20), found).await;
    assert_eq!(world.simulator.requests_total(), wanted);
}

async fn unknown(world: &World, task: i64) -> Vec<Message> {
    let filter = MessageFilter { state: Some("unknown".to_owned()), ..MessageFilter::default() };
    world.api().messages(task, &filter).await.unwrap().items
}

#[tokio::test(flavor = "multi_thread")]
async fn after_ten_minutes_as_a_second_attempt_and_no_third() {
    let (taken, absent) = (FaultAction::CloseAfterAccept, || FaultAction::CloseBeforeAccept);
    // 3 was taken, of which nobody hears; 13 and 23 never came; 33 gives no answer the second time, either.
    let lost = [(taken, 3, 1), (absent(), 13, 1), (absent(), 23, 1), (absent(), 33, 2)];
    let later = [(absent(), 101, 1), (absent(), 201, 1), (absent(), 301, 1)];
    let mut world = world(&[lost.as_slice(), &later].concat()).await;
    let first = launch(&world, OnUnknown::Resend, 0..40, 4).await;
    let held = launch(&world, OnUnknown::Hold, 200..203, 1).await;
    world.daemon().set_clock_offset_ms(5 * MINUTE_MS);
    let second = launch(&world, OnUnknown::Resend, 100..103, 1).await;
    let calls = world.simulator.requests_total();
    assert_eq!(calls, 40 + 3 + 3);

    // Ten minutes after the first ones, five after the others.
    world.daemon().set_clock_offset_ms(10 * MINUTE_MS + 10_000);
    calls_are(&world, calls + 4).await;
    let again = |task: &Task| task.counts.unknown == 1 && has_all(task);
    world.wait_for_task(first, "one is unknown again", within(20), again).await;
    assert_eq!(world.task(second).await.counts.unknown, 1);

    // The second's turn; nobody's third.
    world.daemon().set_clock_offset_ms(16 * MINUTE_MS);
    calls_are(&world, calls + 5).await;
    world.wait_for_task(second, "nobody is unknown", within(20), |task| task.counts.accepted == 3).await;
    let third = launch(&world, OnUnknown::Resend, 300..302, 1).await;
    world.daemon().set_clock_offset_ms(60 * MINUTE_MS);
    calls_are(&world, calls + 5 + 2 + 1).await;
    world.wait_for_task(third, "nobody is unknown", within(20), |task| task.counts.accepted == 2).await;
    let left = unknown(&world, first).await;
    assert_eq!(left.len(), 1);
    assert_eq!((left[0].to.clone(), left[0].attempts), (people::phone(33), 2));
    assert_eq!(unknown(&world, held).await[0].attempts, 1);

    // At least once is what was asked for: whoever had been taken was reached twice, and nobody else.
    let ledger = world.simulator.accepted_by_recipient();
    let twice: Vec<u64> = ledger.iter().filter(|(_, times)| **times > 1).map(|(to, _)| *to).collect();
    assert_eq!(twice, [people::digits(3)]);
    assert_eq!(world.phones(first, MessageState::Unknown).await, [people::digits(33)]);
    world.wait_for_completion(first, within(10)).await;
    world.audit().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn unless_one_attempt_is_all_that_is_allowed() {
    let world = world(&[]).await;
    let audience = world.import(csv_of(0..1)).await.id;
    let mut campaign = campaign(world.account(0), audience);
    (campaign.on_unknown, campaign.max_attempts) = (Some(OnUnknown::Resend), Some(1));
    let Err(ClientError::Refused(problem)) = world.api().create_campaign(&campaign, None).await else {
        panic!("it is not refused");
    };
    assert_eq!(problem.errors[0].field, "on_unknown");
    assert!(problem.errors[0].message.contains("max_attempts"), "{problem:?}");
}

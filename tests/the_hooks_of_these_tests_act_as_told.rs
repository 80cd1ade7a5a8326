//! The points at which other tests end or stop the daemon do so, once and at the passing that was asked for; its clock can
//! be moved.

use api::{NewCampaign, Schedule};
use chrono::TimeDelta;

use crate::harness::{Account, People, World, assert_nobody_twice, campaign, wait_until, within};

#[tokio::test(flavor = "multi_thread")]
async fn a_point_stops_who_passes_and_then_kills_the_process() {
    let people = People(30);
    let mut world = World::new().account(Account::sobot_in().set("max_in_flight", 1)).start().await;
    let audience = world.import_people(people).await;
    world.daemon().stop_at("call.before", 3);
    let task = world.launch(&campaign(world.account(0), audience)).await;
    wait_until("the third call is stopped", within(10), async || {
        world.daemon().was_at("call.before").then_some(())
    })
    .await;
    assert_eq!(world.simulator.accepted_total(), 2);
    // Everything else goes on: it answers, and the two are counted.
    world.wait_for_task(task, "two are accepted", within(5), |task| task.counts.accepted == 2).await;
    assert_eq!(world.simulator.accepted_total(), 2);

    world.kill_at("call.answered", 5);
    world.daemon().let_go("call.before");
    world.died_at("call.answered", within(10)).await;
    assert_eq!(world.simulator.accepted_total(), 7);
    world.restart().await;
    let task = world.wait_for_completion(task, within(20)).await;
    // Whose call was open is not sent to again: the one of the fifth answer, and those whose intents were committed behind it.
    let ledger = world.simulator.accepted_by_recipient();
    let reached = assert_nobody_twice(&ledger);
    assert!(reached + task.counts.unknown > task.counts.total, "{reached} in the ledger: {:?}", task.counts);
    world.audit().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_clock_can_be_moved() {
    let people = People(5);
    let mut world = World::new().account(Account::sobot_in()).start().await;
    let imported = world.import(people.csv()).await;
    let (audience, hours) = (imported.id, TimeDelta::hours(3));
    let at = (imported.created_at + hours).format("%Y-%m-%dT%H:%M:%S").to_string();
    let schedule = Schedule { at: Some(at), time_zone: Some("UTC".to_owned()), ..Schedule::default() };
    let wanted = NewCampaign { schedule: Some(schedule), ..campaign(world.account(0), audience) };
    let task = world.launch(&wanted).await;
    world.daemon().set_clock_offset_ms(hours.num_milliseconds());
    world.wait_for_completion(task, within(30)).await;
    people.assert_each_accepted_once(&world.simulator.accepted_by_recipient());
    world.audit().await;
}

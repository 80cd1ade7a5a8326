//! A task waits for its time, by the clock of its time zone, and runs by itself; from `expires_at` on nobody more is sent to.

use api::{NewCampaign, Schedule, TaskState};
use chrono::{DateTime, FixedOffset, SubsecRound as _, TimeDelta, Utc};

use crate::harness::{Account, People, World, assert_nobody_twice, campaign, places, within};

const PEOPLE: People = People(500);

/// A campaign for the people of the audience, at `at` by the clocks of a zone with this offset.
fn scheduled(
    account: &Account,
    audience: i64,
    at: DateTime<Utc>,
    zone: &str,
    offset_minutes: i32,
) -> NewCampaign {
    let offset = FixedOffset::east_opt(offset_minutes * 60).unwrap();
    let local = at.with_timezone(&offset).format("%Y-%m-%dT%H:%M:%S").to_string();
    let schedule = Schedule { at: Some(local), time_zone: Some(zone.to_owned()), ..Schedule::default() };
    NewCampaign { schedule: Some(schedule), ..campaign(account, audience) }
}

/// Imports everybody; the audience and a whole second so many seconds after the daemon's now.
async fn import_and_time(world: &World, people: People, seconds: i64) -> (i64, DateTime<Utc>) {
    let audience = world.import(people.csv()).await;
    (audience.id, audience.created_at.trunc_subsecs(0) + TimeDelta::seconds(seconds))
}

#[tokio::test(flavor = "multi_thread")]
async fn by_the_clock_of_its_zone() {
    let world = World::new().account(Account::exotel()).account(Account::sobot_in()).start().await;
    let (audience, at) = import_and_time(&world, PEOPLE, 5).await;
    let zones = [("Asia/Kolkata", 330), ("Asia/Kathmandu", 345)];
    let mut tasks = Vec::new();
    for (number, (zone, offset)) in zones.into_iter().enumerate() {
        let mut campaign = scheduled(world.account(number), audience, at, zone, offset);
        campaign.message = crate::harness::text(zone);
        let task = world.launch(&campaign).await;
        let waiting = world.task(task).await;
        assert_eq!(
            (waiting.state, waiting.starts_at, waiting.started_at),
            (TaskState::Scheduled, Some(at), None)
        );
        assert_eq!(waiting.counts.queued, waiting.counts.total);
        tasks.push(task);
    }
    for task in tasks {
        let started = |task: &api::Task| task.state != TaskState::Scheduled;
        let task = world.wait_for_task(task, "the time has come", within(10), started).await;
        let late = task.started_at.expect("it has started") - at;
        assert!(
            late >= TimeDelta::zero() && late < TimeDelta::seconds(2),
            "it started {late} after its time"
        );
        let done = world.wait_for_completion(task.id, within(10)).await;
        assert_eq!(done.counts.accepted, done.counts.total);
    }
    let ledger = world.simulator.accepted_by_recipient();
    // One message from each of the two accounts.
    assert_eq!(ledger.len(), PEOPLE.0);
    assert!(ledger.values().all(|count| *count == 2), "somebody was not sent to by both");
    assert!(world.simulator.duplicates().is_empty());
    world.audit().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn even_when_the_daemon_was_away_at_that_time_and_not_while_it_is_paused() {
    let mut world = World::new().account(Account::exotel()).start().await;
    let (audience, at) = import_and_time(&world, PEOPLE, 3).await;
    let task = world.launch(&scheduled(world.account(0), audience, at, "Asia/Kolkata", 330)).await;
    assert_eq!(world.api().pause_task(task).await.unwrap().state, TaskState::Paused);
    world.stop().await;
    assert_eq!(world.simulator.requests_total(), 0);
    world.restart().await;
    let is_due = |task: &api::Task| task.started_at.is_some();
    let due = world.wait_for_task(task, "its time has come", within(10), is_due).await;
    assert_eq!((due.state, due.counts.queued), (TaskState::Paused, due.counts.total));
    assert_eq!(world.simulator.requests_total(), 0);
    world.api().resume_task(task, false).await.unwrap();
    world.wait_for_completion(task, within(10)).await;
    PEOPLE.assert_each_accepted_once(&world.simulator.accepted_by_recipient());
    world.audit().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn and_ends_when_its_campaign_expires() {
    let people = People(2_000);
    let account = Account::exotel().set("batch_size", 20).sender("messages_per_second", 200);
    let world = World::new().account(account).account(Account::sobot_in()).start().await;
    let (audience, at) = import_and_time(&world, people, 4).await;
    let until = |number: usize| {
        let soon = NewCampaign { expires_at: Some(at), ..campaign(world.account(number), audience) };
        NewCampaign { message: crate::harness::text("until then"), ..soon }
    };
    let task = world.launch(&until(0)).await;
    let paused = world.launch(&until(1)).await;
    world.api().pause_task(paused).await.unwrap();
    world.wait_for_task(task, "some are accepted", within(10), |task| task.counts.accepted > 0).await;

    let is_over = |task: &api::Task| task.state == TaskState::Completed && task.counts.sending == 0;
    let ended = world.wait_for_task(task, "it has expired", within(15), is_over).await;
    assert!(ended.ended_at.is_some_and(|ended| ended >= at), "{ended:?}");
    assert!(ended.counts.expired > 0 && ended.counts.accepted > 0, "{:?}", ended.counts);
    assert_eq!((ended.counts.queued, places(&ended.counts)), (0, ended.counts.total));
    let other = world.wait_for_task(paused, "a paused one expires too", within(5), is_over).await;
    assert!(other.counts.expired > 0);
    assert_eq!(other.counts.expired + other.counts.accepted, other.counts.total);

    let reached = world.simulator.accepted_total();
    assert_eq!(i64::try_from(reached).unwrap(), ended.counts.accepted + other.counts.accepted);
    for command in [world.api().resume_task(task, false).await, world.api().cancel_task(task).await] {
        assert_eq!(command.unwrap_err().status(), Some(409));
    }
    // What has expired is refused and nobody is sent to.
    let refused = world.api().create_campaign(&until(0), None).await.unwrap_err();
    assert_eq!(refused.status(), Some(422));
    assert!(refused.to_string().contains("expires_at"), "{refused}");
    assert_eq!(world.simulator.accepted_total(), reached);
    if other.counts.accepted == 0 {
        assert_nobody_twice(&world.simulator.accepted_by_recipient());
    }
    assert!(world.simulator.duplicates().is_empty());
    world.audit().await;
}

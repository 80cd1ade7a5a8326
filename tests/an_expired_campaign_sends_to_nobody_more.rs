//! From `expires_at` on nobody is sent to: those who are left are `expired`, and so are those who wait to be tried again.

use std::time::Instant;

use api::{Counts, MessageState, NewCampaign, Task, client::MessageFilter};
use chrono::{DateTime, TimeDelta, Utc};
use simulator::{CallbackOptions, FaultAction, FaultRule, SimulatorOptions};

use crate::harness::{Account, People, World, assert_nobody_twice, campaign, people, wait_until, within};

const PEOPLE: People = People(1_500);
/// A look at the clock, a commit, and a call that is under way.
const SLACK_MS: i64 = 300;

fn account() -> Account {
    Account::sobot_in().sender("messages_per_second", 200)
}

/// Two recipients meet a trouble that passes after the campaign has expired.
async fn world() -> World {
    let recipients = [3, 30].map(|number| people::digits(number).to_string());
    let trouble = FaultAction::MessageCode { code: 131_016, message: None };
    let callbacks = CallbackOptions { enabled: false, ..CallbackOptions::default() };
    let faults = vec![FaultRule::new(trouble).recipients(recipients)];
    let options = SimulatorOptions { callbacks, faults, ..SimulatorOptions::default() };
    World::new().simulator(options).account(account()).start().await
}

/// A campaign that expires so many seconds after its audience was made, and when that is.
async fn expiring(world: &World, seconds: i64) -> (NewCampaign, DateTime<Utc>) {
    let audience = world.import_people(PEOPLE).await;
    let made = world.api().audience(audience).await.unwrap().created_at;
    let expires_at = made + TimeDelta::seconds(seconds);
    let mut campaign = campaign(&account(), audience);
    campaign.expires_at = Some(expires_at);
    (campaign, expires_at)
}

/// Everybody is either accepted or expired, and nobody was accepted late.
async fn assert_expired_in_time(world: &World, task: &Task, expires_at: DateTime<Utc>) {
    let accepted = assert_nobody_twice(&world.simulator.accepted_by_recipient());
    assert!((1..1_400).contains(&accepted), "{accepted} were accepted before it expired");
    let expected = Counts { total: 1_500, accepted, expired: 1_500 - accepted, ..Counts::default() };
    assert_eq!(task.counts, expected);
    assert_eq!(task.errors, [], "nobody is failed, retrying or unknown");
    assert_eq!(world.phones(task.id, MessageState::Expired).await.len() as i64, expected.expired);
    let filter = MessageFilter { state: Some("accepted".to_owned()), ..MessageFilter::default() };
    let mut page = filter.clone();
    page.page.limit = Some(500);
    let mut last = None;
    loop {
        let answer = world.api().messages(task.id, &page).await.unwrap();
        last = answer.items.iter().filter_map(|message| message.accepted_at).max().max(last);
        page.page.after = answer.next;
        if page.page.after.is_none() {
            break;
        }
    }
    let late_ms = (last.unwrap() - expires_at).num_milliseconds();
    assert!(late_ms <= SLACK_MS, "somebody was sent to {late_ms} ms after the campaign had expired");
}

#[tokio::test(flavor = "multi_thread")]
async fn in_the_middle_of_its_run() {
    let world = world().await;
    let (campaign, expires_at) = expiring(&world, 4).await;
    let task = world.launch(&campaign).await;
    let task = world.wait_for_completion(task, within(20)).await;
    let task =
        world.wait_for_task(task.id, "no call is open", within(10), |task| task.counts.sending == 0).await;
    assert_expired_in_time(&world, &task, expires_at).await;
    world.audit().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn while_the_daemon_is_down() {
    let mut world = world().await;
    let (campaign, expires_at) = expiring(&world, 4).await;
    let task = world.launch(&campaign).await;
    assert!(world.simulator.wait_for_accepted(100, within(10)).await);
    world.stop().await;
    let stopped = Instant::now();
    wait_until("it has expired", within(10), async || (stopped.elapsed() > within(4)).then_some(())).await;
    let before = world.simulator.requests_total();
    world.restart().await;
    let task = world.wait_for_completion(task, within(20)).await;
    assert_expired_in_time(&world, &task, expires_at).await;
    assert_eq!(world.simulator.requests_total(), before, "the vendor was called after the restart");
    world.audit().await;
}

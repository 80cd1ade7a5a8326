//! A sending window may follow the clocks of each recipient: those of its number, or of the column `time_zone`. Whoever's window is
//! closed stays queued until it opens, also across kills, and nobody is sent to at an hour outside of it.

use api::{
    MessageState, NewCampaign, PreviewRequest, SendingWindow, Task, WaitingFor, client::MessageFilter,
};
use chrono::{DateTime, Utc};
use simulator::{CallbackOptions, FaultAction, FaultRule, SimulatorOptions};

use crate::harness::{Account, World, assert_nobody_twice, campaign, within};

const INDIA: u64 = 919_876_000_000;
const BERLIN: u64 = 4_915_123_000_000;
const NEW_YORK: u64 = 12_127_360_000;

fn instant(text: &str) -> DateTime<Utc> {
    text.parse().unwrap()
}

/// 09:00 to 21:00: 03:30 to 15:30 UTC in India, 08:00 to 20:00 in Berlin, 14:00 to 02:00 in New York.
fn windowed(world: &World, audience_id: i64) -> NewCampaign {
    let window = SendingWindow {
        from: "09:00".to_owned(),
        to: "21:00".to_owned(),
        days: None,
        time_zone: "recipient".to_owned(),
    };
    NewCampaign { sending_window: Some(window), ..campaign(world.account(0), audience_id) }
}

/// `count` recipients from each of these numbers on, in turn, with this in the column `time_zone`.
async fn import(world: &World, groups: &[(u64, u64, &str)]) -> i64 {
    let mut csv = String::from("phone,name,city,time_zone\n");
    let most = groups.iter().map(|(_, count, _)| *count).max().unwrap();
    for n in 0..most {
        for (from, _, zone) in groups.iter().filter(|(_, count, _)| n < *count) {
            csv.push_str(&format!("+{},Name {n},City,{zone}\n", from + n));
        }
    }
    let wanted: u64 = groups.iter().map(|(_, count, _)| count).sum();
    let audience = world.import(csv).await;
    assert_eq!(audience.rows.accepted, i64::try_from(wanted).unwrap(), "{audience:?}");
    audience.id
}

/// Waits until nobody is left to be sent to before `opens`, so many have been accepted, and the others are as wanted.
async fn waits_until(world: &World, task: i64, opens: &str, accepted: i64) -> Task {
    let opens = instant(opens);
    let is_so = |task: &Task| {
        let counts = &task.counts;
        counts.sending == 0
            && counts.accepted == accepted
            && task.waiting_for == Some(WaitingFor::Window)
            && task.waiting_until == Some(opens)
    };
    world.wait_for_task(task, "it waits for the next window", within(20), is_so).await
}

fn within_group(phone: u64, (from, count, _): (u64, u64, &str)) -> bool {
    (from..from + count).contains(&phone)
}

#[tokio::test(flavor = "multi_thread")]
async fn from_zone_to_zone_through_the_day() {
    let mut world = World::new().account(Account::exotel().set("batch_size", 20)).start().await;
    // The second word on where somebody is: of the column where it names a zone, of the number where it does not.
    let groups = [
        (INDIA, 60, ""),
        (BERLIN, 60, ""),
        (NEW_YORK, 60, ""),
        (INDIA + 1_000, 20, "america/new_york"),
        (NEW_YORK + 1_000, 20, "Asia/Kolkata"),
        (INDIA + 2_000, 20, "India"),
    ];
    let audience = import(&world, &groups).await;
    world.set_clock("2026-12-01T02:30:00Z");
    let new = windowed(&world, audience);
    let task = world.launch(&new).await;

    // Nobody's window is open: all are queued, and the audit finds each of them.
    let closed = waits_until(&world, task, "2026-12-01T03:30:00Z", 0).await;
    assert_eq!((closed.counts.queued, world.simulator.requests_total()), (240, 0));
    let queued = MessageFilter { state: Some("queued".to_owned()), ..MessageFilter::default() };
    let page = world.api().messages(task, &queued).await.unwrap();
    assert!(!page.items.is_empty() && page.items.iter().all(|message| message.retry_at.is_some()));
    world.audit().await;

    // Each zone at its hour, and not a minute before.
    let mut opened: Vec<usize> = Vec::new();
    for (before, opens, next, open, accepted) in [
        ("03:29", "03:30", "2026-12-01T08:00:00Z", &[0, 4, 5][..], 100),
        ("07:59", "08:00", "2026-12-01T14:00:00Z", &[1], 160),
        ("13:59", "14:00", "", &[2, 3], 240),
    ] {
        let sent = world.simulator.accepted_total();
        let here = instant(&format!("2026-12-01T{opens}:00Z"));
        world.set_clock(&format!("2026-12-01T{before}:00Z"));
        waits_until(&world, task, &here.to_rfc3339(), i64::try_from(sent).unwrap()).await;
        world.set_clock(&here.to_rfc3339());
        opened.extend(open);
        if next.is_empty() {
            world.wait_for_completion(task, within(20)).await;
        } else {
            let waits = waits_until(&world, task, next, accepted).await;
            assert_eq!(waits.counts.queued, 240 - accepted, "{waits:?}");
        }
        let ledger = world.simulator.accepted_by_recipient();
        assert_eq!(assert_nobody_twice(&ledger), accepted);
        for phone in ledger.keys() {
            let group = groups.iter().position(|group| within_group(*phone, *group)).unwrap();
            assert!(opened.contains(&group), "{phone} was sent to at {opens}");
        }
        world.audit().await;
    }

    // The preview tells whose column names no zone.
    let campaign = world.task(task).await.campaign_id;
    let preview = world
        .api()
        .preview_campaign(campaign, &PreviewRequest { rows: 6, ..PreviewRequest::default() })
        .await
        .unwrap();
    let warnings: Vec<String> = preview.items.into_iter().flat_map(|item| item.warnings).collect();
    assert!(matches!(warnings.as_slice(), [warning] if warning.contains("`India`")), "{warnings:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn by_those_who_are_tried_again() {
    let trouble = FaultAction::MessageCode { code: 131_016, message: None };
    let callbacks = CallbackOptions { enabled: false, ..CallbackOptions::default() };
    let faults = vec![FaultRule::new(trouble).recipients([INDIA.to_string()]).limit(1)];
    let options = SimulatorOptions { callbacks, faults, ..SimulatorOptions::default() };
    let mut world = World::new().simulator(options).account(Account::sobot_in()).start().await;
    let audience = import(&world, &[(INDIA, 20, "")]).await;
    world.set_clock("2026-12-01T15:29:00Z");
    let task = world.launch(&windowed(&world, audience)).await;
    let failed_once = |task: &Task| task.counts.retrying == 1 && task.counts.accepted == 19;
    let retrying = world.wait_for_task(task, "one is to be tried again", within(20), failed_once).await;
    assert_eq!(retrying.waiting_for, None, "a delay after a failure is no window: {retrying:?}");

    // Its time comes while its window is closed.
    world.set_clock("2026-12-01T16:30:00Z");
    let waits = waits_until(&world, task, "2026-12-02T03:30:00Z", 19).await;
    assert_eq!(waits.counts.retrying, 1);
    assert_eq!(world.simulator.accepted_total(), 19);
    world.audit().await;
    world.set_clock("2026-12-02T03:30:00Z");
    world.wait_for_completion(task, within(20)).await;
    let of = MessageFilter { to: Some(format!("+{INDIA}")), ..MessageFilter::default() };
    let message = world.api().messages(task, &of).await.unwrap().items.remove(0);
    assert_eq!((message.state, message.attempts), (MessageState::Accepted, 2));
    assert_eq!(assert_nobody_twice(&world.simulator.accepted_by_recipient()), 20);
    world.audit().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn and_whoever_has_none_before_the_campaign_expires_is_expired() {
    let mut world = World::new().account(Account::sobot_in()).start().await;
    let audience = import(&world, &[(INDIA, 30, ""), (NEW_YORK, 40, "")]).await;
    world.set_clock("2026-12-01T04:00:00Z");
    let mut new = windowed(&world, audience);
    new.expires_at = Some(instant("2026-12-01T13:00:00Z"));
    let task = world.launch(&new).await;
    waits_until(&world, task, "2026-12-01T14:00:00Z", 30).await;
    world.set_clock("2026-12-01T13:00:00Z");
    let done = world.wait_for_completion(task, within(20)).await;
    assert_eq!((done.counts.accepted, done.counts.expired, done.counts.queued), (30, 40, 0));
    let expired = world.phones(task, MessageState::Expired).await;
    assert!(expired.len() == 40 && expired.iter().all(|phone| *phone >= NEW_YORK));
    world.set_clock("2026-12-01T14:00:00Z");
    world.audit().await;
    assert_eq!(world.simulator.accepted_total(), 30);
}

#[tokio::test(flavor = "multi_thread")]
async fn by_a_daemon_that_is_killed_meanwhile() {
    let account = Account::sobot_in().sender("messages_per_second", 300);
    let mut world = World::new().account(account).start().await;
    let audience = import(&world, &[(INDIA, 600, ""), (BERLIN, 500, ""), (NEW_YORK, 400, "")]).await;
    world.set_clock("2026-12-01T03:30:00Z");
    // In the middle of putting people off; then while others are being sent to; then while all wait.
    world.kill_at("intent.before_commit", 3);
    let task = world.launch(&windowed(&world, audience)).await;
    world.died_at("intent.before_commit", within(10)).await;
    world.restart().await;
    let opens = ["2026-12-01T08:00:00Z", "2026-12-01T14:00:00Z"];
    for (n, next) in opens.into_iter().enumerate() {
        let some = world.simulator.accepted_total() + 150;
        assert!(world.simulator.wait_for_accepted(some, within(10)).await, "nobody is sent to");
        world.kill9();
        world.restart().await;
        let opens = instant(next);
        let is_so = |task: &Task| task.waiting_until == Some(opens) && task.counts.sending == 0;
        let waits = world.wait_for_task(task, "it waits for the next zone", within(20), is_so).await;
        assert_eq!(waits.counts.queued, [900, 400][n], "{waits:?}");
        world.audit().await;
        world.kill9();
        world.restart().await;
        world.set_clock(next);
    }
    let done = world.wait_for_completion(task, within(30)).await;
    assert_eq!(done.counts.accepted + done.counts.unknown, 1_500, "{done:?}");
    let ledger = world.simulator.accepted_by_recipient();
    assert!(assert_nobody_twice(&ledger) >= done.counts.accepted);
    world.audit().await;
}

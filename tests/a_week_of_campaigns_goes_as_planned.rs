//! A week as marketing teams live it: a newsletter each morning across a change of clocks, an opt-out in the middle of a run,
//! a campaign that follows the clocks of three countries, and one whose trial says that it should not go on.

use api::{Canary, NewCampaign, Schedule, SendingWindow, Task, TaskState, client::Page};
use chrono::{DateTime, Utc};
use simulator::{FaultAction, FaultRule, Vendor};

use crate::harness::{Account, People, World, campaign, csv_of, people, phone, wait_until, within};

const READERS: People = People(120);
/// The reader who has had enough on Tuesday, and comes back on Thursday.
const FICKLE: usize = 119;
/// Nine in the morning in Berlin, until Sunday's change of clocks and after it.
const MORNINGS: [&str; 7] = [
    "2027-03-23T08:00:00Z",
    "2027-03-24T08:00:00Z",
    "2027-03-25T08:00:00Z",
    "2027-03-26T08:00:00Z",
    "2027-03-27T08:00:00Z",
    "2027-03-28T07:00:00Z",
    "2027-03-29T07:00:00Z",
];
const WEDNESDAY: usize = 1;
const THURSDAY: usize = 2;
const FRIDAY: usize = 3;

fn instant(text: &str) -> DateTime<Utc> {
    text.parse().unwrap()
}

fn newsletter(account: &Account, audience_id: i64) -> NewCampaign {
    let schedule = Schedule {
        cron: Some("0 9 * * *".to_owned()),
        time_zone: Some("Europe/Berlin".to_owned()),
        until: Some("2027-03-29T09:00:00".to_owned()),
        ..Schedule::default()
    };
    NewCampaign {
        schedule: Some(schedule),
        messages_per_second: Some(60.0),
        ..campaign(account, audience_id)
    }
}

/// The fickle reader has had enough.
async fn opts_out(world: &World) {
    world.person_sends(&world.text_of(world.account(0), FICKLE, "Stop")).await;
    wait_until("the reader is listed", within(10), async || {
        let listed = world.api().suppressions(&Page::default()).await.unwrap().items;
        listed.iter().any(|one| one.phone == phone(FICKLE)).then_some(())
    })
    .await;
}

/// A morning's newsletter, and the task of the next one.
async fn morning(world: &World, day: usize, task: i64) -> Option<i64> {
    if day == 0 {
        assert!(world.simulator.wait_for_accepted(5, within(10)).await, "the newsletter does not leave");
        opts_out(world).await;
    }
    let done = world.wait_for_completion(task, within(30)).await;
    let readers = if day < THURSDAY { 119 } else { 120 };
    let late = done.started_at.unwrap() - instant(MORNINGS[day]);
    assert!((0..60).contains(&late.num_seconds()), "{late}: {done:?}");
    assert_eq!(
        (done.counts.accepted, done.counts.suppressed),
        (readers, 120 - readers),
        "day {day}: {done:?}"
    );
    let campaign = world.api().campaign(done.campaign_id).await.unwrap();
    assert_eq!(campaign.next_run_at, MORNINGS.get(day + 1).map(|next| instant(next)), "day {day}");
    campaign.task_id.filter(|next| *next != task)
}

/// Wednesday night: from nine to nine by everybody's own clock, in three countries.
async fn follow_the_sun(world: &mut World) {
    const ZONES: [(u64, &str); 3] = [
        (12_137_360_000, "2027-03-24T16:00:00Z"),
        (819_012_340_000, "2027-03-25T00:00:00Z"),
        (919_877_000_000, "2027-03-25T03:30:00Z"),
    ];
    let mut csv = String::from("phone,name,city\n");
    for n in 0..10 {
        for (from, _) in ZONES {
            csv.push_str(&format!("+{},Name {n},City\n", from + n));
        }
    }
    let audience = world.import(csv).await.id;
    let window = SendingWindow {
        from: "09:00".to_owned(),
        to: "21:00".to_owned(),
        days: None,
        time_zone: "recipient".to_owned(),
    };
    world.set_clock("2027-03-24T15:45:00Z");
    let wanted = NewCampaign { sending_window: Some(window), ..campaign(world.account(0), audience) };
    let task = world.launch(&wanted).await;
    for (turn, (from, opens)) in ZONES.into_iter().enumerate() {
        let waits = |task: &Task| task.waiting_until == Some(instant(opens)) && task.counts.sending == 0;
        let waiting = world.wait_for_task(task, "it waits for the next zone", within(20), waits).await;
        assert_eq!(waiting.counts.accepted, 10 * i64::try_from(turn).unwrap(), "{waiting:?}");
        assert!(!world.simulator.accepted_by_recipient().contains_key(&from), "too early for {from}");
        world.set_clock(opens);
    }
    let done = world.wait_for_completion(task, within(20)).await;
    assert_eq!(done.counts.accepted, 30, "{done:?}");
}

/// Friday: eight of ten in the trial fail, so that the others are not sent to.
async fn try_and_halt(world: &mut World) {
    let people = 1_000..1_200;
    let audience = world.import(csv_of(people)).await.id;
    let blocked = FaultRule::new(FaultAction::MessageCode { code: 30014, message: None });
    world.simulator.set_faults(vec![blocked.vendor(Vendor::Exotel).after(2)]);
    let canary = Canary { recipients: 10, wait_seconds: 60, max_failure_rate: 0.2 };
    let wanted = NewCampaign { canary: Some(canary), ..campaign(world.account(1), audience) };
    let task = world.launch(&wanted).await;
    let is_halted = |task: &Task| task.state == TaskState::Halted;
    let halted = world.wait_for_task(task, "the trial halts it", within(20), is_halted).await;
    assert_eq!(
        (halted.counts.accepted, halted.counts.failed, halted.counts.queued),
        (2, 8, 190),
        "{halted:?}"
    );
    let halts = world.api().halts(&Page::default()).await.unwrap().items;
    assert_eq!(halts.len(), 1, "{halts:?}");
    world.api().cancel_task(task).await.unwrap();
    world.simulator.set_faults(Vec::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn from_tuesday_to_monday() {
    let accounts = [Account::sobot_in(), Account::exotel().set("batch_size", 20)];
    let [readers, others] = accounts;
    let mut world = World::new().account(readers).account(others).start().await;
    let audience = world.import_people(READERS).await;
    world.set_clock("2027-03-22T12:00:00Z");
    let mut next = Some(world.launch(&newsletter(world.account(0), audience)).await);
    for (day, at) in MORNINGS.iter().enumerate() {
        world.set_clock(at);
        let task = next.expect("there is a newsletter each day until Monday");
        next = morning(&world, day, task).await;
        match day {
            WEDNESDAY => {
                // Asked for by telephone.
                world.api().remove_suppression(&phone(FICKLE)).await.unwrap();
                follow_the_sun(&mut world).await;
            }
            FRIDAY => try_and_halt(&mut world).await,
            _ => {}
        }
    }
    assert_eq!(next, None, "the last newsletter is Monday's");
    let ledger = world.simulator.accepted_by_recipient();
    for reader in 0..READERS.0 {
        let wanted = if reader == FICKLE { 5 } else { 7 };
        assert_eq!(ledger.get(&people::digits(reader)), Some(&wanted), "reader {reader}");
    }
    world.audit().await;
}

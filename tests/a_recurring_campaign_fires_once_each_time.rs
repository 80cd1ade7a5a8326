//! A recurring campaign has a task for each firing, by the clock of its zone also where clocks change; what was missed is made up
//! for only when a person says so, and a firing that is cancelled is the last.

use api::{Campaign, NewCampaign, Schedule, Task, TaskState};
use chrono::{DateTime, Utc};

use crate::harness::{Account, People, World, campaign, within};

const PEOPLE: People = People(50);
const CRON: &str = "30 2 * * *";

fn instant(text: &str) -> DateTime<Utc> {
    text.parse().unwrap()
}

fn recurring(world: &World, audience_id: i64, until: Option<&str>) -> NewCampaign {
    let schedule = Schedule {
        cron: Some(CRON.to_owned()),
        time_zone: Some("Europe/Berlin".to_owned()),
        until: until.map(str::to_owned),
        ..Schedule::default()
    };
    NewCampaign { schedule: Some(schedule), ..campaign(world.account(0), audience_id) }
}

/// The firing that has begun, when it is done; and the campaign afterwards.
async fn fired(world: &World, task: i64) -> Campaign {
    let done = world.wait_for_completion(task, within(20)).await;
    assert_eq!((done.counts.total, done.counts.accepted), (50, 50), "{done:?}");
    world.api().campaign(done.campaign_id).await.unwrap()
}

fn times(campaign: &Campaign) -> Vec<String> {
    campaign.upcoming.iter().map(|at| at.format("%m-%dT%H:%M").to_string()).collect()
}

async fn scheduled(world: &World, campaign: &Campaign) -> Task {
    let task = world.task(campaign.task_id.expect("it has a task")).await;
    assert_eq!((task.state, task.starts_at), (TaskState::Scheduled, campaign.next_run_at));
    task
}

#[tokio::test(flavor = "multi_thread")]
async fn across_a_change_of_clocks_and_an_outage() {
    let mut world = World::new().account(Account::sobot_in()).start().await;
    let audience = world.import_people(PEOPLE).await;
    world.set_clock("2027-03-26T20:00:00Z");
    let task = world.launch(&recurring(&world, audience, None)).await;
    let of = world.task(task).await.campaign_id;
    let mut campaign = world.api().campaign(of).await.unwrap();
    // On the 28th clocks go from 02:00 to 03:00: the first instant after it stands for 02:30.
    assert_eq!(times(&campaign), ["03-27T01:30", "03-28T01:00", "03-29T00:30", "03-30T00:30", "03-31T00:30"]);
    for (number, due) in
        ["2027-03-27T01:30:00Z", "2027-03-28T01:00:00Z", "2027-03-29T00:30:00Z"].iter().enumerate()
    {
        assert_eq!(campaign.next_run_at, Some(instant(due)));
        let task = scheduled(&world, &campaign).await;
        world.set_clock(due);
        campaign = fired(&world, task.id).await;
        let ledger = world.simulator.accepted_by_recipient();
        assert!(ledger.len() == PEOPLE.0 && ledger.values().all(|count| *count as usize == number + 1));
    }

    // Nothing runs for days: the firing that was missed waits for a person, and the others of these days are gone.
    let missed = scheduled(&world, &campaign).await;
    world.stop().await;
    world.set_clock("2027-04-03T12:00:00Z");
    world.restart().await;
    let is_halted = |task: &Task| task.state == TaskState::Halted;
    let late = world.wait_for_task(missed.id, "it is halted", within(10), is_halted).await;
    assert!(late.halt_reason.as_deref().is_some_and(|reason| reason.contains("late")), "{late:?}");
    assert_eq!(late.counts.queued, 50);
    campaign = world.api().campaign(of).await.unwrap();
    assert_eq!(campaign.next_run_at, Some(instant("2027-04-04T00:30:00Z")));
    world.api().resume_task(missed.id, true).await.unwrap();
    campaign = fired(&world, missed.id).await;

    let next = scheduled(&world, &campaign).await;
    world.api().cancel_task(next.id).await.unwrap();
    campaign = world.api().campaign(of).await.unwrap();
    assert_eq!((campaign.next_run_at, times(&campaign)), (None, vec![]));
    assert!(world.simulator.accepted_by_recipient().values().all(|count| *count == 4));
    world.audit().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn until_its_end() {
    let mut world = World::new().account(Account::sobot_in()).start().await;
    let audience = world.import_people(PEOPLE).await;
    world.set_clock("2026-12-30T20:00:00Z");
    let task = world.launch(&recurring(&world, audience, Some("2026-12-31T02:30:00"))).await;
    world.set_clock("2026-12-31T01:30:00Z");
    let campaign = fired(&world, task).await;
    assert_eq!((campaign.next_run_at, campaign.task_id), (None, Some(task)));
    let over = world.api().create_campaign(&recurring(&world, audience, Some("2026-12-31")), None).await;
    // The daemon's clock shows the 31st, after 02:30.
    assert!(
        over.unwrap_err().to_string().contains("schedule.until"),
        "a recurrence that never fires was taken"
    );
    world.audit().await;
}

//! Until its task starts, a launched campaign can be given another time, other hours, another rate; and of a recurring one a single
//! firing can be left out, or all that would follow.

use api::{Campaign, CampaignChange, NewCampaign, Priority, Schedule, Task, TaskState};
use chrono::{DateTime, Utc};

use crate::harness::{Account, People, World, campaign, within};

const PEOPLE: People = People(20);

fn instant(text: &str) -> DateTime<Utc> {
    text.parse().unwrap()
}

fn at(time: &str) -> Schedule {
    Schedule { at: Some(time.to_owned()), time_zone: Some("UTC".to_owned()), ..Schedule::default() }
}

fn daily() -> Schedule {
    Schedule { cron: Some("0 9 * * *".to_owned()), time_zone: Some("UTC".to_owned()), ..Schedule::default() }
}

async fn launched(world: &World, audience: i64, schedule: Schedule) -> Campaign {
    let timed = NewCampaign { schedule: Some(schedule), ..campaign(world.account(0), audience) };
    world.api().create_campaign(&timed, None).await.unwrap()
}

async fn shown(world: &World, campaign: &Campaign) -> Campaign {
    world.api().campaign(campaign.id).await.unwrap()
}

/// Everybody gets one message more than before: `times` in all.
async fn fires(world: &World, task: i64, times: u32) -> Task {
    let done = world.wait_for_completion(task, within(20)).await;
    assert_eq!(done.counts.accepted, 20, "{done:?}");
    let ledger = world.simulator.accepted_by_recipient();
    assert!(ledger.len() == PEOPLE.0 && ledger.values().all(|count| *count == times), "{ledger:?}");
    done
}

#[tokio::test(flavor = "multi_thread")]
async fn to_another_time_and_rate() {
    let mut world = World::new().account(Account::sobot_in()).start().await;
    let audience = world.import_people(PEOPLE).await;
    world.set_clock("2027-03-01T08:00:00Z");
    let campaign = launched(&world, audience, at("2027-03-01T09:00:00")).await;
    let task = campaign.task_id.unwrap();
    let change = CampaignChange {
        schedule: Some(Some(at("2027-03-02T10:00:00"))),
        messages_per_second: Some(Some(50.0)),
        priority: Some(Priority::High),
        expires_at: Some(Some(instant("2027-03-03T00:00:00Z"))),
        ..CampaignChange::default()
    };
    let changed = world.api().change_campaign(campaign.id, &change).await.unwrap();
    assert_eq!((changed.task_id, changed.next_run_at), (Some(task), Some(instant("2027-03-02T10:00:00Z"))));
    assert_eq!((changed.priority, changed.messages_per_second), (Priority::High, Some(50.0)));
    // The old time passes: it is too early by then. Another campaign shows that due ones do start.
    world.set_clock("2027-03-01T09:30:00Z");
    let other = launched(&world, audience, at("2027-03-01T09:30:00")).await;
    fires(&world, other.task_id.unwrap(), 1).await;
    assert_eq!(world.task(task).await.state, TaskState::Scheduled);

    // What would make it another campaign is fixed.
    let other_message = CampaignChange { name: Some("Another".to_owned()), ..change.clone() };
    let refused = world.api().change_campaign(campaign.id, &other_message).await.unwrap_err();
    assert!(refused.status() == Some(409) && refused.to_string().contains("name"), "{refused}");
    let past = CampaignChange {
        expires_at: Some(Some(instant("2027-01-01T00:00:00Z"))),
        ..CampaignChange::default()
    };
    assert_eq!(world.api().change_campaign(campaign.id, &past).await.unwrap_err().status(), Some(422));
    world.set_clock("2027-03-02T10:00:00Z");
    fires(&world, task, 2).await;
    let late = world.api().change_campaign(campaign.id, &change).await.unwrap_err();
    assert_eq!(late.status(), Some(409), "{late}");
    assert_eq!(world.task(task).await.started_at.map(|at| at >= instant("2027-03-02T10:00:00Z")), Some(true));
    world.audit().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn and_one_firing_left_out_or_all_that_follow() {
    let mut world = World::new().account(Account::sobot_in()).start().await;
    let audience = world.import_people(PEOPLE).await;
    world.set_clock("2027-03-01T08:00:00Z");
    let campaign = launched(&world, audience, daily()).await;
    let first = campaign.task_id.unwrap();
    // The firing of the 1st is left out; asking twice leaves out one.
    for _ in 0..2 {
        let cancelled = world.api().cancel_firing(first, true).await.unwrap();
        assert_eq!(cancelled.state, TaskState::Cancelled);
    }
    let now = shown(&world, &campaign).await;
    assert_eq!(now.next_run_at, Some(instant("2027-03-02T09:00:00Z")));
    let second = now.task_id.unwrap();
    // A change of something else brings no firing back that was left out.
    let urgent = CampaignChange { priority: Some(Priority::High), ..CampaignChange::default() };
    let urgent = world.api().change_campaign(campaign.id, &urgent).await.unwrap();
    assert_eq!((urgent.priority, urgent.next_run_at), (Priority::High, now.next_run_at));
    assert_ne!(second, first);
    world.set_clock("2027-03-02T09:00:00Z");
    fires(&world, second, 1).await;

    // A new schedule holds for the next firing and for those after it.
    let evening = Schedule { cron: Some("0 18 * * *".to_owned()), ..daily() };
    let change = CampaignChange { schedule: Some(Some(evening)), ..CampaignChange::default() };
    let now = world.api().change_campaign(campaign.id, &change).await.unwrap();
    assert_eq!(now.next_run_at, Some(instant("2027-03-02T18:00:00Z")));
    world.set_clock("2027-03-02T18:00:00Z");
    let third = now.task_id.unwrap();
    fires(&world, third, 2).await;
    let fourth = shown(&world, &campaign).await;
    assert_eq!(fourth.next_run_at, Some(instant("2027-03-03T18:00:00Z")));

    // The recurrence ends with the task of a firing that is over or cancelled.
    let id = fourth.task_id.unwrap().to_string();
    let output = tokio::task::block_in_place(|| {
        world.process(0).run(&["task", "cancel", &id, "--recurrence", "continue"])
    });
    let said = String::from_utf8(output.stdout).unwrap();
    assert!(
        output.status.success() && said.contains("its next task starts at 2027-03-04T18:00:00Z"),
        "{said}"
    );
    world.api().cancel_firing(first, false).await.unwrap();
    let now = shown(&world, &campaign).await;
    assert_eq!((now.next_run_at, now.upcoming.len()), (None, 0));
    let lines = world.api().campaign_report(campaign.id, &api::client::Page::default()).await.unwrap().items;
    let states: Vec<TaskState> = lines.iter().map(|line| line.state).collect();
    let (cancelled, completed) = (TaskState::Cancelled, TaskState::Completed);
    assert_eq!(states, [cancelled, cancelled, completed, completed, cancelled]);
    world.audit().await;
}

//! Nobody is taken while a campaign's sending window is closed: they stay queued, the task says until when, and it goes on by
//! itself when the window opens, by the clock of its zone.

use api::{NewCampaign, SendingWindow, TaskState, WaitingFor};
use chrono::{DateTime, Utc};

use crate::harness::{Account, People, World, assert_nobody_twice, campaign, within};

const PEOPLE: People = People(400);

/// Weekdays from 09:00 to 21:00 in Kolkata: 03:30 to 15:30 UTC.
fn windowed(account: &Account, audience: i64) -> NewCampaign {
    let window = SendingWindow {
        from: "09:00".to_owned(),
        to: "21:00".to_owned(),
        days: Some(["mon", "tue", "wed", "thu", "fri"].map(str::to_owned).into()),
        time_zone: "Asia/Kolkata".to_owned(),
    };
    NewCampaign {
        sending_window: Some(window),
        messages_per_second: Some(40.0),
        ..campaign(account, audience)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn it_opens_closes_and_opens_again() {
    let mut world = World::new().account(Account::sobot_in()).start().await;
    let audience = world.import_people(PEOPLE).await;
    // A Saturday.
    world.set_clock("2026-12-05T10:00:00Z");
    let task = world.launch(&windowed(world.account(0), audience)).await;
    let waits = |task: &api::Task| task.waiting_for == Some(WaitingFor::Window);
    let closed = world.wait_for_task(task, "it waits for its window", within(10), waits).await;
    let monday: DateTime<Utc> = "2026-12-07T03:30:00Z".parse().unwrap();
    assert_eq!((closed.state, closed.waiting_until), (TaskState::Running, Some(monday)));

    // A minute before Monday's opening still nobody, and then they leave.
    world.set_clock("2026-12-07T03:29:00Z");
    let closed = world.wait_for_task(task, "it still waits", within(10), waits).await;
    assert_eq!((closed.counts.queued, world.simulator.requests_total()), (400, 0));
    world.set_clock("2026-12-07T03:30:00Z");
    assert!(world.simulator.wait_for_accepted(40, within(10)).await, "the window is open and nothing leaves");
    let open = world.task(task).await;
    assert_eq!(open.waiting_for, None, "{open:?}");

    // It closes in the middle: what is under way ends, and nobody else is taken.
    world.set_clock("2026-12-07T15:30:00Z");
    let settled = |task: &api::Task| waits(task) && task.counts.sending == 0;
    let closed = world.wait_for_task(task, "it waits for Tuesday", within(10), settled).await;
    assert!(closed.counts.queued > 0 && closed.counts.accepted >= 40, "{closed:?}");
    let sent = world.simulator.accepted_total();
    world.set_clock("2026-12-07T23:00:00Z");
    let tuesday: DateTime<Utc> = "2026-12-08T03:30:00Z".parse().unwrap();
    let later = world.wait_for_task(task, "it waits still", within(10), settled).await;
    assert_eq!((later.waiting_until, later.counts.queued), (Some(tuesday), closed.counts.queued));
    assert_eq!(world.simulator.accepted_total(), sent);

    world.set_clock("2026-12-08T03:30:00Z");
    let done = world.wait_for_completion(task, within(30)).await;
    assert_eq!(done.counts.accepted, 400, "{done:?}");
    assert_eq!(assert_nobody_twice(&world.simulator.accepted_by_recipient()), 400);
    world.audit().await;
}

//! Vendors report early, twice and in any order: where everybody ends is the same as if they had not.

use api::{Counts, MessageState, Task, client::MessageFilter};
use simulator::{CallbackOptions, RangeMs, SimulatorOptions, Vendor};

use crate::harness::{Account, People, World, campaign, within};

const PEOPLE: People = People(600);
const ALL: i64 = 600;

fn confused(vendor: Vendor) -> SimulatorOptions {
    let callbacks = CallbackOptions {
        read: 1.0,
        early: 0.5,
        duplicates: 0.5,
        reordered: 0.5,
        delay_ms: RangeMs { min: 0, max: 30 },
        exotel_batch: 7,
        ..CallbackOptions::default()
    };
    let latency_ms = [(vendor, RangeMs { min: 0, max: 30 })].into();
    SimulatorOptions { callbacks, latency_ms, ..SimulatorOptions::default() }
}

async fn everybody_has_read_once(account: Account) {
    let world = World::new().simulator(confused(account.vendor)).account(account.clone()).start().await;
    let audience = world.import_people(PEOPLE).await;
    let task = world.launch(&campaign(&account, audience)).await;
    world.wait_for_completion(task, within(30)).await;
    assert!(world.simulator.wait_until_idle(within(20)).await, "reports are left over");
    let expected =
        Counts { total: ALL, accepted: ALL, sent: ALL, delivered: ALL, read: ALL, ..Counts::default() };
    let has_read = |task: &Task| task.counts == expected;
    world.wait_for_task(task, "everybody has read", within(10), has_read).await;

    let posts = world.simulator.callbacks();
    assert!(posts.planned > 3 * 600, "nothing was doubled: {posts:?}");
    assert_eq!((posts.abandoned, posts.outstanding), (0, 0));
    // All of them once more, long after the end.
    assert!(world.simulator.replay_callbacks(None) > 3 * 600);
    assert_eq!(world.all_reports_are_applied(task).await.counts, expected);
    no_message_was_read_before_it_was_accepted(&world, task).await;
    PEOPLE.assert_each_accepted_once(&world.simulator.accepted_by_recipient());
    world.audit().await;
}

async fn no_message_was_read_before_it_was_accepted(world: &World, task: i64) {
    let filter = MessageFilter {
        page: api::client::Page { limit: Some(500), after: None },
        ..MessageFilter::default()
    };
    let page = world.api().messages(task, &filter).await.unwrap();
    assert_eq!(page.items.len(), 500);
    for message in page.items {
        assert_eq!((message.state, message.attempts), (MessageState::Read, 1), "{message:?}");
        assert!(message.accepted_at.is_some() && message.read_at.is_some(), "{message:?}");
        assert!(message.vendor_id.is_some() && message.code.is_none(), "{message:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn of_exotel() {
    everybody_has_read_once(Account::exotel().set("batch_size", 20)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn of_sobot_io() {
    everybody_has_read_once(Account::sobot_io()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn of_sobot_in() {
    everybody_has_read_once(Account::sobot_in()).await;
}

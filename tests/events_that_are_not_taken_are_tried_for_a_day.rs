//! A webhook that does not take a batch gets it again for a day, in order, and then in a list from which it can be posted once
//! more; meanwhile it holds back nothing but its own task.

use api::{
    RedriveRequest, TaskState,
    client::{Client, Page},
};

use crate::harness::{
    Account, People, Receiver, World, campaign, phone, receiver::Answer, wait_until, within,
};

/// From each try to the next, in seconds.
const DELAYS: [i64; 7] = [5, 300, 1_800, 7_200, 18_000, 25_200, 33_895];

async fn wait_for_requests(receiver: &Receiver, count: usize) {
    wait_until(&format!("there are {count} requests"), within(15), async || {
        (receiver.count() >= count).then_some(())
    })
    .await;
}

async fn failures(api: &Client) -> i64 {
    api.event_webhooks().await.unwrap().items[0].failed
}

async fn wait_for_failures(world: &World, count: i64) {
    wait_until("the failure is recorded", within(15), async || {
        (failures(&world.api()).await >= count).then_some(())
    })
    .await;
}

async fn wait_until_end_is_told(receiver: &Receiver) {
    wait_until("the task's end is told", within(15), async || {
        let last = receiver.got().into_iter().rfind(|got| got.body["type"] == "task.state")?;
        (last.body["data"]["state"] == "completed" && last.is_taken).then_some(())
    })
    .await;
}

fn world(receiver: &Receiver) -> crate::harness::world::Worlds {
    World::new().account(Account::sobot_in()).config(&receiver.toml(""))
}

#[tokio::test(flavor = "multi_thread")]
async fn in_order_until_they_are_taken() {
    let receiver = Receiver::start().await;
    receiver.answer(Answer::Status(500));
    let mut world = world(&receiver).start().await;
    let audience = world.import_people(People(20)).await;
    let task = world.launch(&campaign(world.account(0), audience)).await;
    world.wait_for_completion(task, within(15)).await;
    wait_for_failures(&world, 1).await;
    // The next try is due in 5 s, and a daemon that starts again knows it.
    world.kill9();
    world.restart().await;
    world.daemon().set_clock_offset_ms(6_000);
    wait_for_failures(&world, 2).await;
    let got = receiver.got();
    assert!(got.iter().all(|one| one.id == got[0].id && one.bytes == got[0].bytes), "{got:?}");
    assert_eq!(got[0].body["type"], "task.state");

    // Somebody is erased while his events wait.
    world.api().erase_person(&phone(4)).await.unwrap();
    receiver.answer(Answer::Take);
    world.daemon().set_clock_offset_ms(6_000 + 301_000);
    wait_until("all is told", within(15), async || {
        let webhook = world.api().event_webhooks().await.unwrap().items.remove(0);
        (webhook.backlog == 0 && receiver.task_states(task).len() == 2).then_some(())
    })
    .await;
    assert_eq!(receiver.task_states(task), ["running", "completed"]);
    for told in receiver.told(task) {
        let Some(no) = told.no else { continue };
        let to = (no != 5).then(|| phone(usize::try_from(no).unwrap() - 1));
        assert_eq!(told.to, to, "{told:?}");
    }
    world.audit().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn then_they_are_listed_and_can_be_posted_again() {
    let receiver = Receiver::start().await;
    receiver.answer(Answer::FirstAlways(503));
    let mut world = world(&receiver).start().await;
    let audience = world.import_people(People(10)).await;
    let task = world.launch(&campaign(world.account(0), audience)).await;
    world.wait_for_completion(task, within(15)).await;
    let mut moved = 0;
    for (tries, delay) in (1..).zip(DELAYS) {
        wait_for_failures(&world, tries).await;
        let got = receiver.got();
        assert!(got.iter().all(|one| one.id == got[0].id), "later events wait for it: {got:?}");
        moved += (delay + 1) * 1_000;
        world.daemon().set_clock_offset_ms(moved);
        wait_for_requests(&receiver, got.len() + 1).await;
    }
    wait_for_failures(&world, 8).await;

    // Given up: it is listed, and later events go on.
    let dead = wait_until("it is listed", within(15), async || {
        world.api().event_dead_letters("crm", &Page::default()).await.unwrap().items.pop()
    })
    .await;
    let first = receiver.got().remove(0);
    assert_eq!((dead.id.as_str(), dead.kind.as_str(), dead.tries), (first.id.as_str(), "task.state", 8));
    assert_eq!((dead.task_id, dead.first_sequence, dead.last_sequence), (task, 1, 1));
    assert!(dead.error.contains("503"), "{dead:?}");
    wait_until_end_is_told(&receiver).await;

    let none = world.api().redrive_events("crm", &RedriveRequest { ids: Some(vec![]) }).await.unwrap();
    assert_eq!(none.redriven, 0);
    receiver.answer(Answer::Take);
    let ids = Some(vec![dead.id.clone()]);
    assert_eq!(world.api().redrive_events("crm", &RedriveRequest { ids }).await.unwrap().redriven, 1);
    let again = wait_until("it is posted again", within(15), async || {
        receiver.got().into_iter().find(|got| got.is_taken && got.id == dead.id)
    })
    .await;
    assert_eq!(again.bytes, first.bytes);
    assert!(world.api().event_dead_letters("crm", &Page::default()).await.unwrap().items.is_empty());
    assert_eq!(world.task(task).await.state, TaskState::Completed);
    world.audit().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_gone_is_listed_at_once() {
    let receiver = Receiver::start().await;
    receiver.answer(Answer::FirstAlways(410));
    let mut world = world(&receiver).start().await;
    let audience = world.import_people(People(5)).await;
    let task = world.launch(&campaign(world.account(0), audience)).await;
    world.wait_for_completion(task, within(15)).await;
    wait_until_end_is_told(&receiver).await;
    let listed = world.api().event_dead_letters("crm", &Page::default()).await.unwrap().items;
    assert_eq!(listed.len(), 1);
    assert_eq!((listed[0].tries, listed[0].first_sequence), (1, 1), "{listed:?}");
    let output = tokio::task::block_in_place(|| world.daemon().run(&["event", "redrive", "crm", "--all"]));
    assert!(output.status.success(), "{output:?}");
    assert!(String::from_utf8_lossy(&output.stdout).contains("1 batches"), "{output:?}");
    world.audit().await;
}

//! Where it is switched on, a message that is no template goes only to those who wrote to that number in the last 24 hours; the
//! others fail with the vendor's own code before a call is wasted.

use api::{
    MessageState, NewCampaign, Task,
    client::{MessageFilter, Page},
};
use chrono::{DateTime, TimeDelta, Utc};
use simulator::{CallbackOptions, SimulatorOptions, Vendor};

use crate::harness::{Account, People, World, campaign, people::digits, phone, text, wait_until, within};

const SWITCH: &str = "CAMPAIGND_LIMITS__FORESEE_CLOSED_WINDOW";

fn options() -> SimulatorOptions {
    let callbacks = CallbackOptions { enabled: false, ..CallbackOptions::default() };
    SimulatorOptions { callbacks, ..SimulatorOptions::default() }
}

fn free_form(account: &Account, audience: i64) -> NewCampaign {
    NewCampaign { message: text("Hello {{name}}"), ..campaign(account, audience) }
}

/// People write to the account; when the last of them did.
async fn write(world: &World, account: &Account, numbers: &[usize]) -> DateTime<Utc> {
    let before = world.api().inbound(&Page::default()).await.unwrap().items.len();
    for number in numbers {
        world.person_sends(&world.text_of(account, *number, "Hello")).await;
    }
    wait_until("what was written is kept", within(10), async || {
        let items = world.api().inbound(&Page::default()).await.unwrap().items;
        (items.len() == before + numbers.len()).then(|| items[0].received_at)
    })
    .await
}

async fn sends_to(world: &World, audience: i64) -> (Task, Vec<u64>) {
    let before = world.simulator.messages().len();
    let task = world.launch(&free_form(world.account(0), audience)).await;
    let done = world.wait_for_completion(task, within(20)).await;
    let mut reached: Vec<u64> =
        world.simulator.messages()[before..].iter().map(|message| message.to).collect();
    reached.sort_unstable();
    (done, reached)
}

async fn by(account: Account, code: &str) {
    let mut world = World::new().simulator(options()).account(account).variable(SWITCH, "true").start().await;
    let audience = world.import_people(People(20)).await;
    let account = world.account(0).clone();
    let wrote_at = write(&world, &account, &[1, 2, 3]).await;

    // Almost a day later it is still open for those three; who never wrote is not called.
    world.set_clock(&(wrote_at + TimeDelta::minutes(23 * 60 + 50)).to_rfc3339());
    let (done, reached) = sends_to(&world, audience).await;
    assert_eq!((done.counts.accepted, done.counts.failed), (3, 17), "{:?}", done.counts);
    assert_eq!(reached, [digits(1), digits(2), digits(3)]);
    assert_eq!(done.errors.len(), 1, "{:?}", done.errors);
    assert_eq!((done.errors[0].code.as_str(), done.errors[0].count), (code, 17));
    assert!(done.errors[0].meaning.contains("24"), "{:?}", done.errors);
    // After a day it is closed for all, and no call was made for anybody else.
    world.set_clock(&(wrote_at + TimeDelta::hours(24)).to_rfc3339());
    let (done, reached) = sends_to(&world, audience).await;
    assert_eq!((done.counts.failed, reached), (20, Vec::new()), "{:?}", done.counts);
    assert_eq!(world.simulator.arrivals().iter().map(|call| u64::from(call.messages)).sum::<u64>(), 3);
    let then = wrote_at.format("last at %Y-%m-%d %H:%M UTC").to_string();
    for (number, expected) in [(1, then.as_str()), (9, "has not written")] {
        let filter = MessageFilter { to: Some(phone(number)), ..MessageFilter::default() };
        let message = world.api().messages(done.id, &filter).await.unwrap().items.remove(0);
        assert_eq!((message.state, message.attempts), (MessageState::Failed, 0));
        let reason = message.reason.unwrap_or_default();
        assert!(reason.contains(expected), "{reason}");
    }
    // A template goes to everybody.
    let task = world.launch(&campaign(&account, audience)).await;
    let done = world.wait_for_completion(task, within(20)).await;
    assert_eq!(done.counts.accepted, 20, "{:?}", done.counts);
    world.audit().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn by_each_vendors_code() {
    by(Account::exotel(), "30018").await;
    by(Account::sobot_io(), "131047").await;
    by(Account::sobot_in(), "131047").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn for_each_number_of_the_account_by_its_digits() {
    let account = Account::exotel().also_from("+919999000002");
    let world = World::new().simulator(options()).account(account).variable(SWITCH, "true").start().await;
    let audience = world.import_people(People(5)).await;
    let account = world.account(0).clone();
    let mut other = account.clone();
    "919999000002".clone_into(&mut other.from);
    write(&world, &account, &[1]).await;
    write(&world, &other, &[2]).await;
    let wanted = NewCampaign { from: "+919999000002".to_owned(), ..free_form(&account, audience) };
    let task = world.launch(&wanted).await;
    let done = world.wait_for_completion(task, within(10)).await;
    assert_eq!((done.counts.accepted, done.counts.failed), (1, 4), "{:?}", done.counts);
    assert_eq!(world.simulator.accepted_by_recipient().into_keys().collect::<Vec<_>>(), [digits(2)]);
    world.audit().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn and_only_where_it_is_switched_on() {
    let world = World::new().simulator(options()).account(Account::sobot_in()).start().await;
    let audience = world.import_people(People(5)).await;
    let task = world.launch(&free_form(world.account(0), audience)).await;
    let done = world.wait_for_completion(task, within(10)).await;
    assert_eq!((done.counts.accepted, world.simulator.accepted_total_of(Vendor::SobotIn)), (5, 5));
    world.audit().await;
}

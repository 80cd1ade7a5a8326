//! A number that a vendor calls invalid gets nothing more from any campaign; when somebody writes from it, it does again.

use api::{MessageState, SuppressionReason, Task, client::Page};
use simulator::{CallbackOptions, FaultAction, FaultRule, SimulatorOptions, Vendor};

use crate::harness::{Account, People, World, campaign, people, phone, wait_until, within};

const PEOPLE: People = People(50);
const INVALID: usize = 7;

async fn run(world: &World, account: usize, audience: i64) -> Task {
    let task = world.launch(&campaign(world.account(account), audience)).await;
    world.wait_for_completion(task, within(20)).await
}

#[tokio::test(flavor = "multi_thread")]
async fn through_whichever_account_it_is_sent_to_or_writes() {
    let invalid = FaultAction::MessageCode { code: 30_012, message: None };
    let recipients = [people::digits(INVALID).to_string()];
    let callbacks = CallbackOptions { enabled: false, ..CallbackOptions::default() };
    let faults = vec![FaultRule::new(invalid).vendor(Vendor::Exotel).recipients(recipients)];
    let options = SimulatorOptions { callbacks, faults, ..SimulatorOptions::default() };
    let accounts = [Account::exotel(), Account::sobot_io(), Account::sobot_in()];
    let worlds = accounts.iter().fold(World::new().simulator(options), |w, one| w.account(one.clone()));
    let world = worlds.start().await;
    let audience = world.import_people(PEOPLE).await;

    let first = run(&world, 0, audience).await;
    assert_eq!((first.counts.accepted, first.counts.failed), (49, 1), "{first:#?}");
    let listed = world.api().suppressions(&Page::default()).await.unwrap().items;
    let [listed] = listed.as_slice() else { panic!("one number was to be listed: {listed:?}") };
    assert_eq!((listed.phone.clone(), listed.reason), (phone(INVALID), SuppressionReason::Invalid));

    let second = run(&world, 1, audience).await;
    assert_eq!((second.counts.accepted, second.counts.suppressed), (49, 1), "{second:#?}");
    let suppressed = world.phones(second.id, MessageState::Suppressed).await;
    assert_eq!(suppressed, [people::digits(INVALID)]);

    // The person writes, each time to another account, and the first message lifts it.
    for (vendor, account) in Vendor::ALL.into_iter().zip(&accounts).rev() {
        let text = format!("Hello {vendor}");
        world.person_sends(&world.text_of(account, INVALID, &text)).await;
        let shown = wait_until("what was written is shown", within(10), async || {
            let newest = world.api().inbound(&Page::default()).await.unwrap().items.into_iter().next()?;
            (newest.account == account.name).then_some(newest)
        })
        .await;
        assert_eq!((shown.from, shown.kind.as_str()), (phone(INVALID), "text"));
        assert_eq!((shown.text, shown.is_click), (Some(text), false));
        assert_eq!(world.api().suppressions(&Page::default()).await.unwrap().items, []);
    }
    let third = run(&world, 2, audience).await;
    assert_eq!(third.counts.accepted, 50, "{third:#?}");
    assert_eq!(world.simulator.duplicates(), []);
    world.audit().await;
}

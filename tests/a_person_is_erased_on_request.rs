//! Who asks for it is erased: the number and all that names it go, the counts stay, and nothing more is sent to them.

use api::{MessageState, client::MessageFilter};

use crate::harness::{Account, People, World, campaign, people::digits, phone, within};

/// Taken last, since numbers are taken in their order.
const PERSON: usize = 299;

#[tokio::test(flavor = "multi_thread")]
async fn sent_to_before_and_still_queued_elsewhere() {
    let people = People(PERSON + 1);
    let account = Account::exotel().set("batch_size", 20).sender("messages_per_second", 200);
    let world = World::new().account(account).start().await;
    let audience = world.import_people(people).await;
    let first = world.launch(&campaign(world.account(0), audience)).await;
    world.wait_for_completion(first, within(15)).await;
    let first = world.all_reports_are_applied(first).await;
    let second = world.launch(&campaign(world.account(0), audience)).await;
    world.api().pause_task(second).await.unwrap();
    let paused =
        world.wait_for_task(second, "open calls end", within(10), |task| task.counts.sending == 0).await;
    assert!(paused.counts.queued > 0, "nobody was left: {:?}", paused.counts);

    let to = phone(PERSON);
    let of_person = MessageFilter { to: Some(to.clone()), ..MessageFilter::default() };
    assert_eq!(world.api().messages(first.id, &of_person).await.unwrap().items.len(), 1);
    let erased = world.api().erase_person(&to).await.unwrap();
    assert_eq!((erased.recipients, erased.messages), (1, 1));
    assert!(erased.callbacks > 0, "no callback named the number: {erased:?}");
    let none: [api::Message; 0] = [];
    assert_eq!(world.api().messages(first.id, &of_person).await.unwrap().items, none);
    assert_eq!(world.task(first.id).await.counts, first.counts);

    world.api().resume_task(second, false).await.unwrap();
    let second = world.wait_for_completion(second, within(15)).await;
    assert_eq!((second.counts.suppressed, second.counts.accepted), (1, 299));
    assert_eq!(world.simulator.accepted_by_recipient()[&digits(PERSON)], 1);
    let suppressed = MessageFilter {
        state: Some(MessageState::Suppressed.as_str().to_owned()),
        ..MessageFilter::default()
    };
    let rest = world.api().messages(second.id, &suppressed).await.unwrap().items;
    assert_eq!(rest.len(), 1);
    assert_eq!((rest[0].to.as_str(), rest[0].reason.as_deref()), ("erased", Some("erased")));
    let unknown = world.api().erase_person("no number").await.unwrap_err();
    assert_eq!(unknown.status(), Some(422));
    world.audit().await;
}

//! Who answers STOP, in whichever language and by whichever means, gets no marketing any more, from the second on in which that is
//! known; START lifts it. Any other text does neither.

use std::collections::BTreeSet;

use api::{Category, NewCampaign, SuppressionReason, client::Page};
use serde_json::json;
use simulator::Vendor;

use crate::harness::{Account, People, World, campaign, people, phone, wait_until, within};

const PEOPLE: People = People(60);

/// Waits until exactly these people are listed, as opted out.
async fn opted_out(world: &World, wanted: &[usize]) {
    let wanted: BTreeSet<String> = wanted.iter().map(|index| phone(*index)).collect();
    wait_until(&format!("{wanted:?} are listed"), within(10), async || {
        let listed = world.api().suppressions(&Page::default()).await.unwrap().items;
        assert!(listed.iter().all(|one| one.reason == SuppressionReason::OptOut), "{listed:?}");
        let phones: BTreeSet<String> = listed.into_iter().map(|one| one.phone).collect();
        (phones == wanted).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn from_whichever_vendor_it_comes() {
    let accounts = [Account::exotel(), Account::sobot_io(), Account::sobot_in()];
    let world = World::new().start().await;
    let replies = ["STOP", " stop\n", "arrêt", "СТОП", "إيقاف", "停止", "रोकें"];
    for (index, reply) in replies.iter().enumerate() {
        world.person_sends(&world.text_of(&accounts[index % 3], index, reply)).await;
    }
    let button = world.text_of(&accounts[1], 7, "Unsubscribe from Promos").kind("button");
    world.person_sends(&button).await;
    for (index, reply) in ["Stop it, please", "don't STOP", "", "Hello"].iter().enumerate() {
        world.person_sends(&world.text_of(&accounts[index % 3], 20 + index, reply)).await;
    }
    let mut preference = world.text_of(&accounts[2], 8, "").kind("raw");
    let wish = |value: &str| {
        json!([{"field": "user_preferences", "value": {"user_preferences": [{
            "wa_id": people::digits(8).to_string(), "category": "marketing_messages", "value": value,
        }]}}])
    };
    preference.body = Some(wish("stop"));
    world.person_sends(&preference).await;
    opted_out(&world, &[0, 1, 2, 3, 4, 5, 6, 7, 8]).await;

    world.person_sends(&world.text_of(&accounts[0], 1, "start")).await;
    preference.body = Some(wish("resume"));
    world.person_sends(&preference).await;
    opted_out(&world, &[0, 2, 3, 4, 5, 6, 7]).await;

    let audience = world.import_people(PEOPLE).await;
    let marketing = NewCampaign { category: Some(Category::Marketing), ..campaign(&accounts[0], audience) };
    let done = world.launch(&marketing).await;
    let done = world.wait_for_completion(done, within(20)).await;
    assert_eq!((done.counts.suppressed, done.counts.accepted), (7, 53), "{done:?}");
    let got: BTreeSet<u64> = world.simulator.accepted_by_recipient().into_keys().collect();
    assert!([0, 2, 3, 4, 5, 6, 7].iter().all(|index| !got.contains(&people::digits(*index))));
    world.audit().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn also_in_the_middle_of_a_run() {
    const LAST: usize = 199;
    let world = World::new().account(Account::sobot_io()).start().await;
    let audience = world.import_people(People(LAST + 1)).await;
    let account = world.account(0).clone();
    let slow = NewCampaign {
        category: Some(Category::Marketing),
        messages_per_second: Some(30.0),
        ..campaign(&account, audience)
    };
    let task = world.launch(&slow).await;
    assert!(world.simulator.wait_for_accepted(5, within(10)).await);
    world.person_sends(&world.text_of(&account, LAST, "Quit")).await;
    opted_out(&world, &[LAST]).await;
    assert!(world.task(task).await.counts.queued > 0, "the run was over before the reply was known");
    let done = world.wait_for_completion(task, within(30)).await;
    assert_eq!((done.counts.suppressed, done.counts.accepted), (1, LAST as i64));
    assert!(!world.simulator.accepted_by_recipient().contains_key(&people::digits(LAST)));
    assert_eq!(world.simulator.accepted_total_of(Vendor::SobotIo), LAST as u64);
    world.audit().await;
}

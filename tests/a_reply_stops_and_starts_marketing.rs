//! Who answers STOP, in whichever language and by whichever means, gets no marketing any more, from the second on in which that is
//! known; START lifts it. Any other text does neither.

use std::collections::BTreeSet;

use api::{
    Category, NewCampaign, SuppressionReason,
    client::{Page, TaskFilter},
};
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

/// How often each of the first people was told that they are listed.
async fn told(world: &World, wanted: &[usize]) {
    wait_until(&format!("they are told {wanted:?} times"), within(15), async || {
        let messages = world.simulator.messages();
        let texts = messages.iter().filter(|message| message.template == "(text)");
        let mut counts = vec![0; wanted.len()];
        texts.for_each(|message| {
            let index = (0..wanted.len()).find(|index| people::digits(*index) == message.to);
            counts[index.expect("nobody else is told anything")] += 1;
        });
        assert!(counts.iter().zip(wanted).all(|(got, most)| got <= most), "{counts:?}");
        (counts == wanted).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_stops_is_told_so_once_where_a_text_is_set_for_it() {
    let (exotel, sobot) = (Account::exotel(), Account::sobot_in());
    let mut world = World::new()
        .config("[replies]\nconfirmation = \"You will get no more offers.\"\n")
        .account(exotel.clone())
        .account(sobot.clone())
        .start()
        .await;
    // The process ends when the list is written and nobody has been told yet.
    world.daemon().kill_at("intent.before_commit", 1);
    world.person_sends(&world.text_of(&exotel, 0, "STOP")).await;
    world.died_at("intent.before_commit", within(15)).await;
    world.restart().await;
    told(&world, &[1, 0]).await;
    let body = world.simulator.last_body(Vendor::Exotel).expect("it was sent by Exotel");
    assert!(String::from_utf8_lossy(&body).contains("You will get no more offers."), "{body:?}");

    // Again, and from elsewhere: it is known. Another person, and once it has been lifted the same.
    world.person_sends(&world.text_of(&exotel, 0, "Stop")).await;
    world.person_sends(&world.text_of(&sobot, 0, "Quit")).await;
    world.person_sends(&world.text_of(&sobot, 1, "UNSUBSCRIBE")).await;
    told(&world, &[1, 1]).await;
    opted_out(&world, &[0, 1]).await;
    world.person_sends(&world.text_of(&sobot, 1, "START")).await;
    opted_out(&world, &[0]).await;
    world.person_sends(&world.text_of(&sobot, 1, "STOP")).await;
    told(&world, &[1, 2]).await;
    assert!(world.api().tasks(&TaskFilter::default()).await.unwrap().items.is_empty());
    assert!(world.api().campaigns(&Page::default()).await.unwrap().items.is_empty());
    world.audit().await;
}

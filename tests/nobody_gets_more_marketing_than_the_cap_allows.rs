//! With a cap, a person who has had so many marketing messages lately, from whichever account, gets no more of them: they end
//! as suppressed with that reason. What is not marketing, and what never left, does not count.

use api::{Category, MessageState, NewCampaign, client::MessageFilter};
use simulator::{CallbackOptions, FaultAction, FaultRule, SimulatorOptions, Vendor};

use crate::harness::{Account, People, World, campaign, csv_of, people::digits, phone, within};

const REFUSED: usize = 7;

fn utility(account: &Account, audience: i64) -> NewCampaign {
    NewCampaign { category: Some(Category::Utility), ..campaign(account, audience) }
}

async fn run(world: &World, wanted: NewCampaign) -> api::Task {
    let task = world.launch(&wanted).await;
    world.wait_for_completion(task, within(20)).await
}

#[tokio::test(flavor = "multi_thread")]
async fn across_campaigns_and_accounts_within_the_days() {
    // One number is refused each time by both: nothing leaves to it.
    let refused = |vendor, code| {
        let action = FaultAction::MessageCode { code, message: None };
        FaultRule::new(action).vendor(vendor).recipients([digits(REFUSED).to_string()])
    };
    let faults = vec![refused(Vendor::SobotIn, 131_008), refused(Vendor::Exotel, 30_010)];
    let callbacks = CallbackOptions { enabled: false, ..CallbackOptions::default() };
    let options = SimulatorOptions { callbacks, faults, ..SimulatorOptions::default() };
    let accounts = [Account::sobot_in(), Account::exotel().set("batch_size", 1)];
    let mut world = accounts
        .iter()
        .fold(World::new().simulator(options), |worlds, account| worlds.account(account.clone()))
        .variable("CAMPAIGND_LIMITS__MAX_PER_RECIPIENT__COUNT", "2")
        .variable("CAMPAIGND_LIMITS__MAX_PER_RECIPIENT__DAYS", "7")
        .start()
        .await;
    let audience = world.import_people(People(40)).await;

    world.set_clock("2026-12-01T10:00:00Z");
    let first = run(&world, campaign(world.account(0), audience)).await;
    assert_eq!((first.counts.accepted, first.counts.failed), (39, 1), "{:?}", first.counts);
    world.set_clock("2026-12-03T10:00:00Z");
    let second = run(&world, campaign(world.account(1), audience)).await;
    assert_eq!(second.counts.accepted, 39, "{:?}", second.counts);

    // Two within seven days: no third one, from either; but for whom neither left, and for others.
    world.set_clock("2026-12-07T10:00:00Z");
    let more = world.import(csv_of(0..50)).await.id;
    let third = run(&world, campaign(world.account(0), more)).await;
    let counts = third.counts;
    assert_eq!((counts.suppressed, counts.accepted, counts.failed), (39, 10, 1), "{counts:?}");
    let filter = MessageFilter {
        code: Some("frequency_cap".to_owned()),
        to: Some(phone(3)),
        ..MessageFilter::default()
    };
    let capped = world.api().messages(third.id, &filter).await.unwrap().items;
    let [capped] = capped.as_slice() else { panic!("one message was to be shown: {capped:?}") };
    assert_eq!((capped.state, capped.attempts), (MessageState::Suppressed, 0));
    let reason = capped.reason.clone().unwrap_or_default();
    assert!(reason.contains("2 marketing messages") && reason.contains("7 days"), "{reason}");

    // What is no marketing goes on, and does not count.
    let fourth = run(&world, utility(world.account(1), audience)).await;
    assert_eq!(fourth.counts.suppressed, 0, "{:?}", fourth.counts);
    // When the first one is seven days old there is room for one.
    world.set_clock("2026-12-08T10:05:00Z");
    let fifth = run(&world, campaign(world.account(1), audience)).await;
    assert_eq!((fifth.counts.suppressed, fifth.counts.accepted), (0, 39), "{:?}", fifth.counts);
    let sixth = run(&world, campaign(world.account(0), audience)).await;
    assert_eq!((sixth.counts.suppressed, sixth.counts.failed), (39, 1), "{:?}", sixth.counts);

    // Whoever is erased is not kept in this either.
    world.api().erase_person(&phone(3)).await.unwrap();
    let mut conn = world.database.as_ref().unwrap().connect().await;
    let kept: Vec<i64> =
        sqlx::query_scalar("SELECT phone FROM marketing_days").fetch_all(&mut conn).await.unwrap();
    assert_eq!(kept.len(), 49);
    assert!(!kept.contains(&digits(3).cast_signed()));
    world.audit().await;
}

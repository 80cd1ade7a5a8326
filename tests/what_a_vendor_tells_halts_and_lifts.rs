//! What a vendor tells of templates, numbers and the account is kept once, shown, and acted on: tasks halt and run on by it.

use api::{
    HaltScope, Task, TaskState, TemplateStatus, VendorEvent, VendorEventKind, WaitingFor,
    client::{EventFilter, Page, TemplateFilter},
};
use serde_json::{Value, json};
use simulator::{Inbound, RangeMs, SimulatorOptions};

use crate::harness::{Account, People, World, campaign, template, wait_until, within};

/// Slow enough that a callback comes before everybody has been sent to.
fn account() -> Account {
    Account::sobot_io().sender("messages_per_second", 60)
}

const PEOPLE: People = People(600);

async fn running(account: Account) -> (World, i64) {
    let latency_ms = [(simulator::Vendor::SobotIo, RangeMs::fixed(5))].into();
    let options = SimulatorOptions { latency_ms, ..SimulatorOptions::default() };
    let world = World::new().simulator(options).account(account).start().await;
    world.api().sync_templates("sobot_io").await.unwrap();
    let audience = world.import_people(PEOPLE).await;
    let mut wanted = campaign(world.account(0), audience);
    wanted.message = template("order_update", "en", &["{{name}}", "7"]);
    let task = world.launch(&wanted).await;
    assert!(world.simulator.wait_for_accepted(20, within(20)).await);
    (world, task)
}

/// The vendor's event of this kind, in the form of its documents.
fn told(world: &World, kind: &str, word: &str) -> Inbound {
    world.text_of(world.account(0), 0, word).kind(kind).about("order_update/en")
}

async fn events(world: &World, kind: VendorEventKind) -> Vec<VendorEvent> {
    let filter = EventFilter { kind: Some(kind), ..EventFilter::default() };
    world.api().vendor_events(&filter).await.unwrap().items
}

async fn comes_to(world: &World, task: i64, state: TaskState) -> Task {
    world.wait_for_task(task, "the task comes to its state", within(20), |task| task.state == state).await
}

/// A callback that is stored as it is, at a second that the vendor names.
async fn post(world: &World, at: i64, field: &str, value: Value) {
    let body = json!({"entry": [{"id": "1", "time": at, "changes": [{"field": field, "value": value}]}],
                      "object": "whatsapp_business_account"});
    let answers = world.post_callbacks(0, &[body.to_string()], 1).await;
    assert_eq!(answers.kept.len(), 1);
}

fn status(event: &str) -> Value {
    json!({"event": event, "message_template_name": "order_update", "message_template_language": "en",
           "reason": "NONE"})
}

#[tokio::test(flavor = "multi_thread")]
async fn a_paused_template_halts_its_tasks_until_it_is_approved_again() {
    let (world, task) = running(account()).await;
    world.person_sends(&told(&world, "template_status", "PAUSED")).await;
    let halted = comes_to(&world, task, TaskState::Halted).await;
    assert!(halted.counts.queued > 0, "{:?}", halted.counts);
    let halts = world.api().halts(&Page::default()).await.unwrap().items;
    assert_eq!(halts.len(), 1, "{halts:?}");
    assert_eq!((halts[0].scope, halts[0].value.as_str()), (HaltScope::Template, "order_update/en"));
    assert_eq!(halts[0].code, "template_paused");
    assert!(!halts[0].meaning.is_empty() && !halts[0].remedy.is_empty(), "{halts:?}");
    let filter = TemplateFilter { name: Some("order_update".to_owned()), ..TemplateFilter::default() };
    let known = world.api().templates(&filter).await.unwrap().items;
    assert_eq!(known[0].status, TemplateStatus::Paused);

    world.person_sends(&told(&world, "template_status", "APPROVED")).await;
    world.wait_for_completion(task, within(30)).await;
    assert!(world.api().halts(&Page::default()).await.unwrap().items.is_empty());
    let events = events(&world, VendorEventKind::Template).await;
    let told: Vec<(&str, bool)> =
        events.iter().map(|event| (event.event.as_str(), event.outcome.is_some())).collect();
    assert_eq!(told, [("APPROVED", true), ("PAUSED", true)], "the newest first");
    PEOPLE.assert_each_accepted_once(&world.simulator.accepted_by_recipient());
    world.audit().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_told_again_or_late_does_nothing() {
    let (world, task) = running(account()).await;
    let field = "message_template_status_update";
    post(&world, 1_700_000_100, field, status("PAUSED")).await;
    comes_to(&world, task, TaskState::Halted).await;
    post(&world, 1_700_000_200, field, status("APPROVED")).await;
    comes_to(&world, task, TaskState::Running).await;
    // The first once more, and one that is older than the approval.
    post(&world, 1_700_000_100, field, status("PAUSED")).await;
    post(&world, 1_700_000_150, field, status("REJECTED")).await;
    let is_kept = async || (events(&world, VendorEventKind::Template).await.len() == 3).then_some(());
    wait_until("three events are kept", within(20), is_kept).await;
    assert!(world.api().halts(&Page::default()).await.unwrap().items.is_empty());
    // A disabled template is not lifted by an approval.
    post(&world, 1_700_000_300, field, status("PAUSED")).await;
    post(&world, 1_700_000_400, field, status("DISABLED")).await;
    post(&world, 1_700_000_500, field, status("APPROVED")).await;
    let is_kept = async || (events(&world, VendorEventKind::Template).await.len() == 6).then_some(());
    wait_until("six events are kept", within(20), is_kept).await;
    let halts = world.api().halts(&Page::default()).await.unwrap().items;
    assert_eq!(halts.iter().map(|halt| halt.code.as_str()).collect::<Vec<_>>(), ["132016"]);
    world.api().lift_halt(halts[0].id).await.unwrap();
    world.wait_for_completion(task, within(30)).await;
    PEOPLE.assert_each_accepted_once(&world.simulator.accepted_by_recipient());
    world.audit().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_banned_account_stands_still_until_it_is_restored() {
    let (world, task) = running(account()).await;
    let ban = json!({"ban_info": {"waba_ban_state": "DISABLE", "waba_ban_date": "June 1, 2026"}});
    world.person_sends(&told(&world, "account_update", "DISABLED_UPDATE").details(ban)).await;
    comes_to(&world, task, TaskState::Halted).await;
    let halts = world.api().halts(&Page::default()).await.unwrap().items;
    assert_eq!((halts[0].scope, halts[0].code.as_str()), (HaltScope::Account, "account_restricted"));
    assert!(halts[0].meaning.contains("DISABLED_UPDATE (DISABLE, June 1, 2026)"), "{halts:?}");
    let restored = json!({"ban_info": {"waba_ban_state": "REINSTATE"}});
    world.person_sends(&told(&world, "account_update", "DISABLED_UPDATE").details(restored)).await;
    world.wait_for_completion(task, within(30)).await;
    let accounts = world.api().accounts(&Page::default()).await.unwrap().items;
    let last = accounts[0].last_event.as_ref().expect("an event");
    assert_eq!((last.kind, last.event.as_str()), (VendorEventKind::Account, "DISABLED_UPDATE"));
    PEOPLE.assert_each_accepted_once(&world.simulator.accepted_by_recipient());
    world.audit().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_numbers_limit_and_quality_are_shown() {
    let account = account().sender("daily_recipients", 100_000);
    let world = World::new().account(account).start().await;
    let tier = |tier: &str| json!({"current_limit": tier});
    world.person_sends(&told(&world, "phone_quality", "FLAGGED").details(tier("TIER_10K"))).await;
    let sender = async |is_so: fn(&api::Sender) -> bool| {
        wait_until("the sender is shown so", within(20), async || {
            let accounts = world.api().accounts(&Page::default()).await.unwrap().items;
            accounts[0].senders.first().cloned().filter(is_so)
        })
        .await
    };
    let flagged = sender(|sender| sender.tier.is_some()).await;
    assert_eq!((flagged.tier.as_deref(), flagged.quality.as_deref()), (Some("TIER_10K"), Some("FLAGGED")));
    assert_eq!((flagged.daily_recipients, flagged.effective_daily_recipients), (Some(100_000), Some(10_000)));
    world.person_sends(&told(&world, "phone_quality", "UPGRADE").details(tier("TIER_UNLIMITED"))).await;
    let upgraded = sender(|sender| sender.tier.as_deref() == Some("TIER_UNLIMITED")).await;
    assert_eq!(upgraded.effective_daily_recipients, Some(100_000), "what is configured stays");
    assert_eq!(upgraded.quality.as_deref(), Some("FLAGGED"), "nothing new was told of it");
    // What is not understood is kept, and is no error.
    post(&world, 1_700_000_000, "business_capability_update", json!({"max_phone_numbers_per_business": 25}))
        .await;
    let is_kept = async || (events(&world, VendorEventKind::Other).await.len() == 1).then_some(());
    wait_until("it is kept", within(20), is_kept).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_numbers_smaller_limit_is_kept_to() {
    let account = Account::sobot_io().sender("daily_recipients", 80);
    let world = World::new().account(account).start().await;
    let limit = json!({"current_limit": "TIER_50"});
    world.person_sends(&told(&world, "phone_quality", "DOWNGRADE").details(limit)).await;
    wait_until("the limit is known", within(20), async || {
        let accounts = world.api().accounts(&Page::default()).await.unwrap().items;
        (accounts[0].senders[0].effective_daily_recipients == Some(50)).then_some(())
    })
    .await;
    let audience = world.import_people(People(80)).await;
    let task = world.launch(&campaign(world.account(0), audience)).await;
    let is_full = |task: &Task| task.waiting_for == Some(WaitingFor::DailyLimit) && task.counts.sending == 0;
    let full = world.wait_for_task(task, "the day is full", within(20), is_full).await;
    assert_eq!((full.counts.accepted, full.counts.queued), (50, 30), "{full:?}");
    assert_eq!(world.simulator.accepted_total(), 50);
    world.audit().await;
}

//! The results are there for programs: pages without gaps or repetitions, an export of all, filters that agree with the counts.

use std::collections::BTreeSet;

use api::{Task, TaskState, client::MessageFilter};
use futures::StreamExt as _;
use simulator::{CallbackOptions, FaultAction, FaultRule, SimulatorOptions, Vendor};

use crate::harness::{Account, People, World, campaign, phone, within};

const PEOPLE: People = People(1_234);

#[tokio::test(flavor = "multi_thread")]
async fn as_pages_and_as_a_table_while_three_vendors_send_at_once() {
    let refused = FaultAction::MessageCode { code: 30_005, message: None };
    let faults = vec![FaultRule::new(refused).vendor(Vendor::Exotel).recipient_suffix("00")];
    let callbacks = CallbackOptions { enabled: false, ..CallbackOptions::default() };
    let options = SimulatorOptions { callbacks, faults, ..SimulatorOptions::default() };
    let accounts = [Account::exotel(), Account::sobot_io(), Account::sobot_in()];
    let mut worlds = World::new().simulator(options);
    for account in &accounts {
        worlds = worlds.account(account.clone());
    }
    let world = worlds.start().await;
    let audience = world.import_people(PEOPLE).await;
    let mut tasks = Vec::new();
    for account in &accounts {
        tasks.push(world.launch(&campaign(account, audience)).await);
    }
    let mut done = Vec::new();
    for task in tasks {
        done.push(world.wait_for_completion(task, within(30)).await);
    }
    // 13 numbers end in 00: 0, 100 … 1200.
    let failed: Vec<i64> = done.iter().map(|task| task.counts.failed).collect();
    assert_eq!(failed, [13, 0, 0]);
    let accepted: Vec<i64> = done.iter().map(|task| task.counts.accepted).collect();
    assert_eq!(accepted, [1_221, 1_234, 1_234]);
    assert_eq!(world.simulator.duplicates(), []);
    for vendor in Vendor::ALL {
        let expected = if vendor == Vendor::Exotel { 1_221 } else { 1_234 };
        assert_eq!(world.simulator.accepted_total_of(vendor), expected, "{vendor}");
    }
    assert_pages(&world, &done[0]).await;
    assert_export(&world, &done[0]).await;
    let of_state = |state: TaskState| api::client::TaskFilter {
        state: Some(state.as_str().to_owned()),
        ..Default::default()
    };
    assert_eq!(world.api().tasks(&of_state(TaskState::Completed)).await.unwrap().items.len(), 3);
    assert_eq!(world.api().tasks(&of_state(TaskState::Running)).await.unwrap().items.len(), 0);
    world.audit().await;
}

/// Pages of any size hold everybody once, in order; filters hold those whom they name.
async fn assert_pages(world: &World, task: &Task) {
    for limit in [7, 100, 500] {
        let mut filter = MessageFilter::default();
        filter.page.limit = Some(limit);
        let mut numbers = Vec::new();
        loop {
            let page = world.api().messages(task.id, &filter).await.unwrap();
            assert!(page.items.len() <= limit as usize);
            numbers.extend(page.items.iter().map(|message| message.no));
            filter.page.after = page.next;
            if filter.page.after.is_none() {
                break;
            }
        }
        assert_eq!(numbers, (1..=1_234).collect::<Vec<_>>(), "in pages of {limit}");
    }
    let code = task.errors[0].code.clone();
    for filter in [
        MessageFilter { state: Some("failed".to_owned()), ..MessageFilter::default() },
        MessageFilter { code: Some(code), ..MessageFilter::default() },
    ] {
        let page = world.api().messages(task.id, &filter).await.unwrap();
        let phones: BTreeSet<String> = page.items.into_iter().map(|message| message.to).collect();
        assert_eq!(phones, (0..13).map(|n| phone(n * 100)).collect::<BTreeSet<_>>(), "{filter:?}");
    }
}

/// The export has a header with the contract's words and one line for each.
async fn assert_export(world: &World, task: &Task) {
    let mut pieces = Box::pin(world.api().messages_csv(task.id, &MessageFilter::default()).await.unwrap());
    let mut bytes = Vec::new();
    while let Some(piece) = pieces.next().await {
        bytes.extend_from_slice(&piece.unwrap());
    }
    let mut reader = csv::Reader::from_reader(bytes.as_slice());
    let header: Vec<String> = reader.headers().unwrap().iter().map(str::to_owned).collect();
    let words = "no,to,state,attempts,vendor_id,code,code_name,reason,retry_at,accepted_at,sent_at,delivered_at,\
                 read_at,failed_at,unknown_since";
    assert_eq!(header.join(","), words);
    let rows: Vec<csv::StringRecord> = reader.records().map(Result::unwrap).collect();
    assert_eq!(rows.len(), 1_234);
    let failed = rows.iter().filter(|row| &row[2] == "failed").count();
    assert_eq!(failed, 13);
    let ids: BTreeSet<&str> = rows.iter().filter(|row| &row[2] == "accepted").map(|row| &row[4]).collect();
    assert_eq!(ids.len(), 1_221, "each has the vendor's own id");
}

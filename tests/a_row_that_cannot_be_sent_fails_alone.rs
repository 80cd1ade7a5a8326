//! A row that lacks what the message needs fails by itself, named, without a call; everybody around it is sent to.

use std::fmt::Write as _;

use api::{MessageState, Task, client::MessageFilter};
use simulator::{CallbackOptions, SimulatorOptions};

use crate::harness::{Account, World, campaign, people, phone, template, within};

const BAD: [usize; 3] = [0, 150, 299];

/// 300 recipients, three of whom have no name.
fn csv() -> String {
    let mut csv = String::from("phone,name,city\n");
    for number in 0..300 {
        let name = if BAD.contains(&number) { String::new() } else { format!("Name {number}") };
        writeln!(csv, "{},{name},City", phone(number)).unwrap();
    }
    csv
}

async fn world(account: &Account) -> World {
    let callbacks = CallbackOptions { enabled: false, ..CallbackOptions::default() };
    let options = SimulatorOptions { callbacks, kept_requests: 400, ..SimulatorOptions::default() };
    World::new().simulator(options).account(account.clone()).start().await
}

async fn run(world: &World, values: &[&str]) -> Task {
    let audience = world.import(csv()).await;
    assert_eq!(audience.rows.accepted, 300, "an empty name is no reason to reject a row");
    let mut campaign = campaign(world.account(0), audience.id);
    campaign.message = template("order_update", "en", values);
    let task = world.launch(&campaign).await;
    world.wait_for_completion(task, within(20)).await
}

#[tokio::test(flavor = "multi_thread")]
async fn in_a_batch_and_in_single_calls() {
    for account in [Account::exotel().set("batch_size", 50), Account::sobot_io()] {
        let world = world(&account).await;
        let task = run(&world, &["{{name}}", "{{city}}"]).await;
        assert_eq!((task.counts.accepted, task.counts.failed), (297, 3), "{task:#?}");
        let [error] = task.errors.as_slice() else { panic!("one code was to be seen: {task:#?}") };
        assert_eq!(error.count, 3);
        assert!(!error.meaning.is_empty(), "{error:?}");
        for number in BAD {
            let filter = MessageFilter { to: Some(phone(number)), ..MessageFilter::default() };
            let page = world.api().messages(task.id, &filter).await.unwrap();
            let [message] = page.items.as_slice() else { panic!("{page:?}") };
            assert_eq!(message.state, MessageState::Failed);
            assert_eq!(message.code.as_ref(), Some(&error.code));
            assert!(message.reason.as_deref().is_some_and(|reason| reason.contains("name")), "{message:?}");
        }
        let ledger = world.simulator.accepted_by_recipient();
        assert!(BAD.iter().all(|number| !ledger.contains_key(&people::digits(*number))));
        assert_eq!((ledger.len(), world.simulator.accepted_total()), (297, 297));
        world.audit().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn but_not_when_the_placeholder_has_a_default() {
    let account = Account::sobot_io();
    let world = world(&account).await;
    let task = run(&world, &["{{name|friend}}", "{{city}}"]).await;
    assert_eq!((task.counts.accepted, task.errors.len()), (300, 0), "{task:#?}");
    let bodies: Vec<_> = world.simulator.requests().iter().map(simulator::SeenRequest::json).collect();
    let friends = bodies
        .iter()
        .filter(|body| body["content"]["template"]["components"][0]["parameters"][0]["text"] == "friend");
    assert_eq!(friends.count(), 3);
    world.audit().await;
}

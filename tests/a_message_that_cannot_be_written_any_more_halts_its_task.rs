//! A campaign whose message its vendor's form cannot hold any more, since the account was changed, is halted before anybody
//! is sent to, says why, and runs when the account is as it was.

use std::fs;

use api::{HaltScope, Task, TaskState, client::Page};

use crate::harness::{Account, People, World, campaign, within};

#[tokio::test(flavor = "multi_thread")]
async fn an_account_became_another_vendors() {
    let people = People(50);
    let (exotel, other) = (Account::exotel().sender("messages_per_second", 10), Account::sobot_in());
    let mut world = World::new().account(exotel).start().await;
    let audience = world.import_people(people).await;
    let mut wanted = campaign(world.account(0), audience);
    // One vendor sends audio, the other does not.
    wanted.message = serde_json::json!({"type": "audio", "audio": {"link": "https://127.0.0.1/a.mp3"}});
    let task = world.launch(&wanted).await;
    world.api().pause_task(task).await.unwrap();
    let config_file = world.daemon().config_file();
    let good = fs::read_to_string(&config_file).unwrap();
    let (start, _) = good.split_once("[[accounts]]").unwrap();
    let theirs = other.toml(&world.simulator.url());
    let theirs = theirs.replace(&other.from, &world.account(0).from);
    let bad = format!("{start}{}", theirs.replace("name = \"sobot_in\"", "name = \"exotel\""));

    world.stop().await;
    fs::write(&config_file, bad).unwrap();
    world.restart().await;
    let before = world.simulator.requests_total();
    world.api().resume_task(task, false).await.unwrap();
    let is_halted = |task: &Task| task.state == TaskState::Halted;
    let halted = world.wait_for_task(task, "the task is halted", within(15), is_halted).await;
    let halts = world.api().halts(&Page::default()).await.unwrap().items;
    let [halt] = halts.as_slice() else { panic!("one halt: {halts:?}") };
    assert_eq!((halt.scope, halt.code.as_str()), (HaltScope::Task, "message_refused"), "{halt:?}");
    assert!(halt.remedy.contains("account's configuration"), "{halt:?}");
    assert!(halted.halt_reason.is_some_and(|reason| reason.contains("message_refused")));
    assert_eq!(world.simulator.requests_total(), before, "nobody was called");
    world.audit().await;

    world.stop().await;
    fs::write(&config_file, good).unwrap();
    world.restart().await;
    world.api().lift_halt(halt.id).await.unwrap();
    let task = world.wait_for_completion(task, within(20)).await;
    assert_eq!((task.counts.failed, task.counts.unknown), (0, 0), "{task:#?}");
    people.assert_each_accepted_once(&world.simulator.accepted_by_recipient());
    world.audit().await;
}

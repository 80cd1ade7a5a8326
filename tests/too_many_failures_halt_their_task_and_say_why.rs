//! A task of whose messages more than half fail halts by itself, and says what is to blame, by which codes, and what to do; other
//! tasks of its sender go on.

use api::{HaltScope, TaskState, client::Page};
use simulator::{CallbackOptions, FaultAction, FaultRule, SimulatorOptions};

use crate::harness::{Account, People, World, campaign, csv_of, people::digits, within};

const PEOPLE: People = People(600);

#[tokio::test(flavor = "multi_thread")]
async fn by_the_class_that_most_of_them_are_of() {
    // Of ten numbers six fail for two reasons that lie with the person, and one because of its row.
    let rule = |code: u32, suffixes: &[usize]| {
        let action = FaultAction::MessageCode { code, message: None };
        let to = (0..PEOPLE.0).filter(|number| suffixes.contains(&(number % 10)));
        FaultRule::new(action).recipients(to.map(|number| digits(number).to_string()))
    };
    let faults = vec![rule(130_403, &[0, 2, 4, 6]), rule(131_030, &[1, 3]), rule(131_021, &[8])];
    let callbacks = CallbackOptions { enabled: false, ..CallbackOptions::default() };
    let options = SimulatorOptions { callbacks, faults, ..SimulatorOptions::default() };
    let account = Account::sobot_in().sender("messages_per_second", 100);
    let world = World::new().simulator(options).account(account).start().await;
    let bad = world.import_people(PEOPLE).await;
    let good = world.import(csv_of(1_000..1_300)).await.id;
    let bad = world.launch(&campaign(world.account(0), bad)).await;
    let good = world.launch(&campaign(world.account(0), good)).await;

    let is_halted = |task: &api::Task| task.state == TaskState::Halted && task.counts.sending == 0;
    let halted = world.wait_for_task(bad, "it is halted", within(20), is_halted).await;
    assert!(halted.counts.queued > 0, "it was halted too late: {:?}", halted.counts);
    let halts = world.api().halts(&Page::default()).await.unwrap().items;
    let [halt] = halts.as_slice() else { panic!("one halt was to be there: {halts:#?}") };
    assert_eq!((halt.scope, halt.value.clone()), (HaltScope::Task, bad.to_string()));
    assert_eq!(halt.code, "failure_share");
    let first = halt.meaning.find("× 130403 (the business").unwrap_or_else(|| panic!("{}", halt.meaning));
    let second = halt.meaning.find("× 131030 (").unwrap_or_else(|| panic!("{}", halt.meaning));
    assert!(halt.meaning.contains("are of the class \"recipient\": ") && first < second, "{}", halt.meaning);
    assert!(halt.meaning.contains("× 131021 ("), "{}", halt.meaning);
    assert!(halt.remedy.contains("where the list comes from"), "{}", halt.remedy);

    let done = world.wait_for_completion(good, within(20)).await;
    assert_eq!(done.counts.accepted, 300, "{:?}", done.counts);
    world.audit().await;
}

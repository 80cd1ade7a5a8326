//! SIGKILL at each point of sending and of applying reports, for batches and for single calls: after a restart everybody was
//! accepted once at the most, is in one place, and is unknown only if the dead process may have reached the vendor. Whoever
//! it had only taken is sent to.

use std::{
    collections::{BTreeMap, HashSet},
    ops::Range,
};

use api::{Counts, MessageState, NewCampaign, Task};
use simulator::{FaultAction, FaultRule, RangeMs, SimulatorOptions, Vendor};
use sqlx::Row as _;

use crate::harness::{Account, World, campaign, csv_of, people::digits, places, wait_until, within};

/// Recipients of each kill's campaign.
const PEOPLE: usize = 240;

/// What the dead process had done for those whose calls were open.
#[derive(Clone, Copy, Debug)]
enum Open {
    /// No call can have been open.
    None,
    /// Their intent was committed, and nobody was called yet.
    NotCalled,
    /// Some of them were accepted by the vendor, and it was not recorded.
    Accepted,
    /// What it was does not matter here.
    Any,
}

/// A point, at which of its passings the process dies, and how that leaves the calls.
type Kill = (&'static str, u32, Open);

const OF_SENDING: [Kill; 8] = [
    ("intent.before_commit", 1, Open::None),
    ("intent.after_commit", 1, Open::NotCalled),
    ("intent.before_commit", 5, Open::Any),
    ("call.before", 9, Open::Any),
    ("call.written", 9, Open::Accepted),
    ("call.answered", 9, Open::Accepted),
    ("outcome.before_commit", 4, Open::Accepted),
    ("outcome.after_commit", 4, Open::Any),
];

const OF_REPORTS: [Kill; 6] = [
    ("inbox.before_store", 3, Open::Any),
    ("inbox.after_store", 3, Open::Any),
    ("apply.before_commit", 2, Open::Any),
    ("apply.after_commit", 2, Open::Any),
    ("fold.before", 1, Open::Any),
    ("fold.after", 1, Open::Any),
];

const OF_RETRIES: [Kill; 4] = [
    ("intent.before_commit", 1, Open::None),
    ("intent.after_commit", 1, Open::NotCalled),
    ("call.written", 2, Open::Accepted),
    ("outcome.before_commit", 1, Open::Accepted),
];

fn exotel() -> Account {
    Account::exotel().set("batch_size", 10).set("max_in_flight", 4).sender("messages_per_second", 400)
}

fn sobot_io() -> Account {
    Account::sobot_io().set("max_in_flight", 8).sender("messages_per_second", 400)
}

fn sobot_in() -> Account {
    Account::sobot_in().set("max_in_flight", 8).sender("messages_per_second", 400)
}

/// Vendors that need a moment, and repeat their reports until somebody listens.
async fn world(account: Account) -> World {
    let latency_ms: BTreeMap<Vendor, RangeMs> = Vendor::ALL.map(|v| (v, RangeMs { min: 10, max: 30 })).into();
    let mut options = SimulatorOptions { latency_ms, ..SimulatorOptions::default() };
    options.callbacks.attempts = 100;
    options.callbacks.retry_delay_ms = 300;
    World::new().simulator(options).account(account).start().await
}

/// Dies at each point in turn, with a campaign of its own.
async fn dies_at_each(account: Account, kills: &[Kill]) {
    let mut world = world(account).await;
    for (number, kill) in kills.iter().enumerate() {
        let people = number * PEOPLE..(number + 1) * PEOPLE;
        let audience = world.import(csv_of(people.clone())).await.id;
        world.kill_at(kill.0, kill.1);
        let wanted = campaign(world.account(0), audience);
        let key = format!("launch-{number}");
        // It may die before it answers; the same key gives the same campaign then.
        let first = launch(&world, &wanted, &key).await;
        let open = open_when_it_died(&mut world, kill, &people).await;
        world.restart().await;
        let task = launch(&world, &wanted, &key).await.expect("the campaign is launched by now");
        assert!(first.is_none_or(|first| first == task), "{kill:?} launched twice");
        ends_well(&world, task, &people, &open, kill).await;
    }
    world.audit().await;
}

async fn launch(world: &World, wanted: &NewCampaign, key: &str) -> Option<i64> {
    world.api().create_campaign(wanted, Some(key)).await.ok()?.task_id
}

/// Waits until the process has died, and then says whose calls were open: those who may have reached the vendor.
async fn open_when_it_died(world: &mut World, kill: &Kill, people: &Range<usize>) -> HashSet<u64> {
    world.died_at(kill.0, within(30)).await;
    let database = world.database.as_ref().expect("the tests' database");
    let mut connection = database.connect().await;
    wait_until("the dead process's connections end", within(10), async || {
        let left = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()
                    AND pid <> pg_backend_pid() AND backend_type = 'client backend'";
        let left: i64 = sqlx::query_scalar(left).fetch_one(&mut connection).await.unwrap();
        (left == 0).then_some(())
    })
    .await;
    let rows =
        sqlx::query("SELECT unnest(nos) AS no FROM requests").fetch_all(&mut connection).await.unwrap();
    let first_no = 1;
    let open: HashSet<u64> = rows
        .iter()
        .map(|row| people.start + usize::try_from(row.get::<i32, _>("no") - first_no).unwrap())
        .map(digits)
        .collect();
    let accepted = || {
        let ledger = world.simulator.accepted_by_recipient();
        open.iter().filter(|phone| ledger.contains_key(phone)).count()
    };
    match kill.2 {
        Open::None => assert!(open.is_empty(), "{kill:?}: {} calls were open", open.len()),
        Open::NotCalled => assert!(!open.is_empty() && accepted() == 0, "{kill:?}: {open:?}"),
        // The vendor reads what was written even when the writer is dead.
        Open::Accepted => {
            let what = format!("{kill:?}: one of {} open ones is accepted", open.len());
            wait_until(&what, within(10), async || (accepted() > 0).then_some(())).await;
        }
        Open::Any => {}
    }
    open
}

/// Waits until all is known that can be, and compares it with the vendor's ledger.
async fn ends_well(world: &World, task: i64, people: &Range<usize>, open: &HashSet<u64>, kill: &Kill) {
    let vendor = world.account(0).vendor;
    let ledger = world.simulator.accepted_by_recipient();
    let reached = open.iter().filter(|phone| ledger.contains_key(phone)).count();
    let most = match (kill.2, vendor) {
        (Open::None | Open::NotCalled, _) => 0,
        // Its reports name the request.
        (_, Vendor::Exotel) => open.len() - reached,
        // Its records may tell.
        (_, Vendor::SobotIo | Vendor::SobotIn) => open.len(),
    };
    let most = i64::try_from(most).unwrap();
    let done = |task: &Task| task.state == api::TaskState::Completed && is_settled(&task.counts, most);
    let what = format!("after {kill:?} all is known: at most {most} unknown");
    let task = world.wait_for_task(task, &what, within(40), done).await;
    assert_eq!(places(&task.counts), task.counts.total, "{kill:?}: {:?}", task.counts);

    // Records go on telling of some while their list is read.
    let (task, unknown) = wait_until("the list and the count of the unknown agree", within(20), async || {
        let listed = world.phones(task.id, MessageState::Unknown).await;
        let task = world.task(task.id).await;
        (task.counts.unknown == i64::try_from(listed.len()).unwrap()).then_some((task, listed))
    })
    .await;
    let unknown: HashSet<u64> = unknown.into_iter().collect();
    let ledger = world.simulator.accepted_by_recipient();
    assert!(unknown.is_subset(open), "{kill:?}: unknown without having been open");
    let mut accepted = 0;
    for phone in people.clone().map(digits) {
        let times = ledger.get(&phone).copied().unwrap_or(0);
        assert!(times <= 1, "{kill:?}: {phone} was accepted {times} times");
        assert!(times == 1 || unknown.contains(&phone), "{kill:?}: {phone} is lost");
        accepted += i64::from(!unknown.contains(&phone));
    }
    assert_eq!(accepted, task.counts.accepted, "{kill:?}: {:?}", task.counts);
}

fn is_settled(counts: &Counts, most_unknown: i64) -> bool {
    counts.unknown <= most_unknown
        && counts.accepted + counts.unknown == counts.total
        && counts.delivered == counts.accepted
}

#[tokio::test(flavor = "multi_thread")]
async fn of_sending_batches() {
    dies_at_each(exotel(), &OF_SENDING).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn of_sending_one_by_one() {
    dies_at_each(sobot_in(), &OF_SENDING).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn of_sending_one_by_one_with_a_token() {
    dies_at_each(sobot_io(), &OF_SENDING).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn of_applying_reports_that_name_their_request() {
    dies_at_each(exotel(), &OF_REPORTS).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn of_applying_reports_that_name_a_message() {
    dies_at_each(sobot_in(), &OF_REPORTS).await;
}

/// Some are refused at first and due again; the process dies when they are taken for the second time.
async fn dies_at_each_while_trying_again(account: Account, code: u32) {
    let mut world = world(account).await;
    let offset_ms = 60_000;
    for (number, kill) in OF_RETRIES.iter().enumerate() {
        let people = number * PEOPLE..(number + 1) * PEOPLE;
        let refused = people.clone().step_by(4).map(|number| digits(number).to_string());
        let refuse = FaultAction::MessageCode { code, message: None };
        world.simulator.set_faults(vec![FaultRule::new(refuse).recipients(refused)]);
        let audience = world.import(csv_of(people.clone())).await.id;
        let task = world.launch(&campaign(world.account(0), audience)).await;
        let refused = i64::try_from(PEOPLE / 4).unwrap();
        let wait = |task: &Task| task.counts.retrying == refused && task.counts.sending == 0;
        world.wait_for_task(task, "a quarter waits for its retry", within(60), wait).await;
        world.simulator.set_faults(Vec::new());
        world.kill_at(kill.0, kill.1);
        world.daemon().set_clock_offset_ms(offset_ms * i64::try_from(number + 1).unwrap());
        let open = open_when_it_died(&mut world, kill, &people).await;
        world.restart().await;
        ends_well(&world, task, &people, &open, kill).await;
    }
    world.audit().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn of_trying_batches_again() {
    dies_at_each_while_trying_again(exotel(), 30_011).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn of_trying_again_one_by_one() {
    dies_at_each_while_trying_again(sobot_in(), 131_056).await;
}

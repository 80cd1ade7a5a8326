//! Neither the log, however much of it is asked for, nor an answer or a command holds a secret; the log holds no
//! phone number in full.

use api::client::Page;
use reqwest::Method;
use simulator::{CallbackOptions, FaultAction, FaultRule, SimulatorOptions, Vendor};

use crate::harness::{Account, People, World, campaign, daemon::TOKEN, phone, within};

const PEOPLE: People = People(200);

/// What only the configuration file may hold.
fn secrets(accounts: &[Account]) -> Vec<String> {
    let keys = ["exotel-key", "exotel-token", "sobot-app-key", "inbox-access-key", "inbox-secret-key", TOKEN];
    let keys = keys.iter().map(|key| (*key).to_owned());
    keys.chain(accounts.iter().map(Account::webhook_token)).collect()
}

fn assert_holds_none(place: &str, text: &str, secrets: &[String]) {
    assert!(!text.is_empty(), "{place} is empty");
    for secret in secrets {
        let line = text.lines().find(|line| line.contains(secret.as_str()));
        assert_eq!(line, None, "{place} holds `{secret}`");
    }
}

fn assert_holds_no_phone(log: &str) {
    for number in 0..PEOPLE.0 {
        let phone = phone(number);
        let line = log.lines().find(|line| line.contains(&phone[1..]));
        assert_eq!(line, None, "the log holds a number in full");
    }
}

/// Sends by all vendors, with every kind of trouble that is worth a line in the log.
async fn busy_world(accounts: &[Account]) -> World {
    let faults = vec![
        FaultRule::new(FaultAction::MessageCode { code: 30_012, message: None })
            .vendor(Vendor::Exotel)
            .limit(3),
        FaultRule::new(FaultAction::CloseAfterAccept).after(3).limit(3),
        FaultRule::new(FaultAction::GarbageBody).after(10).limit(3),
        FaultRule::new(FaultAction::HttpStatus { status: 503, retry_after_seconds: None, body: None })
            .after(20)
            .limit(2),
        FaultRule::new(FaultAction::InvalidateTokens).vendor(Vendor::SobotIo).after(30).limit(1),
    ];
    let callbacks = CallbackOptions { failed: 0.1, ..CallbackOptions::default() };
    let options = SimulatorOptions { callbacks, faults, ..SimulatorOptions::default() };
    let worlds = World::new().simulator(options).variable("RUST_LOG", "trace");
    let worlds = accounts.iter().fold(worlds, |worlds, account| worlds.account(account.clone()));
    let world = worlds.start().await;
    let audience = world.import_people(PEOPLE).await;
    for account in accounts {
        let task = world.launch(&campaign(account, audience)).await;
        let nobody_is_left = |task: &api::Task| task.counts.queued + task.counts.sending == 0;
        world.wait_for_task(task, "everybody was taken", within(30), nobody_is_left).await;
    }
    assert!(world.simulator.wait_until_idle(within(20)).await, "reports are left over");
    world
}

#[tokio::test(flavor = "multi_thread")]
async fn by_a_daemon_that_sends_and_is_troubled() {
    let accounts = [
        Account::exotel().set("batch_size", 20),
        Account::sobot_io().set("max_in_flight", 4),
        Account::sobot_in().set("max_in_flight", 4),
    ];
    let mut world = busy_world(&accounts).await;
    let secrets = secrets(&accounts);
    // A callback with a wrong token, and a caller with one.
    let wrong = world.url("/webhooks/exotel/a-guessed-token-of-somebody");
    reqwest::Client::new().post(wrong).body("{}").send().await.unwrap();
    for page in ["accounts", "campaigns", "tasks", "audiences", "halts", "codes"] {
        let answer = world.call(Method::GET, &format!("/api/v1/{page}")).send().await.unwrap();
        assert_holds_none(page, &answer.text().await.unwrap(), &secrets);
    }
    let metrics = world.call(Method::GET, "/metrics").send().await.unwrap().text().await.unwrap();
    assert_holds_none("/metrics", &metrics, &secrets);
    assert_eq!(world.api().accounts(&Page::default()).await.unwrap().items.len(), 3);
    for arguments in [&["account", "show", "exotel"][..], &["account", "list"], &["check"], &["audit"]] {
        let output = tokio::task::block_in_place(|| world.daemon().run(arguments));
        let text = [output.stdout, output.stderr].concat();
        assert_holds_none(&arguments.join(" "), &String::from_utf8_lossy(&text), &secrets);
    }
    world.stop().await;
    let log = world.daemon().log();
    assert_holds_none("the log", &log, &secrets);
    assert_holds_no_phone(&log);
}

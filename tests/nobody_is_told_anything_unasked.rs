//! Without a webhook nothing is written down for one; and none leads into our own networks unless it is meant to.

use sqlx::PgConnection;

use crate::harness::{
    Account, People, Receiver, World, campaign,
    receiver::{Answer, secret},
    within,
};

async fn count(connection: &mut PgConnection, sql: &'static str) -> i64 {
    sqlx::query_scalar(sql).fetch_one(connection).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_written_where_nobody_is_to_be_told() {
    let world = World::new().account(Account::sobot_in()).start().await;
    let audience = world.import_people(People(50)).await;
    let task = world.launch(&campaign(world.account(0), audience)).await;
    world.wait_for_completion(task, within(15)).await;
    world.all_reports_are_applied(task).await;
    let mut database = world.database.as_ref().unwrap().connect().await;
    // A number that was given out and rolled back would show here as well.
    let drawn = "SELECT count(*) FROM pg_sequences
                 WHERE sequencename LIKE 'event\\_%' AND last_value IS NOT NULL";
    assert_eq!(count(&mut database, drawn).await, 0);
    for table in [
        "SELECT count(*) FROM event_outbox",
        "SELECT count(*) FROM event_streams",
        "SELECT count(*) FROM event_batches",
        "SELECT count(*) FROM event_health",
    ] {
        assert_eq!(count(&mut database, table).await, 0, "{table}");
    }
    assert!(world.api().event_webhooks().await.unwrap().items.is_empty());
    let unknown = world.api().test_event_webhook("crm").await.unwrap_err();
    assert_eq!(unknown.status(), Some(404));
    world.audit().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_address_of_ours_is_not_called_without_the_switch() {
    let receiver = Receiver::start().await;
    let webhook = |url: &str| {
        format!("[[event_webhooks]]\nname = \"crm\"\nurl = \"{url}\"\nsecret = \"{}\"\n", secret())
    };
    let of_name = webhook(&format!("https://localhost:{}/hook?key=hush-hush", receiver.port));
    let mut world = World::new().account(Account::sobot_in()).config(&of_name).start().await;
    let tried = world.api().test_event_webhook("crm").await.unwrap();
    assert_eq!((tried.delivered, tried.status), (false, None));
    let error = tried.error.unwrap();
    assert!(error.contains("not of the public network"), "{error}");
    let shown = world.api().event_webhooks().await.unwrap().items.remove(0);
    assert_eq!(shown.url, format!("https://localhost:{}/hook", receiver.port));
    assert_eq!(receiver.count(), 0);
    // An address is refused before anything starts, with its line and its key.
    let file = world.daemon().config_file();
    let good = std::fs::read_to_string(&file).unwrap();
    let of_address = format!("http://127.0.0.1:{}/hook?key=hush-hush", receiver.port);
    std::fs::write(&file, good.replace(&of_name, &webhook(&of_address))).unwrap();
    let output = tokio::task::block_in_place(|| world.daemon().run(&["check", "--offline"]));
    let complaint = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!output.status.success(), "{output:?}");
    assert!(complaint.contains("event_webhooks[0].url: must begin with https://"), "{complaint}");
    for hidden in ["hush-hush", &secret()] {
        assert!(!complaint.contains(hidden), "{complaint}");
    }
    std::fs::write(&file, good).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_trial_says_what_came_of_it_and_no_secret_is_shown() {
    let receiver = Receiver::start().await;
    let toml = receiver.toml("").replace("/hook\"", "/hook?key=hush-hush\"");
    let worlds = World::new().account(Account::sobot_in()).config(&toml).variable("RUST_LOG", "trace");
    let mut world = worlds.start().await;
    let tried = world.api().test_event_webhook("crm").await.unwrap();
    assert_eq!((tried.delivered, tried.status, tried.error), (true, Some(204), None));
    let got = receiver.got().remove(0);
    assert_eq!((got.id.as_str(), &got.body["type"]), (tried.id.as_str(), &"ping".into()));
    receiver.answer(Answer::Status(500));
    let output = tokio::task::block_in_place(|| world.daemon().run(&["event", "test", "crm"]));
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(text.contains("did not take it: it answered 500"), "{text}");

    let audience = world.import_people(People(5)).await;
    let task = world.launch(&campaign(world.account(0), audience)).await;
    world.wait_for_completion(task, within(15)).await;
    let list = tokio::task::block_in_place(|| world.daemon().run(&["event", "list"]));
    assert!(list.status.success(), "{list:?}");
    world.audit().await;
    world.stop().await;
    let log = world.daemon().log();
    for hidden in ["hush-hush", &secret()] {
        let shown = [&log, &String::from_utf8_lossy(&list.stdout).into_owned()];
        let line = shown.iter().flat_map(|text| text.lines()).find(|line| line.contains(hidden));
        assert_eq!(line, None, "{hidden} is shown");
    }
}

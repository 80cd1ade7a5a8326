//! A campaign's message goes to a few named numbers first, with a row's values, now, and in no list; the campaign is untouched.

use api::{NewCampaign, SendingWindow, TaskState, TestRequest, client::Page};

use crate::harness::{Account, World, campaign, within};

const CSV: &str = "phone,name\n+919876500001,Asha\n+919876500002,Bala\n";

fn request(to: &[&str], row: Option<i32>) -> TestRequest {
    TestRequest { to: to.iter().map(|to| (*to).to_owned()).collect(), row }
}

#[tokio::test(flavor = "multi_thread")]
async fn to_named_numbers_only() {
    let world = World::new().account(Account::sobot_in()).start().await;
    let audience = world.import(CSV).await;
    // Closed all week but for a minute: a trial does not wait for it.
    let window = SendingWindow {
        from: "03:00".to_owned(),
        to: "03:01".to_owned(),
        days: Some(vec!["sun".to_owned()]),
        time_zone: "Pacific/Chatham".to_owned(),
    };
    let draft = NewCampaign {
        message: serde_json::json!({"type": "text", "text": {"body": "Hello {{name}}"}}),
        sending_window: Some(window),
        launch: false,
        ..campaign(world.account(0), audience.id)
    };
    let draft = world.api().create_campaign(&draft, None).await.unwrap();
    let to = ["+91 98765-11111", "+919876522222", "+919876511111"];
    let started = world.api().test_campaign(draft.id, &request(&to, Some(2)), Some("once")).await.unwrap();
    let again = world.api().test_campaign(draft.id, &request(&to, Some(2)), Some("once")).await.unwrap();
    assert_eq!(started, again);
    let done = world.wait_for_completion(started.task_id, within(10)).await;
    assert_eq!((done.state, done.counts.total, done.counts.accepted), (TaskState::Completed, 2, 2));
    let mut got: Vec<u64> = world.simulator.accepted_by_recipient().into_keys().collect();
    got.sort_unstable();
    assert_eq!(got, [919_876_511_111, 919_876_522_222]);
    let body = world.simulator.last_body(simulator::Vendor::SobotIn).unwrap();
    assert!(String::from_utf8_lossy(&body).contains("Hello Bala"), "{body:?}");

    // In no list, and the campaign is the draft that it was.
    assert_eq!(world.api().audiences(&Page::default()).await.unwrap().items.len(), 1);
    assert_eq!(world.api().tasks(&api::client::TaskFilter::default()).await.unwrap().items, []);
    let after = world.api().campaign(draft.id).await.unwrap();
    assert_eq!((after.state, after.task_id), (draft.state, None));
    let refusals = [
        (request(&["9876511111"], None), "to[0]"),
        (request(&[], None), "to"),
        (request(&["+919876511111"], Some(3)), "row"),
    ];
    for (request, field) in refusals {
        let error = world.api().test_campaign(draft.id, &request, None).await.unwrap_err().to_string();
        assert!(error.contains(field), "{error}");
    }
    assert!(world.api().delete_campaign(draft.id).await.unwrap_err().to_string().contains("trial"));
    world.audit().await;
}

//! What cannot be done is refused with a problem that names the field or the thing in the way, and changes nothing.

use api::{NewCampaign, Problem};
use bytes::Bytes;
use futures::stream;
use reqwest::{Method, Response, StatusCode, header};
use serde_json::{Value, json};
use tokio::sync::mpsc;

use crate::harness::{People, World, campaign, template, wait_until, within};

const PEOPLE: People = People(3);

/// Reads a refusal and checks its form (RFC 9457).
async fn problem(response: Response, status: StatusCode) -> Problem {
    assert_eq!(response.status(), status, "{:?}", response.text().await);
    assert_eq!(response.headers()[header::CONTENT_TYPE], "application/problem+json");
    let value: Value = response.json().await.unwrap();
    assert_eq!(value["status"], status.as_u16());
    for member in ["type", "title", "detail"] {
        assert!(value[member].as_str().is_some_and(|text| !text.is_empty()), "{member} is missing: {value}");
    }
    serde_json::from_value(value).unwrap()
}

async fn create(world: &World, campaign: &NewCampaign) -> Response {
    world.call(Method::POST, "/api/v1/campaigns").json(campaign).send().await.unwrap()
}

fn of_field<'a>(problem: &'a Problem, field: &str) -> &'a str {
    let found = problem.errors.iter().find(|error| error.field.starts_with(field));
    &found.unwrap_or_else(|| panic!("`{field}` is not named: {problem:?}")).message
}

#[tokio::test(flavor = "multi_thread")]
async fn a_caller_without_a_good_token() {
    let world = World::new().start().await;
    let page = world.url("/api/v1/tasks");
    for token in [None, Some("wrong"), Some("")] {
        let mut request = reqwest::Client::new().get(&page);
        if let Some(token) = token {
            request = request.bearer_auth(token);
        }
        problem(request.send().await.unwrap(), StatusCode::UNAUTHORIZED).await;
    }
    // The health needs none.
    for page in ["/healthz", "/readyz"] {
        assert_eq!(reqwest::get(world.url(page)).await.unwrap().status(), StatusCode::OK);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_campaign_that_cannot_be_sent() {
    let world = World::new().start().await;
    let audience = world.import_people(PEOPLE).await;
    let good = campaign(world.account(0), audience);

    let mut bad = good.clone();
    bad.message = template("order_update", "en", &["{{name}}", "{{surname}}"]);
    let refused = problem(create(&world, &bad).await, StatusCode::UNPROCESSABLE_ENTITY).await;
    assert!(of_field(&refused, "message.template").contains("surname"), "{refused:?}");

    let mut bad = good.clone();
    bad.from = "+919999000002".to_owned();
    let refused = problem(create(&world, &bad).await, StatusCode::UNPROCESSABLE_ENTITY).await;
    assert!(of_field(&refused, "from").contains("+919999000001"), "the known ones are named: {refused:?}");

    let mut bad = good.clone();
    bad.account = "nobody".to_owned();
    let refused = problem(create(&world, &bad).await, StatusCode::UNPROCESSABLE_ENTITY).await;
    assert!(of_field(&refused, "account").contains("exotel"), "the known ones are named: {refused:?}");

    let mut bad = good.clone();
    bad.audience_id = 999_999;
    let refused = problem(create(&world, &bad).await, StatusCode::UNPROCESSABLE_ENTITY).await;
    assert!(of_field(&refused, "audience_id").contains("999999"), "{refused:?}");

    // Several faults are said at once.
    let mut bad = good.clone();
    (bad.max_attempts, bad.messages_per_second) = (Some(0), Some(-1.0));
    let refused = problem(create(&world, &bad).await, StatusCode::UNPROCESSABLE_ENTITY).await;
    of_field(&refused, "max_attempts");
    of_field(&refused, "messages_per_second");

    // A vendor's own limits: sobot.in knows no contacts.
    let mut bad = campaign(world.account(2), audience);
    bad.message = json!({"type": "contacts", "contacts": [{"name": {"formatted_name": "A", "first_name": "A"}, "phones": [{"phone": "1"}]}]});
    let refused = problem(create(&world, &bad).await, StatusCode::UNPROCESSABLE_ENTITY).await;
    of_field(&refused, "message");

    let response = world
        .call(Method::POST, "/api/v1/campaigns")
        .json(&json!({"name": "x", "colour": "red"}))
        .send()
        .await
        .unwrap();
    let status = response.status();
    assert!([400, 422].contains(&status.as_u16()), "{status}");
    let refused = problem(response, status).await;
    assert!(refused.to_string().contains("colour"), "{refused:?}");

    assert_eq!(world.api().campaigns(&api::client::Page::default()).await.unwrap().items, []);
    assert_eq!(world.simulator.requests_total(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_campaign_to_an_audience_that_is_not_ready() {
    let world = World::new().start().await;
    // An upload that never ends.
    let (pieces, queue) = mpsc::channel::<Result<Bytes, std::io::Error>>(4);
    pieces.send(Ok(Bytes::from_static(b"phone,name,city\n+919876000000,a,b\n"))).await.unwrap();
    let body = reqwest::Body::wrap_stream(stream::unfold(queue, |mut queue| async move {
        queue.recv().await.map(|piece| (piece, queue))
    }));
    let upload = world.call(Method::POST, "/api/v1/audiences?name=slow").header("content-type", "text/csv");
    let upload = tokio::spawn(upload.body(body).send());
    let importing = wait_until("the import has begun", within(10), async || {
        let page = world.api().audiences(&api::client::Page::default()).await.unwrap();
        page.items.into_iter().next()
    })
    .await;
    let refused =
        problem(create(&world, &campaign(world.account(0), importing.id)).await, StatusCode::CONFLICT);
    let refused = refused.await;
    assert!(refused.detail.contains("import"), "{refused:?}");

    drop(pieces);
    assert!(upload.await.unwrap().unwrap().status().is_success());
    wait_until("the audience is ready", within(10), async || {
        let audience = world.api().audience(importing.id).await.unwrap();
        (audience.status == api::AudienceStatus::Ready).then_some(())
    })
    .await;
    let task = world.launch(&campaign(world.account(0), importing.id)).await;
    world.wait_for_completion(task, within(20)).await;

    let failed = world.import("phone,name\nnobody,x\n").await;
    let refused = create(&world, &campaign(world.account(0), failed.id)).await;
    problem(refused, StatusCode::CONFLICT).await;
    world.audit().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_campaign_for_one_idempotency_key() {
    let world = World::new().start().await;
    let audience = world.import_people(PEOPLE).await;
    let wanted = campaign(world.account(0), audience);
    let (first, second) =
        tokio::join!(async { world.api().create_campaign(&wanted, Some("key-1")).await }, async {
            world.api().create_campaign(&wanted, Some("key-1")).await
        },);
    // One may be told that the other is under way; repeated, it is the same campaign.
    let made: Vec<_> = [first, second].into_iter().filter_map(Result::ok).collect();
    assert!(!made.is_empty());
    let again = world.api().create_campaign(&wanted, Some("key-1")).await.unwrap();
    assert!(made.iter().all(|campaign| (campaign.id, campaign.task_id) == (again.id, again.task_id)));

    // A draft is launched once for one key; without it, the second launch is refused.
    let mut draft = wanted.clone();
    draft.launch = false;
    let draft = world.api().create_campaign(&draft, None).await.unwrap();
    let launched = world.api().launch_campaign(draft.id, Some("key-2")).await.unwrap();
    assert_eq!(world.api().launch_campaign(draft.id, Some("key-2")).await.unwrap(), launched);
    let refused = world.api().launch_campaign(draft.id, None).await.unwrap_err();
    assert_eq!(refused.status(), Some(409));
    world.wait_for_completion(launched.task_id, within(20)).await;

    let mut other = wanted.clone();
    other.name = "Another".to_owned();
    let request = world.call(Method::POST, "/api/v1/campaigns").header("Idempotency-Key", "key-1");
    let refused = request.json(&other).send().await.unwrap();
    problem(refused, StatusCode::UNPROCESSABLE_ENTITY).await;

    world.wait_for_completion(again.task_id.unwrap(), within(20)).await;
    assert_eq!(world.simulator.accepted_total(), 2 * 3, "one message each of two campaigns");
    assert_eq!(world.api().campaigns(&api::client::Page::default()).await.unwrap().items.len(), 2);
    world.audit().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_import_for_one_idempotency_key() {
    let world = World::new().start().await;
    let import = async |csv: String| {
        let request = world.call(Method::POST, "/api/v1/audiences?name=x&wait=true");
        let request = request.header("content-type", "text/csv").header("Idempotency-Key", "key-1");
        request.body(csv).send().await.unwrap()
    };
    let first: api::Audience = import(PEOPLE.csv()).await.json().await.unwrap();
    let again: api::Audience = import(PEOPLE.csv()).await.json().await.unwrap();
    assert_eq!(first, again);
    problem(import(People(4).csv()).await, StatusCode::UNPROCESSABLE_ENTITY).await;
    assert_eq!(world.api().audiences(&api::client::Page::default()).await.unwrap().items.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_launch_and_what_does_not_exist() {
    let world = World::new().start().await;
    let audience = world.import_people(PEOPLE).await;
    let created = world.api().create_campaign(&campaign(world.account(0), audience), None).await.unwrap();
    let page = format!("/api/v1/campaigns/{}/launch", created.id);
    let refused = world.call(Method::POST, &page).json(&json!({})).send().await.unwrap();
    let refused = problem(refused, StatusCode::CONFLICT).await;
    assert_eq!(refused.task_id, created.task_id, "the task in the way is named");

    for page in ["/api/v1/tasks/999999", "/api/v1/campaigns/999999", "/api/v1/audiences/999999"] {
        let missing = world.call(Method::GET, page).send().await.unwrap();
        assert!(problem(missing, StatusCode::NOT_FOUND).await.detail.contains("999999"));
    }
    let strange = world.call(Method::GET, "/api/v1/tasks?limit=501").send().await.unwrap();
    problem(strange, StatusCode::BAD_REQUEST).await;
    let strange = world.call(Method::GET, "/api/v1/nothing").send().await.unwrap();
    problem(strange, StatusCode::NOT_FOUND).await;

    // Callbacks have a token of their own.
    let body = json!({"whatsapp": {"messages": []}});
    let page = world.url("/webhooks/exotel/not-the-token-of-this-account");
    let refused = reqwest::Client::new().post(page).json(&body).send().await.unwrap();
    assert_eq!(refused.status(), StatusCode::NOT_FOUND);
    let page = world.url(&format!("/webhooks/exotel/{}", world.account(0).webhook_token()));
    let refused = reqwest::Client::new().post(page).body("no json").send().await.unwrap();
    assert_eq!(refused.status(), StatusCode::BAD_REQUEST);
    let page = world.url(&format!("/webhooks/exotel/{}", world.account(0).webhook_token()));
    let refused =
        reqwest::Client::new().post(page).body(vec![b' '; 3 * 1024 * 1024 + 1]).send().await.unwrap();
    assert_eq!(refused.status(), StatusCode::PAYLOAD_TOO_LARGE);
    world.wait_for_completion(created.task_id.unwrap(), within(20)).await;
    world.audit().await;
}

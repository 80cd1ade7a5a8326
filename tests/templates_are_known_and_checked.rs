//! Templates are what the vendors list, created and deleted through them, and what is known of them is held against campaigns.

use std::time::{Duration, Instant};

use api::{
    Category, NewCampaign, NewTemplate, PreviewRequest, Template, TemplateSource, TemplateStatus,
    client::{ClientError, TemplateFilter},
};
use serde_json::{Value, json};
use simulator::{Endpoint, FaultAction, FaultRule, SimulatorOptions};

use crate::harness::{Account, People, World, campaign, template, within};

async fn known(world: &World, account: &str) -> Vec<Template> {
    let filter = TemplateFilter { account: Some(account.to_owned()), ..TemplateFilter::default() };
    let mut all = Vec::new();
    let mut after = None;
    loop {
        let page = api::client::Page { limit: Some(20), after };
        let list = world.api().templates(&TemplateFilter { page, ..filter.clone() }).await.unwrap();
        all.extend(list.items);
        after = list.next;
        if after.is_none() {
            return all;
        }
    }
}

async fn one(world: &World, account: &str, name: &str) -> Template {
    known(world, account)
        .await
        .into_iter()
        .find(|one| one.name == name)
        .unwrap_or_else(|| panic!("no {name}"))
}

fn new(account: &str, name: &str, body: &Value) -> NewTemplate {
    NewTemplate {
        account: account.to_owned(),
        name: name.to_owned(),
        language: "en".to_owned(),
        category: Category::Marketing,
        components: json!([body]),
        status: None,
    }
}

fn greeting() -> Value {
    json!({"type": "BODY", "text": "Hello {{1}}", "example": {"body_text": [["Asha"]]}})
}

fn refusal<T: std::fmt::Debug>(answer: Result<T, ClientError>) -> api::Problem {
    match answer {
        Err(ClientError::Refused(problem)) => *problem,
        other => panic!("it was not refused: {other:?}"),
    }
}

/// Lists are calls as others are: the account's calls per second count them.
#[tokio::test(flavor = "multi_thread")]
async fn lists_keep_to_the_accounts_calls_per_second() {
    let account = Account::sobot_in().set("requests_per_second", 2);
    let world = World::new().account(account).start().await;
    world.api().sync_templates("sobot_in").await.unwrap();
    let began = Instant::now();
    for _ in 0..3 {
        world.api().sync_templates("sobot_in").await.unwrap();
    }
    // A call each, half a second after the one before it.
    assert!(began.elapsed() >= Duration::from_millis(1_490), "{:?}", began.elapsed());
}

/// Lists over three pages, creates, and lists again.
async fn lists_and_creates(account: &str) {
    let options = SimulatorOptions { extra_templates: 45, ..SimulatorOptions::default() };
    let world = World::new().simulator(options).start().await;
    let synced = world.api().sync_templates(account).await.unwrap();
    assert_eq!((synced.listed, synced.added, synced.changed, synced.gone), (55, 55, 0, 0));
    let again = world.api().sync_templates(account).await.unwrap();
    assert_eq!((again.listed, again.added, again.changed, again.gone), (55, 0, 0, 0));
    assert_eq!(known(&world, account).await.len(), 55);
    let invoice = one(&world, account, "invoice").await;
    assert_eq!((invoice.status, invoice.category), (TemplateStatus::Approved, Some(Category::Utility)));
    assert_eq!((invoice.body_parameters, invoice.source), (Some(2), TemplateSource::Vendor));
    assert_eq!(one(&world, account, "free_money").await.status, TemplateStatus::Rejected);

    let created = world.api().create_template(&new(account, "greeting", &greeting()), None).await.unwrap();
    assert_eq!(created.status, TemplateStatus::Pending);
    let twice = world.api().create_template(&new(account, "greeting", &greeting()), None).await;
    assert_eq!(refusal(twice).status, 409);
    let wrong = refusal(world.api().create_template(&new(account, "Greeting", &json!({})), None).await);
    let fields: Vec<&str> = wrong.errors.iter().map(|error| error.field.as_str()).collect();
    assert_eq!((wrong.status, fields), (422, vec!["name", "components[0].type", "components"]));
    let synced = world.api().sync_templates(account).await.unwrap();
    assert_eq!((synced.listed, synced.added, synced.gone), (56, 0, 0), "the vendor has it");
}

#[tokio::test(flavor = "multi_thread")]
async fn sobot_io_lists_and_creates_templates() {
    lists_and_creates("sobot_io").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn sobot_in_lists_and_creates_templates() {
    lists_and_creates("sobot_in").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_deleted_is_gone() {
    let world = World::new().start().await;
    for account in ["sobot_io", "sobot_in"] {
        world.api().sync_templates(account).await.unwrap();
    }
    // The stand-ins share their templates: what one vendor deletes the other does not list any more.
    let mut deleted = world.api().delete_template("sobot_io", "hello_world").await.unwrap();
    deleted.languages.sort();
    assert_eq!(deleted.languages, ["en", "en_US"]);
    assert!(deleted.warnings[0].contains("all languages"), "{deleted:?}");
    assert_eq!(world.api().sync_templates("sobot_io").await.unwrap().gone, 0);
    assert_eq!(refusal(world.api().delete_template("sobot_io", "hello_world").await).status, 404);
    assert_eq!(world.api().sync_templates("sobot_in").await.unwrap().gone, 2);
    assert!(one(&world, "sobot_in", "hello_world").await.gone_at.is_some());
    // This vendor has no call that deletes.
    let forgotten = world.api().delete_template("sobot_in", "otp").await.unwrap();
    assert!(forgotten.warnings[0].contains("next sync"), "{forgotten:?}");
    assert_eq!(world.api().sync_templates("sobot_in").await.unwrap().added, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn definitions_are_entered_by_hand_where_the_vendor_has_no_call() {
    let world = World::new().start().await;
    assert_eq!(refusal(world.api().sync_templates("exotel").await).status, 409);
    let key = Some("the same request");
    let entered = world.api().create_template(&new("exotel", "sale", &greeting()), key).await.unwrap();
    assert_eq!((entered.status, entered.source), (TemplateStatus::Approved, TemplateSource::Hand));
    let repeated = world.api().create_template(&new("exotel", "sale", &greeting()), key).await.unwrap();
    assert_eq!(repeated.id, entered.id);
    let deleted = world.api().delete_template("exotel", "sale").await.unwrap();
    assert_eq!((deleted.languages, deleted.warnings), (vec!["en".to_owned()], vec![]));
    assert!(known(&world, "exotel").await.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_vendor_that_fails_is_named_with_its_code_and_nothing_changes() {
    let world = World::new().start().await;
    for account in ["sobot_io", "sobot_in"] {
        world.api().sync_templates(account).await.unwrap();
        let before = known(&world, account).await;
        let fault = FaultAction::HttpStatus { status: 500, retry_after_seconds: None, body: None };
        let fault = FaultRule { endpoint: Endpoint::Templates, ..FaultRule::new(fault) };
        world.simulator.set_faults(vec![fault]);
        let problem = refusal(world.api().sync_templates(account).await);
        assert_eq!(problem.status, 502, "{problem:?}");
        assert!(problem.detail.contains("http_500"), "{problem:?}");
        for secret in ["sobot-app-key", "inbox-access-key", "inbox-secret-key"] {
            assert!(!problem.detail.contains(secret), "{problem:?}");
        }
        world.simulator.set_faults(Vec::new());
        assert_eq!(known(&world, account).await, before);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_known_of_a_template_is_held_against_campaigns() {
    let world = World::new().start().await;
    let audience = world.import_people(People(3)).await;
    let with = |name: &str, language: &str, values: &[&str]| {
        let mut campaign = campaign(world.account(1), audience);
        campaign.message = template(name, language, values);
        campaign
    };
    // Not known: not judged.
    let task = world.launch(&with("free_money", "en", &["{{name}}"])).await;
    world.wait_for_completion(task, within(20)).await;
    let draft = NewCampaign { launch: false, ..with("free_money", "en", &["{{name}}"]) };
    let draft = world.api().create_campaign(&draft, None).await.unwrap();

    world.api().sync_templates("sobot_io").await.unwrap();
    // The draft was made before that was known, and is compared with it when it is to be sent.
    let refused = refusal(world.api().launch_campaign(draft.id, None).await);
    assert_eq!(
        (refused.status, refused.errors[0].field.as_str()),
        (422, "message.template.name"),
        "{refused:?}"
    );
    let refused = refusal(world.api().create_campaign(&with("free_money", "en", &[]), None).await);
    assert_eq!(
        (refused.status, refused.errors[0].field.as_str()),
        (422, "message.template.name"),
        "{refused:?}"
    );
    let refused = refusal(world.api().create_campaign(&with("order_update", "en", &["x"]), None).await);
    let field = "message.template.components[0].parameters";
    assert_eq!((refused.status, refused.errors[0].field.as_str()), (422, field), "{refused:?}");

    for (name, language, values, warning) in
        [("order_update", "fr", &["a", "b"][..], "language fr"), ("spring_sale", "en", &["a"][..], "pending")]
    {
        let mut draft = with(name, language, values);
        draft.launch = false;
        let draft = world.api().create_campaign(&draft, None).await.unwrap();
        let shown = world
            .api()
            .preview_campaign(draft.id, &PreviewRequest { rows: 1, ..PreviewRequest::default() })
            .await
            .unwrap();
        assert!(shown.warnings.iter().any(|one| one.contains(warning)), "{warning}: {:?}", shown.warnings);
    }
    let right =
        world.api().create_campaign(&with("order_update", "en", &["{{name}}", "7"]), None).await.unwrap();
    assert_eq!(right.category, Category::Utility, "the template's category counts");
    let task = right.task_id.unwrap();
    world.wait_for_completion(task, within(20)).await;
    world.audit().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_template_in_use_is_not_deleted() {
    let world = World::new().start().await;
    world.api().sync_templates("sobot_io").await.unwrap();
    let audience = world.import_people(People(2)).await;
    let mut later = campaign(world.account(1), audience);
    later.message = template("order_update", "en", &["{{name}}", "7"]);
    later.schedule =
        serde_json::from_value(json!({"at": "2099-12-01T09:00:00", "time_zone": "Asia/Kolkata"})).unwrap();
    let task = world.launch(&later).await;
    let refused = refusal(world.api().delete_template("sobot_io", "order_update").await);
    assert_eq!((refused.status, refused.task_id), (409, Some(task)), "{refused:?}");
    world.api().cancel_task(task).await.unwrap();
    world.api().delete_template("sobot_io", "order_update").await.unwrap();
    world.audit().await;
}

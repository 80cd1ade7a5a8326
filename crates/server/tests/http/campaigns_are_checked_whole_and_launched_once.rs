use reqwest::{Method, StatusCode};
use serde_json::json;

use crate::common::{THREE, answer, campaign, fields, start};

#[tokio::test]
async fn every_wrong_field_is_named() {
    let server = start().await;
    let id = server.audience(THREE).await;
    let mut wrong = campaign(id);
    wrong["name"] = json!("");
    wrong["from"] = json!("+910");
    wrong["max_attempts"] = json!(0);
    wrong["schedule"] = json!({"at": "2026-12-01T09:00:00"});
    wrong["sending_window"] = json!({"from": "9", "to": "21:00", "time_zone": "Mars/Base"});
    wrong["canary"] = json!({"recipients": 10, "wait_seconds": 10, "max_failure_rate": 2});
    wrong["message"]["template"]["components"][0]["parameters"][0]["text"] = json!("{{nmae}}");
    let (status, problem) = server.post("/campaigns", &wrong).await;
    assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY);
    let named = fields(&problem);
    for field in [
        "name",
        "from",
        "max_attempts",
        "schedule.time_zone",
        "sending_window.from",
        "sending_window.time_zone",
        "canary.max_failure_rate",
        "message.template.components[0].parameters[0].text",
    ] {
        assert!(named.contains(&field), "{field} in {problem:#}");
    }
    for (field, value) in [("account", json!("none")), ("audience_id", json!(99)), ("colour", json!(1))] {
        let mut wrong = campaign(id);
        wrong[field] = value;
        let (status, problem) = server.post("/campaigns", &wrong).await;
        assert_eq!((status, fields(&problem)), (StatusCode::UNPROCESSABLE_ENTITY, vec![field]));
    }
    let mut wrong = campaign(id);
    wrong["message"]["template"]["components"][0]["parameters"][0]["text"] = json!("a\u{0}b");
    let (status, problem) = server.post("/campaigns", &wrong).await;
    assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY);
    assert_eq!(fields(&problem), ["message.template.components[0].parameters[0].text"]);
    let mut without = campaign(id);
    without.as_object_mut().unwrap().remove("message");
    assert_eq!(fields(&server.post("/campaigns", &without).await.1), ["message"]);
    let (_, list) = server.get("/campaigns").await;
    assert_eq!(list["items"], json!([]));
}

#[tokio::test]
async fn an_audience_that_is_not_ready_is_a_conflict() {
    let server = start().await;
    let request =
        server.request(Method::POST, "/audiences?name=x&wait=true").header("content-type", "text/csv");
    let (_, failed) = answer(request.body("a\n1\n")).await;
    let (status, problem) = server.post("/campaigns", &campaign(failed["id"].as_i64().unwrap())).await;
    assert_eq!(status, StatusCode::CONFLICT, "{problem}");
    assert!(problem["detail"].as_str().unwrap().contains("could not be imported"));
}

#[tokio::test]
async fn a_campaign_is_launched_once_and_then_stays_as_it_is() {
    let server = start().await;
    let (status, draft) = server.post("/campaigns", &campaign(server.audience(THREE).await)).await;
    assert_eq!((status, &draft["state"]), (StatusCode::CREATED, &json!("draft")), "{draft}");
    assert_eq!(draft["template"], "offer/en");
    let path = format!("/campaigns/{}", draft["id"]);
    let change = json!({"name": "Holi", "expires_at": "2026-12-24T00:00:00Z"});
    let (status, changed) = answer(server.request(Method::PATCH, &path).json(&change)).await;
    assert_eq!((status, &changed["name"]), (StatusCode::OK, &json!("Holi")));
    let (_, changed) = answer(server.request(Method::PATCH, &path).json(&json!({"expires_at": null}))).await;
    assert_eq!((&changed["expires_at"], &changed["name"]), (&json!(null), &json!("Holi")));

    let (status, started) = server.post(&format!("{path}/launch"), &json!({})).await;
    assert_eq!(status, StatusCode::ACCEPTED);
    assert_eq!(*server.woken.lock().unwrap(), ["main"]);
    let (status, problem) = server.post(&format!("{path}/launch"), &json!({})).await;
    assert_eq!((status, &problem["task_id"]), (StatusCode::CONFLICT, &started["task_id"]));
    let (status, _) = answer(server.request(Method::PATCH, &path).json(&change)).await;
    assert_eq!(status, StatusCode::CONFLICT);
    assert_eq!(server.delete(&path).await.0, StatusCode::CONFLICT);
    let (_, campaign) = server.get(&path).await;
    assert_eq!((&campaign["state"], &campaign["task_id"]), (&json!("launched"), &started["task_id"]));
}

#[tokio::test]
async fn a_repeated_post_answers_with_the_same_campaign() {
    let server = start().await;
    let mut wanted = campaign(server.audience(THREE).await);
    wanted["launch"] = json!(true);
    let post = async |wanted: &serde_json::Value| {
        let request = server.request(Method::POST, "/campaigns").header("idempotency-key", "k1");
        answer(request.json(wanted)).await
    };
    let (status, first) = post(&wanted).await;
    assert_eq!(status, StatusCode::CREATED, "{first}");
    assert!(first["task_id"].is_i64());
    assert_eq!(post(&wanted).await, (StatusCode::CREATED, first));
    wanted["name"] = json!("Other");
    assert_eq!(post(&wanted).await.0, StatusCode::UNPROCESSABLE_ENTITY);
    let (_, tasks) = server.get("/tasks").await;
    assert_eq!(tasks["items"].as_array().map(Vec::len), Some(1));
}

#[tokio::test]
async fn a_timed_campaign_waits_for_its_local_time() {
    let server = start().await;
    let mut wanted = campaign(server.audience(THREE).await);
    wanted["schedule"] = json!({"at": "2026-12-01T09:00:00", "time_zone": "Asia/Kolkata"});
    wanted["launch"] = json!(true);
    let (_, campaign) = server.post("/campaigns", &wanted).await;
    let task = server.task(campaign["task_id"].as_i64().unwrap()).await;
    assert_eq!(task.state, api::TaskState::Scheduled);
    assert_eq!(task.starts_at, Some("2026-12-01T03:30:00Z".parse().unwrap()));
    wanted["schedule"] = json!({"cron": "0 9 * * MON", "time_zone": "Asia/Kolkata"});
    let (_, campaign) = server.post("/campaigns", &wanted).await;
    assert_eq!(campaign["next_run_at"], "2026-11-23T03:30:00Z");
    assert_eq!(campaign["upcoming"][4], "2026-12-21T03:30:00Z");
    let task = server.task(campaign["task_id"].as_i64().unwrap()).await;
    assert_eq!(
        (task.state, task.starts_at),
        (api::TaskState::Scheduled, Some("2026-11-23T03:30:00Z".parse().unwrap()))
    );
    for (field, value) in [("cron", "0 9 * *"), ("cron", "0 9 31 2 *"), ("until", "2026-11-20")] {
        let mut wrong = wanted.clone();
        wrong["schedule"][field] = json!(value);
        let (status, problem) = server.post("/campaigns", &wrong).await;
        let named = [format!("schedule.{field}")];
        assert_eq!(
            (status, fields(&problem)),
            (StatusCode::UNPROCESSABLE_ENTITY, named.iter().map(String::as_str).collect())
        );
    }
}

#[tokio::test]
async fn a_preview_shows_the_first_rows_and_the_time_it_takes() {
    let server = start().await;
    let (_, draft) = server.post("/campaigns", &campaign(server.audience(THREE).await)).await;
    let (status, preview) =
        server.post(&format!("/campaigns/{}/preview", draft["id"]), &json!({"rows": 2})).await;
    assert_eq!(status, StatusCode::OK, "{preview}");
    let items = preview["items"].as_array().unwrap();
    let text = "/message/template/components/0/parameters/0/text";
    assert_eq!(
        items.iter().map(|item| item.pointer(text).unwrap()).collect::<Vec<_>>(),
        ["Hello Asha", "Hello Ravi"]
    );
    assert_eq!(items[1]["to"], "+919876543211");
    let expected = json!({
        "recipients": 3,
        "messages_per_second": 80.0,
        "seconds": 1,
        "starts_at": "2026-11-21T12:00:00Z",
        "ends_at": "2026-11-21T12:00:01Z",
        "cost": null,
    });
    assert_eq!(preview["estimate"], expected);
    let (status, _) = server.post(&format!("/campaigns/{}/preview", draft["id"]), &json!({"rows": 51})).await;
    assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY);
}

#[tokio::test]
async fn a_draft_that_expired_meanwhile_is_not_launched() {
    let server = start().await;
    let mut wanted = campaign(server.audience(THREE).await);
    wanted["expires_at"] = json!("2026-11-21T13:00:00Z");
    let (_, draft) = server.post("/campaigns", &wanted).await;
    *server.elapsed.lock().unwrap() = chrono::TimeDelta::hours(1);
    let (status, problem) = server.post(&format!("/campaigns/{}/launch", draft["id"]), &json!({})).await;
    assert_eq!(status, StatusCode::CONFLICT);
    assert!(problem["detail"].as_str().unwrap().contains("expired"));
    assert!(server.woken.lock().unwrap().is_empty());
}

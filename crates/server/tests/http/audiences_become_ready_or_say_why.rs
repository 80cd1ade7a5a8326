use reqwest::{Method, StatusCode};
use scheduler::import::Limits;
use serde_json::{Value, json};
use server::AdminToken;

use crate::common::{THREE, TOKEN, answer, campaign, start, start_with};

#[tokio::test]
async fn a_file_becomes_recipients_and_rejects() {
    let server = start().await;
    let id = server.audience(THREE).await;
    let (_, audience) = server.get(&format!("/audiences/{id}")).await;
    assert_eq!(audience["columns"], json!(["name", "city"]));
    assert_eq!(audience["rows"], json!({"read": 4, "accepted": 3, "rejected": 1, "duplicate": 0}));
    let rejects = server.request(Method::GET, &format!("/audiences/{id}/rejects.csv")).send().await.unwrap();
    assert_eq!(rejects.headers()["content-type"], "text/csv; charset=utf-8");
    let text = rejects.text().await.unwrap();
    assert!(text.starts_with("line,reason,phone,raw\n5,"), "{text}");
    let (_, list) = server.get("/audiences").await;
    assert_eq!(list["items"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn a_form_is_taken_as_well_and_named_by_its_file() {
    let server = start().await;
    let body = "--xx\r\nContent-Disposition: form-data; name=\"file\"; filename=\"people.csv\"\r\n\
                Content-Type: text/csv\r\n\r\nphone\n+919876543210\n\r\n--xx--\r\n";
    let request = server.request(Method::POST, "/audiences?wait=true");
    let (status, audience) =
        answer(request.header("content-type", "multipart/form-data; boundary=xx").body(body)).await;
    assert_eq!(status, StatusCode::CREATED, "{audience}");
    assert_eq!((&audience["name"], &audience["rows"]["accepted"]), (&json!("people.csv"), &json!(1)));
}

#[tokio::test]
async fn what_cannot_be_imported_says_why() {
    let server =
        start_with(AdminToken::new(TOKEN), Limits { max_upload_bytes: 50, ..Limits::default() }).await;
    let post = async |path: &str, kind: &str, body: &str| {
        let request = server.request(Method::POST, path).header("content-type", kind.to_owned());
        answer(request.body(body.to_owned())).await
    };
    let (status, problem) = post("/audiences?wait=true", "text/csv", "phone\n").await;
    assert_eq!((status, &problem["errors"][0]["field"]), (StatusCode::UNPROCESSABLE_ENTITY, &json!("name")));
    let (status, _) = post("/audiences?name=x", "application/json", "{}").await;
    assert_eq!(status, StatusCode::UNSUPPORTED_MEDIA_TYPE);
    let (status, _) = post("/audiences?name=x", "text/csv", &"9".repeat(51)).await;
    assert_eq!(status, StatusCode::PAYLOAD_TOO_LARGE);
    let (status, audience) = post("/audiences?name=x&wait=true", "text/csv", "a,b\n1,2\n").await;
    assert_eq!((status, &audience["status"]), (StatusCode::CREATED, &json!("failed")));
    assert!(audience["error"].as_str().unwrap().contains("phone"));
}

#[tokio::test]
async fn a_repeated_upload_makes_nothing_twice() {
    let server = start().await;
    let upload = async |body: &str| {
        let request = server.request(Method::POST, "/audiences?name=people&wait=true");
        let request = request.header("idempotency-key", "k1").header("content-type", "text/csv");
        answer(request.body(body.to_owned())).await
    };
    let (status, first) = upload("phone\n+919876543210\n").await;
    assert_eq!(status, StatusCode::CREATED);
    let (status, again) = upload("phone\n+919876543210\n").await;
    assert_eq!((status, &again), (StatusCode::CREATED, &first));
    let (status, _) = upload("phone\n+919876543210\n+919876543211\n").await;
    assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY);
    let (_, list) = server.get("/audiences").await;
    assert_eq!(list["items"].as_array().map(Vec::len), Some(1));
}

#[tokio::test]
async fn an_audience_goes_only_when_no_campaign_needs_it() {
    let server = start().await;
    let id = server.audience(THREE).await;
    let (_, draft) = server.post("/campaigns", &campaign(id)).await;
    let (status, _) = server.delete(&format!("/audiences/{id}")).await;
    assert_eq!(status, StatusCode::CONFLICT);
    let (status, _) = server.delete(&format!("/campaigns/{}", draft["id"])).await;
    assert_eq!(status, StatusCode::NO_CONTENT);
    let (status, body) = server.delete(&format!("/audiences/{id}")).await;
    assert_eq!((status, body), (StatusCode::NO_CONTENT, Value::Null));
    assert_eq!(server.get(&format!("/audiences/{id}")).await.0, StatusCode::NOT_FOUND);
}

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::common::{answer, fields, start};

#[tokio::test]
async fn numbers_are_listed_removed_and_imported() {
    let server = start().await;
    let (status, one) = server.post("/suppressions", &json!({"phone": "+91 98765 43210"})).await;
    assert_eq!((status, &one["reason"]), (StatusCode::CREATED, &json!("manual")), "{one}");
    assert_eq!(one["phone"], "+919876543210");
    let (_, again) =
        server.post("/suppressions", &json!({"phone": "+919876543210", "reason": "complaint"})).await;
    assert_eq!(again, one);
    let (status, problem) = server.post("/suppressions", &json!({"phone": "12"})).await;
    assert_eq!((status, fields(&problem)), (StatusCode::UNPROCESSABLE_ENTITY, vec!["phone"]));

    let request = server.request(Method::POST, "/suppressions/import?default_region=IN&reason=opt_out");
    let file = "Mobile,why\n9876543211,x\n+919876543210,y\n98765 43211,z\nnobody,\n";
    let (status, imported) = answer(request.header("content-type", "text/csv").body(file)).await;
    assert_eq!(status, StatusCode::OK, "{imported}");
    let counts = ["read", "added", "known", "rejected"].map(|field| imported[field].as_i64().unwrap());
    assert_eq!((counts, &imported["rejects"][0]["line"]), ([4, 1, 2, 1], &json!(5)));

    let (_, page) = server.get("/suppressions?limit=1").await;
    assert_eq!(page["items"][0]["phone"], "+919876543210");
    let (_, page) =
        server.get(&format!("/suppressions?limit=1&after={}", page["next"].as_str().unwrap())).await;
    assert_eq!((&page["items"][0]["reason"], &page["next"]), (&json!("opt_out"), &Value::Null));
    assert_eq!(server.delete("/suppressions/+919876543211").await.0, StatusCode::NO_CONTENT);
    assert_eq!(server.delete("/suppressions/+919876543211").await.0, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn codes_accounts_and_inbound_can_be_looked_at_without_secrets() {
    let server = start().await;
    let (_, codes) = server.get("/codes?code=30012").await;
    assert_eq!(codes["items"][0]["name"], "EX_INVALID_RECIPIENT");
    let (_, all) = server.get("/codes?limit=500").await;
    assert!(all["items"].as_array().unwrap().len() > 100);
    assert_eq!(server.get("/codes?vendor=acme").await.0, StatusCode::BAD_REQUEST);
    assert_eq!(server.get("/inbound").await.1, json!({"items": [], "next": null}));

    let (_, account) = server.get("/accounts/main").await;
    assert_eq!(account["webhook_url"], "https://campaigns.example.com/webhooks/main/****");
    assert_eq!((&account["owned"], &account["health"]), (&json!(false), &json!("ok")));
    let (_, accounts) = server.get("/accounts").await;
    assert!(!accounts.to_string().contains("hunter2"));
    assert_eq!(server.get("/accounts/none").await.0, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn health_metrics_and_the_description_need_no_token() {
    let server = start().await;
    server.launched().await;
    let get = async |path: &str| {
        let response = server.http.get(format!("{}{path}", server.url)).send().await.unwrap();
        (response.status(), response.text().await.unwrap())
    };
    assert_eq!(get("/healthz").await.0, StatusCode::OK);
    assert_eq!(get("/readyz").await.0, StatusCode::OK);
    let (_, metrics) = get("/metrics").await;
    for line in [
        "campaignd_tasks{state=\"running\"} 1",
        "campaignd_database_up 1",
        "campaignd_webhooks_total{account=\"main\",result=\"stored\"} 0",
    ] {
        assert!(metrics.lines().any(|shown| shown == line), "{line} in {metrics}");
    }
    let (_, docs) = get("/api/docs/").await;
    assert!(docs.contains("swagger-ui"), "{docs}");
    let (_, text) = get("/api/openapi.json").await;
    let described: Value = serde_json::from_str(&text).unwrap();
    assert!(described["openapi"].as_str().unwrap().starts_with("3.1"));
    for path in ["/campaigns/{id}/launch", "/tasks/{id}/messages.csv", "/audiences/{id}/rejects.csv"] {
        assert!(described["paths"].get(format!("/api/v1{path}")).is_some(), "{path}");
    }
    let operation = &described["paths"]["/api/v1/campaigns"]["post"];
    assert!(operation["responses"]["default"]["content"].get("application/problem+json").is_some());
    let schemas = described["components"]["schemas"].as_object().unwrap();
    for name in ["Problem", "Campaign", "NewCampaign", "Task", "Message"] {
        assert!(schemas.contains_key(name), "{name}");
    }
    let mut named = Vec::new();
    references(&described, &mut named);
    for name in named {
        assert!(schemas.contains_key(name), "`{name}` is named and not described");
    }
}

/// The schemas that a description names.
fn references<'a>(value: &'a Value, named: &mut Vec<&'a str>) {
    match value {
        Value::Object(members) => members.iter().for_each(|(key, member)| match member.as_str() {
            Some(text) if key == "$ref" => named.extend(text.strip_prefix("#/components/schemas/")),
            _ => references(member, named),
        }),
        Value::Array(items) => items.iter().for_each(|item| references(item, named)),
        _ => {}
    }
}

#[tokio::test]
async fn without_its_schema_it_is_not_ready() {
    let server = start().await;
    let mut conn = server.database.connect().await;
    sqlx::raw_sql("UPDATE _sqlx_migrations SET success = false").execute(&mut conn).await.unwrap();
    let (status, problem) = answer(server.http.get(format!("{}/readyz", server.url))).await;
    assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
    assert!(problem["detail"].as_str().unwrap().contains("migrate"));
}

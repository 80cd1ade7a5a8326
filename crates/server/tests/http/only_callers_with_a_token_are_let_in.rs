use reqwest::{Method, StatusCode};
use scheduler::import::Limits;

use crate::common::{answer, fields, start, start_with};

#[tokio::test]
async fn without_a_token_or_with_a_wrong_one_nothing_is_shown() {
    let server = start().await;
    let call = |token: Option<&str>| {
        let request = server.http.get(format!("{}/api/v1/campaigns", server.url));
        if let Some(token) = token { request.header("authorization", token) } else { request }
    };
    for token in [None, Some("Bearer letmeout"), Some("Basic letmein"), Some("letmein"), Some("Bearer ")] {
        let response = call(token).send().await.unwrap();
        assert_eq!(response.status(), StatusCode::UNAUTHORIZED, "{token:?}");
        assert_eq!(response.headers()["www-authenticate"], "Bearer");
        assert_eq!(response.headers()["content-type"], "application/problem+json");
    }
    assert_eq!(call(Some("bearer letmein")).send().await.unwrap().status(), StatusCode::OK);
}

#[tokio::test]
async fn a_daemon_without_an_administrators_token_says_how_to_set_one() {
    let server = start_with(None, Limits::default()).await;
    let (status, problem) = server.get("/tasks").await;
    assert_eq!(status, StatusCode::UNAUTHORIZED);
    assert!(problem["detail"].as_str().unwrap().contains("CAMPAIGND_ADMIN_TOKEN"));
    assert!(server::AdminToken::new("  ").is_none());
}

#[tokio::test]
async fn what_is_not_there_is_a_problem_too() {
    let server = start().await;
    for (method, path, expected) in [
        (Method::GET, "/nothing", StatusCode::NOT_FOUND),
        (Method::GET, "/campaigns/1", StatusCode::NOT_FOUND),
        (Method::GET, "/campaigns/one", StatusCode::NOT_FOUND),
        (Method::PUT, "/campaigns", StatusCode::METHOD_NOT_ALLOWED),
        (Method::GET, "/tasks?state=walking", StatusCode::BAD_REQUEST),
        (Method::GET, "/tasks?limit=501", StatusCode::BAD_REQUEST),
        (Method::GET, "/tasks?limit=many", StatusCode::BAD_REQUEST),
        (Method::GET, "/tasks?stat=running", StatusCode::BAD_REQUEST),
        (Method::GET, "/tasks?after=x", StatusCode::BAD_REQUEST),
        (Method::GET, "/tasks?q=%00", StatusCode::BAD_REQUEST),
        (Method::GET, "/accounts/%ff", StatusCode::NOT_FOUND),
        (Method::GET, "/campaigns/%ff", StatusCode::NOT_FOUND),
        (Method::DELETE, "/suppressions/%ff", StatusCode::NOT_FOUND),
    ] {
        let (status, problem) = answer(server.request(method, path)).await;
        assert_eq!(
            (status, problem["status"].as_u64()),
            (expected, Some(u64::from(expected.as_u16()))),
            "{path}"
        );
    }
    for (query, field) in
        [("limit=many", "limit"), ("stat=running", "stat"), ("campaign_id=x", "campaign_id")]
    {
        let (_, problem) = server.get(&format!("/tasks?{query}")).await;
        assert_eq!(fields(&problem), [field], "{problem}");
    }
    let (status, problem) = answer(server.request(Method::POST, "/campaigns").body("{\"name\":")).await;
    assert_eq!(status, StatusCode::BAD_REQUEST);
    assert!(problem["detail"].as_str().unwrap().contains("line 1"));
    let huge = "x".repeat(3 * 1024 * 1024);
    let (status, _) = answer(server.request(Method::POST, "/campaigns").body(huge)).await;
    assert_eq!(status, StatusCode::PAYLOAD_TOO_LARGE);
}

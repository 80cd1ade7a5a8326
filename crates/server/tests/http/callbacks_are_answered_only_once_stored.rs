use reqwest::StatusCode;

use crate::common::{TestServer, answer, start};

async fn callback(server: &TestServer, path: &str, body: impl Into<reqwest::Body>) -> StatusCode {
    answer(server.http.post(format!("{}/webhooks/{path}", server.url)).body(body)).await.0
}

#[tokio::test]
async fn only_readable_callbacks_with_the_right_token_are_stored() {
    let server = start().await;
    let body = r#"{"whatsapp":{"messages":[{"callback_type":"dlr","sid":"s1","to":"+919876543210",
        "exo_status_code":30002,"exo_detailed_status":"EX_MESSAGE_DELIVERED","timestamp":"2026-11-21T12:00:00Z"}]}}"#;
    assert_eq!(callback(&server, "main/hook", body).await, StatusCode::OK);
    assert_eq!(*server.stored.lock().unwrap(), [("main".to_owned(), body.to_owned())]);
    for (path, body, expected) in [
        ("main/hooks", body, StatusCode::NOT_FOUND),
        ("nobody/hook", body, StatusCode::NOT_FOUND),
        ("main/%ff", body, StatusCode::NOT_FOUND),
        ("sobot/", body, StatusCode::NOT_FOUND),
        ("sobot/hook", body, StatusCode::NOT_FOUND),
        ("main/hook", "", StatusCode::BAD_REQUEST),
        ("main/hook", "not json", StatusCode::BAD_REQUEST),
        ("main/hook", "7", StatusCode::BAD_REQUEST),
    ] {
        assert_eq!(callback(&server, path, body).await, expected, "{path} {body}");
    }
    let invalid = vec![b'"', 0xFF, b'"'];
    assert_eq!(callback(&server, "main/hook", invalid).await, StatusCode::BAD_REQUEST);
    assert_eq!(server.stored.lock().unwrap().len(), 1);
}

#[tokio::test]
async fn a_body_over_the_limit_is_refused_with_and_without_a_length() {
    let server = start().await;
    let large = vec![b' '; 3 * 1024 * 1024 + 1];
    assert_eq!(callback(&server, "main/hook", large.clone()).await, StatusCode::PAYLOAD_TOO_LARGE);
    let pieces = futures::stream::iter(
        large.chunks(65_536).map(|c| Ok::<_, std::io::Error>(c.to_vec())).collect::<Vec<_>>(),
    );
    let chunked = reqwest::Body::wrap_stream(pieces);
    assert_eq!(callback(&server, "main/hook", chunked).await, StatusCode::PAYLOAD_TOO_LARGE);
}

#[tokio::test]
async fn a_callback_that_is_not_stored_is_asked_for_again() {
    let server = start().await;
    *server.inbox_fails.lock().unwrap() = Some("the disk is full".to_owned());
    let request = server
        .http
        .post(format!("{}/webhooks/main/hook", server.url))
        .body("{\"whatsapp\":{\"messages\":[]}}");
    let response = request.send().await.unwrap();
    assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert!(response.headers().contains_key("retry-after"));
    assert!(!response.text().await.unwrap().contains("disk"));
}

use std::time::Duration;

use api::{MessageState, TaskState};
use futures::StreamExt as _;
use model::disposition::Scope;
use reqwest::{Method, StatusCode};
use serde_json::json;

use crate::common::{answer, start};

#[tokio::test]
async fn pausing_resuming_and_cancelling_answer_with_the_task() {
    let server = start().await;
    let id = server.launched().await;
    for (command, expected, shown) in [
        ("pause", StatusCode::ACCEPTED, "paused"),
        ("pause", StatusCode::ACCEPTED, "paused"),
        ("resume", StatusCode::ACCEPTED, "running"),
        ("cancel", StatusCode::ACCEPTED, "cancelled"),
        ("cancel", StatusCode::ACCEPTED, "cancelled"),
    ] {
        let (status, task) = server.post(&format!("/tasks/{id}/{command}"), &json!({})).await;
        assert_eq!((status, &task["state"]), (expected, &json!(shown)), "{command}");
    }
    let (status, problem) = server.post(&format!("/tasks/{id}/resume"), &json!({})).await;
    assert_eq!((status, &problem["task_id"]), (StatusCode::CONFLICT, &json!(id)));
    let task = server.task(id).await;
    assert_eq!((task.counts.total, task.counts.cancelled, task.counts.queued), (3, 3, 0));
    assert!(task.ended_at.is_some());
    assert_eq!(server.post("/tasks/99/pause", &json!({})).await.0, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn a_halt_holds_a_task_until_it_is_lifted() {
    let server = start().await;
    let id = server.launched().await;
    server.halt(Scope::Account, "main").await;
    server.halt(Scope::Template, "offer/en").await;
    let task = server.task(id).await;
    assert_eq!((task.state, task.waiting_for), (TaskState::Halted, Some(api::WaitingFor::Halt)));
    assert!(task.halt_reason.unwrap().contains("mend the callback URL"));
    let (_, list) = server.get("/tasks?state=halted,paused").await;
    assert!(list["items"][0]["halt_reason"].as_str().unwrap().contains("template offer/en"));
    let (_, accounts) = server.get("/accounts").await;
    assert_eq!(
        (&accounts["items"][0]["health"], &accounts["items"][1]["health"]),
        (&json!("halted"), &json!("ok"))
    );

    let (status, problem) = server.post(&format!("/tasks/{id}/resume"), &json!({})).await;
    assert_eq!((status, problem["errors"].as_array().map(Vec::len)), (StatusCode::CONFLICT, Some(2)));
    let (_, halts) = server.get("/halts").await;
    let first = &halts["items"][0];
    assert_eq!((&first["scope"], &first["value"]), (&json!("template"), &json!("offer/en")));
    assert_eq!(server.delete(&format!("/halts/{}", first["id"])).await.0, StatusCode::NO_CONTENT);
    assert_eq!(server.delete(&format!("/halts/{}", first["id"])).await.0, StatusCode::NOT_FOUND);
    let (status, task) = server.post(&format!("/tasks/{id}/resume?lift=true"), &json!({})).await;
    assert_eq!((status, &task["state"]), (StatusCode::ACCEPTED, &json!("running")));
    assert_eq!(server.get("/halts").await.1["items"], json!([]));
}

#[tokio::test]
async fn everybody_is_listed_page_by_page_and_in_the_file() {
    let server = start().await;
    let id = server.launched().await;
    let mut conn = server.database.connect().await;
    sqlx::raw_sql(
        "UPDATE tasks SET cursor = 1;
         INSERT INTO messages (task_id, no, state, attempt, request_id, vendor_id, code, reason, failed_at)
         SELECT id, 1, 5, 1, 7, 'v-1', '30012', 'no, \"such\" number', '2026-11-21T12:00:01Z' FROM tasks;
         INSERT INTO troubles SELECT id, 5, '30012', 1 FROM tasks;
         INSERT INTO progress SELECT id, 9, '', 1 FROM tasks;
         INSERT INTO progress SELECT id, 15, '30012', 1 FROM tasks;",
    )
    .execute(&mut conn)
    .await
    .unwrap();
    let task = server.task(id).await;
    assert_eq!((task.counts.failed, task.counts.queued), (1, 2));
    assert_eq!((task.errors[0].name.as_str(), task.errors[0].count), ("EX_INVALID_RECIPIENT", 1));

    let (_, page) = server.get(&format!("/tasks/{id}/messages?limit=2")).await;
    let page: api::List<api::Message> = serde_json::from_value(page).unwrap();
    assert_eq!(
        page.items.iter().map(|m| m.state).collect::<Vec<_>>(),
        [MessageState::Failed, MessageState::Queued]
    );
    assert_eq!(page.items[0].code_name.as_deref(), Some("EX_INVALID_RECIPIENT"));
    let next = page.next.unwrap();
    let (_, page) = server.get(&format!("/tasks/{id}/messages?limit=2&after={next}")).await;
    assert_eq!((page["items"].as_array().map(Vec::len), &page["next"]), (Some(1), &json!(null)));
    for (filter, nos) in [
        ("state=failed", vec![1]),
        ("state=queued", vec![2, 3]),
        ("code=30012", vec![1]),
        ("to=%2B919876543211", vec![2]),
        ("to=+919876543211", vec![2]),
        ("state=read", vec![]),
    ] {
        let (status, page) = server.get(&format!("/tasks/{id}/messages?{filter}")).await;
        assert_eq!(status, StatusCode::OK, "{page}");
        let found: Vec<i64> =
            page["items"].as_array().unwrap().iter().map(|item| item["no"].as_i64().unwrap()).collect();
        assert_eq!(found, nos, "{filter}");
    }
    let request = server.request(Method::GET, &format!("/tasks/{id}/messages.csv"));
    let file = request.send().await.unwrap().text().await.unwrap();
    let lines: Vec<&str> = file.lines().collect();
    assert_eq!(lines.len(), 4);
    assert_eq!(
        lines[1],
        "1,+919876543210,failed,1,v-1,30012,EX_INVALID_RECIPIENT,\"no, \"\"such\"\" number\",,,,,,2026-11-21T12:00:01Z,"
    );
}

#[tokio::test]
async fn changes_are_streamed_as_they_come_until_the_shutdown() {
    let server = start().await;
    let id = server.launched().await;
    let request = server.request(Method::GET, &format!("/tasks/{id}/events"));
    let response = request.send().await.unwrap();
    assert_eq!(response.headers()["content-type"], "text/event-stream");
    let mut stream = response.bytes_stream();
    let mut seen = String::new();
    let mut until = async |wanted: &str| {
        let read = async {
            while !seen.contains(wanted) {
                let Some(piece) = stream.next().await else { return false };
                seen.push_str(std::str::from_utf8(&piece.unwrap()).unwrap());
            }
            true
        };
        tokio::time::timeout(Duration::from_secs(10), read).await.unwrap()
    };
    assert!(until("\"state\":\"running\"").await);
    server.post(&format!("/tasks/{id}/pause"), &json!({})).await;
    assert!(until("\"state\":\"paused\"").await);
    server.shutdown.cancel();
    assert!(!until("never").await);
    assert_eq!(seen.matches("event: task").count(), 2);

    let other = start().await;
    assert_eq!(answer(other.request(Method::GET, "/tasks/1/events")).await.0, StatusCode::NOT_FOUND);
}

/// Three recipients taken: 1 failed by a passing fault, 2 with an invalid number, 3 is unknown. The task is completed.
async fn a_task_with_failures(server: &crate::common::TestServer) -> i64 {
    let id = server.launched().await;
    let mut conn = server.database.connect().await;
    sqlx::raw_sql(
        "UPDATE tasks SET cursor = 3, state = 3, ended_at = now();
         INSERT INTO messages (task_id, no, state, attempt, request_id, code, reason)
         SELECT t.id, v.no, v.state, 5, 7, v.code, '' FROM tasks t,
            (VALUES (1, 5, '30004'), (2, 5, '30012'), (3, 7, 'no_answer')) AS v (no, state, code);
         INSERT INTO troubles SELECT task_id, state, code, no FROM messages;
         INSERT INTO progress SELECT task_id, CASE state WHEN 5 THEN 9 ELSE 4 END, '', 1 FROM messages;
         INSERT INTO progress SELECT task_id, 15, code, 1 FROM messages;",
    )
    .execute(&mut conn)
    .await
    .unwrap();
    id
}

async fn assert_audited(server: &crate::common::TestServer, id: i64) {
    let mut conn = server.database.connect().await;
    let audit = store::audit::task(&mut conn, id).await.unwrap().unwrap();
    assert_eq!(audit.findings, Vec::<String>::new());
}

#[tokio::test]
async fn failed_messages_are_taken_again_but_those_that_would_fail_again() {
    let server = start().await;
    let id = a_task_with_failures(&server).await;
    assert_audited(&server, id).await;
    let path = format!("/tasks/{id}/retry-failed");
    let (status, dry) = server.post(&format!("{path}?dry_run=true"), &json!({})).await;
    assert_eq!((status, &dry["retried"]), (StatusCode::ACCEPTED, &json!(1)), "{dry}");
    assert_eq!(dry["task"]["state"], "completed");
    let (_, narrowed) = server.post(&format!("{path}?dry_run=true&code=30012"), &json!({})).await;
    assert_eq!(narrowed["retried"], 0);
    let (status, retried) = server.post(&path, &json!({})).await;
    assert_eq!((status, &retried["retried"]), (StatusCode::ACCEPTED, &json!(1)));
    let task = server.task(id).await;
    assert_eq!((task.state, task.counts.retrying, task.counts.failed), (TaskState::Running, 1, 1));
    assert_eq!(task.ended_at, None);
    assert_audited(&server, id).await;
    server.post(&format!("/tasks/{id}/cancel"), &json!({})).await;
    assert_eq!(server.post(&path, &json!({})).await.0, StatusCode::CONFLICT);
}

#[tokio::test]
async fn an_operator_decides_what_unknown_messages_are() {
    for (decision, state) in [("sent", "accepted"), ("failed", "failed"), ("resend", "retrying")] {
        let server = start().await;
        let id = a_task_with_failures(&server).await;
        let path = format!("/tasks/{id}/resolve");
        let (_, nobody) = server.post(&path, &json!({"as": decision, "to": ["+919876543210"]})).await;
        assert_eq!(nobody["resolved"], 0, "{nobody}");
        let (status, resolved) = server.post(&path, &json!({"as": decision, "to": ["+919876543212"]})).await;
        assert_eq!((status, &resolved["resolved"]), (StatusCode::ACCEPTED, &json!(1)), "{resolved}");
        assert_eq!(resolved["task"]["counts"]["unknown"], 0);
        let (_, page) = server.get(&format!("/tasks/{id}/messages?to=%2B919876543212")).await;
        assert_eq!(page["items"][0]["state"], state);
        assert_audited(&server, id).await;
        let (status, _) = server.post(&path, &json!({"as": "lost"})).await;
        assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY);
    }
}

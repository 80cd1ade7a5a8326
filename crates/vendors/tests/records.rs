//! sobot_io's sending records: what is asked, and what is read.

#[cfg(test)]
#[path = "support/mod.rs"]
mod support;

use chrono::DateTime;
use model::report::ReportedOutcome;
use support::{Server, TOKEN, account, answer, sample};
use vendors::{RecordQuery, RecordsError, Vendor};

#[tokio::test]
async fn the_documents_sample_is_read() {
    let server = Server::start(vec![
        answer(200, "", TOKEN),
        answer(200, "", &sample(Vendor::SobotIo, "answer_200_records.json")),
    ])
    .await;
    let query = RecordQuery {
        from: DateTime::from_timestamp_millis(1_714_295_033_250),
        until: DateTime::from_timestamp_millis(1_714_295_033_999),
        recipient: "+8615369303026".parse().ok(),
        sender: Some("123456".to_owned()),
        template_name: Some("test".to_owned()),
        template_language: None,
        page: 0,
    };
    let account = account(Vendor::SobotIo, &server.url);
    let page = account.find_records(&query).await.unwrap();
    insta::assert_debug_snapshot!(page);
    let asked: serde_json::Value = serde_json::from_str(&server.seen()[1].body).unwrap();
    insta::assert_json_snapshot!(asked);
    assert!(server.seen()[1].head.starts_with("POST /chat-whatsapp/api/whatsapp/send_record_list"));
}

#[tokio::test]
async fn what_cannot_be_read_is_an_error_with_its_code() {
    let cases = [
        (answer(500, "", ""), "http_500"),
        (answer(200, "", "<html>"), "unreadable_answer"),
        (answer(200, "", r#"{"ret_code":"000000"}"#), "unreadable_answer"),
        (answer(200, "", r#"{"ret_code":"4","ret_msg":"slow"}"#), "4"),
    ];
    for (reply, expected) in cases {
        let server = Server::start(vec![answer(200, "", TOKEN), reply]).await;
        let error =
            account(Vendor::SobotIo, &server.url).find_records(&RecordQuery::default()).await.unwrap_err();
        assert!(matches!(&error, RecordsError::Failed { code, .. } if code == expected), "{error}");
    }
    for vendor in [Vendor::Exotel, Vendor::SobotIn] {
        let account = account(vendor, "http://127.0.0.1:9");
        assert!(!account.keeps_records());
        assert_eq!(account.find_records(&RecordQuery::default()).await.unwrap_err(), RecordsError::KeepsNone);
    }
}

#[tokio::test]
async fn statuses_come_as_digits_words_strings_and_numbers() {
    let item = |status: &str| format!(r#"{{"message_status":{status},"error_code":131026}}"#);
    let items = ["0", "\"1\"", "2", "\"read\"", "9", "\"7\""].map(item).join(",");
    let body = format!(r#"{{"ret_code":"000000","items":[{items},{{}},7]}}"#);
    let server = Server::start(vec![answer(200, "", TOKEN), answer(200, "", &body)]).await;
    let page = account(Vendor::SobotIo, &server.url).find_records(&RecordQuery::default()).await.unwrap();
    let outcomes: Vec<ReportedOutcome> = page.records.into_iter().map(|record| record.outcome).collect();
    let failed = ReportedOutcome::Failed { code: "131026".to_owned(), reason: String::new() };
    let expected = [
        ReportedOutcome::Sent,
        ReportedOutcome::Delivered,
        ReportedOutcome::Read,
        ReportedOutcome::Read,
        failed,
    ];
    assert_eq!(outcomes, expected);
    assert!(!page.has_more);
}

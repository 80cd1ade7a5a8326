//! A spreadsheet as people export it becomes an audience, and each row that was not taken is listed with its reason.

use api::{Audience, AudienceStatus, Rows};
use bytes::Bytes;
use futures::stream;
use reqwest::{Method, StatusCode};
use tokio::sync::mpsc;

use crate::harness::{Account, World, campaign, text, wait_until, within};

const MESSY: &str = "Name;Mobile;City\r\n\
Asha;+91 98765 43210;Pune\r\n\
\"Ravi \"\"R\"\" K\";098765 43211;\"line one\nline two\"\r\n\
\r\n\
Nota;9.87654E+09;x\r\n\
Letter;98765O3210;x\r\n\
Short;98765;x\r\n\
Long;98765432101234;x\r\n\
Ragged;9876543212\r\n\
Wide;9876543213;x;y\r\n\
Empty;;x\r\n\
Nul;987654\u{0}3214;x\r\n\
Again;(98765) 43210;x\r\n\
Zoë;'9876543215.0;São Paulo\r\n";

const REJECTS: &str = "line,reason,phone,raw\n\
6,spreadsheet notation: the last digits are lost; format the column as text and export again,9.87654E+09,Nota;9.87654E+09;x\n\
7,the phone holds the letter `O`,98765O3210,Letter;98765O3210;x\n\
8,too short: 5 digits after the country code +91,98765,Short;98765;x\n\
9,too long: 14 digits after the country code +91,98765432101234,Long;98765432101234;x\n\
10,the row has 2 fields where the header has 3,9876543212,Ragged;9876543212\n\
11,the row has 4 fields where the header has 3,9876543213,Wide;9876543213;x;y\n\
12,the phone is empty,,Empty;;x\n\
13,the row holds a NUL character: save the file as CSV (UTF-8),987654\u{2400}3214,Nul;987654\u{2400}3214;x\n\
14,duplicate of line 2,(98765) 43210,Again;(98765) 43210;x\n";

async fn rejects(world: &World, id: i64) -> String {
    let response =
        world.call(Method::GET, &format!("/api/v1/audiences/{id}/rejects.csv")).send().await.unwrap();
    assert_eq!(response.status(), StatusCode::OK);
    response.text().await.unwrap()
}

fn assert_is_messy_but_ready(audience: &Audience) {
    assert_eq!(audience.status, AudienceStatus::Ready, "{audience:?}");
    assert_eq!(audience.columns, ["Name", "City"]);
    assert_eq!(audience.rows, Rows { read: 12, accepted: 3, rejected: 8, duplicate: 1 });
}

fn utf16(text: &str, order: fn(u16) -> [u8; 2]) -> Vec<u8> {
    [0xFEFF].into_iter().chain(text.encode_utf16()).flat_map(order).collect()
}

/// Every character of the file is one byte there, at its own number.
fn windows_1252(text: &str) -> Vec<u8> {
    text.chars().map(|character| u8::try_from(u32::from(character)).unwrap()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn in_every_encoding_that_spreadsheets_write() {
    let account = Account::sobot_io();
    let world = World::new().account(account.clone()).start().await;
    let files = [
        MESSY.as_bytes().to_vec(),
        format!("\u{FEFF}{MESSY}").into_bytes(),
        utf16(MESSY, u16::to_le_bytes),
        utf16(MESSY, u16::to_be_bytes),
        windows_1252(MESSY),
    ];
    let mut last = 0;
    for file in files {
        let audience = world.import(file).await;
        assert_eq!(rejects(&world, audience.id).await, REJECTS);
        assert_is_messy_but_ready(&audience);
        last = audience.id;
    }
    // What was read arrives at the vendor, quoted line break and accents included.
    let mut campaign = campaign(&account, last);
    campaign.message = text("{{Name}} of {{City}}");
    let task = world.launch(&campaign).await;
    let task = world.wait_for_completion(task, within(20)).await;
    assert_eq!(task.counts.accepted, 3);
    let mut sent: Vec<String> = world
        .simulator
        .requests()
        .iter()
        .map(|seen| {
            let body = seen.json();
            format!("{} {}", body["to"].as_str().unwrap(), body["content"]["text"].as_str().unwrap())
        })
        .collect();
    sent.sort();
    assert_eq!(
        sent,
        [
            "919876543210 Asha of Pune",
            "919876543211 Ravi \"R\" K of line one\nline two",
            "919876543215 Zoë of São Paulo",
        ]
    );
    world.audit().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn as_a_form_of_a_browser() {
    let world = World::new().start().await;
    let form = format!(
        "--edge\r\nContent-Disposition: form-data; name=\"note\"\r\n\r\nhello\r\n\
         --edge\r\nContent-Disposition: form-data; name=\"file\"; filename=\"customers.csv\"\r\n\
         Content-Type: text/csv\r\n\r\n{MESSY}\r\n--edge--\r\n"
    );
    let response = world
        .call(Method::POST, "/api/v1/audiences?wait=true&default_region=IN")
        .header("content-type", "multipart/form-data; boundary=edge")
        .body(form)
        .send()
        .await
        .unwrap();
    assert_eq!(response.status(), StatusCode::CREATED);
    let audience: Audience = response.json().await.unwrap();
    assert_is_messy_but_ready(&audience);
    assert_eq!(audience.name, "customers.csv");
    // The field's own line break at its end is no row, so the list is the same.
    assert_eq!(rejects(&world, audience.id).await, REJECTS);
}

#[tokio::test(flavor = "multi_thread")]
async fn with_numbers_of_another_region_in_a_named_column() {
    let world = World::new().start().await;
    let csv = "Phone,Handy\n+919876543210,0151 23456789\n+919876543211,+49 30 1234567\n";
    let page = "/api/v1/audiences?name=Berlin&wait=true&default_region=DE&phone_column=Handy";
    let response =
        world.call(Method::POST, page).header("content-type", "text/csv").body(csv).send().await.unwrap();
    let audience: Audience = response.json().await.unwrap();
    assert_eq!((audience.status, audience.rows.accepted), (AudienceStatus::Ready, 2), "{audience:?}");
    assert_eq!(audience.columns, ["Phone"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn but_not_when_the_upload_dies_half_way() {
    let world = World::new().start().await;
    let (pieces, queue) = mpsc::channel::<Result<Bytes, std::io::Error>>(4);
    let body = reqwest::Body::wrap_stream(stream::unfold(queue, |mut queue| async move {
        queue.recv().await.map(|piece| (piece, queue))
    }));
    let request = world.call(Method::POST, "/api/v1/audiences?name=cut").header("content-type", "text/csv");
    let upload = tokio::spawn(request.body(body).send());
    pieces.send(Ok(Bytes::from_static(b"phone,name\n+919876543210,a\nnobody,b\n"))).await.unwrap();
    let importing = wait_until("the import has begun", within(10), async || {
        let page = world.api().audiences(&api::client::Page::default()).await.unwrap();
        page.items.into_iter().next()
    })
    .await;
    assert_eq!(importing.status, AudienceStatus::Importing);
    upload.abort();
    let failed = wait_until("the import has failed", within(10), async || {
        let audience = world.api().audience(importing.id).await.unwrap();
        (audience.status == AudienceStatus::Failed).then_some(audience)
    })
    .await;
    assert!(
        failed.error.as_deref().is_some_and(|error| error.contains("import the file again")),
        "{failed:?}"
    );
    assert_eq!(failed.rows.accepted, 0);
    drop(pieces);
}

#[tokio::test(flavor = "multi_thread")]
async fn and_a_file_that_is_no_table_fails_with_the_reason() {
    let world = World::new().start().await;
    for (file, reason) in [
        ("", "empty"),
        ("phone,name\n", "no rows"),
        ("a,b\n1,2\n", "phone_column"),
        ("PK\u{3}\u{4}workbook", "save it as CSV"),
        ("phone,a,a\n1,2,3\n", "`a` twice"),
    ] {
        let audience = world.import(file).await;
        assert_eq!(audience.status, AudienceStatus::Failed, "{audience:?}");
        assert!(audience.error.as_deref().is_some_and(|error| error.contains(reason)), "{audience:?}");
    }
}

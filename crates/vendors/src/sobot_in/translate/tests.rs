use model::{
    FieldError, Phone,
    message::{Columns, Message},
};
use serde_json::{Value, json};

use super::translate;

fn columns(names: &[&str]) -> Columns {
    Columns::new(names.iter().map(|name| (*name).to_owned()).collect())
}

fn rendered_for(message: &Value, names: &[&str], row: &[&str]) -> Value {
    let skeleton = translate(&Message::parse(message).unwrap(), &columns(names)).unwrap();
    let to: Phone = "919970000000".parse().unwrap();
    serde_json::from_slice(&skeleton.render(to, row).unwrap()).unwrap()
}

fn rendered(message: &Value) -> Value {
    rendered_for(message, &["Name"], &["John Doe"])
}

fn refused(message: &Value) -> Vec<FieldError> {
    translate(&Message::parse(message).unwrap(), &columns(&["file"])).unwrap_err()
}

fn published(sample: &str) -> Value {
    serde_json::from_str(&sample.replace("919970XXXXXX", "919970000000")).unwrap()
}

#[test]
fn the_published_free_messages_are_what_leaves() {
    let cases = [
        (
            include_str!("../../../samples/sobot_in/send_text.json"),
            json!({"type": "text", "text": {"body": "Hello"}}),
        ),
        (
            include_str!("../../../samples/sobot_in/send_image.json"),
            json!({"type": "image", "image": {"link": "https://example.com/images/20230625_003239.jpg"}}),
        ),
        (
            include_str!("../../../samples/sobot_in/send_video.json"),
            json!({"type": "video", "video": {"link": "https://example.com/videos/20230625_003239.mp4"}}),
        ),
        (
            include_str!("../../../samples/sobot_in/send_document.json"),
            json!({"type": "document", "document":
                {"link": "https://example.com/documents/20230625_003239.pdf", "filename": "file.pdf"}}),
        ),
        (
            include_str!("../../../samples/sobot_in/send_location.json"),
            json!({"type": "location", "location": {"longitude": "78.272125", "latitude": "13.891411",
                "name": "New York, NYC", "address": "13, New York Street, NY, US."}}),
        ),
    ];
    for (sample, message) in cases {
        assert_eq!(rendered(&message), published(sample));
    }
    // The sample says type image, the table sticker: sticker is sent.
    let sticker =
        json!({"type": "sticker", "sticker": {"link": "https://example.com/stickers/20230625_003239.webp"}});
    let mut expected = published(include_str!("../../../samples/sobot_in/send_sticker.json"));
    expected["type"] = json!("sticker");
    assert_eq!(rendered(&sticker), expected);
}

#[test]
fn the_published_interactive_messages_are_what_leaves() {
    let message = |kind: &str, with_header: bool, action: &Value| {
        let mut inner = json!({"type": kind, "body": {"text": "Hello"},
            "footer": {"text": "This will go in footer"}, "action": action});
        if with_header {
            inner["header"] = json!({"type": "text", "text": "This is a header"});
        }
        json!({"type": "interactive", "interactive": inner})
    };
    let reply = |title: &str| json!({"type": "reply", "reply": {"id": title, "title": title}});
    let row = |id: &str, title: &str| json!({"title": title, "id": id, "description": "test description"});
    let buttons = json!({"buttons": [reply("one"), reply("two"), reply("three")]});
    let list = json!({"button": "Show List", "sections": [
        {"title": "one", "rows": [row("id_1", "First title"), row("id_2", "second title")]}]});
    let products = json!({"sections": [{"title": "Cakes", "product_items": [
        {"product_retailer_id": "sbt_in_4_1"}, {"product_retailer_id": "sbt_in_4_2"}]}]});
    let cases = [
        (include_str!("../../../samples/sobot_in/send_buttons.json"), message("button", true, &buttons)),
        (include_str!("../../../samples/sobot_in/send_list.json"), message("list", true, &list)),
        (
            include_str!("../../../samples/sobot_in/send_product.json"),
            message("product", false, &json!({"product_retailer_id": "sbt_in_4_1"})),
        ),
        (
            include_str!("../../../samples/sobot_in/send_products.json"),
            message("product_list", true, &products),
        ),
    ];
    for (sample, message) in cases {
        assert_eq!(rendered(&message), published(sample));
    }
}

fn template(components: &Value) -> Value {
    json!({"type": "template", "template":
        {"name": "hello_world", "language": {"code": "en"}, "components": components}})
}

fn header(kind: &str, media: &Value) -> Value {
    template(&json!([{"type": "header", "parameters": [{"type": kind, kind: media}]}]))
}

#[test]
fn the_published_templates_are_what_leaves() {
    let text = |text: &str| json!({"type": "text", "text": text});
    let cases = [
        (include_str!("../../../samples/sobot_in/send_template.json"), template(&json!([]))),
        (
            include_str!("../../../samples/sobot_in/send_template_body.json"),
            template(&json!([{"type": "body", "parameters": [text("8654334"), text("Approved")]}])),
        ),
        (
            include_str!("../../../samples/sobot_in/send_template_url_button.json"),
            template(
                &json!([{"type": "button", "sub_type": "url", "index": "0", "parameters": [text("8654334")]}]),
            ),
        ),
        (
            include_str!("../../../samples/sobot_in/send_template_image.json"),
            header("image", &json!({"link": "https://example.com/images/20230625_003239.jpg"})),
        ),
        (
            include_str!("../../../samples/sobot_in/send_template_video.json"),
            header("video", &json!({"link": "https://example.com/videos/20230625_003239.mp4"})),
        ),
        (
            include_str!("../../../samples/sobot_in/send_template_document.json"),
            header(
                "document",
                &json!({"link": "https://example.com/documents/20230625_003239.pdf",
                "filename": "20230625_003239.pdf"}),
            ),
        ),
    ];
    for (sample, message) in cases {
        assert_eq!(rendered(&message), published(sample));
    }
}

#[test]
fn the_customer_name_is_a_column_else_the_number() {
    let message = json!({"type": "text", "text": {"body": "b"}});
    let name = |names: &[&str], row: &[&str]| rendered_for(&message, names, row)["customer_name"].clone();
    assert_eq!(name(&["name", "Customer_Name"], &["Short", "Long \"L\""]), "Long \"L\"");
    assert_eq!(name(&["name", "customer_name"], &["Short", "  "]), "Short");
    assert_eq!(name(&["city"], &["Pune"]), "919970000000");
    assert_eq!(name(&["name"], &[""]), "919970000000");
}

#[test]
fn mime_type_and_filename_come_from_the_media_else_the_link() {
    let sent = |message: Value| rendered_for(&message, &["file", "type"], &["a b", "text/plain"]);
    let document = |inner: Value| json!({"type": "document", "document": inner});
    let body = sent(document(json!({"link": "https://x.example/d/Report.XLSX?sig={{file}}"})));
    assert_eq!(body["filename"], "Report.XLSX");
    assert_eq!(body["mime_type"], "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet");
    let body = sent(document(
        json!({"link": "https://x.example/{{file}}", "mime_type": "{{type}}", "filename": "f"}),
    ));
    assert_eq!((&body["mime_type"], &body["url"]), (&json!("text/plain"), &json!("https://x.example/a b")));
    let body = sent(json!({"type": "image", "image": {"link": "https://x.example/{{file}}.png"}}));
    assert_eq!(body["mime_type"], "image/png");
}

#[test]
fn what_sobot_in_cannot_express_is_refused_by_field() {
    let reply = json!({"type": "reply", "reply": {"id": "1", "title": "One"}});
    let interactive = |inner: Value| json!({"type": "interactive", "interactive": inner});
    let body = json!({"text": "b"});
    let payload = json!({"type": "payload", "payload": "p"});
    let cases: [(&[&str], Value); 14] = [
        (&["message.type"], json!({"type": "audio", "audio": {"link": "https://x.example/a.mp3"}})),
        (&["message.type"], json!({"type": "contacts", "contacts": [{"name": {"formatted_name": "A"}}]})),
        (&["message.text.preview_url"], json!({"type": "text", "text": {"body": "b", "preview_url": false}})),
        (
            &["message.context.message_id"],
            json!({"type": "text", "context": {"message_id": "1"}, "text": {"body": "b"}}),
        ),
        (&["message.image.id"], json!({"type": "image", "image": {"id": "1"}})),
        (
            &["message.image.mime_type"],
            json!({"type": "image", "image": {"link": "https://x.example/{{file}}"}}),
        ),
        (
            &["message.video.mime_type"],
            json!({"type": "video", "video": {"link": "https://x.example/a.mp4", "mime_type": "video/avi"}}),
        ),
        (
            &["message.document.mime_type", "message.document.filename"],
            json!({"type": "document", "document": {"link": "https://x.example/{{file}}"}}),
        ),
        (
            &["message.interactive.action.buttons[0].reply.id"],
            interactive(json!({"type": "button", "body": body, "action": {"buttons": [reply]}})),
        ),
        (
            &["message.interactive.body", "message.interactive.action.catalog_id"],
            interactive(
                json!({"type": "product", "action": {"catalog_id": "c", "product_retailer_id": "1"}}),
            ),
        ),
        (
            &["message.template.components[0].sub_type"],
            template(
                &json!([{"type": "button", "sub_type": "quick_reply", "index": 0, "parameters": [payload]}]),
            ),
        ),
        (
            &["message.template.components[0].index"],
            template(&json!([{"type": "button", "sub_type": "url", "index": 2, "parameters": [payload]}])),
        ),
        (
            &["message.template.components[0].parameters[0].type"],
            template(&json!([{"type": "header", "parameters": [{"type": "text", "text": "t"}]}])),
        ),
        (
            &["message.template.components[0].parameters[0].type"],
            template(&json!([{"type": "body", "parameters": [
                {"type": "date_time", "date_time": {"fallback_value": "Monday"}}]}])),
        ),
    ];
    for (fields, message) in cases {
        let errors = refused(&message);
        let found: Vec<_> = errors.iter().map(|error| error.field.as_str()).collect();
        assert_eq!(found, fields, "{errors:?}");
    }
}

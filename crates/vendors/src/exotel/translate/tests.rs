use model::{
    FieldError, Phone,
    message::{Columns, Message},
};
use serde_json::{Value, json};

use super::translate;

const FROM: &str = "+919999000001";

fn columns() -> Columns {
    Columns::new(vec!["name".to_owned(), "link".to_owned()]).with_phone_column("phone")
}

fn to() -> Phone {
    "919876543210".parse().unwrap()
}

fn rendered(message: &Value, namespace: Option<&str>) -> Value {
    let message = Message::parse(message).unwrap();
    let skeleton = translate(&message, &columns(), FROM, namespace).unwrap();
    let open = skeleton.render(to(), &["Asha \"A\"", "https://x.example/1.jpg"]).unwrap();
    let closed = [&open[..], b"}"].concat();
    assert!(serde_json::from_slice::<Value>(&open).is_err(), "the closing brace is the client's");
    serde_json::from_slice(&closed).unwrap()
}

fn refused(message: &Value) -> Vec<FieldError> {
    let message = Message::parse(message).unwrap();
    translate(&message, &columns(), FROM, None).unwrap_err()
}

/// The first message of a published request, as it should leave: with `content` and one plus (README of the
/// documents), always with recipient_type (the table calls it mandatory), without what the client appends.
fn published(sample: &str) -> Value {
    let request: Value = serde_json::from_str(sample).unwrap();
    let mut message = request["whatsapp"]["messages"][0].clone();
    message["from"] = json!(FROM);
    message["to"] = json!("+919876543210");
    message["content"]["recipient_type"] = json!("individual");
    let members = message.as_object_mut().unwrap();
    members.remove("custom_data");
    members.remove("status_callback");
    message
}

#[test]
fn the_published_samples_are_what_leaves() {
    let template = |name: &str, components: Value| {
        json!({"type": "template", "template": {
            "name": name, "language": {"code": "en"}, "components": components}})
    };
    let body = |text: &str| json!({"type": "body", "parameters": [{"type": "text", "text": text}]});
    let header =
        json!({"type": "header", "parameters": [{"type": "image", "image": {"link": "https://image.jpg"}}]});
    let cases = [
        (
            include_str!("../../../samples/exotel/send_text.json"),
            json!({"type": "text", "text": {"preview_url": false, "body": "MESSAGE_CONTENT"}}),
        ),
        (
            include_str!("../../../samples/exotel/send_image.json"),
            json!({"type": "image", "image": {"link": "https://image.587.jpg", "caption": "This is image caption"}}),
        ),
        (
            include_str!("../../../samples/exotel/send_template_text.json"),
            template("candidate_feedback_message", json!([body("Good!")])),
        ),
        (
            include_str!("../../../samples/exotel/send_template_image.json"),
            template("image_1", json!([header, body("Name")])),
        ),
    ];
    for (sample, message) in cases {
        assert_eq!(rendered(&message, None), published(sample));
    }
}

#[test]
fn the_namespace_is_sent_when_configured() {
    let message = json!({"type": "template", "template": {"name": "a", "language": {"code": "en"}}});
    assert_eq!(rendered(&message, Some("n1"))["content"]["template"]["namespace"], "n1");
    let without = rendered(&message, None);
    assert_eq!(without["content"]["template"].get("namespace"), None);
    assert_eq!(
        without["content"]["template"]["components"],
        json!([]),
        "mandatory, also when there are none"
    );
}

#[test]
fn buttons_currency_and_dates_follow_the_tables() {
    let message = json!({"type": "template", "template": {"name": "a", "language": {"code": "en"}, "components": [
        {"type": "body", "parameters": [
            {"type": "currency", "currency": {"fallback_value": "$1", "code": "USD", "amount_1000": 1000}},
            {"type": "date_time", "date_time": {"fallback_value": "Monday"}}]},
        {"type": "button", "sub_type": "url", "index": 0, "parameters": [{"type": "payload", "payload": "{{name}}"}]},
        {"type": "button", "sub_type": "quick_reply", "index": "1",
         "parameters": [{"type": "payload", "payload": "yes"}]}]}});
    let components = rendered(&message, None)["content"]["template"]["components"].clone();
    let button = |sub_type: &str, index: &str, parameter: Value| json!({"type": "button", "sub_type": sub_type, "index": index, "parameters": [parameter]});
    assert_eq!(components[0]["parameters"][0]["currency"]["amount_1000"], json!(1000));
    assert_eq!(components[1], button("url", "0", json!({"type": "text", "text": "Asha \"A\""})));
    assert_eq!(components[2], button("quick_reply", "1", json!({"type": "payload", "payload": "yes"})));
}

#[test]
fn every_free_form_type_keeps_its_canonical_object() {
    let link = json!({"link": "{{link}}"});
    let sent = json!({"link": "https://x.example/1.jpg"});
    for kind in ["image", "video", "audio", "document", "sticker"] {
        let content = rendered(&json!({"type": kind, kind: link}), None)["content"].clone();
        assert_eq!(content, json!({"recipient_type": "individual", "type": kind, kind: sent}));
    }
    for message in [
        json!({"type": "location", "location":
            {"latitude": "1.5", "longitude": "2", "name": "N", "address": "A"}}),
        json!({"type": "contacts", "contacts": [{
            "name": {"formatted_name": "A B", "first_name": "A"}, "birthday": "2000-01-31",
            "org": {"company": "C"}, "addresses": [{"city": "Pune"}], "emails": [{"email": "a@b.c"}],
            "phones": [{"phone": "+91", "wa_id": "91"}], "urls": [{"url": "https://x"}]}]}),
        json!({"type": "interactive", "interactive": {"type": "button",
            "header": {"type": "image", "image": {"link": "https://x/y.png"}}, "body": {"text": "b"},
            "footer": {"text": "f"},
            "action": {"buttons": [{"type": "reply", "reply": {"id": "1", "title": "One"}}]}}}),
        json!({"type": "interactive", "interactive": {"type": "list", "body": {"text": "b"},
            "action": {"button": "Choose", "sections": [{"rows": [{"id": "1", "title": "One"}]}]}}}),
    ] {
        let mut expected = message.clone();
        expected["recipient_type"] = json!("individual");
        assert_eq!(rendered(&message, None)["content"], expected);
    }
}

#[test]
fn what_exotel_cannot_express_is_refused_by_field() {
    let component = |component: Value| {
        json!({"type": "template", "template":
            {"name": "a", "language": {"code": "en"}, "components": [component]}})
    };
    let header = |parameter: Value| component(json!({"type": "header", "parameters": [parameter]}));
    let button = |sub_type: &str, index: u8, parameter: Value| {
        component(json!({"type": "button", "sub_type": sub_type, "index": index, "parameters": [parameter]}))
    };
    let cases = [
        ("message.image.id", json!({"type": "image", "image": {"id": "1"}})),
        (
            "message.context.message_id",
            json!({"type": "text", "context": {"message_id": "1"}, "text": {"body": "b"}}),
        ),
        (
            "message.template.components[0].parameters[0].type",
            header(json!({"type": "location", "location": {"latitude": "1", "longitude": "2"}})),
        ),
        (
            "message.template.components[0].parameters[0].video.id",
            header(json!({"type": "video", "video": {"id": "1"}})),
        ),
        (
            "message.template.components[0].parameters[0].document.filename",
            header(json!({"type": "document", "document": {"link": "https://x/1", "filename": "a.docx"}})),
        ),
        (
            "message.template.components[0].sub_type",
            button("flow", 0, json!({"type": "action", "action": {"flow_token": "t"}})),
        ),
        ("message.template.components[0].index", button("url", 3, json!({"type": "text", "text": "t"}))),
        (
            "message.contacts[0].name.first_name",
            json!({"type": "contacts", "contacts": [{"name": {"formatted_name": "A"}}]}),
        ),
        (
            "message.interactive.type",
            json!({"type": "interactive", "interactive": {"type": "product", "action": {"product_retailer_id": "1"}}}),
        ),
        ("message.text.body", json!({"type": "text", "text": {"body": "{{nmae}}"}})),
    ];
    for (field, message) in cases {
        let errors = refused(&message);
        assert_eq!(
            errors.iter().map(|error| error.field.as_str()).collect::<Vec<_>>(),
            [field],
            "{errors:?}"
        );
    }
}

use model::{
    FieldError, Phone,
    message::{Columns, MISSING_VALUE, Message},
};
use serde_json::{Value, json};

use super::translate;

const FROM: &str = "1234567890";

fn columns() -> Columns {
    Columns::new(vec!["name".to_owned(), "order".to_owned()])
}

fn to() -> Phone {
    "8618888888888".parse().unwrap()
}

fn rendered(message: &Value, is_authentication: bool) -> Value {
    let message = Message::parse(message).unwrap();
    let skeleton = translate(&message, &columns(), FROM, is_authentication).unwrap();
    serde_json::from_slice(&skeleton.render(to(), &["Asha", "订单/1"]).unwrap()).unwrap()
}

fn refused(message: &Value) -> Vec<FieldError> {
    translate(&Message::parse(message).unwrap(), &columns(), FROM, false).unwrap_err()
}

/// A published body as it should leave: `sub_type` lower case and `index` a string (README of the documents), and a
/// real sender, recipient and place for the sample's words.
fn published(sample: &str) -> Value {
    let sample = sample.replace("LAT_NUMBER", "1.5").replace("LONG_NUMBER", "-2.5");
    let mut body: Value = serde_json::from_str(&sample).unwrap();
    body["from"] = json!(FROM);
    body["to"] = json!("8618888888888");
    if let Some(components) = body.pointer_mut("/content/template/components") {
        for component in components.as_array_mut().unwrap() {
            if let Some(sub_type) = component.get("sub_type").cloned() {
                component["sub_type"] = json!(sub_type.as_str().unwrap().to_lowercase());
                component["index"] = json!("0");
            }
        }
    }
    body
}

fn template(name: &str, language: &str, components: &Value) -> Value {
    json!({"type": "template", "template":
        {"name": name, "language": {"code": language}, "components": components}})
}

fn header(parameter: &Value) -> Value {
    json!({"type": "header", "parameters": [parameter]})
}

fn text(text: &str) -> Value {
    json!({"type": "text", "text": text})
}

fn url_button(end: &str) -> Value {
    json!({"type": "button", "sub_type": "url", "index": "0", "parameters": [text(end)]})
}

#[test]
fn the_published_templates_are_what_leaves() {
    const LANGUAGE: &str = "TEMPLATE_LANGUAGE_CODE";
    let place = json!({"type": "location", "location": {"address": "your address", "latitude": "-12.283171",
        "name": "your location name", "longitude": "130.501951"}});
    let image =
        json!({"type": "image", "image": {"link": "https://img.sobot.com/console/common/face/robot.png"}});
    let document = json!({"type": "document",
        "document": {"filename": "xxx.txt", "link": "https://example/xxx.txt"}});
    let body = json!({"type": "body", "parameters": [text("CONTENT1"), text("CONTENT2")]});
    let one = json!({"type": "body", "parameters": [text("CONTENT")]});
    let button = url_button("BUTTON CONTENT");
    let by_id = json!({"type": "image", "image": {"id": "1234567890"}});
    let flow = json!({"type": "button", "sub_type": "flow", "index": "0", "parameters": [
        {"type": "action", "action": {"flow_token": "FLOW_TOKEN", "flow_action_data": {"field": "VALUE"}}}]});
    let cases = [
        (
            include_str!("../../../samples/sobot_io/send_template_header_text.json"),
            template("TEMPLATE_NAME", LANGUAGE, &json!([header(&text("CONTENT"))])),
        ),
        (
            include_str!("../../../samples/sobot_io/send_template_header_image.json"),
            template("TEMPLATE_NAME", LANGUAGE, &json!([header(&image)])),
        ),
        (
            include_str!("../../../samples/sobot_io/send_template_header_location.json"),
            template("TEMPLATE NAME", LANGUAGE, &json!([header(&place)])),
        ),
        (
            include_str!("../../../samples/sobot_io/send_template_body.json"),
            template("TEMPLATE NAME", LANGUAGE, &json!([body])),
        ),
        (
            include_str!("../../../samples/sobot_io/send_template_url_button.json"),
            template("TEMPLATE_NAME", LANGUAGE, &json!([button])),
        ),
        (
            include_str!("../../../samples/sobot_io/send_template_complete.json"),
            template("TEMPLATE_NAME", LANGUAGE, &json!([header(&document), one, button])),
        ),
        (
            include_str!("../../../samples/sobot_io/send_template_flow.json"),
            template("TEMPLATE_NAME", "LANGUAGE_AND_LOCALE_CODE", &json!([flow])),
        ),
        (
            include_str!("../../../samples/sobot_io/send_template_media_id.json"),
            template("template_name", "en_US", &json!([header(&by_id)])),
        ),
    ];
    for (sample, message) in cases {
        assert_eq!(rendered(&message, false), published(sample));
    }
}

#[test]
fn a_one_time_password_stands_as_text_in_its_button() {
    let password = "<ONE-TIME PASSWORD>";
    let components = json!([{"type": "body", "parameters": [text(password)]}, url_button(password)]);
    let message = template("TEMPLATE NAME", "TEMPLATE_LANGUAGE_CODE", &components);
    let sample = include_str!("../../../samples/sobot_io/send_template_otp.json");
    assert_eq!(rendered(&message, true), published(sample));
    assert_ne!(rendered(&message, false), published(sample));
}

#[test]
fn the_published_free_messages_are_what_leaves() {
    let link = json!({"link": "https://img.sobot.com/console/common/face/robot.png"});
    let document =
        json!({"link": "https://img.sobot.com/console/common/face/robot.png", "filename": "example.txt"});
    let wamid = "wamid.HBgNODYxODIxMDMzNTIzNBUCABEYEkQ4RTJGRUI0QTA3MDFEMDY4RAA=";
    let cases = [
        (
            include_str!("../../../samples/sobot_io/send_text.json"),
            json!({"type": "text", "text": {"body": "this is text"}}),
        ),
        (
            include_str!("../../../samples/sobot_io/send_reply.json"),
            json!({"type": "text", "context": {"message_id": wamid}, "text": {"body": "this is replyText"}}),
        ),
        (include_str!("../../../samples/sobot_io/send_image.json"), json!({"type": "image", "image": link})),
        (include_str!("../../../samples/sobot_io/send_video.json"), json!({"type": "video", "video": link})),
        (include_str!("../../../samples/sobot_io/send_audio.json"), json!({"type": "audio", "audio": link})),
        (
            include_str!("../../../samples/sobot_io/send_sticker.json"),
            json!({"type": "sticker", "sticker": link}),
        ),
        (
            include_str!("../../../samples/sobot_io/send_document.json"),
            json!({"type": "document", "document": document}),
        ),
        (
            include_str!("../../../samples/sobot_io/send_location.json"),
            json!({"type": "location", "location": {"latitude": 1.5, "longitude": "-2.5"}}),
        ),
    ];
    for (sample, message) in cases {
        assert_eq!(rendered(&message, false), published(sample));
    }
    // In these the content is the canonical object itself.
    for sample in [
        include_str!("../../../samples/sobot_io/send_contacts.json"),
        include_str!("../../../samples/sobot_io/send_buttons.json"),
        include_str!("../../../samples/sobot_io/send_list.json"),
        include_str!("../../../samples/sobot_io/send_flow.json"),
    ] {
        let expected = published(sample);
        let mut message = expected["content"].clone();
        message["type"] = expected["type"].clone();
        assert_eq!(rendered(&message, false), expected);
    }
}

#[test]
fn chinese_in_a_url_button_is_percent_encoded_and_nowhere_else() {
    let components =
        json!([{"type": "body", "parameters": [text("{{order}}")]}, url_button("路/{{order}}?a=1")]);
    let sent = rendered(&template("a", "zh", &components), false);
    let components = &sent["content"]["template"]["components"];
    assert_eq!(components[0]["parameters"][0]["text"], "订单/1");
    assert_eq!(components[1]["parameters"][0]["payload"], "%E8%B7%AF/%E8%AE%A2%E5%8D%95/1?a=1");
}

#[test]
fn a_template_without_variables_has_empty_components_and_variables_are_never_empty() {
    let sent = rendered(&template("a", "en", &json!([])), false);
    assert_eq!(sent["content"]["template"]["components"], json!([]));

    let components = json!([{"type": "body", "parameters": [text("{{name}}")]}]);
    let message = Message::parse(&template("a", "en", &components)).unwrap();
    let skeleton = translate(&message, &columns(), FROM, false).unwrap();
    let error = skeleton.render(to(), &[" ", "x"]).unwrap_err();
    assert_eq!((error.code, error.column.as_deref()), (MISSING_VALUE, Some("name")));
}

#[test]
fn what_sobot_io_cannot_express_is_refused_by_field() {
    let interactive = |inner: Value| json!({"type": "interactive", "interactive": inner});
    let buttons = json!({"buttons": [{"type": "reply", "reply": {"id": "1", "title": "One"}}]});
    let body = json!({"text": "b"});
    let currency = json!({"type": "currency",
        "currency": {"fallback_value": "$1", "code": "USD", "amount_1000": 1000}});
    let contact = json!({"name": {"formatted_name": "A", "last_name": "B"}, "emails": [{"email": "e"}],
        "phones": [{"wa_id": "1"}]});
    let cases: [(&[&str], Value); 9] = [
        (&["message.text.preview_url"], json!({"type": "text", "text": {"body": "b", "preview_url": true}})),
        (
            &["message.image.caption"],
            json!({"type": "image", "image": {"link": "https://x", "caption": "c"}}),
        ),
        (&["message.audio.id"], json!({"type": "audio", "audio": {"id": "1"}})),
        (
            &["message.location.name", "message.location.address"],
            json!({"type": "location",
                "location": {"latitude": "1", "longitude": "2", "name": "n", "address": "a"}}),
        ),
        (
            &[
                "message.contacts[0].emails",
                "message.contacts[0].name.last_name",
                "message.contacts[0].phones[0].wa_id",
            ],
            json!({"type": "contacts", "contacts": [contact]}),
        ),
        (
            &["message.interactive.header", "message.interactive.footer"],
            interactive(json!({"type": "button", "header": {"type": "text", "text": "h"}, "body": body,
                "footer": body, "action": buttons})),
        ),
        (
            &["message.interactive.action.sections[0].title"],
            interactive(json!({"type": "list", "body": body,
                "action": {"button": "B", "sections": [{"rows": [{"id": "1", "title": "t"}]}]}})),
        ),
        (
            &["message.interactive.type"],
            interactive(json!({"type": "product", "action": {"product_retailer_id": "1"}})),
        ),
        (
            &["message.template.components[0].parameters[0].type"],
            template("a", "en", &json!([{"type": "body", "parameters": [currency]}])),
        ),
    ];
    for (fields, message) in cases {
        let errors = refused(&message);
        assert_eq!(errors.iter().map(|error| error.field.as_str()).collect::<Vec<_>>(), fields, "{errors:?}");
    }
}

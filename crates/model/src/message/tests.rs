use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::Phone;

fn to() -> Phone {
    "919876543210".parse().unwrap()
}

fn columns(names: &[&str]) -> Columns {
    Columns::new(names.iter().map(|name| (*name).to_owned()).collect()).with_phone_column("phone")
}

fn message(value: &Value) -> Message {
    Message::parse(value).unwrap()
}

fn complaints(value: &Value) -> Vec<(String, String)> {
    Message::parse(value).unwrap_err().into_iter().map(|error| (error.field, error.message)).collect()
}

fn template(components: &Value) -> Value {
    json!({"type": "template", "template":
        {"name": "t", "language": {"code": "en"}, "components": components}})
}

fn body(parameters: &Value) -> Value {
    json!({"type": "body", "parameters": parameters})
}

fn text(text: &str) -> Value {
    json!({"type": "text", "text": text})
}

fn text_message(text: &str) -> Value {
    json!({"type": "text", "text": {"body": text}})
}

fn skeleton(value: &Value, names: &[&str]) -> Skeleton {
    Skeleton::compile(&message(value).node(), &columns(names)).unwrap()
}

fn rendered(value: &Value, names: &[&str], row: &[&str]) -> Result<Value, RowError> {
    skeleton(value, names).render(to(), row).map(|bytes| serde_json::from_slice(&bytes).unwrap())
}

/// One of every type, with placeholders in it.
fn one_of_each() -> Vec<Value> {
    let link = json!({"link": "https://x.example/{{a}}", "mime_type": "image/png"});
    let place = json!({"latitude": "1.5", "longitude": "{{a}}", "name": "n", "address": "{{b}}"});
    let all_parameters = json!([
        {"type": "header", "parameters": [{"type": "location", "location": place}]},
        body(&json!([
            text("{{a}} and {{b|x}}"),
            {"type": "currency", "currency": {"fallback_value": "{{a}}", "code": "INR", "amount_1000": "{{b}}"}},
            {"type": "date_time", "date_time": {"fallback_value": "{{a}}"}},
        ])),
        {"type": "button", "sub_type": "url", "index": "0", "parameters": [text("{{a}}")]},
        {"type": "button", "sub_type": "quick_reply", "index": "1",
            "parameters": [{"type": "payload", "payload": "{{a}}"}]},
        {"type": "button", "sub_type": "flow", "index": "2", "parameters": [{"type": "action",
            "action": {"flow_token": "{{a}}", "flow_action_data": {"k": ["{{b}}", 1, true, null]}}}]},
    ]);
    let interactive = |inner: Value| json!({"type": "interactive", "interactive": inner});
    let said = json!({"text": "{{a}}"});
    vec![
        template(&all_parameters),
        template(&json!([{"type": "header", "parameters": [
            {"type": "document", "document": {"link": "https://x/{{a}}", "filename": "{{b}}.pdf"}}]}])),
        json!({"context": {"message_id": "{{a}}"}, "type": "text", "text": {"preview_url": true, "body": "{{b}}"}}),
        json!({"type": "image", "image": link}),
        json!({"type": "video", "video": {"id": "{{a}}", "caption": "{{b}}"}}),
        json!({"type": "audio", "audio": link}),
        json!({"type": "document", "document": {"link": "{{a}}", "caption": "c", "filename": "{{b}}"}}),
        json!({"type": "sticker", "sticker": link}),
        json!({"type": "location", "location": place}),
        json!({"type": "contacts", "contacts": [{"name": {"formatted_name": "{{a}}", "first_name": "{{b}}"},
            "birthday": "2000-01-31", "org": {"company": "{{a}}"}, "addresses": [{"street": "s", "type": "HOME"}],
            "emails": [{"email": "{{a}}"}], "phones": [{"phone": "{{b}}", "type": "CELL"}],
            "urls": [{"url": "{{a}}"}]}]}),
        interactive(
            json!({"type": "button", "header": {"type": "image", "image": {"link": "https://x/{{a}}"}},
            "body": said, "footer": said,
            "action": {"buttons": [{"type": "reply", "reply": {"id": "{{a}}", "title": "{{b}}"}}]}}),
        ),
        interactive(json!({"type": "list", "header": {"type": "text", "text": "{{a}}"}, "body": said,
            "action": {"button": "{{b}}", "sections": [
                {"title": "{{a}}", "rows": [{"id": "1", "title": "{{a}}", "description": "{{b}}"}]}]}})),
        interactive(
            json!({"type": "product", "action": {"catalog_id": "c", "product_retailer_id": "{{a}}"}}),
        ),
        interactive(
            json!({"type": "product_list", "header": {"type": "text", "text": "h"}, "body": said, "action": {
            "catalog_id": "c", "sections": [{"title": "s", "product_items": [{"product_retailer_id": "{{a}}"}]}]}}),
        ),
        interactive(json!({"type": "flow", "body": said, "action": {"name": "flow", "parameters": {
            "flow_message_version": "3", "flow_token": "{{a}}", "flow_id": "1", "flow_cta": "Book",
            "flow_action": "navigate", "flow_action_payload": {"screen": "S", "data": {"k": "{{b}}", "n": 100}}}}})),
    ]
}

#[test]
fn every_type_reads_and_is_written_back_alike() {
    for value in one_of_each() {
        let message = message(&value);
        assert_eq!(message.to_value(), value);
        assert_eq!(serde_json::to_value(&message).unwrap(), value);
        assert_eq!(message.kind(), value["type"]);
        assert!(message.check_columns(&columns(&["a", "b"])).is_empty());
        assert!(!message.check_columns(&columns(&["a"])).is_empty() || !value.to_string().contains("{{b"));
    }
}

#[test]
fn the_envelope_and_other_spellings_are_taken() {
    let value = json!({"messaging_product": "whatsapp", "recipient_type": "individual", "type": "TEMPLATE",
        "template": {"name": "t", "language": {"code": "en", "policy": "deterministic"}, "components": [
            {"type": "Body"},
            {"type": "BUTTON", "sub_type": "URL", "index": 0, "parameters": [text("x")]}]}});
    let message = message(&value);
    assert_eq!(message.template(), Some(TemplateRef { name: "t", language: "en" }));
    let button = json!({"type": "button", "sub_type": "url", "index": "0", "parameters": [text("x")]});
    assert_eq!(message.to_value(), template(&json!([button])));
    assert_eq!(super::tests::message(&text_message("x")).template(), None);
}

/// Holds each message to the complaint about one field.
fn assert_complaints(cases: &[(Value, &str, &str)]) {
    for (value, field, message) in cases {
        let found = complaints(value);
        assert!(
            found.iter().any(|(at, said)| at == field && said.contains(message)),
            "{value}\nshould complain about {field}: {message}\nand says {found:?}"
        );
    }
}

#[test]
fn what_is_wrong_is_named_by_its_field_with_a_remedy() {
    assert_complaints(&[
        (json!("hello"), "message", "must be a JSON object"),
        (json!({}), "message.type", "is missing"),
        (json!({"type": "poll"}), "message.type", "give one of template, text"),
        (json!({"type": "text"}), "message.text", "is missing"),
        (json!({"type": "text", "text": "hi"}), "message.text", "must be a JSON object"),
        (json!({"type": "text", "text": {}}), "message.text.body", "is missing"),
        (json!({"type": "text", "text": {"body": true}}), "message.text.body", "must be a string"),
        (
            json!({"type": "text", "text": {"body": "b", "preview_url": "Yes"}}),
            "message.text.preview_url",
            "true or",
        ),
        (
            json!({"type": "text", "text": {"body": "b", "bdoy": 1}}),
            "message.text.bdoy",
            "the members are body",
        ),
        (json!({"type": "text", "text": {"body": "b"}, "to": "+91"}), "message.to", "come from the audience"),
        (json!({"type": "text", "text": {"body": "{{a"}}), "message.text.body", "unbalanced braces"),
        (json!({"type": "image", "image": {}}), "message.image.link", "is missing"),
        (json!({"type": "image", "image": {"link": "ftp://x"}}), "message.image.link", "starts with http://"),
        (
            json!({"type": "image", "image": {"link": "http://x", "id": "1"}}),
            "message.image.id",
            "the one or the other",
        ),
        (
            json!({"type": "audio", "audio": {"link": "http://x", "caption": "c"}}),
            "message.audio.caption",
            "not known",
        ),
        (
            json!({"type": "location", "location": {"latitude": "north", "longitude": 1}}),
            "message.location.latitude",
            "is not a number",
        ),
        (
            json!({"type": "location", "location": {"latitude": 1, "longitude": 1, "address": "a"}}),
            "message.location.address",
            "give `name` too",
        ),
        (json!({"type": "contacts", "contacts": []}), "message.contacts", "is empty"),
        (
            json!({"type": "contacts", "contacts": [{"name": {"first_name": "A"}}]}),
            "message.contacts[0].name.formatted_name",
            "is missing",
        ),
    ]);
}

#[test]
fn what_is_wrong_in_a_template_is_named_by_its_field() {
    assert_complaints(&[
        (
            json!({"type": "template", "template": {"name": "t", "language": "en"}}),
            "message.template.language",
            "must be a JSON object",
        ),
        (
            json!({"type": "template", "template": {"name": "", "language": {"code": "en"}}}),
            "message.template.name",
            "may not be empty",
        ),
        (template(&json!({})), "message.template.components", "must be an array"),
        (
            template(&json!([body(&json!([text("")]))])),
            "message.template.components[0].parameters[0].text",
            "may not be empty",
        ),
        (
            template(&json!([body(&json!([{"type": "image", "image": {}}]))])),
            "message.template.components[0].parameters[0].type",
            "give one of text, currency, date_time",
        ),
        (
            template(&json!([body(&json!([text("a")])), body(&json!([text("b")]))])),
            "message.template.components[1]",
            "filled already",
        ),
        (
            template(&json!([{"type": "header", "parameters": [text("a"), text("b")]}])),
            "message.template.components[0].parameters",
            "one parameter only",
        ),
        (
            template(&json!([{"type": "button", "sub_type": "otp", "index": 0, "parameters": []}])),
            "message.template.components[0].sub_type",
            "give one of url, quick_reply, flow",
        ),
        (
            template(
                &json!([{"type": "button", "sub_type": "url", "index": "{{a}}", "parameters": [text("x")]}]),
            ),
            "message.template.components[0].index",
            "position",
        ),
        (
            template(&json!([{"type": "button", "sub_type": "url", "index": 1}])),
            "message.template.components[0].parameters",
            "is missing",
        ),
    ]);
}

#[test]
fn what_is_wrong_in_an_interactive_message_is_named_by_its_field() {
    let buttons = |buttons: Value| {
        json!({"type": "interactive", "interactive":
            {"type": "button", "body": {"text": "b"}, "action": {"buttons": buttons}}})
    };
    let reply = |id: &str, title: &str| json!({"type": "reply", "reply": {"id": id, "title": title}});
    let list = |sections: Value| {
        json!({"type": "interactive", "interactive":
            {"type": "list", "body": {"text": "b"}, "action": {"button": "c", "sections": sections}}})
    };
    let row = |id: &str| json!({"id": id, "title": "t"});
    assert_complaints(&[
        (buttons(json!([])), "message.interactive.action.buttons", "give 1 to 3"),
        (
            buttons(json!([reply("1", "A"), reply("2", "A")])),
            "message.interactive.action.buttons[1].reply.title",
            "is there twice",
        ),
        (buttons(json!([reply(" 1", "A")])), "message.interactive.action.buttons[0].reply.id", "space"),
        (
            list(json!([{"rows": [row("1")]}, {"title": "b", "rows": [row("2")]}])),
            "message.interactive.action.sections[0].title",
            "several sections",
        ),
        (
            list(json!([{"rows": (0..11).map(|n| row(&n.to_string())).collect::<Vec<_>>()}])),
            "message.interactive.action.sections",
            "has 11 rows",
        ),
        (
            json!({"type": "interactive", "interactive": {"type": "list", "action": {}}}),
            "message.interactive.body",
            "is missing",
        ),
    ]);
}

#[test]
fn all_complaints_come_at_once_and_each_once() {
    let value = json!({"type": "interactive", "interactive": {"type": "button", "action": {"buttons": [
        {"type": "reply", "reply": {"id": "1"}}, {"type": "call", "reply": {"id": "2", "title": "{{"}}]}}});
    let fields: Vec<String> = complaints(&value).into_iter().map(|(field, _)| field).collect();
    let at = |rest: &str| format!("message.interactive.{rest}");
    assert_eq!(
        fields,
        [
            at("body"),
            at("action.buttons[0].reply.title"),
            at("action.buttons[1].type"),
            at("action.buttons[1].reply.title")
        ]
    );
}

#[test]
fn documented_maxima_hold_for_literals() {
    let long = |chars: usize| "ü".repeat(chars);
    let with_body = |chars, alone: bool| {
        let mut components = vec![body(&json!([text(&long(chars))]))];
        if !alone {
            components.push(json!({"type": "header", "parameters": [text("h")]}));
        }
        template(&json!(components))
    };
    let list = |title: usize, description: usize, id: usize| {
        json!({"type": "interactive", "interactive": {"type": "list", "body": {"text": "b"}, "action": {
            "button": "c", "sections": [{"rows": [
                {"id": long(id), "title": long(title), "description": long(description)}]}]}}})
    };
    let interactive = |header: usize, body: usize, footer: usize, button: usize| {
        json!({"type": "interactive", "interactive": {"type": "button",
            "header": {"type": "text", "text": long(header)}, "body": {"text": long(body)},
            "footer": {"text": long(footer)},
            "action": {"buttons": [{"type": "reply", "reply": {"id": "1", "title": long(button)}}]}}})
    };
    let caption = |chars| json!({"type": "image", "image": {"link": "https://x", "caption": long(chars)}});
    let header = |chars| template(&json!([{"type": "header", "parameters": [text(&long(chars))]}]));
    for fits in [
        text_message(&long(4096)),
        with_body(1024, false),
        with_body(32_768, true),
        list(24, 72, 200),
        interactive(60, 1024, 60, 20),
        caption(1024),
        header(60),
    ] {
        assert!(Message::parse(&fits).is_ok());
    }
    for exceeds in [
        text_message(&long(4097)),
        with_body(1025, false),
        with_body(32_769, true),
        list(25, 72, 200),
        list(24, 73, 200),
        list(24, 72, 201),
        interactive(61, 1024, 60, 20),
        interactive(60, 1025, 60, 20),
        interactive(60, 1024, 61, 20),
        interactive(60, 1024, 60, 21),
        caption(1025),
        header(61),
    ] {
        let found = complaints(&exceeds);
        assert_eq!(found.len(), 1, "{found:?}");
        assert!(found[0].1.contains("shorten it"), "{found:?}");
    }
}

#[test]
fn unknown_columns_are_named_with_the_field_that_uses_them() {
    let value = template(&json!([
        {"type": "header", "parameters": [text("{{CITY}}")]},
        body(&json!([text("ok"), text("{{nmae}}")])),
    ]));
    let errors = message(&value).check_columns(&columns(&["name", "city"]));
    assert_eq!(errors.len(), 1);
    assert_eq!(errors[0].field, "message.template.components[1].parameters[1].text");
    assert_eq!(errors[0].message, "the audience has no column `nmae`: did you mean `name`?");
}

#[test]
fn cells_defaults_and_the_phone_are_filled_in() {
    let value = text_message("Hi {{name|friend}}, {{city}}, {{Phone}}!");
    let said = |row: &[&str]| rendered(&value, &["name", "city"], row).unwrap()["text"]["body"].clone();
    assert_eq!(said(&["Asha \"A\"\n", "Pune\\"]), "Hi Asha \"A\"\n, Pune\\, +919876543210!");
    assert_eq!(said(&[" ", ""]), "Hi friend, , +919876543210!");
    assert_eq!(said(&[]), "Hi friend, , +919876543210!");
}

#[test]
fn a_row_without_a_needed_value_fails_by_column() {
    let value = template(&json!([body(&json!([text("{{ NAME }}"), text("{{city|}}")]))]));
    let error = rendered(&value, &["name", "city"], &["  ", "Pune"]).unwrap_err();
    assert_eq!((error.code, error.column.as_deref()), (MISSING_VALUE, Some("name")));
    assert_eq!(error.field, "message.template.components[0].parameters[0].text");
    assert!(error.message.contains("{{name|a default}}"), "{}", error.message);
    let error = rendered(&value, &["name", "city"], &["Asha", ""]).unwrap_err();
    assert_eq!((error.code, error.column.as_deref()), (MISSING_VALUE, Some("city")));
}

#[test]
fn a_row_that_makes_a_text_too_long_fails_without_showing_it() {
    let value = template(&json!([{"type": "header", "parameters": [text("Hi {{name}}")]}]));
    assert!(rendered(&value, &["name"], &[&"ü".repeat(57)]).is_ok());
    let error = rendered(&value, &["name"], &[&"ü".repeat(58)]).unwrap_err();
    assert_eq!((error.code, error.column.as_deref()), (TOO_LONG, Some("name")));
    assert!(error.message.starts_with("61 characters") && !error.to_string().contains('ü'));
}

#[test]
fn the_phone_counts_with_its_plus_and_any_white_space_is_blank() {
    let header =
        |text: &str| template(&json!([{"type": "header", "parameters": [super::tests::text(text)]}]));
    let filled = format!("{}{{{{phone}}}}", "x".repeat(47));
    assert!(rendered(&header(&filled), &[], &[]).is_ok(), "47 and 13 are 60");
    assert_eq!(rendered(&header(&format!("x{filled}")), &[], &[]).unwrap_err().code, TOO_LONG);
    for blank in ["", " ", "\t\n", "\u{a0}", "\u{3000}"] {
        assert_eq!(
            rendered(&header("{{a}}"), &["a"], &[blank]).unwrap_err().code,
            MISSING_VALUE,
            "{blank:?}"
        );
    }
    assert!(rendered(&header("{{a}}"), &["a"], &["\u{a0}é"]).is_ok());
}

#[test]
fn a_number_may_hold_a_placeholder_and_must_render_to_one() {
    let amount = |amount: Value| {
        template(&json!([body(&json!([{"type": "currency",
            "currency": {"fallback_value": "f", "code": "INR", "amount_1000": amount}}]))]))
    };
    let at = "/template/components/0/parameters/0/currency/amount_1000";
    let value = amount(json!("{{n}}"));
    assert_eq!(rendered(&value, &["n"], &[" 12500 "]).unwrap().pointer(at), Some(&json!(12500)));
    for (cell, code) in
        [("12.5", NOT_A_NUMBER), ("1,000", NOT_A_NUMBER), ("1\",\"x\":\"", NOT_A_NUMBER), ("", MISSING_VALUE)]
    {
        assert_eq!(rendered(&value, &["n"], &[cell]).unwrap_err().code, code, "{cell}");
    }
    assert_eq!(rendered(&amount(json!(7)), &[], &[]).unwrap().pointer(at), Some(&json!(7)));
    assert_eq!(rendered(&amount(json!("7")), &[], &[]).unwrap().pointer(at), Some(&json!(7)));

    let place = json!({"type": "location", "location": {"latitude": "{{n|0}}", "longitude": "-2.5"}});
    assert_eq!(rendered(&place, &["n"], &["18.52"]).unwrap()["location"]["latitude"], "18.52");
    assert_eq!(rendered(&place, &["n"], &[""]).unwrap()["location"]["latitude"], "0");
    assert_eq!(rendered(&place, &["n"], &["18°"]).unwrap_err().code, NOT_A_NUMBER);
}

#[test]
fn a_skeleton_without_its_closing_brace_can_be_continued() {
    for value in [text_message("{{a}}"), text_message("a"), template(&json!([]))] {
        let open = skeleton(&value, &["a"]).without_closing_brace().render(to(), &["x"]).unwrap();
        let closed = [&open[..], b",\"custom\":1}"].concat();
        assert_eq!(serde_json::from_slice::<Value>(&closed).unwrap()["custom"], 1);
    }
}

#[test]
fn a_preview_shows_the_message_and_says_what_to_look_at() {
    let value = json!({"type": "image", "image": {"link": "{{link}}", "caption": "Hi {{name}}"}});
    let preview =
        |row: &[&str]| render_canonical(&message(&value), &columns(&["name", "link"]), to(), row).unwrap();
    let good = preview(&["Asha", "https://x"]);
    assert_eq!(good.message["image"], json!({"link": "https://x", "caption": "Hi Asha"}));
    assert!(good.all_warnings().is_empty());

    let poor = preview(&["", ""]);
    assert_eq!(poor.message["image"]["caption"], "Hi ");
    assert_eq!(poor.errors.len(), 1);
    let all = poor.all_warnings();
    assert!(all[0].starts_with("would not be sent: message.image.link: column `link` is empty"), "{all:?}");
    assert!(all[1].starts_with("message.image.caption: column `name` is empty"), "{all:?}");
    assert!(render_canonical(&message(&value), &columns(&["name"]), to(), &[]).is_err());
}

#[test]
fn facts_tell_what_the_row_fills() {
    let facts = |value: &Value| {
        let facts = message(value).facts(true);
        (facts.is_template, facts.media_per_row, facts.parameters_per_row)
    };
    let header = |link: &str| {
        template(&json!([{"type": "header", "parameters": [{"type": "image", "image": {"link": link}}]}]))
    };
    assert_eq!(facts(&template(&json!([]))), (true, false, false));
    assert_eq!(facts(&template(&json!([body(&json!([text("{{a}}")]))]))), (true, false, true));
    assert_eq!(facts(&header("https://x/{{a}}")), (true, true, true));
    assert_eq!(facts(&header("https://x/a")), (true, false, false));
    assert_eq!(facts(&text_message("x")), (false, false, false));
    assert!(message(&text_message("x")).facts(true).is_marketing);
    assert!(!message(&text_message("x")).facts(false).is_marketing);
}

proptest! {
    #[test]
    fn any_cells_give_valid_json_that_holds_them_unchanged(
        cells in prop::collection::vec(any::<String>(), 3),
        literal in any::<String>().prop_filter("no braces", |text| !text.contains(['{', '}'])),
    ) {
        let value = text_message(&format!("{literal}{{{{a}}}}|{{{{b|default}}}}-{{{{c}}}}"));
        let row: Vec<&str> = cells.iter().map(String::as_str).collect();
        let b = if cells[1].trim().is_empty() { "default" } else { &cells[1] };
        let expected = format!("{literal}{}|{b}-{}", cells[0], cells[2]);
        match rendered(&value, &["a", "b", "c"], &row) {
            Ok(json) => prop_assert_eq!(&json["text"]["body"], &Value::String(expected)),
            Err(error) => prop_assert!(error.code == TOO_LONG && expected.chars().count() > 4096),
        }
    }

    #[test]
    fn every_type_renders_to_valid_json_or_names_a_column(a in ".{0,30}", b in ".{0,30}") {
        for value in one_of_each() {
            let skeleton = skeleton(&value, &["a", "b"]);
            if let Err(error) = skeleton.render(to(), &[&a, &b]) {
                prop_assert!(error.column.is_some());
            }
            let (shown, _) = skeleton.render_anyway(to(), &[&a, &b]);
            prop_assert!(serde_json::from_slice::<Value>(&shown).is_ok());
        }
    }

    #[test]
    fn parsing_any_string_never_panics(raw in any::<String>(), braces in "[{}|a ]{0,12}") {
        for text in [raw, braces] {
            if let Ok(parsed) = Text::parse(&text, "f", Limits::FREE) {
                prop_assert_eq!(parsed.raw(), &text);
            }
        }
    }
}

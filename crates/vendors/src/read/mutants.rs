//! A document as it must never come: each place in it left out, doubled, replaced, turned into another form.
//!
//! For tests of a strict reading against the liberal one.

use serde_json::Value;

/// What is put in the place of a value.
const SUBSTITUTES: [&str; 26] = [
    "null",
    "true",
    "0",
    "-0",
    "-1",
    "202",
    "400",
    "200.0",
    "2e2",
    "1e999",
    "99999999999999999999",
    r#""""#,
    r#"" ""#,
    r#""202""#,
    r#""400""#,
    r#""000000""#,
    r#"" 000000 ""#,
    r#""success""#,
    r#""\u00a0id\u2003""#,
    r#""a\u0000b""#,
    r#""\u0000""#,
    r#""\ud800""#,
    "\"a\0b\"",
    "[]",
    "{}",
    r#"[{"id":"x","sid":"x"}]"#,
];

/// Fields that decide something in one of the answers.
const STRANGERS: [&str; 10] =
    ["code", "error", "error_code", "errors", "status", "id", "sid", "token", "items", "exo_status"];

/// A key in its quotes, and the text of its value.
type Field = (String, String);

/// The document itself, and each of its mutants with one change.
pub fn mutants(document: &Value) -> Vec<String> {
    let text = document.to_string();
    let mut found = vec![
        format!(" \n{text}\t"),
        format!("\u{feff}{text}"),
        format!("{text}x"),
        format!("{text}{text}"),
        format!("[{text}]"),
        text.replace('}', ",}"),
    ];
    found.extend((0..text.len()).filter_map(|end| text.get(..end)).map(str::to_owned));
    change(document, &|text| text.to_owned(), &mut found);
    found.push(text);
    found
}

/// Adds the document with each change to `value`, which `around` puts in its place.
fn change(value: &Value, around: &dyn Fn(&str) -> String, found: &mut Vec<String>) {
    found.extend(SUBSTITUTES.iter().map(|text| around(text)));
    found.push(around(&format!("[{value}]")));
    match value {
        Value::Object(object) => {
            let fields =
                object.iter().map(|(key, value)| (Value::from(key.as_str()).to_string(), value.to_string()));
            let fields: Vec<Field> = fields.collect();
            let put = |fields: &[Field]| around(&object_of(fields));
            change_fields(&fields, &put, found);
            let values: Vec<&str> = fields.iter().map(|(_, value)| value.as_str()).collect();
            found.push(around(&format!("[{}]", values.join(","))));
            for (at, value) in object.values().enumerate() {
                let changed = |text: &str| {
                    let mut fields = fields.clone();
                    text.clone_into(&mut fields[at].1);
                    put(&fields)
                };
                change(value, &changed, found);
            }
        }
        Value::Array(items) => {
            let texts: Vec<String> = items.iter().map(Value::to_string).collect();
            found.push(around(&format!("[{}]", [texts.as_slice(), texts.as_slice()].concat().join(","))));
            for (at, item) in items.iter().enumerate() {
                let changed = |text: &str| {
                    let mut texts = texts.clone();
                    text.clone_into(&mut texts[at]);
                    around(&format!("[{}]", texts.join(",")))
                };
                change(item, &changed, found);
            }
        }
        _ => {}
    }
}

/// Adds the object with a field less, a field twice, and a field that it does not have.
fn change_fields(fields: &[Field], put: &dyn Fn(&[Field]) -> String, found: &mut Vec<String>) {
    let mut add = |key: &str, text: &str| {
        let field = [(key.to_owned(), text.to_owned())];
        found.push(put(&[fields, &field].concat()));
        found.push(put(&[&field, fields].concat()));
    };
    for (key, _) in fields {
        for text in SUBSTITUTES {
            add(key, text);
            add(&key.to_uppercase(), text);
        }
    }
    for key in STRANGERS.map(|key| format!("\"{key}\"")) {
        if fields.iter().all(|(known, _)| *known != key) {
            for text in ["400", "\"EX_FAILED\"", "null", r#"[{"code":131026}]"#] {
                add(&key, text);
            }
        }
    }
    for at in 0..fields.len() {
        let mut fields = fields.to_vec();
        fields.remove(at);
        found.push(put(&fields));
    }
}

fn object_of(fields: &[Field]) -> String {
    let fields: Vec<String> = fields.iter().map(|(key, value)| format!("{key}:{value}")).collect();
    format!("{{{}}}", fields.join(","))
}

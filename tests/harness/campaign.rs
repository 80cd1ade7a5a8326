//! Campaigns and messages as a caller writes them.

use api::NewCampaign;
use serde_json::{Value, json};

use super::Account;

/// A template message; `values` fill its body's variables and may hold `{{column}}`.
pub fn template(name: &str, language: &str, values: &[&str]) -> Value {
    let parameters: Vec<Value> = values.iter().map(|text| json!({"type": "text", "text": text})).collect();
    let components =
        if values.is_empty() { json!([]) } else { json!([{"type": "body", "parameters": parameters}]) };
    json!({
        "type": "template",
        "template": {"name": name, "language": {"code": language}, "components": components},
    })
}

/// A text message.
pub fn text(body: &str) -> Value {
    json!({"type": "text", "text": {"body": body}})
}

/// A campaign that is launched when it is created; change its fields as you like.
pub fn campaign(account: &Account, audience_id: i64) -> NewCampaign {
    let campaign = json!({
        "name": "A promise",
        "account": account.name,
        "from": account.from,
        "audience_id": audience_id,
        "message": template("order_update", "en", &["{{name}}", "{{city}}"]),
        "launch": true,
    });
    serde_json::from_value(campaign).unwrap()
}

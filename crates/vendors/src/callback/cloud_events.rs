//! The notifications of WhatsApp's Cloud API that speak of templates, numbers and accounts.
//!
//! sobot-io.txt, "Template message status notification" and "Account status", shows one of each; their further words are
//! WhatsApp's own. A word that is not known changes nothing and is kept.

use chrono::{DateTime, Utc};
use model::report::{AccountEvent, Event, News, Standing};
use serde_json::Value;

use crate::read;

/// What one change says.
pub(super) fn event(field: &str, value: &Value, at: Option<DateTime<Utc>>) -> News {
    let what = match field {
        "message_template_status_update" => template(value),
        "message_template_quality_update" => template_quality(value),
        "phone_number_quality_update" => number(value),
        "account_update" => account(value),
        _ => None,
    };
    News::Event(Event { at, what: what.unwrap_or_else(|| other(field, value)) })
}

fn text(value: &Value, key: &str) -> Option<String> {
    read::text_at(value, &[key])
}

fn upper(value: &Value, key: &str) -> Option<String> {
    text(value, key).map(|word| word.to_ascii_uppercase())
}

/// Events write `pt-BR` where messages write `pt_BR`; a halted template is found by the latter.
fn language(value: &Value) -> String {
    text(value, "message_template_language").unwrap_or_default().replace('-', "_")
}

fn template(value: &Value) -> Option<AccountEvent> {
    let other_info = ["title", "description"].map(|key| read::text_at(value, &["other_info", key]));
    let info = other_info.into_iter().flatten().collect::<Vec<_>>().join(": ");
    let reason = text(value, "reason").filter(|reason| reason != "NONE").or(Some(info));
    Some(AccountEvent::Template {
        name: text(value, "message_template_name")?,
        language: language(value),
        event: upper(value, "event")?,
        reason: reason.filter(|reason| !reason.is_empty()).map(|reason| read::brief(&reason)),
    })
}

fn template_quality(value: &Value) -> Option<AccountEvent> {
    Some(AccountEvent::TemplateQuality {
        name: text(value, "message_template_name")?,
        language: language(value),
        quality: upper(value, "new_quality_score")?,
        previous: upper(value, "previous_quality_score"),
    })
}

fn number(value: &Value) -> Option<AccountEvent> {
    Some(AccountEvent::Number {
        number: text(value, "display_phone_number").or_else(|| text(value, "phone_number"))?,
        event: upper(value, "event").or_else(|| upper(value, "new_quality_score"))?,
        tier: upper(value, "current_limit"),
    })
}

fn account(value: &Value) -> Option<AccountEvent> {
    let event = upper(value, "event")?;
    let ban = read::text_at(value, &["ban_info", "waba_ban_state"]).map(|word| word.to_ascii_uppercase());
    let restrictions: Vec<(String, Option<DateTime<Utc>>)> = value
        .get("restriction_info")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
        .filter_map(|one| Some((upper(one, "restriction_type")?, read::time(one.get("expiration")))))
        .collect();
    let banned_at = read::text_at(value, &["ban_info", "waba_ban_date"]);
    let violation = read::text_at(value, &["violation_info", "violation_type"]);
    let told = restrictions.iter().map(|(kind, _)| kind.clone());
    let detail: Vec<String> = ban.clone().into_iter().chain(banned_at).chain(told).chain(violation).collect();
    Some(AccountEvent::Account {
        number: text(value, "phone_number").unwrap_or_default(),
        standing: standing(&event, ban.as_deref(), &restrictions),
        event,
        detail: (!detail.is_empty()).then(|| read::brief(&detail.join(", "))),
    })
}

/// Restrictions that do not keep anybody from sending to people.
const HARMLESS: [&str; 1] = ["RESTRICTED_ADD_PHONE_NUMBER_ACTION"];

fn standing(event: &str, ban: Option<&str>, restrictions: &[(String, Option<DateTime<Utc>>)]) -> Standing {
    match ban {
        Some("REINSTATE" | "REINSTATED") => return Standing::Restored,
        // The ban is announced, and may yet be averted.
        Some("SCHEDULE_FOR_DISABLE") => return Standing::Unchanged,
        Some(_) => return Standing::Restricted { until: None },
        None => {}
    }
    let sending: Vec<_> =
        restrictions.iter().filter(|(kind, _)| !HARMLESS.contains(&kind.as_str())).collect();
    match event {
        "ACCOUNT_RESTRICTION" if !restrictions.is_empty() && sending.is_empty() => Standing::Unchanged,
        // The last one to end; none when one of them has no end.
        "ACCOUNT_RESTRICTION" => {
            let ends: Option<Vec<_>> = sending.iter().map(|(_, until)| *until).collect();
            Standing::Restricted { until: ends.and_then(|ends| ends.into_iter().max()) }
        }
        "DISABLED_UPDATE" | "ACCOUNT_DISABLED" | "ACCOUNT_BANNED" | "ACCOUNT_LOCKED" | "ACCOUNT_DELETED"
        | "ACCOUNT_RESTRICTED" | "DISABLED" | "BANNED" | "LOCKED" | "RESTRICTED" => {
            Standing::Restricted { until: None }
        }
        "REINSTATED" | "RESTORED" | "ENABLED" | "UNBANNED" | "UNLOCKED" | "ACCOUNT_REINSTATED"
        | "ACCOUNT_RESTORED" | "ACCOUNT_ENABLED" | "ACCOUNT_UNBANNED" | "ACCOUNT_UNLOCKED" => {
            Standing::Restored
        }
        _ => Standing::Unchanged,
    }
}

fn other(field: &str, value: &Value) -> AccountEvent {
    let quality = || {
        Some(format!("{} to {}", text(value, "previous_quality_score")?, text(value, "new_quality_score")?))
    };
    let words = ["event", "new_quality_score", "decision", "status"].iter().find_map(|key| text(value, key));
    let event = read::brief(&quality().or(words).unwrap_or_default());
    AccountEvent::Other { field: field.to_owned(), event }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn standing_of(value: &Value) -> (Standing, Option<String>) {
        match account(value) {
            Some(AccountEvent::Account { standing, detail, .. }) => (standing, detail),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn what_keeps_an_account_from_sending_restricts_it() {
        let restricted = |until| Standing::Restricted { until };
        let end = DateTime::from_timestamp(1_700_000_000, 0);
        let restriction = |kind: &str, until: i64| json!({"restriction_type": kind, "expiration": until});
        for (value, expected) in [
            (json!({"event": "VERIFIED_ACCOUNT"}), Standing::Unchanged),
            (
                json!({"event": "ACCOUNT_VIOLATION", "violation_info": {"violation_type": "SPAM"}}),
                Standing::Unchanged,
            ),
            (json!({"event": "DISABLED_UPDATE"}), restricted(None)),
            (
                json!({"event": "DISABLED_UPDATE", "ban_info": {"waba_ban_state": "DISABLE"}}),
                restricted(None),
            ),
            (
                json!({"event": "DISABLED_UPDATE", "ban_info": {"waba_ban_state": "SCHEDULE_FOR_DISABLE"}}),
                Standing::Unchanged,
            ),
            (
                json!({"event": "DISABLED_UPDATE", "ban_info": {"waba_ban_state": "REINSTATE"}}),
                Standing::Restored,
            ),
            (json!({"event": "account_reinstated"}), Standing::Restored),
            (
                json!({"event": "ACCOUNT_RESTRICTION", "restriction_info": [
                    restriction("RESTRICTED_BIZ_INITIATED_MESSAGING", 1_700_000_000),
                    restriction("RESTRICTED_ADD_PHONE_NUMBER_ACTION", 1_800_000_000)]}),
                restricted(end),
            ),
            (
                json!({"event": "ACCOUNT_RESTRICTION", "restriction_info": [
                    restriction("RESTRICTED_ADD_PHONE_NUMBER_ACTION", 1_800_000_000)]}),
                Standing::Unchanged,
            ),
            (json!({"event": "ACCOUNT_RESTRICTION"}), restricted(None)),
        ] {
            assert_eq!(standing_of(&value).0, expected, "{value}");
        }
        let told = json!({"event": "DISABLED_UPDATE",
                          "ban_info": {"waba_ban_state": "DISABLE", "waba_ban_date": "June 1, 2026"}});
        assert_eq!(standing_of(&told).1.as_deref(), Some("DISABLE, June 1, 2026"));
    }

    #[test]
    fn a_template_tells_its_reason_in_either_place() {
        let told = |value: Value| match template(&value) {
            Some(AccountEvent::Template { reason, language, .. }) => (language, reason),
            other => panic!("{other:?}"),
        };
        let base =
            json!({"event": "paused", "message_template_name": "sale", "message_template_language": "pt-BR"});
        assert_eq!(told(base.clone()), ("pt_BR".to_owned(), None));
        let mut paused = base.clone();
        paused["reason"] = json!("NONE");
        paused["other_info"] = json!({"title": "FIRST_PAUSE", "description": "rests for 3 hours"});
        assert_eq!(told(paused).1.as_deref(), Some("FIRST_PAUSE: rests for 3 hours"));
        let mut rejected = base;
        rejected["reason"] = json!("ABUSIVE_CONTENT");
        assert_eq!(told(rejected).1.as_deref(), Some("ABUSIVE_CONTENT"));
    }
}

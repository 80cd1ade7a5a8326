//! Templates at sg.sobot.io: one list, one call to create, one to delete a name in all its languages.
//!
//! Source: sobot-io.txt, "Message template management". Components have WhatsApp's form already.

use model::template::{TemplateStatus, category_of_word};
use serde_json::{Value, json};

use super::{
    client::{Called, Client, Request},
    wire::Envelope,
};
use crate::{
    NewTemplate, TemplatesError, VendorTemplate, codes,
    http::{BATCH_ANSWER_BYTES, SINGLE_ANSWER_BYTES},
    read,
    templates::LIMIT_TEMPLATES,
};

impl Client {
    pub async fn list_templates(&self) -> Result<Vec<VendorTemplate>, TemplatesError> {
        let url = format!("{}/templateList", self.whatsapp_url);
        let query = [("wabaid", self.waba_id.as_str())];
        let envelope = success(self.call(Request::Get(&url, &query), BATCH_ANSWER_BYTES).await)?;
        let listed =
            envelope.document().and_then(|document| read::at(document, &["item", "data"])?.as_array());
        let listed = listed
            .ok_or_else(|| TemplatesError::unclear(codes::UNREADABLE_ANSWER, "no list of templates"))?;
        Ok(listed.iter().filter_map(template).take(LIMIT_TEMPLATES).collect())
    }

    pub async fn create_template(&self, new: &NewTemplate) -> Result<Option<String>, TemplatesError> {
        let body = json!({
            "wabaid": self.waba_id,
            "name": new.name,
            "language": new.language,
            "category": new.category.as_str().to_ascii_uppercase(),
            "components": new.components,
        });
        let body = bytes::Bytes::from(body.to_string());
        let called = self.call(Request::Post(&self.templates, &body), SINGLE_ANSWER_BYTES).await;
        let envelope = success(called)?;
        Ok(envelope.document().and_then(|document| read::text_at(document, &["item", "id"])))
    }

    pub async fn delete_template(&self, name: &str) -> Result<(), TemplatesError> {
        let url = format!("{}/deleteTemplate", self.whatsapp_url);
        let query = [("wabaid", self.waba_id.as_str()), ("template_name", name)];
        success(self.call(Request::Get(&url, &query), SINGLE_ANSWER_BYTES).await).map(drop)
    }
}

/// What a call says that went well.
fn success(called: Called) -> Result<Envelope, TemplatesError> {
    let (answer, envelope) = match called {
        Called::Answered(answer, envelope) => (answer, envelope),
        Called::NoToken(none) => return Err(TemplatesError::refused(none.code, &none.reason)),
        Called::Failed(fault) => return Err(TemplatesError::of_fault(&fault)),
    };
    match envelope {
        Some(envelope) if (200..=299).contains(&answer.status) && envelope.is_success() => Ok(envelope),
        // A refusal that names a code says more than its status.
        Some(envelope) if answer.status < 500 && !envelope.is_success() => {
            Err(TemplatesError::refused(envelope.code, &envelope.message))
        }
        None if (200..=299).contains(&answer.status) => {
            Err(TemplatesError::unclear(codes::UNREADABLE_ANSWER, "an answer without ret_code"))
        }
        envelope => {
            let reason = envelope.map(|envelope| envelope.message).unwrap_or_default();
            Err(TemplatesError::of_status(answer.status, &reason))
        }
    }
}

fn template(listed: &Value) -> Option<VendorTemplate> {
    let text = |key: &str| read::text_at(listed, &[key]);
    let status_word = text("status").unwrap_or_default().to_ascii_uppercase();
    Some(VendorTemplate {
        name: text("name")?,
        language: text("language")?,
        category: text("category").and_then(|word| category_of_word(&word)),
        status: TemplateStatus::from_word(&status_word),
        status_word,
        components: listed.get("components").cloned().unwrap_or_else(|| json!([])),
        quality: text("quality_score").or_else(|| read::text_at(listed, &["quality_score", "score"])),
        reason: text("rejected_reason").filter(|reason| reason != "NONE").map(|reason| read::brief(&reason)),
        vendor_id: text("id"),
    })
}

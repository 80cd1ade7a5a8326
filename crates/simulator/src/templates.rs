//! A few sample templates that both Sobots list, and those created by callers. Exotel has no call for
//! templates.

use std::sync::{Mutex, PoisonError};

use serde_json::{Value, json};

use crate::check::{Checked, Object, Wrong, as_object, given, invalid, list, one_of, optional_text, text};
use crate::clock::india_time;

const MOST: usize = 10_000;
/// Languages of sobot.in's table.
const SOBOT_IN_LANGUAGES: [&str; 5] = ["en", "en_US", "en_GB", "hi", "mr"];

#[derive(Clone)]
struct Template {
    name: String,
    language: String,
    category: String,
    /// 0 pending, 1 approved, 2 rejected, as sobot.in counts; 3 paused, 4 disabled.
    status: u8,
    body: String,
    header_format: Option<&'static str>,
    header: Option<String>,
    footer: Option<String>,
    quick_replies: Vec<String>,
    url: Option<String>,
    /// sobot.io: the components as a caller gave them.
    components: Option<Value>,
}

impl Template {
    fn new(name: &str, language: &str, category: &str, body: &str) -> Template {
        Template {
            name: name.to_owned(),
            language: language.to_owned(),
            category: category.to_owned(),
            status: 1,
            body: body.to_owned(),
            header_format: None,
            header: None,
            footer: None,
            quick_replies: Vec::new(),
            url: None,
            components: None,
        }
    }

    /// How many different variables the body has: `{{1}}` and so on.
    fn variables(&self) -> usize {
        (1..=100).take_while(|number| self.body.contains(&format!("{{{{{number}}}}}"))).count()
    }
}

fn samples() -> Vec<Template> {
    let mut image = Template::new("image_offer", "en", "MARKETING", "Hello {{1}}, look at this.");
    image.header_format = Some("IMAGE");
    let mut document = Template::new("invoice", "en_US", "UTILITY", "Dear {{1}}, your invoice {{2}}.");
    document.header_format = Some("DOCUMENT");
    document.url = Some("https://example.com/pay/{{1}}".to_owned());
    let mut replies =
        Template::new("seasonal_promotion", "en_US", "MARKETING", "Shop now through {{1}} with code {{2}}.");
    replies.header = Some("Our {{1}} is on!".to_owned());
    replies.footer = Some("Use the buttons below to manage your subscriptions".to_owned());
    replies.quick_replies = vec!["Unsubscribe from Promos".to_owned(), "Unsubscribe from All".to_owned()];
    let mut pending = Template::new("spring_sale", "en", "MARKETING", "Spring is here, {{1}}.");
    pending.status = 0;
    let mut rejected = Template::new("free_money", "en", "MARKETING", "Free money!");
    rejected.status = 2;
    vec![
        Template::new("hello_world", "en", "UTILITY", "Welcome and congratulations!!"),
        Template::new("hello_world", "en_US", "UTILITY", "Welcome and congratulations!!"),
        Template::new("order_update", "en", "UTILITY", "Hi {{1}}, your order {{2}} is on its way."),
        Template::new("candidate_feedback_message", "en", "UTILITY", "How was it? {{1}}"),
        Template::new("otp", "en_US", "AUTHENTICATION", "{{1}} is your verification code."),
        image,
        document,
        replies,
        pending,
        rejected,
    ]
}

pub(crate) struct Templates {
    all: Mutex<Vec<Template>>,
}

impl Templates {
    pub(crate) fn new(extra: u32) -> Templates {
        let mut all = samples();
        let bulk = |number: u32| Template::new(&format!("bulk_{number}"), "en", "MARKETING", "Hello {{1}}");
        all.extend((1..=extra).map(bulk));
        Templates { all: Mutex::new(all) }
    }

    /// Whether an approved template exists and has so many variables in its body.
    pub(crate) fn check(&self, name: &str, language: &str, variables: usize) -> Checked {
        let all = self.all.lock().unwrap_or_else(PoisonError::into_inner);
        let found = all.iter().find(|one| one.name == name && one.language == language && one.status == 1);
        match found.map(Template::variables) {
            None => invalid(Wrong::Template, "template.name", "does not exist in that language"),
            Some(expected) if expected != variables => {
                let reason = format!("has {expected} variables in its body, {variables} were given");
                invalid(Wrong::Parameters, "template.components", reason)
            }
            Some(_) => Ok(()),
        }
    }

    /// Category and language of the first template with this name.
    pub(crate) fn find(&self, name: &str) -> Option<(String, String)> {
        let all = self.all.lock().unwrap_or_else(PoisonError::into_inner);
        all.iter().find(|one| one.name == name).map(|one| (one.category.clone(), one.language.clone()))
    }

    /// sobot.io's `templateList`.
    pub(crate) fn sobot_io(&self) -> Vec<Value> {
        let all = self.all.lock().unwrap_or_else(PoisonError::into_inner);
        all.iter().zip(601_486_201_712_874_u64..).map(|(one, id)| sobot_io_form(one, id)).collect()
    }

    /// sobot.io's `createTemplateInfo`; approved at once.
    pub(crate) fn add_sobot_io(&self, request: &Object) -> Checked<usize> {
        text(request, "wabaid", 64)?;
        let name = text(request, "name", 512)?;
        let language = text(request, "language", 32)?;
        let category = one_of(request, "category", &["UTILITY", "MARKETING", "AUTHENTICATION"])?;
        let components = list(request, "components")?;
        let mut body = "";
        for component in components {
            let component = as_object(component, "components")?;
            let kind = text(component, "components.type", 64)?;
            if kind.eq_ignore_ascii_case("body") {
                body = optional_text(component, "components.text", 1_024)?.unwrap_or_default();
            }
        }
        let mut template = Template::new(name, language, category, body);
        template.components = Some(Value::Array(components.clone()));
        self.add(template)
    }

    /// sobot.io's `deleteTemplate`: all languages of a name. False when there was none.
    pub(crate) fn delete(&self, name: &str) -> bool {
        let mut all = self.all.lock().unwrap_or_else(PoisonError::into_inner);
        let before = all.len();
        all.retain(|one| one.name != name);
        all.len() < before
    }

    /// What an event makes of a template; other words change nothing.
    pub(crate) fn set_status(&self, name: &str, language: &str, event: &str) {
        let status = match event {
            "" | "APPROVED" => 1,
            "REJECTED" => 2,
            "PAUSED" => 3,
            "DISABLED" => 4,
            _ => return,
        };
        let mut all = self.all.lock().unwrap_or_else(PoisonError::into_inner);
        for one in all.iter_mut().filter(|one| one.name == name && one.language == language) {
            one.status = status;
        }
    }

    /// sobot.in's list, of one status or of all.
    pub(crate) fn sobot_in(&self, status: Option<u8>, created_ms: i64) -> Vec<Value> {
        let all = self.all.lock().unwrap_or_else(PoisonError::into_inner);
        let asked = all.iter().enumerate().filter(|(_, one)| status.is_none_or(|only| only == one.status));
        asked.map(|(number, one)| sobot_in_form(one, number, created_ms)).collect()
    }

    /// sobot.in's `POST /api/template/`; pending at first.
    pub(crate) fn add_sobot_in(&self, request: &Value) -> Checked {
        let request = as_object(request, "body")?;
        let category = one_of(request, "category", &["MARKETING", "UTILITY", "AUTHENTICATION"])?;
        let name = text(request, "entity_name", 128)?.replace(' ', "_");
        let kind = one_of(request, "template_type", &["TEXT", "MEDIA"])?;
        let body = text(request, "body", 1_024)?;
        let language = optional_text(request, "lang_code", 8)?.unwrap_or("en_US");
        if !SOBOT_IN_LANGUAGES.contains(&language) {
            return invalid(Wrong::Value, "lang_code", "is not supported");
        }
        let mut template = Template::new(&name, language, category, body);
        template.status = 0;
        template.footer = optional_text(request, "footer", 60)?.map(str::to_owned);
        if kind == "MEDIA" {
            let format = one_of(request, "header_type", &["IMAGE", "VIDEO", "DOCUMENT"])?;
            crate::check::link(request, "example")?;
            template.header_format = ["IMAGE", "VIDEO", "DOCUMENT"].into_iter().find(|one| *one == format);
        } else if given(request, "header_type").is_some() {
            one_of(request, "header_type", &["TEXT"])?;
            template.header = Some(text(request, "header", 60)?.to_owned());
        }
        if template.variables() > 0 && given(request, "example_body_param").is_none() {
            return invalid(Wrong::Missing, "example_body_param", "is mandatory for a body with variables");
        }
        let taken = |one: &Template| one.name == name;
        if self.all.lock().unwrap_or_else(PoisonError::into_inner).iter().any(taken) {
            return invalid(Wrong::Value, "entity_name", "exists already");
        }
        self.add(template).map(drop)
    }

    fn add(&self, template: Template) -> Checked<usize> {
        let mut all = self.all.lock().unwrap_or_else(PoisonError::into_inner);
        if all.len() >= MOST {
            return invalid(Wrong::Value, "name", "the account has too many templates");
        }
        all.push(template);
        Ok(all.len() - 1)
    }
}

fn sobot_io_form(template: &Template, id: u64) -> Value {
    let mut components = Vec::new();
    if let Some(format) = template.header_format {
        let example = json!({"header_handle": ["https://example.com/media/1"]});
        components.push(json!({"format": format, "type": "HEADER", "example": example}));
    }
    if let Some(header) = &template.header {
        components.push(json!({"format": "TEXT", "type": "HEADER", "text": header}));
    }
    components.push(json!({"text": template.body, "type": "BODY"}));
    if let Some(footer) = &template.footer {
        components.push(json!({"text": footer, "type": "FOOTER"}));
    }
    let replies = template.quick_replies.iter().map(|text| json!({"text": text, "type": "QUICK_REPLY"}));
    let links = template.url.iter().map(
        |url| json!({"text": "Open", "type": "URL", "url": url, "example": [url.replace("{{1}}", "1234")]}),
    );
    let buttons: Vec<Value> = replies.chain(links).collect();
    if !buttons.is_empty() {
        components.push(json!({"buttons": buttons, "type": "BUTTONS"}));
    }
    let status = match template.status {
        0 => "PENDING",
        1 => "APPROVED",
        3 => "PAUSED",
        4 => "DISABLED",
        _ => "REJECTED",
    };
    json!({
        "components": template.components.clone().unwrap_or(Value::Array(components)),
        "name": template.name,
        "language": template.language,
        "id": id.to_string(),
        "category": template.category,
        "status": status,
    })
}

fn sobot_in_form(template: &Template, number: usize, created_ms: i64) -> Value {
    let is_media = template.header_format.is_some();
    let header_type = template.header_format.or(template.header.as_ref().map(|_| "TEXT"));
    let replies = Some(&template.quick_replies).filter(|replies| !replies.is_empty());
    json!({
        "id": 584 + number,
        "phone_numbers": null,
        "template": template.body,
        "entity_name": template.name,
        "category": template.category,
        "template_id": (759_559_305_816_228_u64 + number as u64).to_string(),
        "header": template.header,
        "header_type": header_type,
        "template_type": if is_media { "MEDIA" } else { "TEXT" },
        "sub_type": template.url.as_ref().map(|_| "CTA"),
        "buttons": replies,
        "footer": template.footer,
        "url": template.url,
        "example": is_media.then_some("https://example.com/media/1"),
        "example_website": template.url.as_ref().map(|url| url.replace("{{1}}", "delhi")),
        "url_name": template.url.as_ref().map(|_| "Open"),
        "created_at": india_time(created_ms),
        "updated_at": null,
        "status": template.status.min(2),
        "rejected_reason": (template.status == 2).then_some("Not allowed"),
        "added_by": 156,
        "lang_code": template.language,
    })
}

//! Templates at api.sobot.in: a list in pages of 20, and a call to create one. There is no call to delete one.
//!
//! Source: sobot-in.txt, "Templates". Its flat form is turned into WhatsApp's components and back.

use bytes::Bytes;
use model::{
    FieldError,
    template::{TemplateStatus, category_of_word, component, variables},
};
use serde_json::{Map, Value, json};
use url::Url;

use super::{client::Client, wire};
use crate::{
    NewTemplate, TemplatesError, VendorTemplate, codes,
    http::{Answer, BATCH_ANSWER_BYTES, SINGLE_ANSWER_BYTES},
    read,
    templates::LIMIT_TEMPLATES,
};

/// Templates on a page, as documented.
const PAGE_TEMPLATES: usize = 20;
/// Pages that are followed: a list that links to itself must end.
const LIMIT_PAGES: usize = LIMIT_TEMPLATES / PAGE_TEMPLATES;

impl Client {
    pub async fn list_templates(&self) -> Result<Vec<VendorTemplate>, TemplatesError> {
        let mut templates = Vec::new();
        let mut next = Some(self.templates_url.clone());
        for _ in 0..LIMIT_PAGES {
            let Some(url) = next.take() else { return Ok(templates) };
            let page = self.page(&url).await?;
            let listed = page.get("data").and_then(Value::as_array);
            let listed = listed
                .ok_or_else(|| TemplatesError::unclear(codes::UNREADABLE_ANSWER, "no list of templates"))?;
            templates.extend(listed.iter().filter_map(Value::as_object).filter_map(template));
            next = read::text_at(&page, &["next"])
                .filter(|_| !listed.is_empty())
                .and_then(|link| self.followed(&link));
        }
        Err(TemplatesError::unclear(codes::ANSWER_TOO_LARGE, &format!("more than {LIMIT_PAGES} pages")))
    }

    async fn page(&self, url: &str) -> Result<Value, TemplatesError> {
        let request = self.http.get(url).headers(self.keys.clone());
        let answer = self.http.call(request, BATCH_ANSWER_BYTES, self.http.deadline()).await;
        let answer = answer.map_err(|fault| TemplatesError::of_fault(&fault))?;
        refused(&answer)?;
        serde_json::from_slice(&answer.body)
            .map_err(|_| TemplatesError::unclear(codes::UNREADABLE_ANSWER, "no JSON"))
    }

    /// Links are of another scheme and host than the calls: only their path and query are followed, so that the keys go
    /// nowhere else.
    fn followed(&self, link: &str) -> Option<String> {
        let base = Url::parse(&self.templates_url).ok()?;
        let link = base.join(link).ok()?;
        let query = link.query().map(|query| format!("?{query}")).unwrap_or_default();
        Some(format!("{}{}{query}", self.http.base_url, link.path()))
    }

    pub async fn create_template(&self, new: &NewTemplate) -> Result<Option<String>, TemplatesError> {
        let body = request(new).map_err(TemplatesError::Inexpressible)?;
        let body = Bytes::from(Value::Object(body).to_string());
        let deadline = self.http.deadline();
        let answer = self.http.post(&self.templates, None, body, SINGLE_ANSWER_BYTES, deadline).await;
        refused(&answer.map_err(|fault| TemplatesError::of_fault(&fault))?)?;
        Ok(None)
    }
}

/// An error for an answer that is no success, by the code in its body or by its status.
fn refused(answer: &Answer) -> Result<(), TemplatesError> {
    let said = wire::read_answer(&answer.body);
    let code = said.as_ref().and_then(|said| said.code.as_deref()?.parse::<u32>().ok());
    let reason = said.and_then(|said| said.message).unwrap_or_default();
    match (answer.status, code) {
        (200..=299, None | Some(200..=299)) => Ok(()),
        (200..=299, Some(code @ 300..=599)) => {
            Err(TemplatesError::of_status(u16::try_from(code).unwrap_or(500), &reason))
        }
        (200..=299, Some(code)) => Err(TemplatesError::refused(code.to_string(), &reason)),
        (status, _) => Err(TemplatesError::of_status(status, &reason)),
    }
}

fn template(listed: &Map<String, Value>) -> Option<VendorTemplate> {
    let text = |key: &str| read::text(listed.get(key));
    let (status, word) = match text("status")?.as_str() {
        "0" => (TemplateStatus::Pending, "PENDING".to_owned()),
        "1" => (TemplateStatus::Approved, "APPROVED".to_owned()),
        "2" => (TemplateStatus::Rejected, "REJECTED".to_owned()),
        word => (TemplateStatus::from_word(word), word.to_ascii_uppercase()),
    };
    Some(VendorTemplate {
        name: text("entity_name")?,
        language: text("lang_code")?,
        category: text("category").and_then(|word| category_of_word(&word)),
        status,
        status_word: word,
        components: components(listed),
        quality: None,
        reason: text("rejected_reason").map(|reason| read::brief(&reason)),
        vendor_id: text("template_id").or_else(|| text("id")),
    })
}

/// WhatsApp's components of the flat form.
fn components(listed: &Map<String, Value>) -> Value {
    let text = |key: &str| read::text(listed.get(key));
    let mut components = Vec::new();
    match text("header_type").map(|word| word.to_ascii_uppercase()).as_deref() {
        None => {}
        Some("TEXT") => components.push(json!({"type": "HEADER", "format": "TEXT", "text": text("header")})),
        Some(format) => {
            // The table spells one of them "DOUCMENT".
            let format = if format.starts_with("DO") { "DOCUMENT" } else { format };
            let example = text("example").map(|link| json!({"header_handle": [link]}));
            components.push(json!({"type": "HEADER", "format": format, "example": example}));
        }
    }
    components.push(json!({"type": "BODY", "text": text("template").unwrap_or_default()}));
    if let Some(footer) = text("footer") {
        components.push(json!({"type": "FOOTER", "text": footer}));
    }
    let buttons = buttons(listed);
    if !buttons.is_empty() {
        components.push(json!({"type": "BUTTONS", "buttons": buttons}));
    }
    Value::Array(components)
}

fn buttons(listed: &Map<String, Value>) -> Vec<Value> {
    let text = |key: &str| read::text(listed.get(key));
    let replies = listed.get("buttons").and_then(Value::as_array).into_iter().flatten();
    let mut buttons: Vec<Value> =
        replies.map(|reply| json!({"type": "QUICK_REPLY", "text": read::text(Some(reply))})).collect();
    if let Some(url) = text("url") {
        let example = text("example_website").map(|link| json!([link]));
        buttons.push(json!({"type": "URL", "text": text("url_name"), "url": url, "example": example}));
    }
    let phones = match listed.get("phone_numbers") {
        Some(Value::Array(phones)) => phones.as_slice(),
        Some(one @ Value::Object(_)) => std::slice::from_ref(one),
        _ => &[],
    };
    buttons.extend(phones.iter().map(|phone| {
        let text = |key: &str| read::text_at(phone, &[key]);
        json!({"type": "PHONE_NUMBER", "text": text("text"), "phone_number": text("phone_number")})
    }));
    buttons
}

/// The languages of its table.
const LANGUAGES: [&str; 5] = ["en", "en_US", "en_GB", "hi", "mr"];
/// Characters of `entity_name`.
const LIMIT_NAME: usize = 128;

/// The flat form of a template that is to be created.
fn request(new: &NewTemplate) -> Result<Map<String, Value>, Vec<FieldError>> {
    let mut errors = Vec::new();
    if new.name.chars().count() > LIMIT_NAME {
        errors.push(FieldError::new("name", format!("has more than {LIMIT_NAME} characters")));
    }
    if !LANGUAGES.contains(&new.language.as_str()) {
        let message = format!("must be one that this vendor supports: {}", LANGUAGES.join(", "));
        errors.push(FieldError::new("language", message));
    }
    let mut body = Map::new();
    let mut put = |key: &str, value: Value| body.insert(key.to_owned(), value);
    put("category", new.category.as_str().to_ascii_uppercase().into());
    put("entity_name", new.name.clone().into());
    put("lang_code", new.language.clone().into());
    put_texts(new, &mut put, &mut errors);
    put_header(new, &mut put, &mut errors);
    put_buttons(new, &mut put, &mut errors);
    if errors.is_empty() { Ok(body) } else { Err(errors) }
}

type Put<'a> = dyn FnMut(&str, Value) -> Option<Value> + 'a;

/// Where a component stands in the request, for complaints.
fn place(new: &NewTemplate, kind: &str) -> String {
    let is_it =
        |one: &Value| read::text_at(one, &["type"]).is_some_and(|word| word.eq_ignore_ascii_case(kind));
    let at = new.components.as_array().and_then(|list| list.iter().position(is_it)).unwrap_or(0);
    format!("components[{at}]")
}

fn put_texts(new: &NewTemplate, put: &mut Put<'_>, errors: &mut Vec<FieldError>) {
    let text_of = |kind: &str| component(&new.components, kind).and_then(|one| read::text_at(one, &["text"]));
    match text_of("body") {
        Some(text) => {
            let example =
                component(&new.components, "body").and_then(|body| read::at(body, &["example", "body_text"]));
            match example {
                Some(example) if !variables(&text).is_empty() => {
                    put("example_body_param", json!({"body_text": example}));
                }
                None if !variables(&text).is_empty() => {
                    let field = format!("{}.example.body_text", place(new, "body"));
                    errors.push(FieldError::new(
                        field,
                        "is needed for a body with variables: a list of their examples",
                    ));
                }
                _ => {}
            }
            put("body", text.into());
        }
        None => errors.push(FieldError::new(format!("{}.text", place(new, "body")), "is missing")),
    }
    if let Some(footer) = text_of("footer") {
        put("footer", footer.into());
    }
}

fn put_header(new: &NewTemplate, put: &mut Put<'_>, errors: &mut Vec<FieldError>) {
    let header = component(&new.components, "header");
    let format =
        header.and_then(|header| read::text_at(header, &["format"])).map(|word| word.to_ascii_uppercase());
    let is_media = matches!(format.as_deref(), Some("IMAGE" | "VIDEO" | "DOCUMENT"));
    put("template_type", if is_media { "MEDIA" } else { "TEXT" }.into());
    let (Some(header), Some(format)) = (header, format) else { return };
    match format.as_str() {
        "TEXT" => {
            put("header", header.get("text").cloned().unwrap_or_default());
            if let Some(example) = read::at(header, &["example", "header_text"]) {
                put("example_header_param", json!({"header_text": example}));
            }
        }
        _ if is_media => match read::text_at(header, &["example", "header_handle", "0"]) {
            Some(link) if link.starts_with("http") => {
                put("example", link.into());
            }
            _ => {
                let field = format!("{}.example.header_handle", place(new, "header"));
                errors
                    .push(FieldError::new(field, "must hold the public URL of an example: [\"https://…\"]"));
            }
        },
        _ => {
            let field = format!("{}.format", place(new, "header"));
            errors.push(FieldError::new(field, "must be TEXT, IMAGE, VIDEO or DOCUMENT at this vendor"));
            return;
        }
    }
    put("header_type", format.into());
}

fn put_buttons(new: &NewTemplate, put: &mut Put<'_>, errors: &mut Vec<FieldError>) {
    let Some(buttons) = component(&new.components, "buttons").and_then(|one| one.get("buttons")?.as_array())
    else {
        return;
    };
    let field = format!("{}.buttons", place(new, "buttons"));
    let of = |kind: &str| -> Vec<&Value> {
        let is_it = |button: &&Value| {
            read::text_at(button, &["type"]).is_some_and(|word| word.eq_ignore_ascii_case(kind))
        };
        buttons.iter().filter(is_it).collect()
    };
    let (replies, links, phones) = (of("QUICK_REPLY"), of("URL"), of("PHONE_NUMBER"));
    let actions = links.len() + phones.len();
    let is_known = replies.len() + actions == buttons.len();
    let is_one_kind = replies.is_empty() || actions == 0;
    if !is_known || !is_one_kind || replies.len() > 3 || links.len() > 1 || phones.len() > 1 {
        let message =
            "must be up to three QUICK_REPLY, or one URL and one PHONE_NUMBER at the most, at this vendor";
        errors.push(FieldError::new(field, message));
        return;
    }
    let text = |button: &Value, key: &str| Value::from(read::text_at(button, &[key]).unwrap_or_default());
    if !replies.is_empty() {
        put("buttons", replies.iter().map(|reply| text(reply, "text")).collect());
        return;
    }
    put("sub_type", "CTA".into());
    if let Some(link) = links.first() {
        put("url", text(link, "url"));
        put("url_name", text(link, "text"));
        if let Some(example) =
            read::text_at(link, &["example", "0"]).or_else(|| read::text_at(link, &["example"]))
        {
            put("example_website", example.into());
        }
    }
    if let Some(phone) = phones.first() {
        put(
            "phone_numbers",
            json!([{"phone_number": text(phone, "phone_number"), "text": text(phone, "text")}]),
        );
    }
}

#[cfg(test)]
mod tests {
    use model::campaign::Category;

    use super::*;

    fn new(components: Value) -> NewTemplate {
        let (name, language) = ("sale".to_owned(), "en_US".to_owned());
        NewTemplate { name, language, category: Category::Marketing, components }
    }

    /// A template in both forms.
    fn both() -> [(Value, Value); 3] {
        let body = json!({"type": "BODY", "text": "Hi {{1}}", "example": {"body_text": [["Asha"]]}});
        let image = "https://example.com/1.jpg";
        [
            (
                json!([{"type": "HEADER", "format": "TEXT", "text": "Sale"}, body, {"type": "FOOTER", "text": "bye"},
                       {"type": "BUTTONS", "buttons": [{"type": "QUICK_REPLY", "text": "Yes"}]}]),
                json!({"template_type": "TEXT", "header_type": "TEXT", "header": "Sale", "body": "Hi {{1}}",
                       "example_body_param": {"body_text": [["Asha"]]}, "footer": "bye", "buttons": ["Yes"]}),
            ),
            (
                json!([{"type": "HEADER", "format": "IMAGE", "example": {"header_handle": [image]}},
                       {"type": "BODY", "text": "Look"}]),
                json!({"template_type": "MEDIA", "header_type": "IMAGE", "example": image, "body": "Look"}),
            ),
            (
                json!([{"type": "BODY", "text": "Go"}, {"type": "BUTTONS", "buttons": [
                    {"type": "URL", "text": "Open", "url": "https://e.com/{{1}}", "example": ["https://e.com/a"]},
                    {"type": "PHONE_NUMBER", "text": "Call", "phone_number": "919561000000"}]}]),
                json!({"template_type": "TEXT", "body": "Go", "sub_type": "CTA", "url": "https://e.com/{{1}}",
                       "url_name": "Open", "example_website": "https://e.com/a",
                       "phone_numbers": [{"phone_number": "919561000000", "text": "Call"}]}),
            ),
        ]
    }

    #[test]
    fn a_template_is_created_in_the_documented_form() {
        for (components, expected) in both() {
            let mut body = Value::Object(request(&new(components)).unwrap());
            for (key, value) in [("category", "MARKETING"), ("entity_name", "sale"), ("lang_code", "en_US")] {
                assert_eq!(body.as_object_mut().unwrap().remove(key).unwrap(), value);
            }
            assert_eq!(body, expected);
        }
    }

    #[test]
    fn what_it_lists_has_whatsapps_form() {
        for (components, mut listed) in both() {
            listed["template"] = listed["body"].take();
            for (key, value) in [("entity_name", "sale"), ("lang_code", "en"), ("category", "Utility")] {
                listed[key] = json!(value);
            }
            listed["status"] = json!(2);
            listed["rejected_reason"] = json!("TAG_CONTENT_MISMATCH");
            let read = template(listed.as_object().unwrap()).unwrap();
            assert_eq!((read.status, read.category), (TemplateStatus::Rejected, Some(Category::Utility)));
            assert_eq!(read.reason.as_deref(), Some("TAG_CONTENT_MISMATCH"));
            for kind in ["header", "body", "footer", "buttons"] {
                let mut expected = component(&components, kind).cloned();
                // It does not list the examples of a body.
                if kind == "body"
                    && let Some(body) = expected.as_mut().and_then(Value::as_object_mut)
                {
                    body.remove("example");
                }
                assert_eq!(component(&read.components, kind), expected.as_ref(), "{kind}");
            }
        }
    }

    #[test]
    fn what_it_cannot_express_is_named() {
        let components = json!([
            {"type": "HEADER", "format": "LOCATION"},
            {"type": "BODY", "text": "Hi {{1}}"},
            {"type": "BUTTONS", "buttons": [{"type": "FLOW", "text": "Go"}]},
        ]);
        let mut new = new(components);
        new.language = "pt_BR".to_owned();
        let fields: Vec<String> = request(&new).unwrap_err().into_iter().map(|error| error.field).collect();
        assert_eq!(
            fields,
            ["language", "components[1].example.body_text", "components[0].format", "components[2].buttons"]
        );
    }
}

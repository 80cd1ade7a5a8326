//! Whether a message fits what is known of its template.

use serde_json::Value;

use super::{TemplateStatus, body_parameters};
use crate::{
    FieldError,
    message::{ComponentKind, Template},
};

/// What is known of one language of a template.
#[derive(Clone, Debug, PartialEq)]
pub struct Known {
    /// The language.
    pub language: String,
    /// Whether it may be sent.
    pub status: TemplateStatus,
    /// Why not, in the vendor's words.
    pub reason: Option<String>,
    /// Its components.
    pub components: Value,
    /// The vendor does not list it any more.
    pub is_gone: bool,
}

/// What is to be said about a message's use of its template.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Findings {
    /// What the vendor would refuse for certain.
    pub refusals: Vec<FieldError>,
    /// What should be looked at.
    pub warnings: Vec<String>,
}

/// Compares a message with what is known of its template's languages; nothing known: nothing to say.
#[must_use]
pub fn check_usage(message: &Template, known: &[Known]) -> Findings {
    let mut findings = Findings::default();
    let (name, language) = (message.name.raw(), message.language.raw());
    let Some(template) = known.iter().find(|one| one.language == language) else {
        let languages: Vec<&str> = known.iter().map(|one| one.language.as_str()).collect();
        if !languages.is_empty() {
            let languages = languages.join(", ");
            findings.warnings.push(format!(
                "template {name} is not known in language {language}, only in {languages}: sync the templates, or change \
                 the language"
            ));
        }
        return findings;
    };
    if template.is_gone {
        findings.warnings.push(format!(
            "template {name}/{language} was not listed by the vendor any more when templates were last synced"
        ));
        return findings;
    }
    check_status(&format!("{name}/{language}"), template, &mut findings);
    check_parameters(message, template, &mut findings);
    findings
}

fn check_status(name: &str, template: &Known, findings: &mut Findings) {
    let status = template.status.as_str();
    let why = template.reason.as_ref().map(|reason| format!(" ({reason})")).unwrap_or_default();
    if template.status.forbids_sending() {
        let message = format!(
            "template {name} is {status}{why}: WhatsApp refuses every message of it; use another one, or sync the \
             templates when it is approved again"
        );
        findings.refusals.push(FieldError::new("message.template.name", message));
    } else if template.status != TemplateStatus::Approved {
        findings
            .warnings
            .push(format!("template {name} is {status}{why}: it cannot be sent until WhatsApp approves it"));
    }
}

fn check_parameters(message: &Template, template: &Known, findings: &mut Findings) {
    let Some(expected) = body_parameters(&template.components) else { return };
    let body = message.components.iter().find(|component| component.kind == ComponentKind::Body);
    let given = body.map_or(0, |body| body.parameters.len());
    if given != expected {
        let field = body
            .map_or("message.template.components".to_owned(), |body| format!("{}.parameters", body.field));
        let message = format!("the template's body takes {expected} parameters, {given} are given");
        findings.refusals.push(FieldError::new(field, message));
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::message::Message;

    fn message(parameters: usize) -> Template {
        let parameters: Vec<Value> = (0..parameters).map(|_| json!({"type": "text", "text": "x"})).collect();
        let body = json!([{"type": "body", "parameters": parameters}]);
        let value = json!({"type": "template",
            "template": {"name": "sale", "language": {"code": "en"}, "components": body}});
        match Message::parse(&value).unwrap() {
            Message::Template(template) => template,
            other => panic!("{other:?}"),
        }
    }

    fn known(language: &str, status: TemplateStatus) -> Known {
        let components = json!([{"type": "BODY", "text": "{{1}} {{2}}"}]);
        Known { language: language.to_owned(), status, reason: None, components, is_gone: false }
    }

    fn found(message: &Template, known: &[Known]) -> (Vec<String>, usize) {
        let findings = check_usage(message, known);
        (findings.refusals.into_iter().map(|error| error.field).collect(), findings.warnings.len())
    }

    #[test]
    fn what_is_not_known_is_not_judged() {
        assert_eq!(check_usage(&message(0), &[]), Findings::default());
        let gone = Known { is_gone: true, ..known("en", TemplateStatus::Rejected) };
        assert_eq!(found(&message(0), &[gone]), (vec![], 1));
        assert_eq!(found(&message(0), &[known("fr", TemplateStatus::Rejected)]), (vec![], 1));
        let password =
            Known { components: json!([{"type": "BODY"}]), ..known("en", TemplateStatus::Approved) };
        assert_eq!(found(&message(1), &[password]), (vec![], 0));
    }

    #[test]
    fn only_what_is_certain_is_refused() {
        assert_eq!(found(&message(2), &[known("en", TemplateStatus::Approved)]), (vec![], 0));
        for status in [TemplateStatus::Pending, TemplateStatus::Other] {
            assert_eq!(found(&message(2), &[known("en", status)]), (vec![], 1));
        }
        for status in [TemplateStatus::Rejected, TemplateStatus::Paused, TemplateStatus::Disabled] {
            assert_eq!(found(&message(2), &[known("en", status)]).0, ["message.template.name"]);
        }
        let (fields, _) = found(&message(1), &[known("en", TemplateStatus::Approved)]);
        assert_eq!(fields, ["message.template.components[0].parameters"]);
        let (fields, _) = found(&message(0), &[known("en", TemplateStatus::Approved)]);
        assert_eq!(fields, ["message.template.components"]);
    }
}

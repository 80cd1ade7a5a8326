//! What is known of a campaign's template: its category counts, and its use is compared with it. A template that is not known
//! here is not judged.

use model::{
    message::Message,
    template::{Findings, Known, check_usage},
};
use store::{PgConnection, campaigns::Definition, templates};

use crate::problem::{Answer, Problem};

/// Lets the template's category count, and says what is to be said about its use.
pub async fn consider(
    conn: &mut PgConnection,
    definition: &mut Definition,
    message: &Message,
) -> Answer<Findings> {
    let Message::Template(template) = message else { return Ok(Findings::default()) };
    let known = templates::named(conn, &definition.account, template.name.raw()).await?;
    let same = known.iter().find(|one| one.known.language == template.language.raw());
    let category = same.and_then(|one| one.known.category);
    let known: Vec<Known> = known
        .into_iter()
        .map(|one| Known {
            language: one.known.language,
            status: one.known.status,
            reason: one.known.reason,
            components: one.known.components,
            is_gone: one.gone_at.is_some(),
        })
        .collect();
    let mut findings = check_usage(template, &known);
    if let Some(category) = category.filter(|category| *category != definition.category) {
        findings.warnings.push(format!(
            "the template's category is {}: the campaign counts as that, not as {}",
            category.as_str(),
            definition.category.as_str()
        ));
        definition.category = category;
    }
    Ok(findings)
}

/// Refuses a draft that the vendor would refuse by what is known of its template now.
pub async fn refuse_draft(conn: &mut PgConnection, draft: &Definition) -> Answer<()> {
    // One that cannot be read any more halts its task, with the reason.
    let Ok(message) = Message::parse(&draft.message) else { return Ok(()) };
    refuse(&consider(conn, &mut draft.clone(), &message).await?)
}

/// Refuses what the vendor would refuse for certain.
pub fn refuse(findings: &Findings) -> Answer<()> {
    if findings.refusals.is_empty() { Ok(()) } else { Err(Problem::fields(findings.refusals.clone())) }
}

/// Everything that is to be said, for a person who looks before sending.
pub fn warnings(findings: &Findings) -> Vec<String> {
    let refusals = findings.refusals.iter().map(|error| format!("would be refused: {error}"));
    refusals.chain(findings.warnings.iter().cloned()).collect()
}

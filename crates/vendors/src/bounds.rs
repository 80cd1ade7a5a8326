//! The last gate for vendors' texts: nothing leaves this crate that a database cannot keep, or that fills it.
//!
//! PostgreSQL's text holds no U+0000: one such character in one callback would stop the whole inbox behind it. Cutting
//! never fails and always cuts alike, so that an id in an answer and the same id in a callback stay equal.

use model::{
    report::{AccountEvent, Event, Inbound, News, ReportedOutcome, StatusReport},
    verdict::{Failure, Verdict},
};

use serde_json::Value;

use crate::{SendRecord, VendorTemplate};

/// Characters of a vendor's id.
const ID_CHARS: usize = 512;
/// Characters of a code, of a kind of message, of the name of a changed field.
const WORD_CHARS: usize = 64;
/// Characters of a reason and of other sentences.
const REASON_CHARS: usize = 500;
/// Characters of what a person wrote; WhatsApp allows fewer.
const TEXT_CHARS: usize = 65_536;

/// Only what can be kept of news from a callback.
pub fn news(mut news: News) -> News {
    match &mut news {
        News::Status(StatusReport { vendor_id, outcome: reported, .. }) => {
            cut(vendor_id, ID_CHARS);
            outcome(reported);
        }
        News::Inbound(Inbound { to, vendor_id, in_reply_to, kind, text, .. }) => {
            cut(to, WORD_CHARS);
            cut_some(vendor_id, ID_CHARS);
            cut_some(in_reply_to, ID_CHARS);
            cut(kind, WORD_CHARS);
            cut_some(text, TEXT_CHARS);
        }
        News::Preference(_) => {}
        News::Event(Event { what, .. }) => event(what),
    }
    news
}

fn event(event: &mut AccountEvent) {
    match event {
        AccountEvent::Template { name, language, event, reason } => {
            cut(name, ID_CHARS);
            cut(language, WORD_CHARS);
            cut(event, WORD_CHARS);
            cut_some(reason, REASON_CHARS);
        }
        AccountEvent::TemplateQuality { name, language, quality, previous } => {
            cut(name, ID_CHARS);
            cut(language, WORD_CHARS);
            cut(quality, WORD_CHARS);
            cut_some(previous, WORD_CHARS);
        }
        AccountEvent::Number { number, event, tier } => {
            cut(number, WORD_CHARS);
            cut(event, WORD_CHARS);
            cut_some(tier, WORD_CHARS);
        }
        AccountEvent::Account { number, event, detail, .. } => {
            cut(number, WORD_CHARS);
            cut(event, WORD_CHARS);
            cut_some(detail, REASON_CHARS);
        }
        AccountEvent::Other { field, event } => {
            cut(field, WORD_CHARS);
            cut(event, REASON_CHARS);
        }
    }
}

/// Only what can be kept of the verdict on a call.
pub fn verdict(mut verdict: Verdict) -> Verdict {
    match &mut verdict {
        Verdict::Accepted { vendor_id } => cut(vendor_id, ID_CHARS),
        Verdict::Refused(Failure { code, reason, .. })
        | Verdict::Unknown(Failure { code, reason, .. })
        | Verdict::Split(Failure { code, reason, .. }) => {
            cut(code, WORD_CHARS);
            cut(reason, REASON_CHARS);
        }
    }
    verdict
}

/// Only what can be kept of a sending record.
pub fn record(mut record: SendRecord) -> SendRecord {
    cut_some(&mut record.vendor_id, ID_CHARS);
    cut_some(&mut record.sender, WORD_CHARS);
    cut_some(&mut record.template_name, ID_CHARS);
    cut_some(&mut record.template_language, WORD_CHARS);
    outcome(&mut record.outcome);
    record
}

/// Characters of one text in a template.
const PART_CHARS: usize = 4_096;
/// Levels of a template's components: deeper ones are cut off.
const DEPTH: usize = 16;

/// Only what can be kept of a template.
pub fn template(mut template: VendorTemplate) -> VendorTemplate {
    cut(&mut template.name, ID_CHARS);
    cut(&mut template.language, WORD_CHARS);
    cut(&mut template.status_word, WORD_CHARS);
    cut_some(&mut template.quality, WORD_CHARS);
    cut_some(&mut template.reason, REASON_CHARS);
    cut_some(&mut template.vendor_id, ID_CHARS);
    cut_within(&mut template.components, DEPTH);
    template
}

fn cut_within(value: &mut Value, depth: usize) {
    match value {
        Value::String(text) => cut(text, PART_CHARS),
        Value::Array(_) | Value::Object(_) if depth == 0 => *value = Value::Null,
        Value::Array(items) => items.iter_mut().for_each(|item| cut_within(item, depth - 1)),
        Value::Object(members) => {
            members.retain(|key, _| !key.contains('\0'));
            members.values_mut().for_each(|member| cut_within(member, depth - 1));
        }
        _ => {}
    }
}

fn outcome(outcome: &mut ReportedOutcome) {
    if let ReportedOutcome::Failed { code, reason } = outcome {
        cut(code, WORD_CHARS);
        cut(reason, REASON_CHARS);
    }
}

fn cut_some(text: &mut Option<String>, most_chars: usize) {
    if let Some(text) = text {
        cut(text, most_chars);
    }
}

fn cut(text: &mut String, most_chars: usize) {
    // Nearly every text is short and clean: it is not gone through by characters.
    if text.contains('\0') {
        text.retain(|c| c != '\0');
    }
    if text.len() > most_chars
        && let Some((end, _)) = text.char_indices().nth(most_chars)
    {
        text.truncate(end);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_cut_between_characters() {
        for (text, kept) in [("", ""), ("añb", "añb"), ("a\0ñ\0b\0", "añb"), ("añbc", "añb"), ("ññññ", "ñññ")]
        {
            let mut shortened = text.to_owned();
            cut(&mut shortened, 3);
            assert_eq!(shortened, kept);
        }
    }
}

//! What a halt for too many failures says: what is to blame, most of all, by which codes, and what to do about it.

use model::{
    disposition::{Disposition, Scope},
    fault_class::{FaultClass, FaultCounts},
};
use store::effects::NewHalt;
use vendors::{
    Vendor,
    codes::{self, CodeEntry, Effect},
};

/// The code of a halt for too many failures.
const FAILURE_SHARE: &str = "failure_share";
/// Codes that it names.
const NAMED: usize = 3;

/// The halt of a task; `codes` are those of its failures, the most frequent first.
pub(crate) fn halt(account: &str, task_id: i64, vendor: Option<Vendor>, codes: &[(String, i64)]) -> NewHalt {
    let (reason, remedy) = words(vendor, codes);
    NewHalt {
        scope: Scope::Task,
        account: account.to_owned(),
        value: task_id.to_string(),
        code: FAILURE_SHARE.to_owned(),
        reason,
        remedy,
        lifts_at: None,
    }
}

fn words(vendor: Option<Vendor>, codes: &[(String, i64)]) -> (String, String) {
    let too_many = "more than half of at least 100 outcomes in the last 10 minutes failed";
    let entry = |code: &str| vendor.and_then(|vendor| codes::find(vendor, code));
    let failures: Vec<(&str, i64, Option<CodeEntry>)> = codes
        .iter()
        .map(|(code, n)| (code.as_str(), *n, entry(code)))
        .filter(|one| !is_open(one.2.as_ref()))
        .collect();
    let mut counts = FaultCounts::default();
    for (_, n, entry) in &failures {
        counts.add(class(entry.as_ref()), u32::try_from(*n).unwrap_or(u32::MAX));
    }
    let Some((worst, n)) = counts.worst() else {
        let remedy = "Look at the task's errors by code; mend what they name, then lift the halt.";
        return (too_many.to_owned(), remedy.to_owned());
    };
    // Those of the class first: they are what the remedy speaks of.
    let (of_class, others): (Vec<_>, Vec<_>) =
        failures.iter().partition(|(.., entry)| class(entry.as_ref()) == worst);
    let named: Vec<String> = of_class.into_iter().chain(others).take(NAMED).map(named).collect();
    let reason = format!(
        "{too_many}; of this task's {} failures {n} are of the class \"{}\": {}",
        counts.total(),
        worst.as_str(),
        named.join("; ")
    );
    (reason, format!("{} Then lift the halt.", what_to_do(worst)))
}

/// Nobody knows whether it failed.
fn is_open(entry: Option<&CodeEntry>) -> bool {
    entry.is_some_and(|entry| matches!(disposition(entry), Some(Disposition::Unknown)))
}

fn disposition(entry: &CodeEntry) -> Option<Disposition> {
    match entry.effect {
        Effect::Status(_) => None,
        Effect::Rule(rule) | Effect::Depends { usual: rule, .. } => Some(rule.disposition),
    }
}

/// What is to blame for a code. One that stands in no table ends its recipient.
fn class(entry: Option<&CodeEntry>) -> FaultClass {
    let disposition = entry.and_then(disposition).unwrap_or(Disposition::FailRecipient);
    FaultClass::of(&disposition)
}

fn named((code, n, entry): &(&str, i64, Option<CodeEntry>)) -> String {
    let meaning = entry.as_ref().map_or("a code that stands in no table", |entry| entry.meaning);
    format!("{n} × {code} ({meaning})")
}

fn what_to_do(class: FaultClass) -> &'static str {
    match class {
        FaultClass::BadData => {
            "Compare the rows that failed with what the message needs; correct them in the CSV and send to them by a campaign of \
             their own."
        }
        FaultClass::Template => {
            "Compare the campaign's message with the template that the vendor has approved."
        }
        FaultClass::Sender => "Look at the number's state and limits at the vendor; other numbers go on.",
        FaultClass::Account => "Look at the account's balance, permissions and limits at the vendor.",
        FaultClass::Recipient => {
            "Look at where the list comes from: most of these people cannot get the message or do not want it. Take them out \
             before you go on, or WhatsApp lowers the number's quality."
        }
        FaultClass::Passing => {
            "It passes by itself: look at the vendor's status, wait until it works again, and take up those who failed with \
             `campaignd task retry-failed`."
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(vendor: Vendor, codes: &[(&str, i64)]) -> (String, String) {
        let codes: Vec<_> = codes.iter().map(|(code, n)| ((*code).to_owned(), *n)).collect();
        let halt = halt("a", 7, Some(vendor), &codes);
        assert_eq!(
            (halt.code.as_str(), halt.scope, halt.value.as_str()),
            ("failure_share", Scope::Task, "7")
        );
        (halt.reason, halt.remedy)
    }

    #[test]
    fn the_class_with_the_most_is_named_with_its_codes_and_its_remedy() {
        // No single code of bad data is the most frequent, but the class is.
        let codes = [("131026", 50), ("missing_value", 40), ("131009", 30), ("no_answer", 900), ("4711", 1)];
        let (reason, remedy) = said(Vendor::ALL[1], &codes);
        assert!(
            reason.contains(
                "of this task's 121 failures 70 are of the class \"bad data\": 40 × missing_value ("
            ),
            "{reason}"
        );
        assert!(reason.contains("; 30 × 131009 (") && reason.ends_with(')'), "{reason}");
        assert!(reason.contains("; 50 × 131026 (") && !reason.contains("4711"), "{reason}");
        assert!(remedy.contains("CSV") && remedy.ends_with("lift the halt."), "{remedy}");
    }

    #[test]
    fn each_class_has_a_remedy_of_its_own_and_the_unknown_is_none_of_them() {
        let remedies: std::collections::HashSet<_> = FaultClass::ALL.into_iter().map(what_to_do).collect();
        assert_eq!(remedies.len(), FaultClass::ALL.len());
        let (reason, remedy) = said(Vendor::ALL[0], &[("no_answer", 900)]);
        assert!(!reason.contains("class"), "{reason}");
        assert!(remedy.contains("errors by code"), "{remedy}");
        let (reason, _) = said(Vendor::ALL[0], &[("4711", 90)]);
        assert!(reason.contains("\"recipient\": 90 × 4711 (a code that stands in no table)"), "{reason}");
    }
}

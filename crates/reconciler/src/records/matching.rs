//! Which record of a vendor speaks of which unknown message. Pure, and rather silent than wrong: what a record says of the
//! wrong message sends somebody a campaign twice.

use std::collections::{HashMap, HashSet};

use chrono::{DateTime, TimeDelta, Utc};
use model::{Phone, report::ReportedOutcome};
use store::unknown::Unknown;
use vendors::SendRecord;

/// How far the vendor's clock may be behind ours.
const BEFORE: TimeDelta = TimeDelta::seconds(5);
/// How long after a call's end the vendor may have begun with its message.
const AFTER: TimeDelta = TimeDelta::seconds(60);

/// A record and the template that was asked for, `name/language`: records do not tell the language.
#[derive(Clone, Debug)]
pub(crate) struct Told {
    pub(crate) template: String,
    pub(crate) record: SendRecord,
}

/// What must be known beside the records.
#[derive(Debug, Default)]
pub(crate) struct Known {
    /// The messages of ours that bear a vendor's id already: (task, number) by id.
    pub(crate) claims: HashMap<String, Vec<(i64, i32)>>,
    /// People whom another call of ours is under way to: a record may be of that one.
    pub(crate) busy: HashSet<Phone>,
    /// The vendor writes senders as the configuration does; else they cannot be compared.
    pub(crate) senders_compare: bool,
}

/// A message and the record that speaks of it.
#[derive(Debug)]
pub(crate) struct Match<'a> {
    pub(crate) unknown: &'a Unknown,
    pub(crate) record: &'a SendRecord,
}

impl Match<'_> {
    /// The record names no message: it says only that one was refused.
    pub(crate) fn is_refusal(&self) -> bool {
        self.record.vendor_id.is_none()
    }
}

/// The times at which the vendor may have handled the call.
pub(crate) fn window(unknown: &Unknown) -> (DateTime<Utc>, DateTime<Utc>) {
    (unknown.requested_at - BEFORE, unknown.deadline_at + AFTER)
}

/// The messages that records speak of without a doubt.
///
/// `unknown` must hold all unknown messages to the people of the records. Where several of them may be meant, either
/// there is a record with an id of its own for each, or nothing is said of any.
pub(crate) fn find<'a>(unknown: &'a [Unknown], told: &'a [Told], known: &Known) -> Vec<Match<'a>> {
    let told = distinct(told);
    let fitting: Vec<Vec<usize>> = unknown
        .iter()
        .map(|one| (0..told.len()).filter(|index| fits(one, told[*index], known)).collect())
        .collect();
    let mut found = Vec::new();
    for together in companies(&fitting, told.len()) {
        match together.as_slice() {
            [alone] => found.extend(of_one(&unknown[*alone], &fitting[*alone], &told)),
            several => found.extend(of_several(unknown, several, &fitting, &told)),
        }
    }
    found
}

/// Each record once: pages shift while they are read.
fn distinct(told: &[Told]) -> Vec<&Told> {
    let mut seen = HashSet::new();
    let key = |told: &Told| {
        let record = &told.record;
        let at = record.vendor_id.is_none().then_some(record.sent_at);
        (record.vendor_id.clone(), record.to, at, told.template.clone())
    };
    // From the back: what was read later is newer.
    let mut told: Vec<&Told> = told.iter().rev().filter(|told| seen.insert(key(told))).collect();
    told.sort_by_key(|told| told.record.sent_at);
    told
}

fn fits(unknown: &Unknown, told: &Told, known: &Known) -> bool {
    let record = &told.record;
    let key = (unknown.task_id, unknown.no);
    let claimed = record.vendor_id.as_ref().and_then(|id| known.claims.get(id));
    let is_its_own = record.vendor_id.is_some() && record.vendor_id == unknown.vendor_id;
    let may_be = match (&unknown.vendor_id, claimed) {
        (Some(_), _) => is_its_own && claimed.is_none_or(|claimed| claimed.iter().all(|claim| *claim == key)),
        (None, claimed) => claimed.is_none(),
    };
    let (from, until) = window(unknown);
    may_be
        && record.to == Some(unknown.phone)
        && !known.busy.contains(&unknown.phone)
        && told.template == unknown.template
        && names_template(record, &unknown.template)
        && (!known.senders_compare || is_sender(record, &unknown.sender))
        && (is_its_own || record.sent_at.is_some_and(|at| (from..=until).contains(&at)))
        && (record.vendor_id.is_some() || matches!(record.outcome, ReportedOutcome::Failed { .. }))
}

/// What the record tells of its template agrees.
fn names_template(record: &SendRecord, template: &str) -> bool {
    let (name, language) = template.rsplit_once('/').unwrap_or((template, ""));
    record.template_name.as_deref().is_none_or(|told| told == name)
        && record.template_language.as_deref().is_none_or(|told| told == language)
}

/// Whether the record was sent from this sender, or does not tell.
pub(crate) fn is_sender(record: &SendRecord, sender: &str) -> bool {
    let digits = |text: &str| text.chars().filter(char::is_ascii_digit).collect::<String>();
    record.sender.as_deref().is_none_or(|told| digits(told) == digits(sender))
}

fn is_failed(record: &SendRecord) -> bool {
    matches!(record.outcome, ReportedOutcome::Failed { .. })
}

/// The messages in groups such that no record fits those of two groups.
fn companies(fitting: &[Vec<usize>], records: usize) -> Vec<Vec<usize>> {
    let mut group_of_record: Vec<Option<usize>> = vec![None; records];
    let mut groups: Vec<Vec<usize>> = Vec::new();
    for (one, fits) in fitting.iter().enumerate().filter(|(_, fits)| !fits.is_empty()) {
        let mut joined: Vec<usize> = fits.iter().filter_map(|record| group_of_record[*record]).collect();
        joined.sort_unstable();
        joined.dedup();
        let into = joined.first().copied().unwrap_or(groups.len());
        if into == groups.len() {
            groups.push(Vec::new());
        }
        for other in joined.into_iter().skip(1) {
            let moved = std::mem::take(&mut groups[other]);
            groups[into].extend(moved);
            for group in group_of_record.iter_mut().filter(|group| **group == Some(other)) {
                *group = Some(into);
            }
        }
        groups[into].push(one);
        for record in fits {
            group_of_record[*record] = Some(into);
        }
    }
    groups.retain(|group| !group.is_empty());
    groups
}

/// The record that speaks of a message that has no company: the first with an id, rather one that did not fail; or else the
/// only refusal.
fn of_one<'a>(unknown: &'a Unknown, fitting: &[usize], told: &[&'a Told]) -> Option<Match<'a>> {
    let records = || fitting.iter().map(|index| &told[*index].record);
    // Of several one may be somebody else's, sent from the same account: that theirs failed must not have ours sent again.
    let named = records().filter(|record| record.vendor_id.is_some()).min_by_key(|record| is_failed(record));
    let refusal = || {
        // An earlier call to the same person may have been refused: a refusal does not say which.
        let is_only = fitting.len() == 1 && unknown.is_first_call;
        records().next().filter(|_| is_only)
    };
    named.or_else(refusal).map(|record| Match { unknown, record })
}

/// A record for each, or none for any: with fewer records than messages nobody can say whose they are.
fn of_several<'a>(
    unknown: &'a [Unknown],
    several: &[usize],
    fitting: &[Vec<usize>],
    told: &[&'a Told],
) -> Vec<Match<'a>> {
    let mut records: Vec<usize> = several.iter().flat_map(|one| fitting[*one].iter().copied()).collect();
    records.sort_unstable();
    records.dedup();
    let has = |doubt: fn(&SendRecord) -> bool| records.iter().any(|record| doubt(&told[*record].record));
    // All were sent, then, and it matters little which is which. Of one that failed it does: the wrong one would be sent again.
    if has(|record| record.vendor_id.is_none()) || has(is_failed) {
        return Vec::new();
    }
    // Records in their order in time, each to the message that may wait the shortest: whoever can be served so, is.
    let mut left: Vec<usize> = several.to_vec();
    left.sort_by_key(|one| window(&unknown[*one]).1);
    let mut found = Vec::new();
    for record in records {
        if let Some(at) = left.iter().position(|one| fitting[*one].contains(&record)) {
            let one = left.remove(at);
            found.push(Match { unknown: &unknown[one], record: &told[record].record });
        }
    }
    if left.is_empty() { found } else { Vec::new() }
}

#[cfg(test)]
mod tests;

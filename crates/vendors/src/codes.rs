//! Every code that a vendor or we ourselves may give, what it means, what is done about it, and what to do at night.
//!
//! The tables are keyed by (vendor, code): the same integer means different things to different vendors. HTTP statuses
//! are `http_404`, so that they are never taken for a code inside an answer. A code that stands in no table ends its
//! recipient and nothing else.

use std::time::Duration;

use model::disposition::{Disposition, Escalation, Exhausted, MessageFacts, Rule, Scope, Trigger};

use crate::{Vendor, exotel, sobot_in, sobot_io};

mod ours;
pub(crate) mod whatsapp;

pub use ours::*;

/// Where a code is given.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Layer {
    /// The status of an HTTP answer; written `http_404`.
    Http,
    /// Inside the answer to a call.
    Answer,
    /// In a callback, and wherever the vendor repeats these codes: in an answer's error data, in its records.
    Callback,
    /// By campaignd itself.
    Ours,
}

impl Layer {
    /// The word that is shown.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Answer => "answer",
            Self::Callback => "callback",
            Self::Ours => "ours",
        }
    }
}

/// What a code brings about.
#[derive(Clone, Copy, Debug)]
pub enum Effect {
    /// Good news, or something that is no failure of a call: the word of the state.
    Status(&'static str),
    /// Always this.
    Rule(Rule),
    /// This, unless the message or the vendor's text says otherwise.
    Depends {
        /// The table's first word.
        usual: Rule,
        /// When it is something else, in words.
        unless: &'static str,
        /// Decides by the message and the vendor's text.
        decide: fn(&MessageFacts, &str) -> Rule,
    },
}

/// A row of a table of codes.
#[derive(Clone, Copy, Debug)]
pub struct CodeEntry {
    /// Whose; none for our own.
    pub vendor: Option<Vendor>,
    /// Where it is given.
    pub layer: Layer,
    /// As it comes. A range is written `200-299`, a class of HTTP statuses `http_5xx`.
    pub code: &'static str,
    /// The vendor's name of it, where it has published one.
    pub name: Option<&'static str>,
    /// What it means, in the vendor's words where the vendor has any.
    pub meaning: &'static str,
    /// What is done about it.
    pub effect: Effect,
    /// What a person should do about it.
    pub advice: &'static str,
}

impl CodeEntry {
    /// What is done about it for one message; none when it is no failure.
    #[must_use]
    pub fn rule(&self, facts: &MessageFacts, reason: &str) -> Option<Rule> {
        match self.effect {
            Effect::Status(_) => None,
            Effect::Rule(rule) => Some(rule),
            Effect::Depends { decide, .. } => Some(decide(facts, reason)),
        }
    }

    /// The name of the usual disposition, or the word of the state that it reports.
    #[must_use]
    pub fn disposition(&self) -> &'static str {
        match self.effect {
            Effect::Status(word) => word,
            Effect::Rule(rule) | Effect::Depends { usual: rule, .. } => rule.disposition.as_str(),
        }
    }

    /// All that is done about it, in words: `RetrySoon, at most 3; 20 in a row: the account halts`.
    #[must_use]
    pub fn what_is_done(&self) -> String {
        match self.effect {
            Effect::Status(word) => word.to_owned(),
            Effect::Rule(rule) => describe(&rule),
            Effect::Depends { usual, unless, .. } => format!("{}; {unless}", describe(&usual)),
        }
    }

    fn fits(&self, code: &str) -> bool {
        if self.code == code {
            return true;
        }
        if let Some(class) = self.code.strip_suffix("xx") {
            return code.len() == self.code.len() && code.starts_with(class);
        }
        let within = |range: &str| {
            let (least, most) = range.split_once('-')?;
            Some((least.parse().ok()?..=most.parse::<u32>().ok()?).contains(&code.parse().ok()?))
        };
        within(self.code).unwrap_or(false)
    }
}

/// Every row: ours, then each vendor's.
pub fn all() -> impl Iterator<Item = CodeEntry> {
    let ours = ours::TABLE.iter().copied();
    ours.chain(Vendor::ALL.into_iter().flat_map(of))
}

/// What a code of `vendor` means; our own codes are everybody's.
#[must_use]
pub fn find(vendor: Vendor, code: &str) -> Option<CodeEntry> {
    // An exact code before a class or a range that holds it.
    let exact = of(vendor).chain(ours::TABLE.iter().copied()).find(|entry| entry.code == code);
    exact.or_else(|| of(vendor).find(|entry| entry.fits(code)))
}

/// What is done about a code, for one message. A code that stands in no table ends its recipient.
#[must_use]
pub fn judge(vendor: Vendor, code: &str, reason: &str, facts: &MessageFacts) -> Rule {
    find(vendor, code)
        .and_then(|entry| entry.rule(facts, reason))
        .unwrap_or_else(|| Disposition::FailRecipient.into())
}

/// Whether "retry failed" takes somebody again who failed with this code: everybody but invalid numbers, opt-outs and
/// bad data.
#[must_use]
pub fn may_be_retried(vendor: Vendor, code: &str, reason: &str, facts: &MessageFacts) -> bool {
    let disposition = judge(vendor, code, reason, facts).disposition;
    let is_invalid_number = disposition == Disposition::FailRecipient
        && match vendor {
            Vendor::Exotel => exotel::INVALID_NUMBERS,
            Vendor::SobotIo => sobot_io::INVALID_NUMBERS,
            Vendor::SobotIn => sobot_in::INVALID_NUMBERS,
        }
        .contains(&code);
    disposition.may_be_retried() && !is_invalid_number
}

/// What is done about one of our own codes.
pub(crate) fn judge_ours(code: &str) -> Rule {
    let entry = ours::TABLE.iter().find(|entry| entry.code == code);
    match entry.map(|entry| entry.effect) {
        Some(Effect::Rule(rule)) => rule,
        _ => Disposition::Unknown.into(),
    }
}

fn of(vendor: Vendor) -> Box<dyn Iterator<Item = CodeEntry>> {
    let (own, shared): (&'static [CodeEntry], &'static [CodeEntry]) = match vendor {
        Vendor::Exotel => (exotel::CODES, &[]),
        Vendor::SobotIo => (sobot_io::CODES, whatsapp::TABLE),
        Vendor::SobotIn => (sobot_in::CODES, whatsapp::TABLE),
    };
    let rows = own.iter().chain(shared).copied();
    Box::new(rows.map(move |entry| CodeEntry { vendor: Some(vendor), ..entry }))
}

/// A rule in words.
fn describe(rule: &Rule) -> String {
    let mut said = match rule.disposition {
        Disposition::SlowDown { floor, .. } if !floor.is_zero() => {
            format!("{}, not before {}", rule.disposition.as_str(), span(floor))
        }
        Disposition::RetrySoon { at_most, first, then } => {
            let first = first.map(|first| format!(", first after {}", span(first))).unwrap_or_default();
            let then = if then == Exhausted::HaltTask { ", then HaltTask" } else { "" };
            format!("RetrySoon, at most {at_most}{first}{then}")
        }
        Disposition::RetryNextDay { at_most } => format!("RetryNextDay, at most {at_most}"),
        Disposition::Suppress { days, from_time } if from_time > 1 => {
            format!("Suppress({days} days) from time {from_time} on, else FailRecipient")
        }
        Disposition::Suppress { days, .. } => format!("Suppress({days} days)"),
        Disposition::HaltSender { lifted_after: Some(after) } => {
            format!("HaltSender, lifted after {}", span(after))
        }
        other => other.as_str().to_owned(),
    };
    if let Some(escalation) = rule.escalation {
        let when = match escalation.when {
            Trigger::InARow(n) => format!("{n} in a row"),
            Trigger::FirstOutcomes(n) => format!("the first {n} outcomes of a task all with it"),
            Trigger::Share { percent, of_at_least, within } => {
                format!("more than {percent} % of at least {of_at_least} in {}", span(within))
            }
        };
        said.push_str(&format!("; {when}: the {} halts", escalation.halt.as_str()));
        if let Some(after) = escalation.lifted_after {
            said.push_str(&format!(" for {}", span(after)));
        }
    }
    said
}

fn span(duration: Duration) -> String {
    match duration.as_secs() {
        seconds if seconds >= 3600 && seconds % 3600 == 0 => format!("{} h", seconds / 3600),
        seconds if seconds >= 60 && seconds % 60 == 0 => format!("{} min", seconds / 60),
        seconds => format!("{seconds} s"),
    }
}

// What the tables are written with.

/// Retries where the table names no number: as many as it names delays.
pub(crate) const EVERY_DELAY: u8 = 4;
pub(crate) const MINUTE: Duration = Duration::from_secs(60);
pub(crate) const HOUR: Duration = Duration::from_secs(3600);

pub(crate) const fn rule(disposition: Disposition) -> Rule {
    Rule { disposition, escalation: None }
}

pub(crate) const fn does(disposition: Disposition) -> Effect {
    Effect::Rule(rule(disposition))
}

pub(crate) const fn halting(disposition: Disposition, when: Trigger, halt: Scope) -> Effect {
    Effect::Rule(Rule { disposition, escalation: Some(Escalation { when, halt, lifted_after: None }) })
}

pub(crate) const fn depends(
    usual: Disposition,
    unless: &'static str,
    decide: fn(&MessageFacts, &str) -> Rule,
) -> Effect {
    Effect::Depends { usual: rule(usual), unless, decide }
}

pub(crate) const fn slow_down_account(floor: Duration) -> Disposition {
    Disposition::SlowDown { scope: Scope::Account, floor }
}

// The decisions that several tables share.

/// Nobody may be written to outside of the 24 hours but by template; when a template campaign hears it, no template
/// was sent at all.
pub(crate) fn outside_window(facts: &MessageFacts, _: &str) -> Rule {
    if facts.is_template { Disposition::HaltTask } else { Disposition::FailRecipient }.into()
}

/// WhatsApp lets the number rest for marketing. Other messages come back the next day: no person is at fault.
pub(crate) fn spam_limit(facts: &MessageFacts, _: &str) -> Rule {
    if facts.is_marketing { SPAM_HALT } else { Disposition::RetryNextDay { at_most: 3 } }.into()
}

/// A sender that WhatsApp thinks a spammer rests for a day.
pub(crate) const SPAM_HALT: Disposition =
    Disposition::HaltSender { lifted_after: Some(Duration::from_secs(24 * 3600)) };

/// The one place where a template's trouble is told from a row's by the vendor's text: it gives nothing else.
pub(crate) fn template_or_variable(_: &MessageFacts, reason: &str) -> Rule {
    let reason = reason.to_ascii_lowercase();
    let names_one = ["variable", "param", "{{"].iter().any(|word| reason.contains(word));
    if names_one { Disposition::FailMessage } else { Disposition::HaltTemplate }.into()
}

/// Media that cannot be loaded: everybody's when it is shared, one row's when the link is the row's.
pub(crate) fn media_twice(facts: &MessageFacts, _: &str) -> Rule {
    let then = if facts.media_per_row { Exhausted::Fail } else { Exhausted::HaltTask };
    Disposition::RetrySoon { at_most: 2, first: None, then }.into()
}

pub(crate) const MEDIA_TWICE: Disposition =
    Disposition::RetrySoon { at_most: 2, first: None, then: Exhausted::HaltTask };

/// A part that WhatsApp refuses: the campaign's own when it is shared, one row's when it is filled per row.
pub(crate) fn part_of_message(facts: &MessageFacts, _: &str) -> Rule {
    if facts.media_per_row { Disposition::FailMessage } else { Disposition::HaltTask }.into()
}

/// Parameters that do not fit: the campaign is built wrong, unless they come from the row.
pub(crate) fn parameters_of_message(facts: &MessageFacts, _: &str) -> Rule {
    if facts.parameters_per_row { Disposition::FailMessage } else { Disposition::HaltTask }.into()
}

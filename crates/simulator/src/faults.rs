//! What goes wrong on purpose. A rule says when (vendor, every nth, share, recipients …) and what. Choices
//! depend on the seed and the order of requests alone.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::options::RangeMs;
use crate::random::Random;
use crate::vendor::Vendor;

/// Which call of a vendor a rule looks at.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Endpoint {
    /// Sending messages.
    #[default]
    Send,
    /// sobot.io's token.
    Token,
    /// sobot.io's sending records.
    Records,
    /// Lists of templates.
    Templates,
}

/// What happens when a rule matches.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum FaultAction {
    /// Nothing is accepted; the answer has this status.
    HttpStatus {
        /// The status, such as 429 or 503.
        status: u16,
        /// Value of the header `Retry-After`.
        #[serde(default)]
        retry_after_seconds: Option<u32>,
        /// The answer's body, instead of the vendor's usual error.
        #[serde(default)]
        body: Option<String>,
    },
    /// Nothing is accepted; 429 with this header `Retry-After`, however odd.
    Throttle {
        /// The header, as it stands.
        retry_after: String,
    },
    /// Everything valid is accepted, yet the answer has this status.
    StatusAfterAccept {
        /// The status, such as 500 or 504.
        status: u16,
    },
    /// The message is refused by a code in the answer: the message's `code` or, from 1000 on, its
    /// `error_data.code` (Exotel), `ret_code` (sobot.io), `code` and HTTP 400 (sobot.in).
    MessageCode {
        /// The code.
        code: u32,
        /// Text beside the code.
        #[serde(default)]
        message: Option<String>,
    },
    /// The message is accepted, and a later report says that it failed.
    CallbackCode {
        /// The code of the report.
        code: u32,
    },
    /// Accepts, then answers nothing for this long and closes.
    HangAfterAccept {
        /// How long; an hour by default.
        #[serde(default)]
        for_ms: Option<u64>,
    },
    /// Accepts nothing, answers nothing for this long and closes.
    HangBeforeAccept {
        /// How long; an hour by default.
        #[serde(default)]
        for_ms: Option<u64>,
    },
    /// Accepts, then closes the connection without an answer.
    CloseAfterAccept,
    /// Accepts nothing and closes the connection without an answer.
    CloseBeforeAccept,
    /// Accepts, then resets the connection (RST) without an answer.
    ResetAfterAccept,
    /// Accepts, then answers with bytes that are no JSON.
    GarbageBody,
    /// Accepts, then answers with a page of HTML, as a proxy would.
    HtmlBody {
        /// Status of the page; 200 by default.
        #[serde(default)]
        status: Option<u16>,
    },
    /// Accepts, then breaks off in the middle of the answer's body.
    HalfBody,
    /// Accepts, then answers with a body of so many bytes.
    LargeBody {
        /// How many.
        bytes: u64,
    },
    /// Accepts; every message's id in the answer is the same.
    RepeatIds,
    /// Exotel: accepts all, leaves the last items out of the answer.
    MissingItems {
        /// How many items.
        count: usize,
    },
    /// Exotel: the answer has items for messages that nobody sent.
    ExtraItems {
        /// How many items.
        count: usize,
    },
    /// Exotel: the answer's items come in the opposite order.
    ReorderItems,
    /// The answer comes later; goes together with any other fault.
    Latency {
        /// How much later.
        latency_ms: RangeMs,
    },
    /// sobot.io: every token of the account is invalid from now on, also the one of this request.
    InvalidateTokens,
}

impl FaultAction {
    fn concerns_a_message(&self) -> bool {
        matches!(self, FaultAction::MessageCode { .. } | FaultAction::CallbackCode { .. })
    }
}

/// When something goes wrong, and what. All conditions that are given must hold. For `MessageCode` and
/// `CallbackCode` they are looked at for each message, otherwise for each request.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FaultRule {
    /// Only this vendor's requests.
    #[serde(default)]
    pub vendor: Option<Vendor>,
    /// Only this call; sends by default.
    #[serde(default)]
    pub endpoint: Endpoint,
    /// Only when one of these recipients is concerned (digits; a plus does not matter).
    #[serde(default)]
    pub recipients: Vec<String>,
    /// Only when a recipient's number ends with one of these.
    #[serde(default)]
    pub recipient_suffixes: Vec<String>,
    /// The first so many that match are left alone.
    #[serde(default)]
    pub after: u64,
    /// Every nth of those that match.
    #[serde(default)]
    pub every_nth: Option<u64>,
    /// This share of those that match, 0 to 1.
    #[serde(default)]
    pub share: Option<f64>,
    /// At most so many times.
    #[serde(default)]
    pub limit: Option<u64>,
    /// What happens.
    pub action: FaultAction,
}

impl FaultRule {
    /// A rule that always matches.
    #[must_use]
    pub fn new(action: FaultAction) -> FaultRule {
        FaultRule {
            vendor: None,
            endpoint: Endpoint::Send,
            recipients: Vec::new(),
            recipient_suffixes: Vec::new(),
            after: 0,
            every_nth: None,
            share: None,
            limit: None,
            action,
        }
    }

    /// Only this vendor.
    #[must_use]
    pub fn vendor(mut self, vendor: Vendor) -> FaultRule {
        self.vendor = Some(vendor);
        self
    }

    /// Only this call.
    #[must_use]
    pub fn endpoint(mut self, endpoint: Endpoint) -> FaultRule {
        self.endpoint = endpoint;
        self
    }

    /// Only these recipients.
    #[must_use]
    pub fn recipients<S: Into<String>>(mut self, recipients: impl IntoIterator<Item = S>) -> FaultRule {
        self.recipients = recipients.into_iter().map(Into::into).collect();
        self
    }

    /// Only recipients whose number ends so.
    #[must_use]
    pub fn recipient_suffix(mut self, suffix: impl Into<String>) -> FaultRule {
        self.recipient_suffixes.push(suffix.into());
        self
    }

    /// Leaves the first so many alone.
    #[must_use]
    pub fn after(mut self, count: u64) -> FaultRule {
        self.after = count;
        self
    }

    /// Every nth match.
    #[must_use]
    pub fn every_nth(mut self, nth: u64) -> FaultRule {
        self.every_nth = Some(nth);
        self
    }

    /// This share of the matches.
    #[must_use]
    pub fn share(mut self, share: f64) -> FaultRule {
        self.share = Some(share);
        self
    }

    /// At most so many times.
    #[must_use]
    pub fn limit(mut self, times: u64) -> FaultRule {
        self.limit = Some(times);
        self
    }
}

struct Armed {
    rule: FaultRule,
    recipients: Vec<u64>,
    /// (10 to the suffix's length, the suffix's value): a number ends so when the remainder is the value.
    suffixes: Vec<(u64, u64)>,
    matched: AtomicU64,
    fired: AtomicU64,
}

/// The rules in force, with their counts.
#[derive(Default)]
pub(crate) struct FaultSet {
    seed: u64,
    rules: Vec<Armed>,
}

/// What the rules say about one request.
#[derive(Default)]
pub(crate) struct RequestFault {
    pub(crate) latency: Duration,
    pub(crate) action: Option<FaultAction>,
}

impl FaultSet {
    pub(crate) fn new(seed: u64, rules: Vec<FaultRule>) -> FaultSet {
        FaultSet { seed, rules: rules.into_iter().map(arm).collect() }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.rules.is_empty()
    }

    pub(crate) fn rules(&self) -> Vec<(FaultRule, u64)> {
        self.rules.iter().map(|armed| (armed.rule.clone(), armed.fired.load(Ordering::Relaxed))).collect()
    }

    /// Looks at a whole request. The first rule that matches decides; latencies add up beside it.
    pub(crate) fn for_request(&self, vendor: Vendor, endpoint: Endpoint, recipients: &[u64]) -> RequestFault {
        let mut found = RequestFault::default();
        for (position, armed) in self.rules.iter().enumerate() {
            let decided = found.action.is_some() && !matches!(armed.rule.action, FaultAction::Latency { .. });
            if decided || armed.rule.action.concerns_a_message() {
                continue;
            }
            let Some(number) = armed.fires(self.seed, position, vendor, endpoint, recipients) else {
                continue;
            };
            if let FaultAction::Latency { latency_ms } = &armed.rule.action {
                let mut random = Random::new(self.seed, number ^ 0x4C41_5445);
                found.latency += Duration::from_millis(random.between(latency_ms.min, latency_ms.max));
            } else {
                found.action = Some(armed.rule.action.clone());
            }
        }
        found
    }

    /// Looks at one message of a request; the first rule that matches decides.
    pub(crate) fn for_message(&self, vendor: Vendor, to: u64) -> Option<&FaultAction> {
        self.rules.iter().enumerate().find_map(|(position, armed)| {
            let message = armed.rule.action.concerns_a_message();
            (message && armed.fires(self.seed, position, vendor, Endpoint::Send, &[to]).is_some())
                .then_some(&armed.rule.action)
        })
    }
}

impl Armed {
    /// The number of this match when the rule fires.
    fn fires(
        &self,
        seed: u64,
        position: usize,
        vendor: Vendor,
        endpoint: Endpoint,
        to: &[u64],
    ) -> Option<u64> {
        let rule = &self.rule;
        if rule.vendor.is_some_and(|only| only != vendor) || rule.endpoint != endpoint || !self.concerns(to) {
            return None;
        }
        let number = self.matched.fetch_add(1, Ordering::Relaxed).checked_sub(rule.after)?;
        if rule.every_nth.is_some_and(|nth| nth == 0 || (number + 1) % nth != 0) {
            return None;
        }
        if let Some(share) = rule.share {
            let purpose = ((position as u64 + 1) << 48) ^ number;
            if !Random::new(seed, purpose).chance(share) {
                return None;
            }
        }
        let limit = rule.limit.unwrap_or(u64::MAX);
        let counted = self
            .fired
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |fired| (fired < limit).then_some(fired + 1));
        counted.is_ok().then_some(number)
    }

    fn concerns(&self, to: &[u64]) -> bool {
        if self.recipients.is_empty() && self.suffixes.is_empty() {
            return true;
        }
        to.iter().any(|phone| {
            self.recipients.binary_search(phone).is_ok()
                || self.suffixes.iter().any(|(modulus, value)| phone % modulus == *value)
        })
    }
}

fn arm(rule: FaultRule) -> Armed {
    let digits = |text: &String| text.chars().filter(char::is_ascii_digit).collect::<String>();
    let mut recipients: Vec<u64> =
        rule.recipients.iter().filter_map(|text| digits(text).parse().ok()).collect();
    recipients.sort_unstable();
    let suffixes = rule
        .recipient_suffixes
        .iter()
        .filter_map(|text| {
            let text = digits(text);
            let modulus = 10_u64.checked_pow(u32::try_from(text.len()).ok()?)?;
            Some((modulus, text.parse().ok()?))
        })
        .collect();
    Armed { rule, recipients, suffixes, matched: AtomicU64::new(0), fired: AtomicU64::new(0) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fired(rule: FaultRule, requests: u64) -> Vec<u64> {
        let set = FaultSet::new(5, vec![rule]);
        (0..requests)
            .filter(|n| set.for_request(Vendor::Exotel, Endpoint::Send, &[910_000 + n]).action.is_some())
            .collect()
    }

    #[test]
    fn conditions_hold_together() {
        let close = || FaultRule::new(FaultAction::CloseAfterAccept);
        assert_eq!(fired(close(), 3), [0, 1, 2]);
        assert_eq!(fired(close().every_nth(3), 9), [2, 5, 8]);
        assert_eq!(fired(close().after(2).limit(2), 9), [2, 3]);
        assert_eq!(fired(close().recipient_suffix("07"), 200), [7, 107]);
        assert_eq!(fired(close().recipients(["+910003"]), 9), [3]);
        assert_eq!(fired(close().vendor(Vendor::SobotIn), 9), Vec::<u64>::new());
        assert_eq!(fired(close().share(0.3), 500), fired(close().share(0.3), 500));
        assert!((100..200).contains(&fired(close().share(0.3), 500).len()));
    }

    #[test]
    fn message_rules_look_at_messages_only_and_latency_goes_with_others() {
        let set = FaultSet::new(
            1,
            vec![
                FaultRule::new(FaultAction::CallbackCode { code: 30_012 }).recipient_suffix("9"),
                FaultRule::new(FaultAction::HalfBody),
                FaultRule::new(FaultAction::Latency { latency_ms: RangeMs::fixed(5) }),
            ],
        );
        let found = set.for_request(Vendor::SobotIo, Endpoint::Send, &[9]);
        assert_eq!(found.action, Some(FaultAction::HalfBody));
        assert_eq!(found.latency, Duration::from_millis(5));
        assert!(set.for_message(Vendor::SobotIo, 19).is_some());
        assert!(set.for_message(Vendor::SobotIo, 18).is_none());
    }

    #[test]
    fn rules_are_read_from_json() {
        let rule: FaultRule = serde_json::from_str(
            r#"{"vendor":"exotel","every_nth":7,"action":{"kind":"http_status","status":429,"retry_after_seconds":2}}"#,
        )
        .unwrap();
        assert_eq!(rule.every_nth, Some(7));
        assert!(serde_json::from_str::<FaultRule>(r#"{"action":{"kind":"half_body"},"nth":3}"#).is_err());
    }
}

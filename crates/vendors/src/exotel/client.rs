//! Calls Exotel and judges its answers. One call per send, whatever comes.

use std::{fmt, time::Duration};

use base64::{Engine, engine::general_purpose::STANDARD};
use bytes::Bytes;
use model::{
    disposition::{Disposition, MessageFacts},
    verdict::{Failure, Verdict},
};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use reqwest::header::{AUTHORIZATION, HeaderMap, HeaderValue};

use super::wire::{self, Item};
use crate::{
    NotConnected, Outgoing, Secret, Vendor, codes,
    http::{
        self, Answer, BATCH_ANSWER_BYTES, Endpoint, Http, SINGLE_ANSWER_BYTES, Undocumented, verdict_by_rule,
        verdict_of_ours,
    },
    read,
};

/// Exotel's account, live.
pub struct Client {
    http: Http,
    messages: Endpoint,
    status_callback: Option<String>,
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The callback URL ends with the webhook token.
        f.debug_struct("Client").field("messages", &self.messages).finish_non_exhaustive()
    }
}

impl Client {
    pub fn new(
        http: Http,
        account_sid: &str,
        api_key: &Secret,
        api_token: &Secret,
        status_callback: Option<&str>,
    ) -> Result<Self, NotConnected> {
        let credentials = STANDARD.encode(format!("{}:{}", api_key.expose(), api_token.expose()));
        let mut authorization = HeaderValue::from_str(&format!("Basic {credentials}"))
            .map_err(|_| http.unfit_header("api_key"))?;
        authorization.set_sensitive(true);
        let sid = utf8_percent_encode(account_sid, NON_ALPHANUMERIC);
        let headers = HeaderMap::from_iter([(AUTHORIZATION, authorization)]);
        let messages = http.endpoint(&format!("{}/v2/accounts/{sid}/messages", http.base_url), headers)?;
        Ok(Self { http, messages, status_callback: status_callback.map(str::to_owned) })
    }

    pub async fn send(&self, facts: &MessageFacts, messages: &[Outgoing]) -> Vec<Verdict> {
        if messages.is_empty() {
            return Vec::new();
        }
        let body = wire::request_body(self.status_callback.as_deref(), messages);
        let limit = if messages.len() > 1 { BATCH_ANSWER_BYTES } else { SINGLE_ANSWER_BYTES };
        match self.post(body, limit).await {
            Ok(answer) => judge_answer(&answer, facts, messages.len()),
            Err(fault) => vec![fault.verdict(); messages.len()],
        }
    }

    async fn post(&self, body: Bytes, limit_bytes: usize) -> Result<Answer, http::Fault> {
        self.http.post(&self.messages, None, body, limit_bytes, self.http.deadline()).await
    }

    /// Exotel documents no harmless call: a call without messages sends nothing, and is refused either way.
    pub async fn check(&self) -> Result<String, String> {
        let tried = format!("POST of an empty list of messages to {}", self.http.base_url);
        let body = wire::request_body(None, &[]);
        let answer = self.post(body, SINGLE_ANSWER_BYTES).await;
        let answer = answer.map_err(|fault| format!("{tried}: {} ({})", fault.code, fault.reason))?;
        match answer.status {
            200..=299 | 400 | 422 => {
                Ok(format!("{tried}: HTTP {}, so the credentials are good", answer.status))
            }
            status => {
                let advice =
                    codes::find(Vendor::Exotel, &format!("http_{status}")).map_or("", |entry| entry.advice);
                Err(format!("{tried}: HTTP {status}. {advice}").trim_end().to_owned())
            }
        }
    }
}

pub fn judge_answer(answer: &Answer, facts: &MessageFacts, count: usize) -> Vec<Verdict> {
    match answer.status {
        200..=299 => judge_items(answer, facts, count),
        400 | 413 | 422 if count > 1 => vec![Verdict::Split(split(answer)); count],
        400 if count == 1 => vec![judge_bad_request(answer, facts)],
        status => vec![judge_status(status, answer, facts); count],
    }
}

/// Items belong to messages by position, so one item too few or too many leaves nobody's item certain.
fn judge_items(answer: &Answer, facts: &MessageFacts, count: usize) -> Vec<Verdict> {
    let Some(items) = wire::items(&answer.body) else {
        let verdict = verdict_of_ours(codes::UNREADABLE_ANSWER, "no list of messages in the answer");
        return vec![verdict; count];
    };
    if items.len() != count {
        let reason = format!("{count} messages sent, {} in the answer", items.len());
        return vec![verdict_of_ours(codes::MISSING_IN_ANSWER, &reason); count];
    }
    let repeated = repeated_sids(&items);
    let verdict = |item: Item| match item {
        Item::Accepted(sid) if repeated.contains(&sid) => {
            verdict_of_ours(codes::DUPLICATE_IN_ANSWER, "its sid stands at another message too")
        }
        Item::Accepted(sid) => Verdict::Accepted { vendor_id: sid },
        Item::Refused { code, reason } => refused(&code, &reason, answer.retry_after, facts),
        Item::Unclear(reason) => verdict_of_ours(codes::MISSING_IN_ANSWER, reason),
    };
    items.into_iter().map(verdict).collect()
}

/// The sids that stand at more than one message; as good as always none.
fn repeated_sids(items: &[Item]) -> Vec<String> {
    let mut sids: Vec<&str> = Vec::with_capacity(items.len());
    for item in items {
        if let Item::Accepted(sid) = item {
            sids.push(sid);
        }
    }
    sids.sort_unstable();
    let mut repeated: Vec<&str> =
        sids.iter().zip(sids.iter().skip(1)).filter(|(sid, next)| sid == next).map(|(sid, _)| *sid).collect();
    repeated.dedup();
    repeated.into_iter().map(str::to_owned).collect()
}

fn refused(code: &str, reason: &str, retry_after: Option<Duration>, facts: &MessageFacts) -> Verdict {
    // A refusal whose code reports a step of the message contradicts itself.
    if codes::find(Vendor::Exotel, code).is_some_and(|entry| entry.rule(facts, reason).is_none()) {
        return verdict_of_ours(codes::MISSING_IN_ANSWER, "refused with a code that reports success");
    }
    verdict_by_rule(code, reason, codes::judge(Vendor::Exotel, code, reason, facts), retry_after)
}

/// A refused batch of one: its item's code says more than the status, where there is one.
fn judge_bad_request(answer: &Answer, facts: &MessageFacts) -> Verdict {
    match wire::items(&answer.body).as_deref() {
        Some([Item::Refused { code, reason }]) => refused(code, reason, answer.retry_after, facts),
        Some([Item::Accepted(_)]) => {
            verdict_of_ours(codes::UNREADABLE_ANSWER, "refused as a whole, yet with a sid")
        }
        _ => refused("http_400", &message_of(answer), answer.retry_after, facts),
    }
}

fn judge_status(status: u16, answer: &Answer, facts: &MessageFacts) -> Verdict {
    let code = format!("http_{status}");
    let reason = message_of(answer);
    if let Some(rule) = codes::find(Vendor::Exotel, &code).and_then(|entry| entry.rule(facts, &reason)) {
        return verdict_by_rule(&code, &reason, rule, answer.retry_after);
    }
    let disposition = match http::undocumented(status) {
        Undocumented::NotHere => Disposition::HaltAccount,
        Undocumented::Refused => Disposition::FailMessage,
        Undocumented::Unclear => Disposition::Unknown,
    };
    verdict_by_rule(&code, &reason, disposition.into(), answer.retry_after)
}

fn split(answer: &Answer) -> Failure {
    Failure {
        code: format!("http_{}", answer.status),
        reason: read::brief(&message_of(answer)),
        rule: Disposition::FailMessage.into(),
        retry_after: None,
    }
}

/// The text of a refusal as a whole, wherever Exotel puts it.
fn message_of(answer: &Answer) -> String {
    const PATHS: [&[&str]; 5] = [
        &["response", "error_data", "description"],
        &["response", "error_data", "message"],
        &["error_data", "message"],
        &["RestException", "Message"],
        &["message"],
    ];
    let document = read::document(&answer.body).unwrap_or_default();
    let found = PATHS.iter().find_map(|path| read::text_at(&document, path));
    found.unwrap_or_else(|| format!("HTTP {}", answer.status))
}

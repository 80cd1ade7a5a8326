//! Calls api.sobot.in and judges its answers, by the code in the body and by the HTTP status. One call per message.

use std::fmt;

use model::{
    disposition::{Disposition, MessageFacts, Rule},
    verdict::Verdict,
};
use reqwest::header::{HeaderMap, HeaderValue};

use super::wire::{self, Said};
use crate::{
    NotConnected, Outgoing, Secret, Vendor, codes,
    http::{
        self, Answer, BATCH_ANSWER_BYTES, Endpoint, Http, SINGLE_ANSWER_BYTES, Undocumented, verdict_by_rule,
        verdict_of_ours,
    },
};

/// A sobot_in account, live.
pub struct Client {
    pub(super) http: Http,
    messages: Endpoint,
    pub(super) templates: Endpoint,
    pub(super) templates_url: String,
    pub(super) keys: HeaderMap,
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client").field("messages", &self.messages).finish_non_exhaustive()
    }
}

impl Client {
    pub fn new(http: Http, access_key: &Secret, secret_key: &Secret) -> Result<Self, NotConnected> {
        let header = |key: &str, secret: &Secret| {
            let mut value = HeaderValue::from_str(secret.expose()).map_err(|_| http.unfit_header(key))?;
            value.set_sensitive(true);
            Ok(value)
        };
        let mut keys = HeaderMap::new();
        keys.insert("x-api-key", header("access_key", access_key)?);
        keys.insert("x-api-secret", header("secret_key", secret_key)?);
        let messages = http.endpoint(&format!("{}/message/", http.base_url), keys.clone())?;
        let templates_url = format!("{}/api/template/", http.base_url);
        let templates = http.endpoint(&templates_url, keys.clone())?;
        Ok(Self { http, messages, templates, templates_url, keys })
    }

    pub async fn send(&self, facts: &MessageFacts, messages: &[Outgoing]) -> Vec<Verdict> {
        let mut verdicts = Vec::with_capacity(messages.len());
        for message in messages {
            verdicts.push(self.send_one(facts, message).await);
        }
        verdicts
    }

    async fn send_one(&self, facts: &MessageFacts, message: &Outgoing) -> Verdict {
        let (body, deadline) = (message.rendered.clone(), self.http.deadline());
        match self.http.post(&self.messages, None, body, SINGLE_ANSWER_BYTES, deadline).await {
            Ok(answer) => judge_answer(&answer, facts),
            Err(fault) => fault.verdict(),
        }
    }

    pub async fn check(&self) -> Result<String, String> {
        let tried = format!("list of templates at {}", self.http.base_url);
        let request = self.http.get(&self.templates_url).headers(self.keys.clone());
        let answer = self.http.call(request, BATCH_ANSWER_BYTES, self.http.deadline()).await;
        let answer = answer.map_err(|fault| format!("{tried}: {} ({})", fault.code, fault.reason))?;
        let said = wire::read_answer(&answer.body);
        let status = said.as_ref().and_then(|said| body_status(said, &answer)).unwrap_or(answer.status);
        if (200..=299).contains(&status) {
            return Ok(format!("{tried}: HTTP {status}, so the keys are good"));
        }
        let advice = codes::find(Vendor::SobotIn, &format!("http_{status}")).map_or("", |entry| entry.advice);
        Err(format!("{tried}: HTTP {status}. {advice}").trim_end().to_owned())
    }
}

/// The status that the body gives, where it is a worse one than HTTP's.
fn body_status(said: &Said, answer: &Answer) -> Option<u16> {
    let code: u16 = said.code.as_ref()?.parse().ok()?;
    ((200..=299).contains(&answer.status) && (400..=599).contains(&code)).then_some(code)
}

pub fn judge_answer(answer: &Answer, facts: &MessageFacts) -> Verdict {
    let said = wire::read_answer(&answer.body);
    if answer.status >= 500 {
        return judge_status(answer.status, said.as_ref(), answer, facts);
    }
    if let Some(status) = said.as_ref().and_then(|said| body_status(said, answer)) {
        return judge_status(status, said.as_ref(), answer, facts);
    }
    if let Some(verdict) = said.as_ref().and_then(|said| judge_code(said, answer, facts)) {
        return verdict;
    }
    match (answer.status, said) {
        (200..=299, Some(Said { id: Some(vendor_id), .. })) => Verdict::Accepted { vendor_id },
        (200..=299, Some(_)) => verdict_of_ours(codes::MISSING_IN_ANSWER, "success, but without data.id"),
        (200..=299, None) => verdict_of_ours(codes::UNREADABLE_ANSWER, "no JSON object"),
        (status, said) => judge_status(status, said.as_ref(), answer, facts),
    }
}

/// By one of WhatsApp's codes, which are longer than a status.
fn judge_code(said: &Said, answer: &Answer, facts: &MessageFacts) -> Option<Verdict> {
    const STATUS_DIGITS: usize = 3;
    let code = said.code.as_deref().filter(|code| code.len() > STATUS_DIGITS)?;
    let reason = said.message.as_deref().unwrap_or_default();
    let rule: Rule = match said.id {
        Some(_) => Disposition::Unknown.into(),
        None => codes::judge(Vendor::SobotIn, code, reason, facts),
    };
    Some(verdict_by_rule(code, reason, rule, answer.retry_after))
}

fn judge_status(status: u16, said: Option<&Said>, answer: &Answer, facts: &MessageFacts) -> Verdict {
    let code = format!("http_{status}");
    let stated = said.and_then(|said| said.message.clone());
    let reason = stated.unwrap_or_else(|| format!("HTTP {status}"));
    let rule = match codes::find(Vendor::SobotIn, &code).and_then(|entry| entry.rule(facts, &reason)) {
        Some(_) if status < 500 && said.is_some_and(|said| said.id.is_some()) => Disposition::Unknown.into(),
        Some(rule) => rule,
        None => match http::undocumented(status) {
            Undocumented::NotHere => Disposition::HaltAccount.into(),
            Undocumented::Refused => Disposition::FailMessage.into(),
            Undocumented::Unclear => Disposition::Unknown.into(),
        },
    };
    verdict_by_rule(&code, &reason, rule, answer.retry_after)
}

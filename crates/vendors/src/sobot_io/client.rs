//! Calls sg.sobot.io and judges its answers. A refused token has sent nothing: it is renewed once, the call repeated
//! once, all within one call's time. Nothing else is ever repeated.

use model::{
    disposition::{Disposition, MessageFacts},
    verdict::Verdict,
};
use reqwest::header::HeaderMap;
use tokio::time::Instant;

use super::{
    codes::{TOKEN_REFUSED, is_known, speaks_of_token},
    token::{NoToken, Token, TokenHolder},
    wire::{self, Envelope},
};
use crate::{
    NotConnected, Outgoing, RecordPage, RecordQuery, RecordsError, Secret, Vendor,
    codes::{self, Effect},
    http::{
        self, Answer, BATCH_ANSWER_BYTES, Endpoint, Fault, Http, SINGLE_ANSWER_BYTES, Undocumented,
        verdict_by_rule, verdict_of_ours,
    },
    read,
};

/// A sobot_io account, live.
#[derive(Debug)]
pub struct Client {
    http: Http,
    messages: Endpoint,
    records: Endpoint,
    pub(super) templates: Endpoint,
    pub(super) whatsapp_url: String,
    pub(super) waba_id: String,
    token: TokenHolder,
}

/// A call that needs a token.
#[derive(Clone, Copy)]
pub(super) enum Request<'a> {
    Post(&'a Endpoint, &'a bytes::Bytes),
    /// With its query.
    Get(&'a str, &'a [(&'a str, &'a str)]),
}

/// What came of a call that needs a token.
pub(super) enum Called {
    /// With what its body says, if it is one of Sobot's.
    Answered(Answer, Option<Envelope>),
    NoToken(NoToken),
    Failed(Fault),
}

impl Client {
    pub fn new(http: Http, app_id: &str, app_key: &Secret, waba_id: &str) -> Result<Self, NotConnected> {
        let whatsapp = format!("{}/chat-whatsapp/api/whatsapp", http.base_url);
        Ok(Self {
            // The vendor's own spelling.
            messages: http.endpoint(&format!("{whatsapp}/forword"), HeaderMap::new())?,
            records: http.endpoint(&format!("{whatsapp}/send_record_list"), HeaderMap::new())?,
            templates: http.endpoint(&format!("{whatsapp}/createTemplateInfo"), HeaderMap::new())?,
            whatsapp_url: whatsapp,
            waba_id: waba_id.to_owned(),
            token: TokenHolder::new(&http.base_url, app_id, app_key),
            http,
        })
    }

    pub async fn send(&self, facts: &MessageFacts, messages: &[Outgoing]) -> Vec<Verdict> {
        let mut verdicts = Vec::with_capacity(messages.len());
        for message in messages {
            verdicts.push(self.send_one(facts, message).await);
        }
        verdicts
    }

    async fn send_one(&self, facts: &MessageFacts, message: &Outgoing) -> Verdict {
        match self.call(Request::Post(&self.messages, &message.rendered), SINGLE_ANSWER_BYTES).await {
            Called::Answered(answer, envelope) => judge_answer(&answer, envelope, facts),
            Called::NoToken(none) => none.verdict(),
            Called::Failed(fault) => fault.verdict(),
        }
    }

    /// Calls with the token, and once more with a new one when it is refused.
    pub(super) async fn call(&self, request: Request<'_>, limit_bytes: usize) -> Called {
        let deadline = self.http.deadline();
        let token = match self.token.get(&self.http, deadline).await {
            Ok(token) if self.http.is_worth_beginning(deadline) => token,
            Ok(_) => return Called::NoToken(NoToken::too_late()),
            Err(none) => return Called::NoToken(none),
        };
        let answer = match self.call_with(&token, request, limit_bytes, deadline).await {
            Ok(answer) => answer,
            Err(fault) => return Called::Failed(fault),
        };
        let envelope = Envelope::read(&answer.body);
        if !refuses_token(&answer, envelope.as_ref()) {
            return Called::Answered(answer, envelope);
        }
        let token = match Box::pin(self.token.renew(&token, &self.http, deadline)).await {
            Ok(token) if self.http.is_worth_beginning(deadline) => token,
            Ok(_) => return Called::NoToken(NoToken::too_late()),
            Err(none) => return Called::NoToken(none),
        };
        match self.call_with(&token, request, limit_bytes, deadline).await {
            Ok(answer) => {
                let envelope = Envelope::read(&answer.body);
                Called::Answered(answer, envelope)
            }
            Err(fault) => Called::Failed(fault),
        }
    }

    async fn call_with(
        &self,
        token: &Token,
        request: Request<'_>,
        limit_bytes: usize,
        deadline: Instant,
    ) -> Result<Answer, Fault> {
        // A token that fits in no header is refused before anything is sent.
        let token = ("token", token.text.expose());
        match request {
            Request::Post(endpoint, body) => {
                self.http.post(endpoint, Some(token), body.clone(), limit_bytes, deadline).await
            }
            Request::Get(url, query) => {
                let request = self.http.get(url).query(query).header(token.0, token.1);
                // Boxed: every call would be as large as this rare one.
                Box::pin(self.http.call(request, limit_bytes, deadline)).await
            }
        }
    }

    pub async fn check(&self) -> Result<String, String> {
        let tried = format!("get_token at {}", self.http.base_url);
        match self.token.get(&self.http, self.http.deadline()).await {
            Ok(_) => {
                Ok(format!("{tried}: a token was given, so the credentials are good (WABA {})", self.waba_id))
            }
            Err(none) => {
                let advice = codes::find(Vendor::SobotIo, &none.code).map_or("", |entry| entry.advice);
                Err(format!("{tried}: {} ({}). {advice}", none.code, read::brief(&none.reason))
                    .trim_end()
                    .to_owned())
            }
        }
    }

    pub async fn find_records(&self, query: &RecordQuery) -> Result<RecordPage, RecordsError> {
        let failed = |code: &str, reason: &str| RecordsError::Failed {
            code: read::brief(code),
            reason: read::brief(reason),
        };
        let body = bytes::Bytes::from(wire::record_query(query).to_string());
        let (answer, envelope) =
            match self.call(Request::Post(&self.records, &body), BATCH_ANSWER_BYTES).await {
                Called::Answered(answer, envelope) => (answer, envelope),
                Called::NoToken(none) => return Err(failed(&none.code, &none.reason)),
                Called::Failed(fault) => return Err(failed(fault.code, &fault.reason)),
            };
        if answer.status != 200 {
            let reason = envelope.map(|envelope| envelope.message).unwrap_or_default();
            return Err(failed(&format!("http_{}", answer.status), &reason));
        }
        match envelope {
            Some(envelope) if envelope.is_success() => {
                envelope.records().ok_or_else(|| failed(codes::UNREADABLE_ANSWER, "no list of items"))
            }
            Some(envelope) => Err(failed(&envelope.code, &envelope.message)),
            None => Err(failed(codes::UNREADABLE_ANSWER, "an answer without ret_code")),
        }
    }
}

/// Whether a complete answer says that the token is not taken, so that nothing was sent.
fn refuses_token(answer: &Answer, envelope: Option<&Envelope>) -> bool {
    if envelope.is_some_and(may_have_sent) {
        return false;
    }
    match answer.status {
        401 | 403 => true,
        200..=299 | 400 => {
            envelope.is_some_and(|envelope| speaks_of_token(&envelope.code, &envelope.message))
        }
        _ => false,
    }
}

/// Whether the body speaks of a message that went out or may have, whatever the status says.
fn may_have_sent(envelope: &Envelope) -> bool {
    let rule = codes::find(Vendor::SobotIo, &envelope.code).map(|entry| entry.effect);
    let is_unknown = matches!(rule, Some(Effect::Rule(rule)) if rule.disposition == Disposition::Unknown);
    is_unknown || envelope.is_success() || envelope.message_id().is_some()
}

pub fn judge_answer(answer: &Answer, envelope: Option<Envelope>, facts: &MessageFacts) -> Verdict {
    match (answer.status, envelope) {
        (200..=299, Some(envelope)) => judge_envelope(answer, &envelope, facts),
        (200..=299, None) => verdict_of_ours(codes::UNREADABLE_ANSWER, "an answer without ret_code"),
        // A refusal that names a code says more than its status.
        (400, Some(envelope)) if !envelope.is_success() => judge_envelope(answer, &envelope, facts),
        (status @ 400..=499, Some(envelope)) if may_have_sent(&envelope) => {
            let code = format!("http_{status}");
            verdict_by_rule(&code, "refused, yet not in the body", Disposition::Unknown.into(), None)
        }
        (status, envelope) => {
            let reason = envelope.map(|envelope| envelope.message).filter(|text| !text.is_empty());
            judge_status(status, &reason.unwrap_or_else(|| format!("HTTP {status}")), answer, facts)
        }
    }
}

fn judge_envelope(answer: &Answer, envelope: &Envelope, facts: &MessageFacts) -> Verdict {
    let (code, reason) = (envelope.code.as_str(), envelope.message.as_str());
    match envelope.message_id() {
        Some(vendor_id) if envelope.is_success() => return Verdict::Accepted { vendor_id },
        // 000000 written as a number; without an id it would be WhatsApp's code of a failed authentication.
        Some(vendor_id) if code == "0" => return Verdict::Accepted { vendor_id },
        Some(_) => {
            return verdict_by_rule(code, "refused, yet with an id", Disposition::Unknown.into(), None);
        }
        None if envelope.is_success() => {
            return verdict_of_ours(codes::MISSING_IN_ANSWER, "success, but without an id");
        }
        None => {}
    }
    if !is_known(code) && speaks_of_token(code, reason) {
        let rule = codes::judge(Vendor::SobotIo, TOKEN_REFUSED, reason, facts);
        return verdict_by_rule(code, reason, rule, answer.retry_after);
    }
    verdict_by_rule(code, reason, codes::judge(Vendor::SobotIo, code, reason, facts), answer.retry_after)
}

fn judge_status(status: u16, reason: &str, answer: &Answer, facts: &MessageFacts) -> Verdict {
    let code = format!("http_{status}");
    let rule = match codes::find(Vendor::SobotIo, &code).and_then(|entry| entry.rule(facts, reason)) {
        Some(rule) => rule,
        None => match http::undocumented(status) {
            Undocumented::NotHere => Disposition::HaltAccount.into(),
            Undocumented::Refused => Disposition::FailMessage.into(),
            Undocumented::Unclear => Disposition::Unknown.into(),
        },
    };
    verdict_by_rule(&code, reason, rule, answer.retry_after)
}

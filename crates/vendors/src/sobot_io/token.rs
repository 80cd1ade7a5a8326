//! The one token of an account: fetched when first needed, renewed in advance, and once when it is refused.
//!
//! A new token may end the old one (sobot-io.txt, "Token usage description"), so one place holds it and one task at a
//! time fetches it. A failure to get one never counts as a message sent.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use md5::{Digest, Md5};
use model::verdict::Verdict;
use tokio::{
    sync::{Mutex, MutexGuard},
    time::Instant,
};

use super::{codes::TOKEN_FAILED, codes::TOKEN_REFUSED, wire::Envelope};
use crate::{
    Secret, Vendor, codes,
    http::{Answer, Http, SINGLE_ANSWER_BYTES, verdict_by_rule},
};

/// A token is renewed when this much of its life is over.
const RENEW_AFTER_PERCENT: i64 = 75;
/// After a failed renewal in advance, the old token serves for this long before the next attempt.
const RENEW_PAUSE_SECONDS: i64 = 30;
/// Codes of a passing fault: the credentials are not in doubt.
const PASSING: [&str; 4] = ["1", "2", "131016", "999998"];

/// A token, and which one it was, so that a refused one is renewed once however many calls held it.
#[derive(Clone, Debug)]
pub struct Token {
    pub text: Secret,
    pub generation: u64,
}

/// Why there is no token. Nothing was sent.
#[derive(Clone, Debug)]
pub struct NoToken {
    pub code: String,
    pub reason: String,
    pub retry_after: Option<Duration>,
}

impl NoToken {
    /// The token came, or would have come, when the call's time was nearly over.
    pub fn too_late() -> Self {
        let reason = "the token came too late for the call".to_owned();
        Self { code: TOKEN_FAILED.to_owned(), reason, retry_after: None }
    }

    /// The verdict on a message that could not be sent for want of a token.
    pub fn verdict(&self) -> Verdict {
        let facts = model::disposition::MessageFacts {
            is_template: false,
            is_marketing: false,
            media_per_row: false,
            parameters_per_row: false,
        };
        let rule = codes::judge(Vendor::SobotIo, &self.code, &self.reason, &facts);
        verdict_by_rule(&self.code, &self.reason, rule, self.retry_after)
    }
}

#[derive(Debug)]
struct Held {
    token: Token,
    renew_at: DateTime<Utc>,
    ends_at: DateTime<Utc>,
}

/// Holds the token.
#[derive(Debug)]
pub struct TokenHolder {
    url: String,
    app_id: String,
    app_key: Secret,
    held: Mutex<Option<Held>>,
}

impl TokenHolder {
    pub fn new(base_url: &str, app_id: &str, app_key: &Secret) -> Self {
        let url = format!("{base_url}/api/get_token");
        Self { url, app_id: app_id.to_owned(), app_key: app_key.clone(), held: Mutex::new(None) }
    }

    /// A token that is good by its own word.
    pub async fn get(&self, http: &Http, deadline: Instant) -> Result<Token, NoToken> {
        let mut held = self.lock(deadline).await?;
        let now = http.clock().now();
        if let Some(held) = held.as_mut()
            && now < held.ends_at
        {
            if now < held.renew_at {
                return Ok(held.token.clone());
            }
            match Box::pin(self.fetch(http, deadline, held.token.generation + 1)).await {
                Ok(renewed) => *held = renewed,
                Err(none) => {
                    tracing::warn!(
                        account.name = http.account,
                        code = none.code,
                        reason = none.reason,
                        "the token cannot be renewed in advance; the old one serves for now"
                    );
                    held.renew_at = now + TimeDelta::seconds(RENEW_PAUSE_SECONDS);
                }
            }
            return Ok(held.token.clone());
        }
        self.replace(&mut held, http, deadline).await
    }

    /// Another token than the refused one: the one that somebody has fetched meanwhile, or a new one.
    pub async fn renew(&self, refused: &Token, http: &Http, deadline: Instant) -> Result<Token, NoToken> {
        let mut held = self.lock(deadline).await?;
        match held.as_ref() {
            Some(held) if held.token.generation > refused.generation => Ok(held.token.clone()),
            _ => self.replace(&mut held, http, deadline).await,
        }
    }

    /// Waits for whoever fetches a token now, but no longer than the call may take.
    async fn lock(&self, deadline: Instant) -> Result<MutexGuard<'_, Option<Held>>, NoToken> {
        tokio::time::timeout_at(deadline, self.held.lock()).await.map_err(|_| NoToken::too_late())
    }

    async fn replace(
        &self,
        held: &mut Option<Held>,
        http: &Http,
        deadline: Instant,
    ) -> Result<Token, NoToken> {
        let generation = held.as_ref().map_or(0, |held| held.token.generation + 1);
        // Boxed: most calls find a token, and would be as large as those that fetch one.
        let fetched = Box::pin(self.fetch(http, deadline, generation)).await?;
        let token = fetched.token.clone();
        *held = Some(fetched);
        Ok(token)
    }

    async fn fetch(&self, http: &Http, deadline: Instant, generation: u64) -> Result<Held, NoToken> {
        let now = http.clock().now();
        let create_time = now.timestamp().to_string();
        let sign = sign(&self.app_id, &create_time, &self.app_key);
        let query = [("appid", self.app_id.as_str()), ("create_time", &create_time), ("sign", &sign)];
        let request = http.get(&self.url).query(&query);
        let answer = http.call(request, SINGLE_ANSWER_BYTES, deadline).await.map_err(|fault| NoToken {
            code: if fault.not_sent { fault.code } else { TOKEN_FAILED }.to_owned(),
            reason: fault.reason,
            retry_after: None,
        })?;
        let (text, lives_seconds) = read_answer(&answer)?;
        // Bounded, because a life is added to a date.
        let lives = i64::try_from(lives_seconds).unwrap_or(i64::MAX).min(366 * 86_400);
        Ok(Held {
            token: Token { text: Secret::new(text), generation },
            renew_at: now + TimeDelta::milliseconds(lives * 10 * RENEW_AFTER_PERCENT),
            ends_at: now + TimeDelta::seconds(lives),
        })
    }
}

fn read_answer(answer: &Answer) -> Result<(String, u64), NoToken> {
    let none = |code: &str, reason: String| {
        let reason = format!("get_token: {reason}");
        NoToken { code: code.to_owned(), reason, retry_after: answer.retry_after }
    };
    match answer.status {
        200..=299 => {}
        status @ (401 | 403 | 404 | 429) => {
            return Err(none(&format!("http_{status}"), format!("HTTP {status}")));
        }
        status => return Err(none(TOKEN_FAILED, format!("HTTP {status}"))),
    }
    let Some(envelope) = Envelope::read(&answer.body) else {
        return Err(none(TOKEN_FAILED, "an answer without ret_code".to_owned()));
    };
    if envelope.is_success() {
        let missing = || none(TOKEN_FAILED, "success, but no token with a life in it".to_owned());
        return envelope.token().ok_or_else(missing);
    }
    let reason = format!("{} {}", envelope.code, envelope.message);
    match envelope.code.as_str() {
        "4" | "80007" => Err(none(&envelope.code, reason)),
        code if PASSING.contains(&code) => Err(none(TOKEN_FAILED, reason)),
        _ => Err(none(TOKEN_REFUSED, reason)),
    }
}

/// md5(appid + create_time + app_key), as sobot-io.txt, "Acquire token", asks for.
fn sign(app_id: &str, create_time: &str, app_key: &Secret) -> String {
    let mut hash = Md5::new();
    hash.update(app_id);
    hash.update(create_time);
    hash.update(app_key.expose());
    hex::encode(hash.finalize())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signs_as_the_document_shows() {
        assert_eq!(sign("1", "1569397773", &Secret::new("2")), "258eec3118705112b2c53dc8043d4d34");
    }
}

//! What can go wrong between a client and campaignd, each with what to do about it.

use reqwest::{StatusCode, Url};

use crate::Problem;

/// Why a call did not succeed. Shows as a sentence with the remedy.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// The address is none.
    #[error("`{url}` is not campaignd's address: {reason}; give one such as http://127.0.0.1:8080")]
    Address {
        /// What was given.
        url: String,
        /// What is wrong with it.
        reason: String,
    },
    /// Nobody answers there.
    #[error(
        "cannot reach campaignd at {url}: {reason}. Is `campaignd serve` running there? Name another address with --url or CAMPAIGND_URL"
    )]
    Unreachable {
        /// Where.
        url: String,
        /// What the network says.
        reason: String,
    },
    /// The connection broke, or took too long, after the call had begun: it may have been carried out.
    #[error("the connection to campaignd at {url} broke: {reason}. The call may have been carried out")]
    Broken {
        /// Where.
        url: String,
        /// What the network says.
        reason: String,
    },
    /// campaignd says no, and why.
    #[error("{}", sentence(.0))]
    Refused(Box<Problem>),
    /// Something answers that does not speak like campaignd.
    #[error("{url}: {reason}. Is that address campaignd's?")]
    Unexpected {
        /// What was called.
        url: String,
        /// What is odd.
        reason: String,
    },
}

impl ClientError {
    /// The status of a refusal.
    #[must_use]
    pub fn status(&self) -> Option<u16> {
        match self {
            Self::Refused(problem) => Some(problem.status),
            _ => None,
        }
    }

    /// Whether the same call may succeed a little later: nobody answered, or was not ready yet.
    #[must_use]
    pub fn is_passing(&self) -> bool {
        match self {
            Self::Unreachable { .. } | Self::Broken { .. } => true,
            Self::Refused(problem) => matches!(problem.status, 429 | 502 | 503 | 504),
            Self::Address { .. } | Self::Unexpected { .. } => false,
        }
    }

    pub(super) fn transport(base: &Url, error: &reqwest::Error) -> Self {
        let url = base.as_str().trim_end_matches('/').to_owned();
        let reason = innermost(error);
        if error.is_connect() { Self::Unreachable { url, reason } } else { Self::Broken { url, reason } }
    }

    pub(super) fn unexpected(url: &Url, reason: String) -> Self {
        Self::Unexpected { url: without_query(url), reason }
    }

    pub(super) fn refused(url: &Url, status: StatusCode, body: &[u8], has_token: bool) -> Self {
        let mut problem: Problem = match serde_json::from_slice(body) {
            Ok(problem) => problem,
            Err(_) if status == StatusCode::NOT_FOUND && body.is_empty() => Problem {
                kind: "about:blank".to_owned(),
                title: "Not Found".to_owned(),
                status: status.as_u16(),
                detail: format!("campaignd at {} does not offer this", without_query(url)),
                errors: Vec::new(),
                task_id: None,
            },
            Err(_) => {
                let text: String = String::from_utf8_lossy(body).chars().take(200).collect();
                return Self::unexpected(url, format!("answered {status}: {}", text.trim()));
            }
        };
        problem.status = status.as_u16();
        if problem.title.is_empty() {
            problem.title = status.canonical_reason().unwrap_or("refused").to_owned();
        }
        if status == StatusCode::UNAUTHORIZED {
            let advice = if has_token {
                "the token is not valid; give another with --token or CAMPAIGND_TOKEN"
            } else {
                "no token was given; give one with --token, CAMPAIGND_TOKEN or CAMPAIGND_ADMIN_TOKEN"
            };
            let said = std::mem::take(&mut problem.detail);
            problem.detail = if said.is_empty() { advice.to_owned() } else { format!("{said} ({advice})") };
        }
        Self::Refused(Box::new(problem))
    }
}

/// What is wrong, then each field, unless that has been said already.
fn sentence(problem: &Problem) -> String {
    let mut text = if problem.detail.is_empty() { problem.title.clone() } else { problem.detail.clone() };
    for error in problem.errors.iter().filter(|error| !problem.detail.contains(&error.message)) {
        text.push_str(&format!("\n  {}: {}", error.field, error.message));
    }
    text
}

/// The cause at the bottom of the chain says most: `Connection refused (os error 111)`.
fn innermost(error: &reqwest::Error) -> String {
    if error.is_timeout() {
        return "it took too long".to_owned();
    }
    let mut cause: &dyn std::error::Error = error;
    while let Some(next) = cause.source() {
        cause = next;
    }
    cause.to_string()
}

fn without_query(url: &Url) -> String {
    let mut url = url.clone();
    url.set_query(None);
    url.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(status: u16, body: &str, has_token: bool) -> String {
        let url = Url::parse("http://127.0.0.1:1/api/v1/campaigns?limit=1").unwrap();
        ClientError::refused(&url, StatusCode::from_u16(status).unwrap(), body.as_bytes(), has_token)
            .to_string()
    }

    #[test]
    fn a_refusal_says_each_thing_once() {
        let one = r#"{"detail":"name: is empty","errors":[{"field":"name","message":"is empty"}]}"#;
        assert_eq!(refused(422, one, true), "name: is empty");
        let two = r#"{"detail":"2 fields are wrong","errors":[{"field":"a","message":"x"},{"field":"b","message":"y"}]}"#;
        assert_eq!(refused(422, two, true), "2 fields are wrong\n  a: x\n  b: y");
    }

    #[test]
    fn what_is_no_problem_document_is_told_too() {
        assert!(refused(401, "{}", false).contains("--token"));
        assert!(refused(404, "", true).ends_with("does not offer this"));
        let other = refused(502, "<html>Bad Gateway</html>", true);
        assert!(other.contains("answered 502") && other.contains("Is that address campaignd's?"), "{other}");
        assert!(!other.contains("limit=1"), "{other}");
    }
}

//! Who calls, and what they may do. Tokens are compared by their hashes, in constant time.

use axum::{
    extract::{FromRequestParts, Request, State},
    http::{StatusCode, header, request::Parts},
    middleware::Next,
    response::{IntoResponse, Response},
};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use crate::{
    problem::{Answer, Problem},
    state::AppState,
};

/// What a caller may do; each includes those before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Role {
    /// Looks at things.
    Viewer,
    /// Makes audiences and campaigns, and launches them.
    Marketer,
    /// Stops and resumes, lifts halts, decides.
    Operator,
    /// Everything.
    Admin,
}

impl Role {
    fn as_str(self) -> &'static str {
        match self {
            Self::Viewer => "viewer",
            Self::Marketer => "marketer",
            Self::Operator => "operator",
            Self::Admin => "admin",
        }
    }
}

/// The administrator's token of `CAMPAIGND_ADMIN_TOKEN`, hashed.
#[derive(Clone)]
pub struct AdminToken([u8; 32]);

impl AdminToken {
    /// Hashes the token; none for an empty one, which would let everybody in who sends nothing.
    #[must_use]
    pub fn new(token: &str) -> Option<Self> {
        let token = token.trim();
        (!token.is_empty()).then(|| Self(Sha256::digest(token.as_bytes()).into()))
    }

    fn is(&self, token: &str) -> bool {
        let hash: [u8; 32] = Sha256::digest(token.as_bytes()).into();
        self.0.ct_eq(&hash).into()
    }
}

impl std::fmt::Debug for AdminToken {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("****")
    }
}

/// A caller that has shown a token.
#[derive(Clone, Copy, Debug)]
pub struct Caller {
    role: Role,
}

impl Caller {
    /// Refuses callers below `role`.
    pub fn needs(self, role: Role) -> Answer<()> {
        if self.role >= role {
            return Ok(());
        }
        let detail = format!("this needs the role {}; the token's is {}", role.as_str(), self.role.as_str());
        Err(Problem::new(StatusCode::FORBIDDEN, detail))
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Caller {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, Problem> {
        parts.extensions.get::<Self>().copied().ok_or_else(|| unauthorized("no token was checked"))
    }
}

/// Lets only callers with a token through.
pub async fn require_token(State(state): State<AppState>, mut request: Request, next: Next) -> Response {
    match check(&state, &request) {
        Ok(caller) => {
            request.extensions_mut().insert(caller);
            next.run(request).await
        }
        Err(problem) => problem.into_response(),
    }
}

fn check(state: &AppState, request: &Request) -> Answer<Caller> {
    let Some(admin) = &state.admin_token else {
        return Err(unauthorized(
            "no token is known: start campaignd with the environment variable CAMPAIGND_ADMIN_TOKEN set, and send \
             it as `Authorization: Bearer TOKEN`",
        ));
    };
    let given = request.headers().get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
    let Some((scheme, token)) = given.and_then(|text| text.split_once(' ')) else {
        return Err(unauthorized("send `Authorization: Bearer TOKEN`"));
    };
    if !scheme.eq_ignore_ascii_case("bearer") {
        return Err(unauthorized("send `Authorization: Bearer TOKEN`; no other scheme is known"));
    }
    if !admin.is(token.trim()) {
        return Err(unauthorized("the token is not known"));
    }
    Ok(Caller { role: Role::Admin })
}

fn unauthorized(detail: &str) -> Problem {
    Problem::new(StatusCode::UNAUTHORIZED, detail)
}

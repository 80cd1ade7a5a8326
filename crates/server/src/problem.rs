//! Errors as RFC 9457 describes them, in one place. Causes are logged here once and never shown.

use axum::{
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use model::FieldError;

/// A request that is not carried out.
#[derive(Debug)]
pub struct Problem(Box<::api::Problem>);

/// A handler's result.
pub type Answer<T> = Result<T, Problem>;

impl Problem {
    /// A problem that its status and a sentence describe.
    pub fn new(status: StatusCode, detail: impl Into<String>) -> Self {
        Self(Box::new(::api::Problem {
            kind: "about:blank".to_owned(),
            title: status.canonical_reason().unwrap_or("Error").to_owned(),
            status: status.as_u16(),
            detail: detail.into(),
            errors: Vec::new(),
            task_id: None,
        }))
    }

    /// There is no such thing.
    pub fn no(what: &str, id: impl std::fmt::Display) -> Self {
        Self::new(StatusCode::NOT_FOUND, format!("there is no {what} {id}"))
    }

    /// The state of things forbids it.
    pub fn conflict(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::CONFLICT, detail)
    }

    /// The query says what cannot be.
    pub fn query(field: &str, message: impl Into<String>) -> Self {
        let message = message.into();
        let mut problem = Self::new(StatusCode::BAD_REQUEST, format!("the query's `{field}` {message}"));
        problem.0.errors.push(::api::ProblemField { field: field.to_owned(), message });
        problem
    }

    /// The request is understood, and these fields of it are wrong.
    pub fn fields(errors: Vec<FieldError>) -> Self {
        let detail = match errors.as_slice() {
            [one] => one.to_string(),
            several => format!("{} fields are wrong", several.len()),
        };
        let mut problem = Self::new(StatusCode::UNPROCESSABLE_ENTITY, detail);
        problem.0.errors =
            errors.into_iter().map(|e| ::api::ProblemField { field: e.field, message: e.message }).collect();
        problem
    }

    /// One field of the request is wrong.
    pub fn field(field: &str, message: impl Into<String>) -> Self {
        Self::fields(vec![FieldError::new(field, message)])
    }

    /// The same, naming the task that stands in the way.
    pub fn with_task(mut self, task_id: i64) -> Self {
        self.0.task_id = Some(task_id);
        self
    }

    /// The same, with complaints by field.
    pub fn with_errors(mut self, errors: Vec<::api::ProblemField>) -> Self {
        self.0.errors = errors;
        self
    }

    /// The HTTP status.
    pub fn status(&self) -> StatusCode {
        StatusCode::from_u16(self.0.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let status = self.status();
        let body = serde_json::to_vec(&self.0).unwrap_or_default();
        let mut response = (status, body).into_response();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        match status {
            StatusCode::UNAUTHORIZED => {
                headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
            }
            StatusCode::SERVICE_UNAVAILABLE | StatusCode::TOO_MANY_REQUESTS => {
                headers.insert(header::RETRY_AFTER, HeaderValue::from_static("5"));
            }
            _ => {}
        }
        response
    }
}

impl From<store::Error> for Problem {
    fn from(error: store::Error) -> Self {
        tracing::error!(error = %error, "a request was not carried out");
        match error {
            store::Error::Database { .. } => Self::new(
                StatusCode::SERVICE_UNAVAILABLE,
                "the database did not carry this out; try again, and see the log if it stays so",
            ),
            _ => Self::new(
                StatusCode::INTERNAL_SERVER_ERROR,
                "something is wrong on our side; the log says what",
            ),
        }
    }
}

/// Any route that does not exist.
pub async fn no_such_route(uri: axum::http::Uri) -> Problem {
    Problem::new(
        StatusCode::NOT_FOUND,
        format!("there is nothing at {}; /api/docs says what there is", uri.path()),
    )
}

/// A route that exists, for other methods.
pub async fn no_such_method(method: axum::http::Method, uri: axum::http::Uri) -> Problem {
    let detail = format!("{method} is not possible at {}; /api/docs says what is", uri.path());
    Problem::new(StatusCode::METHOD_NOT_ALLOWED, detail)
}

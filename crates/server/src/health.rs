//! Whether this node is alive and ready, and its numbers for Prometheus.

use std::time::Duration;

use axum::{
    Router,
    extract::State,
    http::{StatusCode, header},
    response::{IntoResponse, Response},
    routing::get,
};

use crate::{metrics, problem::Problem, state::AppState};

/// How long the database may take to answer. Without a connection, the pool would let a probe wait for much longer.
const LIMIT_READY: Duration = Duration::from_secs(1);

/// `/healthz`, `/readyz` and `/metrics`, without a token.
pub fn routes() -> Router<AppState> {
    Router::new()
        .route("/healthz", get(|| async { "alive\n" }))
        .route("/readyz", get(readyz))
        .route("/metrics", get(show_metrics))
}

async fn readyz(State(state): State<AppState>) -> Response {
    let not_ready = |why: &str| Problem::new(StatusCode::SERVICE_UNAVAILABLE, why).into_response();
    match tokio::time::timeout(LIMIT_READY, state.database.schema_is_current()).await {
        Err(_) => return not_ready("the database has not answered within a second"),
        Ok(Err(error)) => {
            tracing::debug!(%error, "not ready");
            return not_ready("the database does not answer, or holds no schema yet");
        }
        Ok(Ok(false)) => {
            return not_ready("the database's schema is not this program's: run `campaignd migrate`");
        }
        Ok(Ok(true)) => {}
    }
    if !(state.live.is_lease_loop_alive)() {
        return not_ready("the loop that renews leases does not run");
    }
    if (state.live.is_database_away)() {
        return not_ready("outcomes cannot be recorded in the database; nothing is sent until they can");
    }
    (StatusCode::OK, "ready\n").into_response()
}

async fn show_metrics(State(state): State<AppState>) -> Response {
    let text = metrics::render(&state).await;
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], text).into_response()
}

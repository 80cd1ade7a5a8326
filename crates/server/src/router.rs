//! The routes, and the loop that serves them.

use std::{
    convert::Infallible,
    future::{Ready, ready},
    io,
    task::{Context, Poll},
    time::Duration,
};

use axum::{
    Router,
    extract::{DefaultBodyLimit, Request},
    http::{Method, StatusCode},
    middleware::{self, Next},
    response::{IntoResponse as _, Response},
};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tower_service::Service;
use utoipa_axum::router::OpenApiRouter;
use utoipa_swagger_ui::SwaggerUi;

use crate::{
    api, auth,
    extract::LIMIT_JSON_BYTES,
    health, openapi,
    problem::{Problem, no_such_method, no_such_route},
    state::AppState,
    webhooks::{self, Front},
};

/// How long it may take until an answer begins. The database may never answer, and what it was asked by would keep its
/// connection; the longest that is done for a person goes through a large audience once.
const ANSWER: Duration = Duration::from_secs(60);
/// How long requests that are under way may take to end after the shutdown.
const DRAIN: Duration = Duration::from_secs(10);

/// All routes.
pub fn router(state: AppState) -> Router {
    let (api, described) =
        OpenApiRouter::with_openapi(openapi::description()).nest("/api/v1", api::routes()).split_for_parts();
    let described = openapi::finish(described);
    let api = api
        .route_layer(middleware::from_fn_with_state(state.clone(), auth::require_token))
        .route_layer(middleware::from_fn(in_time));
    Router::new()
        .merge(api)
        .merge(SwaggerUi::new("/api/docs").url("/api/openapi.json", described))
        .merge(webhooks::routes())
        .merge(health::routes())
        .layer(DefaultBodyLimit::max(LIMIT_JSON_BYTES))
        .fallback(no_such_route)
        .method_not_allowed_fallback(no_such_method)
        .with_state(state)
}

/// Answers in any case. Uploads take as long as their sender does, and have limits of their own.
async fn in_time(request: Request, next: Next) -> Response {
    let path = request.uri().path();
    if request.method() == Method::POST && (path.ends_with("/audiences") || path.ends_with("/import")) {
        return next.run(request).await;
    }
    match tokio::time::timeout(ANSWER, next.run(request)).await {
        Ok(response) => response,
        Err(_) => {
            let detail = "the database has not answered in time; look whether this was done, and try again";
            Problem::new(StatusCode::SERVICE_UNAVAILABLE, detail).into_response()
        }
    }
}

/// Hands the same service to every connection.
struct Shared(Front);

impl<Connection> Service<Connection> for Shared {
    type Response = Front;
    type Error = Infallible;
    type Future = Ready<Result<Front, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Connection) -> Self::Future {
        ready(Ok(self.0.clone()))
    }
}

/// Serves until `shutdown`, then lets requests end that are under way.
///
/// # Errors
/// The listener fails.
pub async fn serve(listener: TcpListener, state: AppState, shutdown: CancellationToken) -> io::Result<()> {
    let ending = shutdown.clone();
    let front = Front::new(state.clone(), router(state));
    let server =
        axum::serve(listener, Shared(front)).with_graceful_shutdown(async move { ending.cancelled().await });
    tokio::select! {
        served = server => served,
        () = async { shutdown.cancelled().await; tokio::time::sleep(DRAIN).await } => {
            tracing::warn!("some requests had not ended in time and were cut off");
            Ok(())
        }
    }
}

//! The routes, and the loop that serves them.

use std::{io, time::Duration};

use axum::{Router, extract::DefaultBodyLimit, middleware};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use utoipa_axum::router::OpenApiRouter;
use utoipa_swagger_ui::SwaggerUi;

use crate::{
    api, auth,
    extract::LIMIT_JSON_BYTES,
    health, openapi,
    problem::{no_such_method, no_such_route},
    state::AppState,
    webhooks,
};

/// How long requests that are under way may take to end after the shutdown.
const DRAIN: Duration = Duration::from_secs(10);

/// All routes.
pub fn router(state: AppState) -> Router {
    let (api, described) =
        OpenApiRouter::with_openapi(openapi::description()).nest("/api/v1", api::routes()).split_for_parts();
    let described = openapi::finish(described);
    let api = api.route_layer(middleware::from_fn_with_state(state.clone(), auth::require_token));
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

/// Serves until `shutdown`, then lets requests end that are under way.
///
/// # Errors
/// The listener fails.
pub async fn serve(listener: TcpListener, state: AppState, shutdown: CancellationToken) -> io::Result<()> {
    let ending = shutdown.clone();
    let server =
        axum::serve(listener, router(state)).with_graceful_shutdown(async move { ending.cancelled().await });
    tokio::select! {
        served = server => served,
        () = async { shutdown.cancelled().await; tokio::time::sleep(DRAIN).await } => {
            tracing::warn!("some requests had not ended in time and were cut off");
            Ok(())
        }
    }
}

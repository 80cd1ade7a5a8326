//! `/api/v1`: one file per noun.

mod accounts;
mod audiences;
mod campaigns;
mod cancellations;
mod codes;
mod decisions;
mod event_webhooks;
mod events;
mod exports;
mod halts;
mod inbound;
mod launches;
mod messages;
mod people;
mod previews;
mod reports;
mod suppression_files;
mod suppressions;
mod tasks;
mod templates;
mod trials;
mod vendor_events;

use serde::Deserialize;
use utoipa::IntoParams;
use utoipa_axum::router::OpenApiRouter;

use crate::state::AppState;

/// All calls.
pub fn routes() -> OpenApiRouter<AppState> {
    OpenApiRouter::new()
        .merge(audiences::routes())
        .merge(campaigns::routes())
        .merge(tasks::routes())
        .merge(messages::routes())
        .merge(reports::routes())
        .merge(people::routes())
        .merge(halts::routes())
        .merge(suppressions::routes())
        .merge(inbound::routes())
        .merge(codes::routes())
        .merge(accounts::routes())
        .merge(event_webhooks::routes())
        .merge(templates::routes())
        .merge(vendor_events::routes())
}

/// Which page of a list.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct PageParams {
    /// How many items, at most 500.
    limit: Option<i64>,
    /// `next` of the page before.
    after: Option<String>,
}

//! What a developer's own system is told: states of tasks and statuses of messages, posted to webhooks.
//!
//! The transactions that move a task or a message write what is to be told (`store::events`). The account's owner puts it
//! into numbered batches, posts each until it is taken, and lists what never is. Without a webhook nothing of this runs.

mod addresses;
mod body;
mod deliver;
mod endpoint;
mod relay;
mod signature;
mod webhook;

use std::{collections::HashSet, sync::Arc, sync::Mutex};

use chrono::{DateTime, Utc};
use store::{Error, event_webhooks, leases::Lease};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

pub use endpoint::{Endpoint, NotMade, Tried};
pub use webhook::{
    DEFAULT_BATCH_EVENTS, DEFAULT_MAX_IN_FLIGHT, LIMIT_BATCH_EVENTS, LIMIT_IN_FLIGHT, Webhook,
    WebhookSettings, check_together,
};

use self::deliver::Delivery;
use crate::Shared;

/// The value of the header `webhook-id`.
#[must_use]
pub fn message_id(id: Uuid) -> String {
    format!("msg_{}", id.simple())
}

/// Posts an event that says nothing, once: is the way open, does the secret fit?
pub async fn ping(endpoint: &Endpoint, id: Uuid, now: DateTime<Utc>) -> Tried {
    endpoint.post(&message_id(id), body::ping(&endpoint.webhook.name, now), now).await
}

/// Numbers and delivers the account's events until `stop`.
pub(crate) async fn run(shared: Arc<Shared>, lease: Lease, stop: CancellationToken) {
    if shared.events.is_empty() {
        return;
    }
    let mut work = JoinSet::new();
    for endpoint in &shared.events {
        let delivery = Arc::new(Delivery {
            shared: Arc::clone(&shared),
            lease: lease.clone(),
            endpoint: Arc::clone(endpoint),
            busy: Mutex::new(HashSet::new()),
        });
        work.spawn(delivery.run(stop.clone()));
    }
    work.spawn(relay::run(shared, lease, stop));
    while let Some(ended) = work.join_next().await {
        if let Err(error) = ended {
            tracing::error!(%error, "a part of the events' delivery died");
        }
    }
}

/// Forgets what is too old to be told.
pub(crate) async fn forget(shared: &Shared) -> store::Result<()> {
    let attempted = "forgetting old events";
    let mut transaction = store::begin_in(&shared.db.background).await.map_err(Error::database(attempted))?;
    let forgotten = event_webhooks::forget(&mut transaction, shared.clock.now()).await?;
    transaction.commit().await.map_err(Error::database(attempted))?;
    let event_webhooks::Forgotten { events, batches, dead_letters } = forgotten;
    if forgotten != event_webhooks::Forgotten::default() {
        let days = event_webhooks::KEPT_DAYS;
        tracing::warn!(
            events,
            batches,
            dead_letters,
            days,
            "events that nobody took in so many days are forgotten"
        );
    }
    Ok(())
}

//! `/event-webhooks`.

use super::{Client, ClientError, Page};
use crate::{EventDeadLetter, EventTest, EventWebhook, List, RedriveRequest, Redriven};

impl Client {
    /// The webhooks that are told what happens, with how they fare.
    ///
    /// # Errors
    /// As every call.
    pub async fn event_webhooks(&self) -> Result<List<EventWebhook>, ClientError> {
        self.get(&["event-webhooks"], &()).await
    }

    /// The batches of events that a webhook was given up on, the oldest first.
    ///
    /// # Errors
    /// As every call.
    pub async fn event_dead_letters(
        &self,
        webhook: &str,
        page: &Page,
    ) -> Result<List<EventDeadLetter>, ClientError> {
        self.get(&["event-webhooks", webhook, "dead-letters"], page).await
    }

    /// Posts batches again that were given up.
    ///
    /// # Errors
    /// As every call.
    pub async fn redrive_events(
        &self,
        webhook: &str,
        request: &RedriveRequest,
    ) -> Result<Redriven, ClientError> {
        self.post(&["event-webhooks", webhook, "dead-letters", "redrive"], request, None).await
    }

    /// Posts an event that says nothing, now.
    ///
    /// # Errors
    /// As every call; that the webhook did not take it is no error.
    pub async fn test_event_webhook(&self, webhook: &str) -> Result<EventTest, ClientError> {
        self.post(&["event-webhooks", webhook, "test"], &serde_json::json!({}), None).await
    }
}

//! `/campaigns`.

use reqwest::Method;
use serde_json::json;

use super::{Client, ClientError, Page, TOTAL};
use crate::{Campaign, CampaignChange, List, NewCampaign, Preview, PreviewRequest, TaskStarted, TestRequest};

impl Client {
    /// Creates a campaign, and launches it where it says so.
    ///
    /// # Errors
    /// As every call; a refusal names each field that is wrong.
    pub async fn create_campaign(
        &self,
        campaign: &NewCampaign,
        idempotency_key: Option<&str>,
    ) -> Result<Campaign, ClientError> {
        self.post(&["campaigns"], campaign, idempotency_key).await
    }

    /// The campaigns, newest first.
    ///
    /// # Errors
    /// As every call.
    pub async fn campaigns(&self, page: &Page) -> Result<List<Campaign>, ClientError> {
        self.get(&["campaigns"], page).await
    }

    /// One campaign.
    ///
    /// # Errors
    /// As every call.
    pub async fn campaign(&self, id: i64) -> Result<Campaign, ClientError> {
        self.get(&["campaigns", &id.to_string()], &()).await
    }

    /// Changes a draft, or when a campaign is sent whose task is still scheduled.
    ///
    /// # Errors
    /// As every call.
    pub async fn change_campaign(&self, id: i64, change: &CampaignChange) -> Result<Campaign, ClientError> {
        let request = self.request(Method::PATCH, &["campaigns", &id.to_string()]);
        self.answer(request.json(change).timeout(TOTAL)).await
    }

    /// Deletes a draft.
    ///
    /// # Errors
    /// As every call.
    pub async fn delete_campaign(&self, id: i64) -> Result<(), ClientError> {
        self.delete(&["campaigns", &id.to_string()]).await
    }

    /// What the first recipients would get.
    ///
    /// # Errors
    /// As every call.
    pub async fn preview_campaign(&self, id: i64, request: &PreviewRequest) -> Result<Preview, ClientError> {
        self.post(&["campaigns", &id.to_string(), "preview"], request, None).await
    }

    /// Sends the message to a few numbers now.
    ///
    /// # Errors
    /// As every call.
    pub async fn test_campaign(
        &self,
        id: i64,
        request: &TestRequest,
        idempotency_key: Option<&str>,
    ) -> Result<TaskStarted, ClientError> {
        self.post(&["campaigns", &id.to_string(), "test"], request, idempotency_key).await
    }

    /// Launches a draft.
    ///
    /// # Errors
    /// As every call.
    pub async fn launch_campaign(
        &self,
        id: i64,
        idempotency_key: Option<&str>,
    ) -> Result<TaskStarted, ClientError> {
        self.post(&["campaigns", &id.to_string(), "launch"], &json!({}), idempotency_key).await
    }
}

//! `/tasks`.

use bytes::Bytes;
use futures::Stream;
use reqwest::{Method, header};
use serde::Serialize;
use serde_json::json;

use super::{Client, ClientError, Page, TOTAL, events};
use crate::{List, Message, ResolveRequest, Resolved, RetriedFailed, Task};

/// Which tasks.
#[derive(Clone, Debug, Default, Serialize)]
pub struct TaskFilter {
    /// In this state only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub state: Option<String>,
    /// Of this campaign only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub campaign_id: Option<i64>,
    /// Whose name holds this.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub q: Option<String>,
    /// Which page.
    #[serde(flatten)]
    pub page: Page,
}

/// Which messages.
#[derive(Clone, Debug, Default, Serialize)]
pub struct MessageFilter {
    /// In this state only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub state: Option<String>,
    /// With this last code only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub code: Option<String>,
    /// To this phone only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub to: Option<String>,
    /// Which page; an export has none.
    #[serde(flatten)]
    pub page: Page,
}

/// Which failed messages to take again.
#[derive(Clone, Debug, Default, Serialize)]
pub struct RetryFailed {
    /// Count only.
    pub dry_run: bool,
    /// With this last code only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub code: Option<String>,
}

impl Client {
    /// The tasks, newest first.
    ///
    /// # Errors
    /// As every call.
    pub async fn tasks(&self, filter: &TaskFilter) -> Result<List<Task>, ClientError> {
        self.get(&["tasks"], filter).await
    }

    /// One task, as it is now.
    ///
    /// # Errors
    /// As every call.
    pub async fn task(&self, id: i64) -> Result<Task, ClientError> {
        self.get(&["tasks", &id.to_string()], &()).await
    }

    /// Takes nobody more, for a while.
    ///
    /// # Errors
    /// As every call.
    pub async fn pause_task(&self, id: i64) -> Result<Task, ClientError> {
        self.command(id, "pause", &()).await
    }

    /// Goes on; with `lift`, the halts that hold the task are lifted.
    ///
    /// # Errors
    /// As every call; 409 names the halts that hold the task.
    pub async fn resume_task(&self, id: i64, lift: bool) -> Result<Task, ClientError> {
        let query: &[(&str, &str)] = if lift { &[("lift", "true")] } else { &[] };
        self.command(id, "resume", &query).await
    }

    /// Takes nobody more, for good.
    ///
    /// # Errors
    /// As every call.
    pub async fn cancel_task(&self, id: i64) -> Result<Task, ClientError> {
        self.command(id, "cancel", &()).await
    }

    /// The same for a task of a recurring campaign, and says what becomes of the recurrence: it goes on with the firing after
    /// the cancelled one, or ends.
    ///
    /// # Errors
    /// As every call.
    pub async fn cancel_firing(&self, id: i64, goes_on: bool) -> Result<Task, ClientError> {
        let recurrence = if goes_on { "continue" } else { "end" };
        self.command(id, "cancel", &[("recurrence", recurrence)]).await
    }

    /// Takes the failed messages again that may be.
    ///
    /// # Errors
    /// As every call.
    pub async fn retry_failed(&self, id: i64, which: &RetryFailed) -> Result<RetriedFailed, ClientError> {
        self.command(id, "retry-failed", which).await
    }

    /// Decides what unknown messages are.
    ///
    /// # Errors
    /// As every call.
    pub async fn resolve(&self, id: i64, request: &ResolveRequest) -> Result<Resolved, ClientError> {
        self.post(&["tasks", &id.to_string(), "resolve"], request, None).await
    }

    /// Messages of a task.
    ///
    /// # Errors
    /// As every call.
    pub async fn messages(&self, id: i64, filter: &MessageFilter) -> Result<List<Message>, ClientError> {
        self.get(&["tasks", &id.to_string(), "messages"], filter).await
    }

    /// All messages of a task, as CSV.
    ///
    /// # Errors
    /// As every call.
    pub async fn messages_csv(
        &self,
        id: i64,
        filter: &MessageFilter,
    ) -> Result<impl Stream<Item = Result<Bytes, ClientError>> + Send + use<>, ClientError> {
        let request = self.request(Method::GET, &["tasks", &id.to_string(), "messages.csv"]);
        self.download(request.query(filter)).await
    }

    /// A task each time that it changes.
    ///
    /// # Errors
    /// As every call. The stream ends when the server or the network ends it: call again.
    pub async fn task_events(
        &self,
        id: i64,
    ) -> Result<impl Stream<Item = Result<Task, ClientError>> + Send + use<>, ClientError> {
        let request = self.request(Method::GET, &["tasks", &id.to_string(), "events"]);
        let response = self.send(request.header(header::ACCEPT, "text/event-stream")).await?;
        Ok(events::tasks(self.base.clone(), response))
    }

    async fn command<T: serde::de::DeserializeOwned>(
        &self,
        id: i64,
        name: &str,
        query: &impl Serialize,
    ) -> Result<T, ClientError> {
        let request = self.request(Method::POST, &["tasks", &id.to_string(), name]).query(query);
        self.answer(request.json(&json!({})).timeout(TOTAL)).await
    }
}

//! `/tasks/{id}/report`, `/tasks/{id}/timeline`, `/campaigns/{id}/report`.

use chrono::{DateTime, Utc};
use serde::Serialize;

use super::{Client, ClientError, Page};
use crate::{List, TaskReport, TaskSummary, TimelineBucket, TimelineStep};

/// Which part of a timeline.
#[derive(Clone, Debug, Default, Serialize)]
pub struct TimelineFilter {
    /// How long a bucket is.
    pub by: TimelineStep,
    /// From this minute on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub from: Option<DateTime<Utc>>,
    /// Before this minute.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub to: Option<DateTime<Utc>>,
    /// Which page.
    #[serde(flatten)]
    pub page: Page,
}

impl Client {
    /// What came of a task, in numbers.
    ///
    /// # Errors
    /// As every call.
    pub async fn task_report(&self, id: i64) -> Result<TaskReport, ClientError> {
        self.get(&["tasks", &id.to_string(), "report"], &()).await
    }

    /// How a task went over time.
    ///
    /// # Errors
    /// As every call.
    pub async fn timeline(
        &self,
        id: i64,
        filter: &TimelineFilter,
    ) -> Result<List<TimelineBucket>, ClientError> {
        self.get(&["tasks", &id.to_string(), "timeline"], filter).await
    }

    /// The tasks of a campaign in numbers, newest first.
    ///
    /// # Errors
    /// As every call.
    pub async fn campaign_report(&self, id: i64, page: &Page) -> Result<List<TaskSummary>, ClientError> {
        self.get(&["campaigns", &id.to_string(), "report"], page).await
    }
}

//! `/suppressions`.

use bytes::Bytes;
use chrono::{DateTime, Utc};
use futures::Stream;
use reqwest::{Body, Method};
use serde::Serialize;

use super::{Client, ClientError, Page, csv, keyed};
use crate::{List, NewSuppression, Suppression, SuppressionReason, SuppressionsImported};

/// Which numbers.
#[derive(Clone, Debug, Default, Serialize)]
pub struct SuppressionFilter {
    /// Listed for one of these reasons, with commas between them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Listed by this source only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
    /// This number only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub phone: Option<String>,
    /// Which page; an export has none.
    #[serde(flatten)]
    pub page: Page,
}

/// What is meant where the rows of a file do not say.
#[derive(Clone, Debug, Default, Serialize)]
pub struct ImportSuppressions {
    /// Why.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<SuppressionReason>,
    /// Who lists them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
    /// Whose country code a number without one gets.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub default_region: Option<String>,
    /// When they end by themselves.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<DateTime<Utc>>,
}

impl Client {
    /// The numbers that get nothing.
    ///
    /// # Errors
    /// As every call.
    pub async fn suppressions(&self, page: &Page) -> Result<List<Suppression>, ClientError> {
        self.get(&["suppressions"], page).await
    }

    /// Those of them that a filter names.
    ///
    /// # Errors
    /// As every call.
    pub async fn suppressions_of(
        &self,
        filter: &SuppressionFilter,
    ) -> Result<List<Suppression>, ClientError> {
        self.get(&["suppressions"], filter).await
    }

    /// The numbers that get nothing, as CSV.
    ///
    /// # Errors
    /// As every call.
    pub async fn suppressions_csv(
        &self,
        filter: &SuppressionFilter,
    ) -> Result<impl Stream<Item = Result<Bytes, ClientError>> + Send + use<>, ClientError> {
        self.download(self.request(Method::GET, &["suppressions.csv"]).query(filter)).await
    }

    /// Lists a number.
    ///
    /// # Errors
    /// As every call.
    pub async fn add_suppression(
        &self,
        suppression: &NewSuppression,
        idempotency_key: Option<&str>,
    ) -> Result<Suppression, ClientError> {
        self.post(&["suppressions"], suppression, idempotency_key).await
    }

    /// Takes a number off the list.
    ///
    /// # Errors
    /// As every call.
    pub async fn remove_suppression(&self, phone: &str) -> Result<(), ClientError> {
        self.delete(&["suppressions", phone]).await
    }

    /// Lists a file of numbers.
    ///
    /// # Errors
    /// As every call.
    pub async fn import_suppressions(
        &self,
        body: impl Into<Body>,
        bytes: Option<u64>,
        idempotency_key: Option<&str>,
    ) -> Result<SuppressionsImported, ClientError> {
        self.import_suppressions_as(&ImportSuppressions::default(), body, bytes, idempotency_key).await
    }

    /// Lists a file of numbers, and says what its rows do not.
    ///
    /// # Errors
    /// As every call.
    pub async fn import_suppressions_as(
        &self,
        how: &ImportSuppressions,
        body: impl Into<Body>,
        bytes: Option<u64>,
        idempotency_key: Option<&str>,
    ) -> Result<SuppressionsImported, ClientError> {
        let request = self.request(Method::POST, &["suppressions", "import"]).query(how);
        self.answer(csv(keyed(request, idempotency_key), body.into(), bytes)).await
    }
}

//! `/audiences`.

use bytes::Bytes;
use futures::Stream;
use reqwest::{Body, Method};
use serde::Serialize;

use super::{Client, ClientError, Page, csv, keyed};
use crate::{Audience, List};

/// How an audience is imported.
#[derive(Clone, Debug, Default, Serialize)]
pub struct ImportAudience {
    /// A name for people.
    pub name: String,
    /// The region of numbers without a country code; none: they must bear one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub default_region: Option<String>,
    /// The column of the phone; none: it is found by its name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub phone_column: Option<String>,
    /// Answer when it is ready, not when it has begun.
    pub wait: bool,
}

impl Client {
    /// Uploads a CSV.
    ///
    /// # Errors
    /// As every call. The file's own faults are in the audience's `error`.
    pub async fn import_audience(
        &self,
        import: &ImportAudience,
        body: impl Into<Body>,
        bytes: Option<u64>,
        idempotency_key: Option<&str>,
    ) -> Result<Audience, ClientError> {
        let request = self.request(Method::POST, &["audiences"]).query(import);
        self.answer(csv(keyed(request, idempotency_key), body.into(), bytes)).await
    }

    /// The audiences, newest first.
    ///
    /// # Errors
    /// As every call.
    pub async fn audiences(&self, page: &Page) -> Result<List<Audience>, ClientError> {
        self.get(&["audiences"], page).await
    }

    /// One audience.
    ///
    /// # Errors
    /// As every call.
    pub async fn audience(&self, id: i64) -> Result<Audience, ClientError> {
        self.get(&["audiences", &id.to_string()], &()).await
    }

    /// Deletes an audience that no draft or unfinished campaign uses.
    ///
    /// # Errors
    /// As every call.
    pub async fn delete_audience(&self, id: i64) -> Result<(), ClientError> {
        self.delete(&["audiences", &id.to_string()]).await
    }

    /// The rows that were not taken, as CSV.
    ///
    /// # Errors
    /// As every call.
    pub async fn audience_rejects(
        &self,
        id: i64,
    ) -> Result<impl Stream<Item = Result<Bytes, ClientError>> + Send + use<>, ClientError> {
        self.download(self.request(Method::GET, &["audiences", &id.to_string(), "rejects.csv"])).await
    }
}

//! `/templates`, `/events`.

use reqwest::Method;
use serde::Serialize;

use super::{Client, ClientError, Page, TOTAL};
use crate::{
    List, NewTemplate, Template, TemplateDeleted, TemplateStatus, TemplatesSynced, VendorEvent,
    VendorEventKind,
};

/// Which templates to list.
#[derive(Clone, Debug, Default, Serialize)]
pub struct TemplateFilter {
    /// Of this account.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub account: Option<String>,
    /// Of this name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// That may be sent, or may not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<TemplateStatus>,
    /// Which page.
    #[serde(flatten)]
    pub page: Page,
}

/// Which events to list.
#[derive(Clone, Debug, Default, Serialize)]
pub struct EventFilter {
    /// Of this account.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub account: Option<String>,
    /// About this.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kind: Option<VendorEventKind>,
    /// Which page.
    #[serde(flatten)]
    pub page: Page,
}

impl Client {
    /// The templates that are known.
    ///
    /// # Errors
    /// As every call.
    pub async fn templates(&self, filter: &TemplateFilter) -> Result<List<Template>, ClientError> {
        self.get(&["templates"], filter).await
    }

    /// Asks the account's vendor for its templates.
    ///
    /// # Errors
    /// As every call; 502 with the vendor's code when it does not list them, 409 when it has no call for that.
    pub async fn sync_templates(&self, account: &str) -> Result<TemplatesSynced, ClientError> {
        let request = self.request(Method::POST, &["templates", "sync"]).query(&[("account", account)]);
        self.answer(request.timeout(TOTAL)).await
    }

    /// Creates a template.
    ///
    /// # Errors
    /// As every call; 502 with the vendor's code when it does not create it.
    pub async fn create_template(
        &self,
        new: &NewTemplate,
        idempotency_key: Option<&str>,
    ) -> Result<Template, ClientError> {
        self.post(&["templates"], new, idempotency_key).await
    }

    /// Deletes a template, in all its languages.
    ///
    /// # Errors
    /// As every call; 409 while a task uses it.
    pub async fn delete_template(&self, account: &str, name: &str) -> Result<TemplateDeleted, ClientError> {
        self.answer(self.request(Method::DELETE, &["templates", account, name]).timeout(TOTAL)).await
    }

    /// What vendors told of templates, numbers and accounts, the newest first.
    ///
    /// # Errors
    /// As every call.
    pub async fn vendor_events(&self, filter: &EventFilter) -> Result<List<VendorEvent>, ClientError> {
        self.get(&["events"], filter).await
    }
}

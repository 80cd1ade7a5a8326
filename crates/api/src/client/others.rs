//! `/halts`, `/suppressions`, `/people`, `/inbound`, `/codes`, `/accounts`.

use reqwest::{Body, Method};

use super::{Client, ClientError, Page, TOTAL, csv, keyed};
use crate::{
    Account, Code, Halt, Inbound, List, NewSuppression, PersonErased, Suppression, SuppressionsImported,
};

impl Client {
    /// What stands still, and why.
    ///
    /// # Errors
    /// As every call.
    pub async fn halts(&self, page: &Page) -> Result<List<Halt>, ClientError> {
        self.get(&["halts"], page).await
    }

    /// Lifts a halt; its tasks run on by themselves.
    ///
    /// # Errors
    /// As every call.
    pub async fn lift_halt(&self, id: i64) -> Result<(), ClientError> {
        self.delete(&["halts", &id.to_string()]).await
    }

    /// The numbers that get nothing.
    ///
    /// # Errors
    /// As every call.
    pub async fn suppressions(&self, page: &Page) -> Result<List<Suppression>, ClientError> {
        self.get(&["suppressions"], page).await
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

    /// Erases what names a person.
    ///
    /// # Errors
    /// As every call; 409 while the person is being sent to.
    pub async fn erase_person(&self, phone: &str) -> Result<PersonErased, ClientError> {
        self.answer(self.request(Method::DELETE, &["people", phone]).timeout(TOTAL)).await
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
        let request = self.request(Method::POST, &["suppressions", "import"]);
        self.answer(csv(keyed(request, idempotency_key), body.into(), bytes)).await
    }

    /// What people write and press, newest first.
    ///
    /// # Errors
    /// As every call.
    pub async fn inbound(&self, page: &Page) -> Result<List<Inbound>, ClientError> {
        self.get(&["inbound"], page).await
    }

    /// The table of codes.
    ///
    /// # Errors
    /// As every call.
    pub async fn codes(&self, page: &Page) -> Result<List<Code>, ClientError> {
        self.get(&["codes"], page).await
    }

    /// The accounts, with how they fare.
    ///
    /// # Errors
    /// As every call.
    pub async fn accounts(&self, page: &Page) -> Result<List<Account>, ClientError> {
        self.get(&["accounts"], page).await
    }
}

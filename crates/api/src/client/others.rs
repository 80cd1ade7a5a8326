//! `/halts`, `/people`, `/inbound`, `/codes`, `/accounts`.

use reqwest::Method;

use super::{Client, ClientError, Page, TOTAL};
use crate::{Account, Code, Halt, Inbound, List, PersonErased};

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

    /// Erases what names a person.
    ///
    /// # Errors
    /// As every call; 409 while the person is being sent to.
    pub async fn erase_person(&self, phone: &str) -> Result<PersonErased, ClientError> {
        self.answer(self.request(Method::DELETE, &["people", phone]).timeout(TOTAL)).await
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

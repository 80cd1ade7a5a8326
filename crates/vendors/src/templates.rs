//! Templates at the vendor: what it lists, and how one is created and deleted. Components have WhatsApp's form on this side.

use model::{FieldError, campaign::Category, template::TemplateStatus};
use serde_json::Value;

use crate::http::Fault;

/// Templates in a listing at the most: WhatsApp allows an account fewer.
pub const LIMIT_TEMPLATES: usize = 10_000;

/// One language of a template, as the vendor lists it.
#[derive(Clone, Debug, PartialEq)]
pub struct VendorTemplate {
    /// Its name.
    pub name: String,
    /// Its language.
    pub language: String,
    /// What it is for; none for a word that is not known.
    pub category: Option<Category>,
    /// Whether it may be sent.
    pub status: TemplateStatus,
    /// The vendor's word for that.
    pub status_word: String,
    /// Its components.
    pub components: Value,
    /// What people think of it, in the vendor's word.
    pub quality: Option<String>,
    /// Why it is rejected.
    pub reason: Option<String>,
    /// The vendor's id of it.
    pub vendor_id: Option<String>,
}

/// A template that is to be created.
#[derive(Clone, Debug, PartialEq)]
pub struct NewTemplate {
    /// Its name.
    pub name: String,
    /// Its language.
    pub language: String,
    /// What it is for.
    pub category: Category,
    /// Its components.
    pub components: Value,
}

/// Why a call about templates came to nothing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TemplatesError {
    /// The vendor has no such call.
    #[error("this vendor has no call for that")]
    NoCall,
    /// The vendor's call cannot express it.
    #[error("the vendor cannot express this template")]
    Inexpressible(Vec<FieldError>),
    /// Called, and refused or not answered usefully.
    #[error("{code} ({reason})")]
    Failed {
        /// A code of the tables.
        code: String,
        /// The vendor's text or ours.
        reason: String,
        /// Nobody knows whether the vendor did it.
        may_have_happened: bool,
    },
}

impl TemplatesError {
    pub(crate) fn refused(code: impl Into<String>, reason: &str) -> Self {
        Self::Failed { code: code.into(), reason: crate::read::brief(reason), may_have_happened: false }
    }

    /// No usable answer to a call that may have been carried out.
    pub(crate) fn unclear(code: impl Into<String>, reason: &str) -> Self {
        Self::Failed { code: code.into(), reason: crate::read::brief(reason), may_have_happened: true }
    }

    pub(crate) fn of_fault(fault: &Fault) -> Self {
        match fault.not_sent {
            true => Self::refused(fault.code, &fault.reason),
            false => Self::unclear(fault.code, &fault.reason),
        }
    }

    /// By the status of an answer that is no success.
    pub(crate) fn of_status(status: u16, reason: &str) -> Self {
        let code = format!("http_{status}");
        let reason = if reason.is_empty() { format!("HTTP {status}") } else { reason.to_owned() };
        match status {
            400..=499 => Self::refused(code, &reason),
            _ => Self::unclear(code, &reason),
        }
    }
}

//! Templates: what WhatsApp has approved, as it is known here.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::Category;

/// One language of a template.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Template {
    /// Its id here.
    pub id: i64,
    /// The account.
    pub account: String,
    /// Its name.
    pub name: String,
    /// Its language.
    pub language: String,
    /// What it is for; null: the vendor's word is not known.
    pub category: Option<Category>,
    /// Whether it may be sent.
    pub status: TemplateStatus,
    /// The vendor's word for that.
    pub vendor_status: String,
    /// Its components: WhatsApp's list of HEADER, BODY, FOOTER and BUTTONS.
    #[schema(value_type = Vec<Object>)]
    pub components: serde_json::Value,
    /// How many parameters the body takes; null: not known.
    pub body_parameters: Option<i64>,
    /// What people think of it, in the vendor's word.
    pub quality: Option<String>,
    /// Why it may not be sent, in the vendor's words.
    pub reason: Option<String>,
    /// The vendor's id of it.
    pub vendor_id: Option<String>,
    /// `vendor`: the vendor lists it; `hand`: it was entered here.
    pub source: TemplateSource,
    /// When the vendor last listed it.
    pub synced_at: Option<DateTime<Utc>>,
    /// Since when the vendor does not list it any more.
    pub gone_at: Option<DateTime<Utc>>,
    /// When it became known.
    pub created_at: DateTime<Utc>,
    /// When something about it changed.
    pub updated_at: DateTime<Utc>,
}

/// Whether a template may be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum TemplateStatus {
    /// WhatsApp looks at it.
    Pending,
    /// It may be sent.
    Approved,
    /// WhatsApp does not allow it.
    Rejected,
    /// WhatsApp lets it rest.
    Paused,
    /// WhatsApp has taken it away.
    Disabled,
    /// The vendor's word is not known.
    Other,
}

impl TemplateStatus {
    /// The word of the interface.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Approved => "approved",
            Self::Rejected => "rejected",
            Self::Paused => "paused",
            Self::Disabled => "disabled",
            Self::Other => "other",
        }
    }
}

/// Where a template is known from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum TemplateSource {
    /// The vendor lists it.
    Vendor,
    /// It was entered here: the vendor has no call for templates.
    Hand,
}

/// A template to create.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewTemplate {
    /// The account.
    pub account: String,
    /// Small letters, digits and `_`.
    pub name: String,
    /// A language code of WhatsApp, such as en or pt_BR.
    pub language: String,
    /// What it is for.
    pub category: Category,
    /// WhatsApp's list of HEADER, BODY, FOOTER and BUTTONS.
    #[schema(value_type = Vec<Object>)]
    pub components: serde_json::Value,
    /// Whether it may be sent; `approved` unless told. Only where the vendor has no call for templates, so that nobody else
    /// can know.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<TemplateStatus>,
}

/// What a sync came to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct TemplatesSynced {
    /// The account.
    pub account: String,
    /// Templates that the vendor lists, each language counted.
    pub listed: i64,
    /// Of these, not known before.
    pub added: i64,
    /// Of these, changed.
    pub changed: i64,
    /// Known before, and not listed any more.
    pub gone: i64,
    /// When it was done.
    pub synced_at: DateTime<Utc>,
}

/// What a deletion came to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct TemplateDeleted {
    /// The account.
    pub account: String,
    /// The template's name.
    pub name: String,
    /// The languages that were known here.
    pub languages: Vec<String>,
    /// What else happened, or did not.
    pub warnings: Vec<String>,
}

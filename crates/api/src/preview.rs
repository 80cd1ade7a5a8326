//! Previews: what recipients would get, how long all of it takes, and what it costs.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// Which rows to show.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PreviewRequest {
    /// The first so many; 3 unless told, at most 50.
    #[serde(default = "three")]
    pub rows: i32,
    /// The recipients of these numbers in the audience instead, at most 50.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub nos: Option<Vec<i32>>,
}

impl Default for PreviewRequest {
    fn default() -> Self {
        Self { rows: three(), nos: None }
    }
}

fn three() -> i32 {
    3
}

/// What recipients would get.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Preview {
    /// The messages.
    pub items: Vec<PreviewItem>,
    /// What is worth knowing of the campaign as a whole.
    pub warnings: Vec<String>,
    /// How long sending takes, and what it costs.
    pub estimate: Estimate,
}

/// What one recipient would get.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct PreviewItem {
    /// The recipient's number in the audience.
    pub no: i32,
    /// The recipient's phone.
    pub to: String,
    /// The message in canonical form with the placeholders filled; null when the row lacks a value.
    #[schema(value_type = Option<Object>)]
    pub message: Option<serde_json::Value>,
    /// What is wrong with this row, its number included.
    pub warnings: Vec<String>,
}

/// How long sending takes, by the limits that are configured, and what it costs.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Estimate {
    /// How many recipients there are.
    pub recipients: i64,
    /// At which rate, by the limits that are configured; null: none is.
    pub messages_per_second: Option<f64>,
    /// From the first to the last, closed windows and days of the sender's limit included; null: no limit is configured, or
    /// it would take years.
    pub seconds: Option<i64>,
    /// When the first is sent to: when the campaign starts, or its sending window opens. Null: the window does not open.
    pub starts_at: Option<DateTime<Utc>>,
    /// When the last is sent to; null as `seconds` is.
    pub ends_at: Option<DateTime<Utc>>,
    /// What it costs; null: the account has no `price_per_message` in the configuration.
    pub cost: Option<Cost>,
}

/// What a campaign costs, if everybody gets one message: suppressed numbers and failures are not left out.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Cost {
    /// The sum over all countries whose price is known.
    pub amount: f64,
    /// ISO 4217: `USD`.
    pub currency: String,
    /// Every number was looked at. Else, with more than 10,000 recipients, the countries' shares are those of 10,000 rows
    /// spread evenly over the audience, and the amount is an estimate.
    pub is_exact: bool,
    /// The countries, the dearest first.
    pub by_country: Vec<CountryCost>,
}

/// What the recipients of one country cost.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct CountryCost {
    /// The two letters of the country; null: numbers that tell none.
    pub country: Option<String>,
    /// How many recipients.
    pub recipients: i64,
    /// What they cost; null: no price is configured.
    pub amount: Option<f64>,
}

//! Accounts: the vendors' credentials, without the credentials.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::{Halt, VendorEvent};

/// An account of the configuration, and how it fares.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Account {
    /// Its name in the configuration.
    pub name: String,
    /// The vendor.
    pub vendor: String,
    /// Where the vendor is called.
    pub base_url: Option<String>,
    /// What to register with the vendor for callbacks, its token hidden; null: no `webhook_token` or no `public_url`.
    pub webhook_url: Option<String>,
    /// Our limit of requests a second; null: none.
    pub requests_per_second: Option<f64>,
    /// Our limit of requests at once.
    pub max_in_flight: i64,
    /// Its business numbers.
    pub senders: Vec<Sender>,
    /// Whether the node that answers owns the account: live values are known to the owner only.
    pub owned: bool,
    /// In one word.
    pub health: AccountHealth,
    /// Messages that leave now, each second.
    pub rate_per_second: f64,
    /// Requests that are open now.
    pub in_flight: i64,
    /// Whether calls are made.
    pub breaker: Breaker,
    /// What stands still in it.
    pub halts: Vec<Halt>,
    /// What its vendor last told of templates, numbers or the account; null: nothing yet.
    #[serde(default)]
    pub last_event: Option<VendorEvent>,
}

/// A business number of an account.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Sender {
    /// The number as the configuration writes it.
    pub from: String,
    /// Its limit of messages a second; null: none.
    pub messages_per_second: Option<f64>,
    /// Its configured limit of distinct recipients in 24 hours; null: none.
    pub daily_recipients: Option<i64>,
    /// The smaller of that and what its vendor told; null: no limit is known.
    #[serde(default)]
    pub effective_daily_recipients: Option<i64>,
    /// The vendor's word for its limit, such as TIER_10K; null: not told.
    #[serde(default)]
    pub tier: Option<String>,
    /// The vendor's word for its quality, such as FLAGGED; null: not told.
    #[serde(default)]
    pub quality: Option<String>,
    /// When the vendor told these.
    #[serde(default)]
    pub told_at: Option<chrono::DateTime<chrono::Utc>>,
}

/// How an account fares, in one word.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum AccountHealth {
    /// Nothing is known against it.
    Ok,
    /// The vendor does not answer usably.
    Failing,
    /// The account, or one of its senders, stands still.
    Halted,
}

/// Whether calls to the vendor are made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Breaker {
    /// They are.
    #[default]
    Closed,
    /// They are not, for a while.
    Open,
    /// One is, to see.
    Probing,
}

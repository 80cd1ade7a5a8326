//! Everything that can be chosen when a simulator starts. All of it has a default and can be read from JSON
//! or TOML, so that `campaignd simulate` and tests say only what they want different.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::faults::FaultRule;
use crate::vendor::Vendor;

/// How a simulator behaves.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SimulatorOptions {
    /// Port on 127.0.0.1; 0 takes a free one.
    pub port: u16,
    /// Every random choice follows from it.
    pub seed: u64,
    /// Added to the vendors' wall clock, for daemons that run with a shifted clock.
    pub wall_offset_ms: i64,
    /// Accounts that Exotel knows. Default: sid `acme`, key `exotel-key`, token `exotel-token`.
    pub exotel_accounts: Vec<ExotelAccount>,
    /// Accounts that sobot.io knows. Default: app id `sobot-app`, app key `sobot-app-key`.
    pub sobot_io_accounts: Vec<SobotIoAccount>,
    /// Accounts that sobot.in knows. Default: access key `inbox-access-key`, secret key `inbox-secret-key`.
    pub sobot_in_accounts: Vec<SobotInAccount>,
    /// sobot.io: a new token makes the account's older ones invalid. The document leaves it open.
    pub single_token: bool,
    /// sobot.io: how long a token is valid.
    pub token_lifetime_seconds: u64,
    /// sobot.io: how a token that is not valid is refused. The document does not say.
    pub token_failure: TokenFailure,
    /// sobot.io: how long a sending record takes to appear in `send_record_list`.
    pub record_delay_ms: u64,
    /// Exotel: one invalid message refuses the whole request with 400, instead of a code inside a 202.
    pub refuse_whole_batch: bool,
    /// Template sends are checked against the templates that the simulator lists: name, language, number of
    /// variables.
    pub strict_templates: bool,
    /// Further numbered templates (`bulk_1` …), so that lists have more than one page.
    pub extra_templates: u32,
    /// Time between the acceptance of a request and its answer, by vendor.
    pub latency_ms: BTreeMap<Vendor, RangeMs>,
    /// Requests a second that a vendor takes before it answers 429 with `Retry-After: 1`; no entry: no limit.
    pub requests_per_second: BTreeMap<Vendor, u32>,
    /// What goes wrong on purpose, from the start.
    pub faults: Vec<FaultRule>,
    /// Status reports after acceptance.
    pub callbacks: CallbackOptions,
    /// Callback URLs registered by hand: keys `sobot_io`, `sobot_in`, `exotel` (its default URL), or one
    /// account's alone as `sobot_io/APP_ID`, `sobot_in/ACCESS_KEY`, `exotel/SID`.
    pub callback_urls: BTreeMap<String, String>,
    /// How many of the last requests are kept whole, for tests that look at bodies.
    pub kept_requests: usize,
    /// How many arrivals are kept for rate checks; later ones are counted only.
    pub kept_arrivals: usize,
}

impl Default for SimulatorOptions {
    fn default() -> Self {
        SimulatorOptions {
            port: 0,
            seed: 1,
            wall_offset_ms: 0,
            exotel_accounts: vec![ExotelAccount::default()],
            sobot_io_accounts: vec![SobotIoAccount::default()],
            sobot_in_accounts: vec![SobotInAccount::default()],
            single_token: false,
            token_lifetime_seconds: 86_400,
            token_failure: TokenFailure::default(),
            record_delay_ms: 0,
            refuse_whole_batch: false,
            strict_templates: false,
            extra_templates: 0,
            latency_ms: BTreeMap::new(),
            requests_per_second: BTreeMap::new(),
            faults: Vec::new(),
            callbacks: CallbackOptions::default(),
            callback_urls: BTreeMap::new(),
            kept_requests: 32,
            kept_arrivals: 8_000_000,
        }
    }
}

/// Credentials of an Exotel account.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ExotelAccount {
    /// Account sid, part of the path.
    pub sid: String,
    /// User name of basic authentication.
    pub api_key: String,
    /// Password of basic authentication.
    pub api_token: String,
}

impl Default for ExotelAccount {
    fn default() -> Self {
        ExotelAccount { sid: "acme".into(), api_key: "exotel-key".into(), api_token: "exotel-token".into() }
    }
}

/// Credentials of a sobot.io account.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SobotIoAccount {
    /// `appid` of the token request.
    pub app_id: String,
    /// Secret part of the token request's signature.
    pub app_key: String,
}

impl Default for SobotIoAccount {
    fn default() -> Self {
        SobotIoAccount { app_id: "sobot-app".into(), app_key: "sobot-app-key".into() }
    }
}

/// Credentials of a sobot.in account.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SobotInAccount {
    /// Header `x-api-key`.
    pub access_key: String,
    /// Header `x-api-secret`.
    pub secret_key: String,
}

impl Default for SobotInAccount {
    fn default() -> Self {
        SobotInAccount { access_key: "inbox-access-key".into(), secret_key: "inbox-secret-key".into() }
    }
}

/// How sobot.io says that a token is not valid.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TokenFailure {
    /// HTTP 401.
    #[default]
    Http401,
    /// HTTP 200 with a `ret_code` that is not 000000 and a message that speaks of the token.
    RetCode,
}

/// A duration drawn between two bounds, both included.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RangeMs {
    /// At least this many milliseconds.
    pub min: u64,
    /// At most this many milliseconds.
    pub max: u64,
}

impl RangeMs {
    /// Always the same duration.
    #[must_use]
    pub fn fixed(milliseconds: u64) -> RangeMs {
        RangeMs { min: milliseconds, max: milliseconds }
    }
}

/// What status reports follow an accepted message. Shares are probabilities from 0 to 1.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct CallbackOptions {
    /// False: no reports are posted. Sending records still follow the shares.
    pub enabled: bool,
    /// Share of messages reported as sent.
    pub sent: f64,
    /// Share of messages reported as delivered.
    pub delivered: f64,
    /// Share of the delivered messages reported as read.
    pub read: f64,
    /// Share of messages that fail after acceptance, half of them after a `sent`.
    pub failed: f64,
    /// The codes of those failures, one drawn for each.
    pub failed_codes: FailedCodes,
    /// Time from acceptance to the first report, and from each report to the next.
    pub delay_ms: RangeMs,
    /// Share of reports that come twice.
    pub duplicates: f64,
    /// Share of messages whose reports come in the opposite order.
    pub reordered: f64,
    /// Share of messages whose first report comes before the answer of the send.
    pub early: f64,
    /// Exotel: at most this many reports in one callback, 1 to 100.
    pub exotel_batch: usize,
    /// Callbacks under way at once; read at start only.
    pub concurrency: usize,
    /// How often one report is posted until the answer is 200.
    pub attempts: u8,
    /// Time between those attempts.
    pub retry_delay_ms: u64,
    /// How long the answer of a callback may take.
    pub timeout_ms: u64,
}

impl Default for CallbackOptions {
    fn default() -> Self {
        CallbackOptions {
            enabled: true,
            sent: 1.0,
            delivered: 1.0,
            read: 0.0,
            failed: 0.0,
            failed_codes: FailedCodes::default(),
            delay_ms: RangeMs { min: 10, max: 50 },
            duplicates: 0.0,
            reordered: 0.0,
            early: 0.0,
            exotel_batch: 100,
            concurrency: 16,
            attempts: 5,
            retry_delay_ms: 1_000,
            timeout_ms: 10_000,
        }
    }
}

/// Codes of failures after acceptance, by vendor.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct FailedCodes {
    /// ExoStatus codes.
    pub exotel: Vec<u32>,
    /// Codes of sobot.io's table.
    pub sobot_io: Vec<u32>,
    /// WhatsApp's codes.
    pub sobot_in: Vec<u32>,
}

impl Default for FailedCodes {
    fn default() -> Self {
        FailedCodes { exotel: vec![30_012], sobot_io: vec![131_026], sobot_in: vec![131_026] }
    }
}

impl FailedCodes {
    pub(crate) fn of(&self, vendor: Vendor) -> &[u32] {
        match vendor {
            Vendor::Exotel => &self.exotel,
            Vendor::SobotIo => &self.sobot_io,
            Vendor::SobotIn => &self.sobot_in,
        }
    }
}

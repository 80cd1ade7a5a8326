//! A vendor account as it is configured: which vendor, where, with which secrets, limits and business numbers.
//!
//! It comes from the configuration file, never from the database. Everything is checked here once, so that no other
//! code need ask whether a key that its vendor needs is there.

use std::{fmt, time::Duration};

use model::{FieldError, campaign::check_rate};
use serde::{Deserialize, Serialize};
use url::Url;

use crate::{Secret, prices::Prices};

/// The most messages that one call may hold (exotel.txt, "HTTP Error codes").
pub const MAX_BATCH: usize = 100;
/// Calls at once, where the configuration does not say.
pub const DEFAULT_MAX_IN_FLIGHT: usize = 16;
/// Calls at once, at the very most.
pub const LIMIT_MAX_IN_FLIGHT: usize = 1024;

/// Whose API an account speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Vendor {
    /// Exotel's WhatsApp messages API.
    Exotel,
    /// The Sobot open platform at sg.sobot.io.
    SobotIo,
    /// The Sobot team inbox at api.sobot.in: another company of the same name.
    SobotIn,
}

impl Vendor {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Exotel, Self::SobotIo, Self::SobotIn];

    /// The word of the configuration file.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Exotel => "exotel",
            Self::SobotIo => "sobot_io",
            Self::SobotIn => "sobot_in",
        }
    }

    /// The vendor with this name in the configuration file.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|vendor| vendor.as_str() == name)
    }

    /// One call may hold many messages, so that `batch_size` can be configured.
    #[must_use]
    pub fn takes_batches(self) -> bool {
        self == Self::Exotel
    }

    /// Where the vendor's API is, unless configured otherwise.
    #[must_use]
    pub fn default_base_url(self) -> &'static str {
        match self {
            Self::Exotel => "https://api.in.exotel.com",
            Self::SobotIo => "https://sg.sobot.io",
            Self::SobotIn => "https://api.sobot.in",
        }
    }

    /// Whether the vendor lists and creates templates when it is called; elsewhere they are entered by hand.
    #[must_use]
    pub fn keeps_templates(self) -> bool {
        self != Self::Exotel
    }

    /// Whether the vendor deletes templates when it is called: all languages of a name.
    #[must_use]
    pub fn deletes_templates(self) -> bool {
        self == Self::SobotIo
    }

    /// The code by which it refuses a message without a template to somebody who has not written within 24 hours.
    #[must_use]
    pub fn closed_window_code(self) -> &'static str {
        match self {
            Self::Exotel => "30018",
            Self::SobotIo | Self::SobotIn => "131047",
        }
    }

    /// Whether each call names the URL for its callbacks; elsewhere it is registered with the vendor by hand.
    #[must_use]
    pub fn takes_callback_url_per_call(self) -> bool {
        self == Self::Exotel
    }
}

impl fmt::Display for Vendor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A business number of an account.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SenderConfig {
    /// Opaque and used exactly as written; never parsed as a phone number.
    pub from: String,
    /// Its message rate; none: no limit of ours.
    pub messages_per_second: Option<f64>,
    /// Distinct recipients in any 24 hours; none: no limit of ours.
    pub daily_recipients: Option<u32>,
}

/// What proves to a vendor who calls.
#[derive(Clone, Debug)]
pub enum Credentials {
    /// Basic authentication, and the account's name in the path.
    Exotel {
        /// The account sid.
        account_sid: String,
        /// The user of Basic authentication.
        api_key: Secret,
        /// Its password.
        api_token: Secret,
    },
    /// A token, fetched with these.
    SobotIo {
        /// The id of the API credentials.
        app_id: String,
        /// What signs the request for a token.
        app_key: Secret,
        /// The WhatsApp business account, which template calls name.
        waba_id: String,
    },
    /// Two headers.
    SobotIn {
        /// `x-api-key`.
        access_key: Secret,
        /// `x-api-secret`.
        secret_key: Secret,
    },
}

/// How long a call may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timeouts {
    /// Until the connection stands, TLS included.
    pub connect: Duration,
    /// From the start of a call to the last byte of its answer. A token refresh and a repeat share it.
    pub total: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(3),
            total: Duration::from_secs_f64(hooks::setting!("call_timeout_seconds", 20.0)),
        }
    }
}

/// A checked account.
#[derive(Clone, Debug)]
pub struct AccountConfig {
    /// Its name: the key of everything that the database keeps about it.
    pub name: String,
    /// Whose API it speaks.
    pub vendor: Vendor,
    /// Where; without a slash at the end.
    pub base_url: String,
    /// With which credentials.
    pub credentials: Credentials,
    /// The last part of its callback URL; none: callbacks are refused.
    pub webhook_token: Option<Secret>,
    /// Calls per second; none: no limit of ours.
    pub requests_per_second: Option<f64>,
    /// Calls at once.
    pub max_in_flight: usize,
    /// Messages in a call at the most; 1 where the vendor takes one.
    pub batch_size: usize,
    /// Sent with template messages where set (Exotel only).
    pub template_namespace: Option<String>,
    /// An HTTP proxy for the calls; none: the environment's proxies are not used either.
    pub proxy: Option<Secret>,
    /// What a message costs; none: it is not known.
    pub prices: Option<Prices>,
    /// Its business numbers, at least one.
    pub senders: Vec<SenderConfig>,
    /// Not configurable; shorter in tests.
    pub timeouts: Timeouts,
}

impl AccountConfig {
    /// The business number with this name.
    #[must_use]
    pub fn sender(&self, from: &str) -> Option<&SenderConfig> {
        self.senders.iter().find(|sender| sender.from == from)
    }

    /// Where this account's callbacks arrive, below `public_url`; none without a webhook token.
    ///
    /// It holds the token: show it only where the token may be shown.
    #[must_use]
    pub fn callback_url(&self, public_url: &str) -> Option<String> {
        let token = self.webhook_token.as_ref()?;
        Some(format!("{}/webhooks/{}/{}", public_url.trim_end_matches('/'), self.name, token.expose()))
    }
}

/// An account as the configuration file writes it, before it is checked.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AccountSettings {
    /// Required.
    pub name: String,
    /// Required.
    pub vendor: Vendor,
    /// Default per vendor; http is allowed.
    pub base_url: Option<String>,
    /// Exotel.
    pub account_sid: Option<String>,
    /// Exotel.
    pub api_key: Option<Secret>,
    /// Exotel.
    pub api_token: Option<Secret>,
    /// sobot_io.
    pub app_id: Option<String>,
    /// sobot_io.
    pub app_key: Option<Secret>,
    /// sobot_io.
    pub waba_id: Option<String>,
    /// sobot_in.
    pub access_key: Option<Secret>,
    /// sobot_in.
    pub secret_key: Option<Secret>,
    /// Needed for callbacks.
    pub webhook_token: Option<Secret>,
    /// No limit of ours when unset.
    pub requests_per_second: Option<f64>,
    /// Default 16.
    pub max_in_flight: Option<usize>,
    /// Exotel: 1 to 100, default 100.
    pub batch_size: Option<usize>,
    /// Exotel.
    pub template_namespace: Option<String>,
    /// An HTTP proxy's URL.
    pub proxy: Option<Secret>,
    /// Checked already; for estimates alone.
    #[serde(skip)]
    pub prices: Option<Prices>,
    /// At least one.
    #[serde(default)]
    pub senders: Vec<SenderConfig>,
}

impl TryFrom<AccountSettings> for AccountConfig {
    type Error = Vec<FieldError>;

    /// Names every key that is missing, wrong or of another vendor; fields are relative to the account.
    fn try_from(settings: AccountSettings) -> Result<Self, Vec<FieldError>> {
        let mut errors = Vec::new();
        check_name(&settings, &mut errors);
        check_limits(&settings, &mut errors);
        check_senders(&settings.senders, &mut errors);
        check_foreign_keys(&settings, &mut errors);
        let base_url = read_base_url(&settings, &mut errors);
        let credentials = read_credentials(&settings, &mut errors);
        match credentials {
            Some(credentials) if errors.is_empty() => Ok(Self {
                name: settings.name,
                vendor: settings.vendor,
                base_url,
                credentials,
                webhook_token: settings.webhook_token,
                requests_per_second: settings.requests_per_second,
                max_in_flight: settings.max_in_flight.unwrap_or(DEFAULT_MAX_IN_FLIGHT),
                batch_size: match settings.vendor {
                    Vendor::Exotel => settings.batch_size.unwrap_or(MAX_BATCH),
                    Vendor::SobotIo | Vendor::SobotIn => 1,
                },
                template_namespace: settings.template_namespace,
                proxy: settings.proxy,
                prices: settings.prices,
                senders: settings.senders,
                timeouts: Timeouts::default(),
            }),
            _ => Err(errors),
        }
    }
}

/// Complaints about what no account can see by itself: a name used twice, two accounts of one vendor with one `from`.
#[must_use]
pub fn check_together(accounts: &[AccountConfig]) -> Vec<FieldError> {
    let mut errors = Vec::new();
    for (i, account) in accounts.iter().enumerate() {
        for (j, earlier) in accounts.iter().take(i).enumerate() {
            if account.name == earlier.name {
                let message =
                    format!("`{}` is the name of accounts[{j}] too: give each its own", account.name);
                errors.push(FieldError::new(format!("accounts[{i}].name"), message));
            }
            if account.vendor != earlier.vendor {
                continue;
            }
            for (k, sender) in account.senders.iter().enumerate() {
                if earlier.sender(&sender.from).is_some() {
                    let message = format!(
                        "`{}` is a sender of account `{}` too: two accounts would exceed its rate together",
                        sender.from, earlier.name
                    );
                    errors.push(FieldError::new(format!("accounts[{i}].senders[{k}].from"), message));
                }
            }
        }
    }
    errors
}

fn check_name(settings: &AccountSettings, errors: &mut Vec<FieldError>) {
    let fits = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    if settings.name.is_empty() || settings.name.len() > 64 || !settings.name.chars().all(fits) {
        let message = "must be 1 to 64 letters, digits, `-`, `_` or `.`: it is part of the callback URL";
        errors.push(FieldError::new("name", message));
    }
    if let Some(token) = &settings.webhook_token {
        let breaks_url = |c: char| c.is_whitespace() || c.is_control() || "/?#%".contains(c);
        if token.is_empty() || token.expose().contains(breaks_url) {
            let message =
                "must not be empty nor hold spaces or any of / ? # %: it is part of the callback URL";
            errors.push(FieldError::new("webhook_token", message));
        }
    }
    if let Some(proxy) = &settings.proxy
        && Url::parse(proxy.expose()).is_err()
    {
        errors.push(FieldError::new("proxy", "is not a URL such as http://127.0.0.1:3128"));
    }
}

fn check_limits(settings: &AccountSettings, errors: &mut Vec<FieldError>) {
    errors.extend(settings.requests_per_second.and_then(|rate| check_rate("requests_per_second", rate)));
    if settings.max_in_flight.is_some_and(|n| !(1..=LIMIT_MAX_IN_FLIGHT).contains(&n)) {
        errors.push(FieldError::new("max_in_flight", format!("must be 1 to {LIMIT_MAX_IN_FLIGHT}")));
    }
    if settings.vendor == Vendor::Exotel && settings.batch_size.is_some_and(|n| !(1..=MAX_BATCH).contains(&n))
    {
        errors.push(FieldError::new(
            "batch_size",
            format!("must be 1 to {MAX_BATCH}: the vendor refuses more"),
        ));
    }
}

fn check_senders(senders: &[SenderConfig], errors: &mut Vec<FieldError>) {
    if senders.is_empty() {
        let message = "is missing: add at least one [[accounts.senders]] with `from`";
        errors.push(FieldError::new("senders", message));
    }
    for (i, sender) in senders.iter().enumerate() {
        if sender.from.trim().is_empty() {
            errors.push(FieldError::new(format!("senders[{i}].from"), "must not be empty"));
        }
        if senders.iter().take(i).any(|earlier| earlier.from == sender.from) {
            let message = format!("`{}` stands twice: name each business number once", sender.from);
            errors.push(FieldError::new(format!("senders[{i}].from"), message));
        }
        let rate = sender.messages_per_second;
        errors.extend(rate.and_then(|rate| check_rate(&format!("senders[{i}].messages_per_second"), rate)));
        if sender.daily_recipients == Some(0) {
            let message = "must be more than 0; leave it out for no limit";
            errors.push(FieldError::new(format!("senders[{i}].daily_recipients"), message));
        }
    }
}

/// A key of another vendor is a mistake that would otherwise stay silent until the first call fails.
fn check_foreign_keys(settings: &AccountSettings, errors: &mut Vec<FieldError>) {
    let keys = [
        ("account_sid", settings.account_sid.is_some(), Vendor::Exotel),
        ("api_key", settings.api_key.is_some(), Vendor::Exotel),
        ("api_token", settings.api_token.is_some(), Vendor::Exotel),
        ("batch_size", settings.batch_size.is_some(), Vendor::Exotel),
        ("template_namespace", settings.template_namespace.is_some(), Vendor::Exotel),
        ("app_id", settings.app_id.is_some(), Vendor::SobotIo),
        ("app_key", settings.app_key.is_some(), Vendor::SobotIo),
        ("waba_id", settings.waba_id.is_some(), Vendor::SobotIo),
        ("access_key", settings.access_key.is_some(), Vendor::SobotIn),
        ("secret_key", settings.secret_key.is_some(), Vendor::SobotIn),
    ];
    for (key, is_given, owner) in keys {
        if is_given && owner != settings.vendor {
            let message =
                format!("is a key of vendor `{owner}`, but this account's vendor is `{}`", settings.vendor);
            errors.push(FieldError::new(key, message));
        }
    }
}

fn read_base_url(settings: &AccountSettings, errors: &mut Vec<FieldError>) -> String {
    let text = settings.base_url.as_deref().unwrap_or(settings.vendor.default_base_url());
    let mut complain = |message: &str| errors.push(FieldError::new("base_url", message));
    match Url::parse(text) {
        Err(_) => complain("is not a URL such as https://api.example.com"),
        Ok(url) if !matches!(url.scheme(), "http" | "https") => {
            complain("must begin with http:// or https://");
        }
        Ok(url) if !url.username().is_empty() || url.password().is_some() => {
            complain("must not hold credentials: write them as keys of their own");
        }
        Ok(url) if url.query().is_some() || url.fragment().is_some() => {
            complain("must not hold `?` or `#`");
        }
        Ok(_) => {}
    }
    text.trim_end_matches('/').to_owned()
}

fn read_credentials(settings: &AccountSettings, errors: &mut Vec<FieldError>) -> Option<Credentials> {
    let vendor = settings.vendor;
    let mut missing = |key: &str| {
        errors.push(FieldError::new(
            key,
            format!("is missing or empty: an account of vendor `{vendor}` needs it"),
        ));
    };
    let mut text = |key: &str, value: &Option<String>| {
        let value = value.clone().filter(|text| !text.trim().is_empty());
        value.or_else(|| {
            missing(key);
            None
        })
    };
    let id = match vendor {
        Vendor::Exotel => text("account_sid", &settings.account_sid),
        Vendor::SobotIo => text("app_id", &settings.app_id),
        Vendor::SobotIn => Some(String::new()),
    };
    let waba_id = if vendor == Vendor::SobotIo { text("waba_id", &settings.waba_id) } else { None };
    let mut secret = |key: &str, value: &Option<Secret>| {
        let value = value.clone().filter(|secret| !secret.is_empty());
        value.or_else(|| {
            missing(key);
            None
        })
    };
    match vendor {
        Vendor::Exotel => {
            let (api_key, api_token) =
                (secret("api_key", &settings.api_key), secret("api_token", &settings.api_token));
            Some(Credentials::Exotel { account_sid: id?, api_key: api_key?, api_token: api_token? })
        }
        Vendor::SobotIo => {
            let app_key = secret("app_key", &settings.app_key);
            Some(Credentials::SobotIo { app_id: id?, app_key: app_key?, waba_id: waba_id? })
        }
        Vendor::SobotIn => {
            let (access_key, secret_key) =
                (secret("access_key", &settings.access_key), secret("secret_key", &settings.secret_key));
            Some(Credentials::SobotIn { access_key: access_key?, secret_key: secret_key? })
        }
    }
}

//! `campaignd.toml`, the environment over it, and the checks that need nothing but these.
//!
//! A wrong or unknown key stops the start with its file, line, name and remedy; all of them are said at once. No value
//! is shown in a complaint where it may be a secret.

mod account;
mod error;
mod event_webhook;
mod section;
mod tree;

use std::{
    net::{SocketAddr, ToSocketAddrs},
    path::{Path, PathBuf},
    time::Duration,
};

use dispatcher::Limits;
use model::{
    FieldError,
    campaign::DEFAULT_LATE_AFTER_SECONDS,
    limits::FrequencyCap,
    reply_words::{OPT_IN_WORDS, OPT_OUT_WORDS, ReplyWords},
};
use reconciler::events::{self, Webhook};
use vendors::{account::AccountConfig, secret::Secret};

use self::section::Section;
pub use self::{
    error::{Complaint, ConfigError},
    tree::Environment,
};

/// Where the file is looked for when no `--config` names one.
pub const SEARCHED: [&str; 2] = ["campaignd.toml", "/etc/campaignd/campaignd.toml"];
/// The largest file is far below it; a wrong path may name anything.
const MAX_FILE_BYTES: u64 = 4 * 1024 * 1024;
/// Fewer characters than this can be tried out.
const SHORT_TOKEN: usize = 16;
/// Raw callbacks are kept this long unless told otherwise: long enough to look into what went wrong.
const CALLBACKS_DAYS: u32 = 30;

/// Everything the daemon is told from outside.
#[derive(Clone, Debug)]
pub struct Config {
    /// The file that was read; none: the environment alone.
    pub file: Option<PathBuf>,
    /// `[server]`
    pub server: ServerConfig,
    /// `[database]`
    pub database: DatabaseConfig,
    /// `[retention]`
    pub retention: RetentionConfig,
    /// `[scheduling]`
    pub scheduling: SchedulingConfig,
    /// `[limits]`
    pub limits: Limits,
    /// `[replies]`: the words by which people stop and start marketing.
    pub reply_words: ReplyWords,
    /// `[replies] confirmation`: what those are told who stopped marketing by a reply.
    pub opt_out_confirmation: Option<String>,
    /// `[[accounts]]`
    pub accounts: Vec<AccountConfig>,
    /// `[[event_webhooks]]`
    pub event_webhooks: Vec<Webhook>,
    /// `CAMPAIGND_ADMIN_TOKEN`: an administrator's API token.
    pub admin_token: Option<Secret>,
    /// What is allowed and yet probably not meant. Logged at the start, listed by `check`.
    pub warnings: Vec<String>,
}

/// `[server]`
#[derive(Clone, Debug)]
pub struct ServerConfig {
    /// Where HTTP is served.
    pub listen: SocketAddr,
    /// What vendors reach us by, without a slash at the end; none: no callbacks are asked for.
    pub public_url: Option<String>,
    /// The longest CSV that is taken.
    pub max_upload_bytes: u64,
}

/// `[database]`
#[derive(Clone, Debug)]
pub struct DatabaseConfig {
    /// A PostgreSQL by URL; none: a private one under `data_dir`.
    pub url: Option<Secret>,
    /// The URL leads to a pooler in transaction mode.
    pub pooler: bool,
    /// A URL past the pooler, for what needs a session: migrations.
    pub migrations_url: Option<Secret>,
    /// The node's own folder: its id, its journal, the private cluster.
    pub data_dir: PathBuf,
    /// The folder of `initdb` and `postgres` for the private cluster, where it is not found by itself.
    pub binaries: Option<PathBuf>,
}

/// `[retention]`
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RetentionConfig {
    /// Per-recipient results are kept this long after their task's end; none: for ever.
    pub messages_days: Option<u32>,
    /// Raw callbacks are kept this long.
    pub callbacks_days: u32,
}

/// `[scheduling]`
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SchedulingConfig {
    /// A scheduled task that is late by more than this (after an outage, in a restored backup) waits for a person.
    pub late_after: Duration,
}

impl Config {
    /// Finds, reads and checks the configuration.
    ///
    /// # Errors
    /// A file that was named does not exist, or anything in it is wrong: all of it, each with its place.
    pub fn load(named: Option<&Path>, environment: &Environment) -> Result<Self, ConfigError> {
        match named {
            Some(file) => Self::load_file(file, environment),
            None => match SEARCHED.iter().map(Path::new).find(|file| file.exists()) {
                Some(file) => Self::load_file(file, environment),
                None => {
                    let mut config = Self::from_text("", None, environment)?;
                    if config.accounts.is_empty() {
                        let message = format!("no configuration file: looked for {}", SEARCHED.join(" and "));
                        config.warnings.insert(0, message);
                    }
                    Ok(config)
                }
            },
        }
    }

    fn load_file(file: &Path, environment: &Environment) -> Result<Self, ConfigError> {
        let refused = |reason: String| ConfigError::about_file(file.to_owned(), reason);
        let metadata = std::fs::metadata(file)
            .map_err(|error| refused(format!("cannot be read: {error}; name another with --config")))?;
        if metadata.len() > MAX_FILE_BYTES {
            return Err(refused(format!("is longer than {MAX_FILE_BYTES} bytes: is it the right file?")));
        }
        let text =
            std::fs::read_to_string(file).map_err(|error| refused(format!("cannot be read: {error}")))?;
        Self::from_text(&text, Some(file), environment)
    }

    /// Reads and checks a configuration that is in hand already.
    ///
    /// # Errors
    /// Anything in it is wrong: all of it, each with its place.
    pub fn from_text(
        text: &str,
        file: Option<&Path>,
        environment: &Environment,
    ) -> Result<Self, ConfigError> {
        let file = file.map(Path::to_owned);
        let failed = |complaints| ConfigError { file: file.clone(), complaints };
        let mut root = tree::parse(text.strip_prefix('\u{feff}').unwrap_or(text))
            .map_err(|(origin, message)| failed(vec![Complaint { origin, key: String::new(), message }]))?;
        let mut complaints: Vec<Complaint> = tree::lay_over(&mut root, environment)
            .into_iter()
            .map(|(origin, error)| Complaint {
                origin: Some(origin),
                key: error.field,
                message: error.message,
            })
            .collect();
        let mut errors = Vec::new();
        let folder = file.as_deref().and_then(Path::parent).unwrap_or(Path::new(""));
        tree::resolve(&mut root, "", environment, folder, &mut errors);
        let config = if errors.is_empty() { read(&root, environment, &mut errors) } else { None };
        complaints.extend(errors.into_iter().map(|error| Complaint {
            origin: root.origin_of(&error.field),
            key: error.field,
            message: error.message,
        }));
        match config {
            Some(config) if complaints.is_empty() => Ok(Self { file, ..config }),
            _ => Err(failed(complaints)),
        }
    }
}

fn read(root: &tree::Node, environment: &Environment, errors: &mut Vec<FieldError>) -> Option<Config> {
    let mut top = Section::new("", Some(root));
    let server = read_server(top.section("server"), errors);
    let database = read_database(top.section("database"), environment, errors);
    let retention = read_retention(top.section("retention"), errors);
    let scheduling = read_scheduling(top.section("scheduling"), errors);
    let limits = read_limits(top.section("limits"), errors);
    let (reply_words, opt_out_confirmation) = read_replies(top.section("replies"), errors);
    let accounts: Vec<Option<AccountConfig>> =
        top.sections("accounts").into_iter().map(|section| account::read(section, errors)).collect();
    let webhooks: Vec<Option<Webhook>> = top
        .sections("event_webhooks")
        .into_iter()
        .map(|section| event_webhook::read(section, errors))
        .collect();
    top.finish(errors);
    // An account that is wrong would shift the indices of the complaints about those after it.
    let accounts: Vec<AccountConfig> = accounts.into_iter().collect::<Option<_>>()?;
    errors.extend(vendors::account::check_together(&accounts));
    let event_webhooks: Vec<Webhook> = webhooks.into_iter().collect::<Option<_>>()?;
    errors.extend(events::check_together(&event_webhooks));
    let admin_token =
        environment.get("CAMPAIGND_ADMIN_TOKEN").filter(|token| !token.is_empty()).map(Secret::new);
    let mut config = Config {
        file: None,
        server: server?,
        database: database?,
        retention,
        scheduling,
        limits,
        reply_words,
        opt_out_confirmation,
        accounts,
        event_webhooks,
        admin_token,
        warnings: Vec::new(),
    };
    config.warnings = warnings(&config);
    Some(config)
}

fn read_server(mut section: Section<'_>, errors: &mut Vec<FieldError>) -> Option<ServerConfig> {
    let listen = section.text("listen").unwrap_or_else(|| "127.0.0.1:8080".to_owned());
    let listen = listen.to_socket_addrs().ok().and_then(|mut addresses| addresses.next());
    if listen.is_none() {
        section.complain("listen", "must be an address and a port, such as 127.0.0.1:8080 or [::]:8080");
    }
    let public_url = section.text("public_url");
    if let Some(url) = &public_url
        && let Err(message) = check_public_url(url)
    {
        section.complain("public_url", message);
    }
    let max_upload_bytes = section.whole("max_upload_bytes", 1).unwrap_or(2 * 1024 * 1024 * 1024);
    section.finish(errors);
    let public_url = public_url.map(|url| url.trim_end_matches('/').to_owned());
    Some(ServerConfig { listen: listen?, public_url, max_upload_bytes })
}

fn check_public_url(text: &str) -> Result<(), &'static str> {
    let url = reqwest::Url::parse(text).map_err(|_| "is not a URL such as https://campaigns.example.com")?;
    if !matches!(url.scheme(), "http" | "https") || !url.has_host() {
        return Err("must begin with http:// or https:// and a host");
    }
    if url.query().is_some() || url.fragment().is_some() || !url.username().is_empty() {
        return Err("must not hold `?`, `#` or a user: callbacks are asked for at it + /webhooks/…");
    }
    Ok(())
}

fn read_database(
    mut section: Section<'_>,
    environment: &Environment,
    errors: &mut Vec<FieldError>,
) -> Option<DatabaseConfig> {
    let written = section.text("url").filter(|url| !url.is_empty());
    let inherited = environment.get("DATABASE_URL").filter(|url| !url.is_empty());
    let url = written.or_else(|| inherited.cloned());
    if url.as_ref().is_some_and(|url| !is_postgres(url)) {
        let source =
            if inherited == url.as_ref() { " (it comes from the variable DATABASE_URL)" } else { "" };
        section.complain("url", format!("must begin with postgres:// or postgresql://{source}"));
    }
    let pooler = section.flag("pooler").unwrap_or(false);
    if pooler && url.is_none() {
        section.complain("pooler", "needs `url`, the pooler's address: the private PostgreSQL has no pooler");
    }
    let migrations_url = section.text("migrations_url").filter(|url| !url.is_empty());
    if migrations_url.as_ref().is_some_and(|url| !is_postgres(url)) {
        section.complain("migrations_url", "must begin with postgres:// or postgresql://");
    }
    if migrations_url.is_some() && !pooler {
        section.complain("migrations_url", "is for `pooler = true` alone: without a pooler, `url` is used");
    }
    let data_dir = section.text("data_dir").unwrap_or_else(|| "campaignd-data".to_owned());
    if data_dir.trim().is_empty() {
        section.complain("data_dir", "must not be empty: name a folder, such as campaignd-data");
    }
    let binaries = section.text("binaries").map(PathBuf::from);
    section.finish(errors);
    Some(DatabaseConfig {
        url: url.map(Secret::new),
        pooler,
        migrations_url: migrations_url.map(Secret::new),
        data_dir: PathBuf::from(data_dir),
        binaries,
    })
}

fn is_postgres(url: &str) -> bool {
    url.starts_with("postgres://") || url.starts_with("postgresql://")
}

fn read_retention(mut section: Section<'_>, errors: &mut Vec<FieldError>) -> RetentionConfig {
    let retention = RetentionConfig {
        messages_days: section.whole_u32("messages_days", 1),
        callbacks_days: section.whole_u32("callbacks_days", 1).unwrap_or(CALLBACKS_DAYS),
    };
    section.finish(errors);
    retention
}

fn read_scheduling(mut section: Section<'_>, errors: &mut Vec<FieldError>) -> SchedulingConfig {
    let seconds = section.whole_u32("late_after_seconds", 1).unwrap_or(DEFAULT_LATE_AFTER_SECONDS);
    section.finish(errors);
    SchedulingConfig { late_after: Duration::from_secs(u64::from(seconds)) }
}

fn read_limits(mut section: Section<'_>, errors: &mut Vec<FieldError>) -> Limits {
    let foresee_closed_window = section.flag("foresee_closed_window").unwrap_or(false);
    let mut cap = section.section("max_per_recipient");
    let both = (cap.whole_u32("count", 1), cap.whole_u32("days", 1));
    let max_per_recipient = match both {
        (Some(count), Some(days)) => Some(FrequencyCap { count, days }),
        (None, None) => None,
        // One alone says nothing.
        (Some(_), None) => {
            cap.complain_once("days", "is missing: write max_per_recipient = { count = 3, days = 7 }");
            None
        }
        (None, Some(_)) => {
            cap.complain_once("count", "is missing: write max_per_recipient = { count = 3, days = 7 }");
            None
        }
    };
    cap.finish(errors);
    let mut wrong = Vec::new();
    max_per_recipient.iter().for_each(|cap| cap.check(&mut wrong));
    for error in wrong {
        errors.push(FieldError::new(section.path_of(&error.field), error.message));
    }
    section.finish(errors);
    Limits { max_per_recipient, foresee_closed_window }
}

fn read_replies(mut section: Section<'_>, errors: &mut Vec<FieldError>) -> (ReplyWords, Option<String>) {
    let usual = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect();
    let opt_out = section.texts("opt_out_words").unwrap_or_else(|| usual(&OPT_OUT_WORDS));
    let opt_in = section.texts("opt_in_words").unwrap_or_else(|| usual(&OPT_IN_WORDS));
    let words = ReplyWords::new(&opt_out, &opt_in).unwrap_or_else(|error| {
        section.complain(&error.field, error.message);
        ReplyWords::default()
    });
    let confirmation = section.text("confirmation");
    if let Some(problem) = confirmation.as_deref().and_then(unfit_confirmation) {
        section.complain("confirmation", problem);
    }
    section.finish(errors);
    (words, confirmation)
}

/// Why a text cannot be sent as it stands; none: it can.
fn unfit_confirmation(text: &str) -> Option<String> {
    let message = serde_json::json!({"type": "text", "text": {"body": text}});
    if text.contains("{{") {
        return Some("must be the same for everybody: a reply has no columns to fill {{…}} from".to_owned());
    }
    model::message::Message::parse(&message).err().map(|errors| {
        let reasons: Vec<&str> = errors.iter().map(|error| error.message.as_str()).collect();
        reasons.join("; ")
    })
}

fn warnings(config: &Config) -> Vec<String> {
    let mut warnings = Vec::new();
    if config.accounts.is_empty() {
        warnings.push("no [[accounts]] are configured: nothing can be sent".to_owned());
    } else if config.server.public_url.is_none() {
        let message = "server.public_url is not set: no callbacks are asked for, so messages stay `accepted`";
        warnings.push(message.to_owned());
    }
    if config.database.pooler && config.database.migrations_url.is_none() {
        let message = "database.migrations_url is not set: migrations cannot go through the pooler, so bring the schema up to \
                       date from somewhere else before a new version starts";
        warnings.push(message.to_owned());
    }
    for account in &config.accounts {
        let name = &account.name;
        match &account.webhook_token {
            None => warnings.push(format!(
                "account `{name}` has no webhook_token: its callbacks are refused, so messages stay `accepted`"
            )),
            Some(token) if token.expose().chars().count() < SHORT_TOKEN => warnings.push(format!(
                "account `{name}`: its webhook_token is shorter than {SHORT_TOKEN} characters and can be guessed; \
                 `openssl rand -hex 24` makes a better one"
            )),
            Some(_) => {}
        }
    }
    if config.admin_token.as_ref().is_some_and(|token| token.expose().chars().count() < SHORT_TOKEN) {
        warnings.push(format!(
            "CAMPAIGND_ADMIN_TOKEN is shorter than {SHORT_TOKEN} characters and can be guessed"
        ));
    }
    warnings
}

#[cfg(test)]
mod tests;

//! One webhook of the configuration, checked.

use model::{
    FieldError,
    event::{EventFilter, EventKind},
};
use reqwest::Url;
use url::Host;
use vendors::secret::Secret;

use super::{addresses::is_public, signature::SigningKey};

/// Statuses in one request, unless told otherwise.
pub const DEFAULT_BATCH_EVENTS: usize = 100;
/// The most that may be asked for: a request of that many has about 150 kB.
pub const LIMIT_BATCH_EVENTS: usize = 1_000;
/// Requests at once to one webhook, unless told otherwise; each is of another task.
pub const DEFAULT_MAX_IN_FLIGHT: usize = 8;
/// The most that may be asked for.
pub const LIMIT_IN_FLIGHT: usize = 64;
/// Characters of a name.
const LIMIT_NAME: usize = 64;

/// A webhook as it is written.
#[derive(Clone, Debug)]
pub struct WebhookSettings {
    /// Its name.
    pub name: String,
    /// Where events are posted.
    pub url: Secret,
    /// `whsec_…`.
    pub secret: Secret,
    /// Patterns of the events that are wanted; none: all.
    pub events: Option<Vec<String>>,
    /// Addresses within our own networks may be called, and without TLS.
    pub allow_private_urls: bool,
    /// Statuses in one request at the most.
    pub max_batch_events: Option<usize>,
    /// Requests at once, each of another task.
    pub max_in_flight: Option<usize>,
}

/// A webhook that can be used. Its URL and its secret do not show.
#[derive(Clone, Debug)]
pub struct Webhook {
    /// Its name.
    pub name: String,
    /// Where events are posted. Its query may be a secret.
    url: Secret,
    /// The same without what may be a secret, to be shown.
    pub shown_url: String,
    /// Signs what is posted.
    pub key: SigningKey,
    /// Which events are wanted.
    pub events: EventFilter,
    /// Addresses within our own networks may be called, and without TLS.
    pub allow_private_urls: bool,
    /// Statuses in one request at the most.
    pub max_batch_events: usize,
    /// Requests at once, each of another task.
    pub max_in_flight: usize,
}

impl Webhook {
    /// Where events are posted, for the one place that posts.
    pub(crate) fn url(&self) -> &str {
        self.url.expose()
    }

    /// Whether it wants such events.
    #[must_use]
    pub fn wants(&self, kind: EventKind) -> bool {
        self.events.wants(kind)
    }
}

impl TryFrom<WebhookSettings> for Webhook {
    type Error = Vec<FieldError>;

    fn try_from(settings: WebhookSettings) -> Result<Self, Vec<FieldError>> {
        let mut errors = Vec::new();
        let mut wrong = |field: &str, message: String| errors.push(FieldError::new(field, message));
        if let Err(message) = check_name(&settings.name) {
            wrong("name", message);
        }
        let shown_url = shown(settings.url.expose(), settings.allow_private_urls)
            .map_err(|message| wrong("url", message.to_owned()));
        let key = SigningKey::parse(&settings.secret).map_err(|message| wrong("secret", message.to_owned()));
        let events = settings.events.map_or_else(|| Ok(EventFilter::default()), EventFilter::new);
        let events = events.map_err(|error| wrong("events", error.to_string()));
        let max_batch_events = settings.max_batch_events.unwrap_or(DEFAULT_BATCH_EVENTS);
        if !(1..=LIMIT_BATCH_EVENTS).contains(&max_batch_events) {
            wrong("max_batch_events", format!("must be 1 to {LIMIT_BATCH_EVENTS}"));
        }
        let max_in_flight = settings.max_in_flight.unwrap_or(DEFAULT_MAX_IN_FLIGHT);
        if !(1..=LIMIT_IN_FLIGHT).contains(&max_in_flight) {
            wrong("max_in_flight", format!("must be 1 to {LIMIT_IN_FLIGHT}"));
        }
        match (shown_url, key, events) {
            (Ok(shown_url), Ok(key), Ok(events)) if errors.is_empty() => Ok(Self {
                name: settings.name,
                url: settings.url,
                shown_url,
                key,
                events,
                allow_private_urls: settings.allow_private_urls,
                max_batch_events,
                max_in_flight,
            }),
            _ => Err(errors),
        }
    }
}

/// Two webhooks of one name would share their batches.
#[must_use]
pub fn check_together(webhooks: &[Webhook]) -> Vec<FieldError> {
    let is_taken = |index: usize, webhook: &Webhook| {
        webhooks.iter().take(index).any(|earlier| earlier.name == webhook.name)
    };
    let doubled = webhooks.iter().enumerate().filter(|(index, webhook)| is_taken(*index, webhook));
    doubled
        .map(|(index, webhook)| {
            let message = format!("`{}` is the name of another webhook: choose one of its own", webhook.name);
            FieldError::new(format!("event_webhooks[{index}].name"), message)
        })
        .collect()
}

fn check_name(name: &str) -> Result<(), String> {
    let is_good = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    if name.is_empty() || name.len() > LIMIT_NAME || !name.chars().all(is_good) {
        return Err(format!("must be 1 to {LIMIT_NAME} letters, digits, `-`, `_` and `.`"));
    }
    Ok(())
}

/// The URL without its query; refused where it may not be called.
fn shown(text: &str, allow_private_urls: bool) -> Result<String, &'static str> {
    let mut url = Url::parse(text).map_err(|_| "is not a URL such as https://crm.example.com/campaignd")?;
    match url.scheme() {
        "https" => {}
        "http" if allow_private_urls => {}
        "http" => {
            return Err("must begin with https://; http:// is possible only with allow_private_urls = true");
        }
        _ => return Err("must begin with https://"),
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err("must not hold a user: requests are known by their signature");
    }
    if url.fragment().is_some() {
        return Err("must not hold `#`");
    }
    if !allow_private_urls && !is_public_host(&url) {
        return Err(
            "leads to an address that is not of the public network: set allow_private_urls = true if it \
                    is meant",
        );
    }
    url.set_query(None);
    Ok(url.into())
}

/// A name is looked at when it is resolved.
pub(crate) fn is_public_host(url: &Url) -> bool {
    match url.host() {
        None => false,
        Some(Host::Domain(_)) => true,
        Some(Host::Ipv4(address)) => is_public(address.into()),
        Some(Host::Ipv6(address)) => is_public(address.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

    fn settings(url: &str, allow_private_urls: bool) -> WebhookSettings {
        WebhookSettings {
            name: "crm".to_owned(),
            url: Secret::new(url),
            secret: Secret::new(SECRET),
            events: None,
            allow_private_urls,
            max_batch_events: None,
            max_in_flight: None,
        }
    }

    fn refused(settings: WebhookSettings) -> Vec<String> {
        let errors = Webhook::try_from(settings).unwrap_err();
        errors.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn a_good_one_shows_neither_its_secret_nor_its_query() {
        let webhook = Webhook::try_from(settings("https://crm.example.com/hook?token=hush", false)).unwrap();
        assert_eq!(webhook.shown_url, "https://crm.example.com/hook");
        assert_eq!(webhook.url(), "https://crm.example.com/hook?token=hush");
        let shown = format!("{webhook:?}");
        assert!(!shown.contains("hush") && !shown.contains("MfKQ9r8G"), "{shown}");
        assert_eq!((webhook.max_batch_events, webhook.max_in_flight), (100, 8));
        assert!(webhook.wants(EventKind::TaskState) && webhook.wants(EventKind::MessageStatuses));
    }

    #[test]
    fn an_address_of_ours_needs_the_switch() {
        for inside in [
            "https://127.0.0.1/hook",
            "https://[::1]/hook",
            "https://169.254.169.254/latest",
            "https://2130706433/hook",
            "https://0x7f.1/hook",
            "https://[::ffff:10.0.0.1]/hook",
        ] {
            assert!(refused(settings(inside, false))[0].contains("allow_private_urls"), "{inside}");
            assert!(Webhook::try_from(settings(inside, true)).is_ok(), "{inside}");
        }
        assert!(refused(settings("http://crm.example.com/hook", false))[0].contains("https://"));
        assert!(Webhook::try_from(settings("http://127.0.0.1:9/hook", true)).is_ok());
    }

    #[test]
    fn each_wrong_field_is_named() {
        let wrong = WebhookSettings {
            name: "a b".to_owned(),
            url: Secret::new("ftp://crm.example.com"),
            secret: Secret::new("hush"),
            events: Some(vec!["inbound.*".to_owned()]),
            allow_private_urls: true,
            max_batch_events: Some(0),
            max_in_flight: Some(65),
        };
        let errors = Webhook::try_from(wrong).unwrap_err();
        let fields: Vec<&str> = errors.iter().map(|error| error.field.as_str()).collect();
        assert_eq!(fields, ["name", "url", "secret", "events", "max_batch_events", "max_in_flight"]);
        assert!(!format!("{errors:?}").contains("hush"));
        let twice = [settings("https://a.example.com", false), settings("https://b.example.com", false)];
        let twice = twice.map(|settings| Webhook::try_from(settings).unwrap());
        assert_eq!(check_together(&twice)[0].field, "event_webhooks[1].name");
    }
}

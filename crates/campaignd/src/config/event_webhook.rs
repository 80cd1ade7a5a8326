//! `[[event_webhooks]]`: from the tree to what `reconciler` checks.

use model::FieldError;
use reconciler::events::{Webhook, WebhookSettings};
use vendors::secret::Secret;

use super::{account::required, section::Section};

/// Reads one webhook; none when anything about it is wrong, which `errors` then says.
pub fn read(mut section: Section<'_>, errors: &mut Vec<FieldError>) -> Option<Webhook> {
    let before = errors.len();
    let path = section.path_of("");
    let path = path.trim_end_matches('.').to_owned();
    let name = required(&mut section, "name", "give the webhook a name, such as name = \"crm\"");
    let url = required(&mut section, "url", "write where events are posted");
    let secret = required(&mut section, "secret", "`echo whsec_$(openssl rand -base64 32)` makes one");
    let mut count = |key| section.whole(key, 1).and_then(|n| usize::try_from(n).ok());
    let (max_batch_events, max_in_flight) = (count("max_batch_events"), count("max_in_flight"));
    let settings = WebhookSettings {
        name: name.unwrap_or_default(),
        url: Secret::new(url.unwrap_or_default()),
        secret: Secret::new(secret.unwrap_or_default()),
        events: section.texts("events"),
        allow_private_urls: section.flag("allow_private_urls").unwrap_or(false),
        max_batch_events,
        max_in_flight,
    };
    section.finish(errors);
    let webhook = Webhook::try_from(settings);
    let more = webhook.as_ref().err().into_iter().flatten();
    let more = more.map(|error| FieldError::new(format!("{path}.{}", error.field), error.message.as_str()));
    // What could not be read counts as missing there: one complaint about a key is enough.
    let already: Vec<String> = errors[before..].iter().map(|error| error.field.clone()).collect();
    errors.extend(more.filter(|error| !already.contains(&error.field)));
    webhook.ok().filter(|_| errors.len() == before)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::super::{Config, Environment};

    const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

    fn load(text: &str) -> Result<Config, String> {
        let variables = Environment::from([("CRM_SECRET".to_owned(), SECRET.to_owned())]);
        Config::from_text(text, Some(Path::new("campaignd.toml")), &variables)
            .map_err(|error| error.to_string())
    }

    #[test]
    fn a_webhook_is_read_and_shows_no_secret() {
        let config = load(
            "[[event_webhooks]]\nname = \"crm\"\nurl = \"https://crm.example.com/hook?key=hush\"\n\
             secret = \"${CRM_SECRET}\"\nevents = [\"task.*\"]\nmax_batch_events = 5\n",
        )
        .unwrap();
        let webhook = &config.event_webhooks[0];
        assert_eq!((webhook.name.as_str(), webhook.max_batch_events), ("crm", 5));
        assert_eq!(webhook.shown_url, "https://crm.example.com/hook");
        assert_eq!(webhook.events.patterns(), ["task.*"]);
        let shown = format!("{config:?}");
        assert!(!shown.contains("hush") && !shown.contains("MfKQ9r8G"), "{shown}");
    }

    #[test]
    fn what_is_wrong_is_named_with_its_line_and_key() {
        let error = load(
            "[[event_webhooks]]\nname = \"crm\"\nurl = \"http://crm.example.com\"\nsecret = \"hush\"\ncolour = 1\n",
        )
        .unwrap_err();
        let lines: Vec<&str> = error.lines().collect();
        let begins = [
            "campaignd.toml:5: event_webhooks[0].colour: is not a known key",
            "campaignd.toml:3: event_webhooks[0].url: must begin with https://",
            "campaignd.toml:4: event_webhooks[0].secret: must be `whsec_`",
        ];
        assert_eq!(lines.len(), begins.len(), "{error}");
        for (line, begin) in lines.iter().zip(begins) {
            assert!(line.starts_with(begin), "{line}");
        }
        assert!(!error.contains("hush"), "{error}");
        let missing = load("[[event_webhooks]]\nname = \"crm\"\n").unwrap_err();
        assert!(missing.contains("event_webhooks[0].url: is missing"), "{missing}");
        assert!(missing.contains("event_webhooks[0].secret: is missing"), "{missing}");
        let one = format!(
            "[[event_webhooks]]\nname = \"crm\"\nurl = \"https://a.example.com\"\nsecret = \"{SECRET}\"\n"
        );
        let twice = load(&one.repeat(2)).unwrap_err();
        assert!(twice.contains("campaignd.toml:6: event_webhooks[1].name: `crm` is the name"), "{twice}");
    }
}

//! Accounts of the three stand-ins, as the configuration writes them.

use std::fmt::Write as _;

use simulator::Vendor;

/// An account of the configuration.
#[derive(Clone, Debug)]
pub struct Account {
    /// Its name, the vendor's unless told.
    pub name: String,
    /// Its vendor.
    pub vendor: Vendor,
    /// Its sender.
    pub from: String,
    keys: Vec<(String, String)>,
    sender_keys: Vec<(String, String)>,
    other_senders: Vec<String>,
}

impl Account {
    /// An account of Exotel.
    pub fn exotel() -> Self {
        let keys = [("account_sid", "acme"), ("api_key", "exotel-key"), ("api_token", "exotel-token")];
        Self::new(Vendor::Exotel, "+919999000001", &keys)
    }

    /// An account of sobot.io.
    pub fn sobot_io() -> Self {
        let keys = [("app_id", "sobot-app"), ("app_key", "sobot-app-key"), ("waba_id", "waba")];
        Self::new(Vendor::SobotIo, "1234567890", &keys)
    }

    /// An account of sobot.in.
    pub fn sobot_in() -> Self {
        let keys = [("access_key", "inbox-access-key"), ("secret_key", "inbox-secret-key")];
        Self::new(Vendor::SobotIn, "918788000001", &keys)
    }

    fn new(vendor: Vendor, from: &str, keys: &[(&str, &str)]) -> Self {
        let quoted = |(key, value): &(&str, &str)| ((*key).to_owned(), format!("\"{value}\""));
        Self {
            name: vendor.name().to_owned(),
            vendor,
            from: from.to_owned(),
            keys: keys.iter().map(quoted).collect(),
            sender_keys: Vec::new(),
            other_senders: Vec::new(),
        }
    }

    /// Sets a key of the account: `set("batch_size", 50)`. A text brings its own quotes.
    #[expect(clippy::needless_pass_by_value, reason = "numbers read better without `&`")]
    pub fn set(mut self, key: &str, value: impl ToString) -> Self {
        self.keys.push((key.to_owned(), value.to_string()));
        self
    }

    /// Sets a key of its sender: `sender("messages_per_second", 80)`.
    #[expect(clippy::needless_pass_by_value, reason = "numbers read better without `&`")]
    pub fn sender(mut self, key: &str, value: impl ToString) -> Self {
        self.sender_keys.push((key.to_owned(), value.to_string()));
        self
    }

    /// Another sender of the same account, with the keys of the first.
    pub fn also_from(mut self, from: &str) -> Self {
        self.other_senders.push(from.to_owned());
        self
    }

    /// The secret part of its callback address.
    pub fn webhook_token(&self) -> String {
        format!("token-for-callbacks-{}", self.name)
    }

    /// Its `[[accounts]]` table.
    pub fn toml(&self, base_url: &str) -> String {
        let mut toml = String::new();
        writeln!(toml, "[[accounts]]\nname = \"{}\"\nvendor = \"{}\"", self.name, self.vendor).unwrap();
        if !self.keys.iter().any(|(key, _)| key == "base_url") {
            writeln!(toml, "base_url = \"{base_url}\"").unwrap();
        }
        writeln!(toml, "webhook_token = \"{}\"", self.webhook_token()).unwrap();
        for (key, value) in &self.keys {
            writeln!(toml, "{key} = {value}").unwrap();
        }
        for from in std::iter::once(&self.from).chain(&self.other_senders) {
            writeln!(toml, "[[accounts.senders]]\nfrom = \"{from}\"").unwrap();
            for (key, value) in &self.sender_keys {
                writeln!(toml, "{key} = {value}").unwrap();
            }
        }
        toml
    }
}

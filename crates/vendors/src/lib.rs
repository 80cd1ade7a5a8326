//! The three vendors, one folder each, behind one face.
//!
//! Nothing leaves this crate in a vendor's vocabulary: a canonical message and recipients go in, verdicts and news
//! come out. It holds no state that outlives the process and never retries a send by itself (one exception: a vendor
//! that refuses a token has sent nothing, so the token is renewed once and the call repeated once).

pub mod account;
pub mod callback;
pub mod codes;
#[doc(hidden)]
pub mod measured;
pub mod prices;
pub mod records;
pub mod secret;
pub mod templates;

mod bounds;
mod connections;
mod exotel;
mod http;
mod http1;
mod read;
mod sobot_in;
mod sobot_io;

use bytes::Bytes;
use model::{
    Clock, FieldError, Phone,
    campaign::Category,
    disposition::{MessageFacts, Rule},
    message::{Columns, Message, RowError, Skeleton},
    report::{Correlation, News},
    verdict::Verdict,
};

pub use account::{AccountConfig, AccountSettings, Credentials, SenderConfig, Timeouts, Vendor};
pub use callback::MalformedCallback;
pub use codes::CodeEntry;
pub use http::NotConnected;
pub use records::{RecordPage, RecordQuery, RecordsError, SendRecord};
pub use secret::Secret;
pub use templates::{NewTemplate, TemplatesError, VendorTemplate};

/// A campaign's message in its vendor's form, with the placeholders still open. Made once per task.
#[derive(Debug)]
pub struct Compiled {
    /// The vendor's JSON for one recipient, as literal stretches and placeholders.
    pub skeleton: Skeleton,
    /// What rules must know of it.
    pub facts: MessageFacts,
}

impl Compiled {
    /// The vendor's JSON for one recipient.
    ///
    /// # Errors
    /// The row lacks a value that the message needs, or a rendered text is longer than documented.
    pub fn render(&self, to: Phone, row: &[&str]) -> Result<Bytes, RowError> {
        self.skeleton.render(to, row)
    }
}

/// One recipient's message, ready to leave.
#[derive(Clone, Debug)]
pub struct Outgoing {
    /// Whom to.
    pub to: Phone,
    /// What the vendor is asked to echo, where it echoes anything.
    pub correlation: Correlation,
    /// From [`Compiled::render`].
    pub rendered: Bytes,
}

/// A vendor account, live: its client, its translation, its callbacks, its codes. Share it by `Arc`.
#[derive(Debug)]
pub struct Account {
    name: String,
    max_batch: usize,
    template_namespace: Option<String>,
    client: Client,
}

#[derive(Debug)]
enum Client {
    Exotel(Box<exotel::Client>),
    SobotIo(Box<sobot_io::Client>),
    SobotIn(Box<sobot_in::Client>),
}

impl Account {
    /// Makes the account's client. Nothing is called yet.
    ///
    /// `callback_url` is [`AccountConfig::callback_url`]; it is sent along where the vendor takes one per call.
    ///
    /// # Errors
    /// The client cannot be built: a proxy that is no URL, credentials that fit in no header.
    pub fn connect(
        config: &AccountConfig,
        callback_url: Option<&str>,
        clock: Clock,
    ) -> Result<Self, NotConnected> {
        let http = http::Http::new(config, clock)?;
        let client = match &config.credentials {
            Credentials::Exotel { account_sid, api_key, api_token } => Client::Exotel(Box::new(
                exotel::Client::new(http, account_sid, api_key, api_token, callback_url)?,
            )),
            Credentials::SobotIo { app_id, app_key, waba_id } => {
                Client::SobotIo(Box::new(sobot_io::Client::new(http, app_id, app_key, waba_id)?))
            }
            Credentials::SobotIn { access_key, secret_key } => {
                Client::SobotIn(Box::new(sobot_in::Client::new(http, access_key, secret_key)?))
            }
        };
        Ok(Self {
            name: config.name.clone(),
            max_batch: config.batch_size,
            template_namespace: config.template_namespace.clone(),
            client,
        })
    }

    /// The account's name in the configuration.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Whose API it speaks.
    #[must_use]
    pub fn vendor(&self) -> Vendor {
        match &self.client {
            Client::Exotel(_) => Vendor::Exotel,
            Client::SobotIo(_) => Vendor::SobotIo,
            Client::SobotIn(_) => Vendor::SobotIn,
        }
    }

    /// The most messages that one [`Account::send`] takes: 1 where the vendor takes one per call.
    #[must_use]
    pub fn max_batch(&self) -> usize {
        self.max_batch
    }

    /// The message in the vendor's form. `category` is the synced template's, else the campaign's, else marketing.
    ///
    /// # Errors
    /// What the vendor cannot express, and columns that the audience lacks, each with its field.
    pub fn compile(
        &self,
        message: &Message,
        columns: &Columns,
        from: &str,
        category: Category,
    ) -> Result<Compiled, Vec<FieldError>> {
        compile(self.vendor(), self.template_namespace.as_deref(), message, columns, from, category)
    }

    /// Sends, and judges the answer: exactly one verdict per message, in the same order.
    ///
    /// It takes at most the account's total timeout, never panics and never sends anything twice. At most
    /// [`Account::max_batch`] messages at a time.
    pub async fn send(&self, facts: &MessageFacts, messages: &[Outgoing]) -> Vec<Verdict> {
        let verdicts = match &self.client {
            Client::Exotel(client) => client.send(facts, messages).await,
            Client::SobotIo(client) => client.send(facts, messages).await,
            Client::SobotIn(client) => client.send(facts, messages).await,
        };
        verdicts.into_iter().map(bounds::verdict).collect()
    }

    /// Reads a callback of this account. [`callback::parse`] does it without a live account.
    ///
    /// # Errors
    /// The body is no JSON or of no shape that any callback has.
    pub fn parse_callback(&self, body: &[u8]) -> Result<Vec<News>, MalformedCallback> {
        callback::parse(self.vendor(), body)
    }

    /// What is to be done about a code that came by callback. [`codes::judge`] does it without a live account.
    #[must_use]
    pub fn judge(&self, code: &str, reason: &str, facts: &MessageFacts) -> Rule {
        codes::judge(self.vendor(), code, reason, facts)
    }

    /// Tries the credentials with a call that sends nothing, and says what was tried and seen.
    ///
    /// # Errors
    /// The vendor cannot be reached or refuses the credentials: a sentence with the remedy.
    pub async fn check(&self) -> Result<String, String> {
        match &self.client {
            Client::Exotel(client) => client.check().await,
            Client::SobotIo(client) => client.check().await,
            Client::SobotIn(client) => client.check().await,
        }
    }

    /// Whether the vendor can be asked what it sent ([`Account::find_records`]).
    #[must_use]
    pub fn keeps_records(&self) -> bool {
        matches!(self.client, Client::SobotIo(_))
    }

    /// Asks the vendor what it sent.
    ///
    /// # Errors
    /// The vendor keeps no records, cannot be reached, refuses, or answers what cannot be read.
    pub async fn find_records(&self, query: &RecordQuery) -> Result<RecordPage, RecordsError> {
        match &self.client {
            Client::SobotIo(client) => {
                let page = client.find_records(query).await?;
                let records = page.records.into_iter().map(bounds::record).collect();
                Ok(RecordPage { records, ..page })
            }
            Client::Exotel(_) | Client::SobotIn(_) => Err(RecordsError::KeepsNone),
        }
    }
}

impl Account {
    /// All templates that the vendor lists.
    ///
    /// # Errors
    /// The vendor has no such call, cannot be reached, refuses, or answers what cannot be read.
    pub async fn list_templates(&self) -> Result<Vec<VendorTemplate>, TemplatesError> {
        let listed = match &self.client {
            Client::SobotIo(client) => client.list_templates().await?,
            Client::SobotIn(client) => client.list_templates().await?,
            Client::Exotel(_) => return Err(TemplatesError::NoCall),
        };
        Ok(listed.into_iter().map(bounds::template).collect())
    }

    /// Creates a template at the vendor; its id there, where told. WhatsApp has yet to approve it.
    ///
    /// # Errors
    /// The vendor has no such call, cannot express the template, cannot be reached or refuses.
    pub async fn create_template(&self, new: &NewTemplate) -> Result<Option<String>, TemplatesError> {
        match &self.client {
            Client::SobotIo(client) => client.create_template(new).await,
            Client::SobotIn(client) => client.create_template(new).await,
            Client::Exotel(_) => Err(TemplatesError::NoCall),
        }
    }

    /// Deletes a template at the vendor, in all its languages.
    ///
    /// # Errors
    /// The vendor has no such call, cannot be reached or refuses.
    pub async fn delete_template(&self, name: &str) -> Result<(), TemplatesError> {
        match &self.client {
            Client::SobotIo(client) => client.delete_template(name).await,
            Client::SobotIn(_) | Client::Exotel(_) => Err(TemplatesError::NoCall),
        }
    }
}

/// [`Account::compile`] without a live account: previews and creation are served by any node.
///
/// # Errors
/// What the vendor cannot express, and columns that the audience lacks, each with its field.
pub fn compile(
    vendor: Vendor,
    template_namespace: Option<&str>,
    message: &Message,
    columns: &Columns,
    from: &str,
    category: Category,
) -> Result<Compiled, Vec<FieldError>> {
    let skeleton = match vendor {
        Vendor::Exotel => exotel::translate(message, columns, from, template_namespace),
        Vendor::SobotIo => sobot_io::translate(message, columns, from, category == Category::Authentication),
        Vendor::SobotIn => sobot_in::translate(message, columns),
    }?;
    Ok(Compiled { skeleton, facts: message.facts(category == Category::Marketing) })
}

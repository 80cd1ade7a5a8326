//! The canonical message: WhatsApp's Cloud API message object with `{{column}}` in any of its strings.
//!
//! What a campaign hands in is parsed here once, with every complaint named by its field. A vendor turns the typed
//! message into a [`Node`] of its own JSON; a [`Skeleton`] compiled from that renders each recipient. No vendor's
//! rule stands here, and no recipient's data stays here.

mod columns;
mod compile;
mod contacts;
mod escape;
mod interactive;
mod media;
mod node;
mod preview;
mod reader;
mod skeleton;
mod template;
mod text;

#[cfg(test)]
mod tests;

use serde::{Serialize, Serializer};
use serde_json::Value;

use crate::{FieldError, disposition::MessageFacts};
use media::MediaMembers;
use reader::{Errors, Reader};

pub use columns::{Column, Columns, UnknownColumn};
pub use contacts::{Contact, Members};
pub use interactive::{Action, Flow, Header, Interactive, ProductSection, Reply, Row, Section};
pub use media::{Location, Media, Source};
pub use node::{Node, PhoneForm};
pub use preview::{Preview, render_canonical};
pub use skeleton::{MISSING_VALUE, NOT_A_NUMBER, RowError, Skeleton, TOO_LONG};
pub use template::{ButtonKind, Component, ComponentKind, Parameter, ParameterValue, Template};
pub use text::{Kind, Limits, Part, Text};

/// A campaign's message, as its author wrote it.
#[derive(Clone, Debug, PartialEq)]
pub enum Message {
    /// A template with its fillings.
    Template(Template),
    /// A text.
    Text(TextMessage),
    /// A picture.
    Image(Media),
    /// A film.
    Video(Media),
    /// A sound.
    Audio(Media),
    /// A file.
    Document(Media),
    /// A sticker.
    Sticker(Media),
    /// A place.
    Location(Location),
    /// Visiting cards.
    Contacts(Vec<Contact>),
    /// Buttons, a list, products or a form.
    Interactive(Box<Interactive>),
}

/// A text message.
#[derive(Clone, Debug, PartialEq)]
pub struct TextMessage {
    /// What it says.
    pub body: Text,
    /// Whether its first link is shown with a preview; none: as the vendor does by itself.
    pub preview_url: Option<bool>,
    /// The id of the message that it answers (`context.message_id`).
    pub reply_to: Option<Text>,
}

/// Which template a message uses, as written in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TemplateRef<'a> {
    /// The template's name.
    pub name: &'a str,
    /// Its language code.
    pub language: &'a str,
}

const TEXT_MAX_CHARS: usize = 4096;
const TYPES: [&str; 10] = [
    "template",
    "text",
    "image",
    "video",
    "audio",
    "document",
    "sticker",
    "location",
    "contacts",
    "interactive",
];

impl Message {
    /// Reads a canonical message.
    ///
    /// # Errors
    /// Everything that is wrong with it, each with its field and the remedy.
    pub fn parse(value: &Value) -> Result<Self, Vec<FieldError>> {
        let errors = Errors::default();
        let message =
            Reader::new(value, "message".to_owned(), &errors).and_then(|reader| Self::read(&reader));
        let errors = errors.into_inner();
        match message {
            Some(message) if errors.is_empty() => Ok(message),
            _ => Err(errors),
        }
    }

    fn read(reader: &Reader<'_>) -> Option<Self> {
        let kind = reader.word("type", &TYPES)?;
        // The envelope of the Cloud API may be pasted along; it says nothing new.
        reader.word_opt("messaging_product", &["whatsapp"]);
        reader.word_opt("recipient_type", &["individual"]);
        if reader.get("to").is_some() {
            reader.fail("to", "does not belong here: remove it, the recipients come from the audience");
        }
        let message = Self::read_content(reader, kind);
        reader.finish();
        message
    }

    fn read_content(reader: &Reader<'_>, kind: &'static str) -> Option<Self> {
        let media = |caption, filename| {
            let members = MediaMembers { caption, filename, mime_type: true };
            Media::read(&reader.object(kind)?, members)
        };
        Some(match kind {
            "template" => Self::Template(Template::read(&reader.object(kind)?)?),
            "text" => Self::Text(TextMessage::read(reader)?),
            "image" => Self::Image(media(true, false)?),
            "video" => Self::Video(media(true, false)?),
            "audio" => Self::Audio(media(false, false)?),
            "document" => Self::Document(media(true, true)?),
            "sticker" => Self::Sticker(media(false, false)?),
            "location" => Self::Location(Location::read(&reader.object(kind)?)?),
            "contacts" => {
                let contacts = reader.objects("contacts", Contact::read)?;
                if contacts.is_empty() {
                    reader.fail("contacts", "is empty: give at least one contact");
                }
                Self::Contacts(contacts)
            }
            _ => Self::Interactive(Box::new(Interactive::read(&reader.object(kind)?)?)),
        })
    }

    /// The word of its `type`.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Template(_) => "template",
            Self::Text(_) => "text",
            Self::Image(_) => "image",
            Self::Video(_) => "video",
            Self::Audio(_) => "audio",
            Self::Document(_) => "document",
            Self::Sticker(_) => "sticker",
            Self::Location(_) => "location",
            Self::Contacts(_) => "contacts",
            Self::Interactive(_) => "interactive",
        }
    }

    /// The template, when it is a template message.
    #[must_use]
    pub fn template(&self) -> Option<TemplateRef<'_>> {
        match self {
            Self::Template(template) => {
                Some(TemplateRef { name: template.name.raw(), language: template.language.raw() })
            }
            _ => None,
        }
    }

    /// The canonical JSON with its places open.
    #[must_use]
    pub fn node(&self) -> Node {
        let (kind, content, context) = match self {
            Self::Template(template) => ("template", template.node(), None),
            Self::Text(text) => ("text", text.node(), text.context()),
            Self::Image(media) => ("image", media.canonical_node(), None),
            Self::Video(media) => ("video", media.canonical_node(), None),
            Self::Audio(media) => ("audio", media.canonical_node(), None),
            Self::Document(media) => ("document", media.canonical_node(), None),
            Self::Sticker(media) => ("sticker", media.canonical_node(), None),
            Self::Location(location) => ("location", location.node(), None),
            Self::Contacts(contacts) => ("contacts", Node::array(contacts.iter().map(Contact::node)), None),
            Self::Interactive(interactive) => ("interactive", interactive.node(), None),
        };
        Node::object([("context", context), ("type", Some(Node::word(kind))), (kind, Some(content))])
    }

    /// The canonical JSON, placeholders as they were written.
    #[must_use]
    pub fn to_value(&self) -> Value {
        self.node().unrendered()
    }

    /// What is wrong with its placeholders for an audience with these columns.
    #[must_use]
    pub fn check_columns(&self, columns: &Columns) -> Vec<FieldError> {
        Skeleton::compile(&self.node(), columns).err().unwrap_or_default()
    }

    /// What the rules on vendors' codes must know of it. The category comes from the template or the campaign.
    #[must_use]
    pub fn facts(&self, is_marketing: bool) -> MessageFacts {
        let mut media_per_row = false;
        let mut parameters_per_row = false;
        self.node().for_each_text(&mut |text| {
            parameters_per_row |= text.has_placeholder();
            media_per_row |= text.has_placeholder() && text.limits().is_part;
        });
        MessageFacts {
            is_template: matches!(self, Self::Template(_)),
            is_marketing,
            media_per_row,
            parameters_per_row,
        }
    }
}

impl Serialize for Message {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.to_value().serialize(serializer)
    }
}

impl TextMessage {
    fn read(message: &Reader<'_>) -> Option<Self> {
        let reply_to = message.object_opt("context").and_then(|context| {
            let id = context.text("message_id", Limits::REQUIRED);
            context.finish();
            id
        });
        let reader = message.object("text")?;
        let body = reader.text("body", Limits::REQUIRED.max(TEXT_MAX_CHARS));
        let preview_url = reader.flag_opt("preview_url");
        reader.finish();
        Some(Self { body: body?, preview_url, reply_to })
    }

    fn node(&self) -> Node {
        Node::object([
            ("preview_url", self.preview_url.map(|flag| Node::Fixed(Value::Bool(flag)))),
            ("body", Some(Node::text(&self.body))),
        ])
    }

    fn context(&self) -> Option<Node> {
        let id = self.reply_to.as_ref()?;
        Some(Node::object([("message_id", Some(Node::text(id)))]))
    }
}

/// An object of the author's own, not empty, its strings read for placeholders.
fn read_free_object(reader: &Reader<'_>, key: &'static str) -> Option<Node> {
    let value = reader.get(key)?;
    if value.as_object().is_none_or(serde_json::Map::is_empty) {
        reader.fail(key, "must be an object that is not empty, or be left out");
        return None;
    }
    Node::from_value(value, &reader.at(key)).map_err(|errors| reader.errors.extend(errors)).ok()
}

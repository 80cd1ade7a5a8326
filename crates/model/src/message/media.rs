//! Pictures, films, sounds, files, stickers and places.

use std::borrow::Cow;

use super::{
    node::Node,
    reader::Reader,
    text::{Limits, Part, Text},
};
use crate::FieldError;

/// Where a medium lies.
#[derive(Clone, Debug, PartialEq)]
pub enum Source {
    /// A public http or https address.
    Link(Text),
    /// The id of a medium that was uploaded before.
    Id(Text),
}

/// A medium, alone or in a template's header.
#[derive(Clone, Debug, PartialEq)]
pub struct Media {
    /// Where it stands: `message.image`.
    pub field: String,
    /// Its link or id.
    pub source: Source,
    /// The text under it.
    pub caption: Option<Text>,
    /// The name that the recipient sees; documents only.
    pub filename: Option<Text>,
    /// Its MIME type, for a vendor that wants it told.
    pub mime_type: Option<Text>,
}

/// What may stand beside the link.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct MediaMembers {
    pub(super) caption: bool,
    pub(super) filename: bool,
    pub(super) mime_type: bool,
}

/// The documented maximum of a caption (sobot-in.txt, "Image Message").
const CAPTION_MAX_CHARS: usize = 1024;

impl Media {
    pub(super) fn read(reader: &Reader<'_>, members: MediaMembers) -> Option<Self> {
        let source = Source::read(reader);
        let caption = members
            .caption
            .then(|| reader.text_opt("caption", Limits::REQUIRED.max(CAPTION_MAX_CHARS)))
            .flatten();
        let filename = members.filename.then(|| reader.text_opt("filename", Limits::PART)).flatten();
        let mime_type = members.mime_type.then(|| reader.text_opt("mime_type", Limits::PART)).flatten();
        reader.finish();
        Some(Self { field: reader.path.clone(), source: source?, caption, filename, mime_type })
    }

    /// The link, for a vendor that takes nothing else.
    ///
    /// # Errors
    /// It is an uploaded medium's id.
    pub fn link(&self) -> Result<&Text, FieldError> {
        match &self.source {
            Source::Link(link) => Ok(link),
            Source::Id(id) => {
                Err(id.refuse("cannot be sent by this vendor: give `link`, the file's address"))
            }
        }
    }

    /// The medium as WhatsApp's object, without the MIME type, which no vendor passes on.
    #[must_use]
    pub fn node(&self) -> Node {
        let (link, id) = match &self.source {
            Source::Link(link) => (Some(Node::text(link)), None),
            Source::Id(id) => (None, Some(Node::text(id))),
        };
        Node::object([
            ("link", link),
            ("id", id),
            ("caption", Node::text_opt(self.caption.as_ref())),
            ("filename", Node::text_opt(self.filename.as_ref())),
        ])
    }

    /// The same with the MIME type, as the author wrote it.
    pub(super) fn canonical_node(&self) -> Node {
        let mut node = self.node();
        if let (Node::Object(members), Some(mime_type)) = (&mut node, &self.mime_type) {
            members.push((Cow::Borrowed("mime_type"), Node::text(mime_type)));
        }
        node
    }
}

impl Source {
    fn read(reader: &Reader<'_>) -> Option<Self> {
        let link = reader.text_opt("link", Limits::PART);
        let id = reader.text_opt("id", Limits::PART);
        match (link, id) {
            (Some(link), None) => {
                check_link(reader, &link);
                Some(Self::Link(link))
            }
            (None, Some(id)) => Some(Self::Id(id)),
            (Some(_), Some(id)) => {
                reader.errors.push(id.field(), "stands beside `link`: give the one or the other");
                None
            }
            (None, None) => {
                if reader.get("link").is_none() && reader.get("id").is_none() {
                    reader.fail("link", "is missing: give the http or https address of the file");
                }
                None
            }
        }
    }
}

/// Refuses a link whose literal beginning can be no http address, so that no recipient has to fail for it.
fn check_link(reader: &Reader<'_>, link: &Text) {
    let Some(Part::Literal(start)) = link.parts().first() else { return };
    let lower = start.trim_start().to_ascii_lowercase();
    let fits =
        |scheme: &str| lower.starts_with(scheme) || (link.has_placeholder() && scheme.starts_with(&lower));
    if !fits("http://") && !fits("https://") {
        reader.errors.push(link.field(), "must be a link that starts with http:// or https://");
    }
}

/// A place on the map.
#[derive(Clone, Debug, PartialEq)]
pub struct Location {
    /// Where it stands: `message.location`.
    pub field: String,
    /// Degrees north, as a number.
    pub latitude: Text,
    /// Degrees east, as a number.
    pub longitude: Text,
    /// What the place is called.
    pub name: Option<Text>,
    /// Its address; shown only beside a name.
    pub address: Option<Text>,
}

impl Location {
    pub(super) fn read(reader: &Reader<'_>) -> Option<Self> {
        let latitude = reader.text("latitude", Limits::NUMBER);
        let longitude = reader.text("longitude", Limits::NUMBER);
        let name = reader.text_opt("name", Limits::FREE);
        let address = reader.text_opt("address", Limits::FREE);
        if let (None, Some(address)) = (&name, &address) {
            reader.errors.push(address.field(), "is shown only beside a name: give `name` too");
        }
        reader.finish();
        Some(Self { field: reader.path.clone(), latitude: latitude?, longitude: longitude?, name, address })
    }

    /// The place as WhatsApp's object; its degrees are strings there, held to be numbers.
    #[must_use]
    pub fn node(&self) -> Node {
        Node::object([
            ("latitude", Some(Node::text(&self.latitude))),
            ("longitude", Some(Node::text(&self.longitude))),
            ("name", Node::text_opt(self.name.as_ref())),
            ("address", Node::text_opt(self.address.as_ref())),
        ])
    }
}

//! Visiting cards.

use std::borrow::Cow;

use super::{
    node::Node,
    reader::Reader,
    text::{Limits, Text},
};

/// The members of a flat object that are given, in their order.
pub type Members = Vec<(&'static str, Text)>;

/// One visiting card.
#[derive(Clone, Debug, PartialEq)]
pub struct Contact {
    /// Where it stands: `message.contacts[0]`.
    pub field: String,
    /// `formatted_name` and at least none of the others.
    pub name: Members,
    /// `YYYY-MM-DD`.
    pub birthday: Option<Text>,
    /// Company, department, title.
    pub org: Option<Members>,
    /// Postal addresses.
    pub addresses: Vec<Members>,
    /// Mail addresses.
    pub emails: Vec<Members>,
    /// Numbers.
    pub phones: Vec<Members>,
    /// Web addresses.
    pub urls: Vec<Members>,
}

const NAME: [&str; 6] = ["formatted_name", "first_name", "last_name", "middle_name", "suffix", "prefix"];
const ORG: [&str; 3] = ["company", "department", "title"];
const ADDRESS: [&str; 7] = ["street", "city", "state", "zip", "country", "country_code", "type"];
const EMAIL: [&str; 2] = ["email", "type"];
const PHONE: [&str; 3] = ["phone", "type", "wa_id"];
const URL: [&str; 2] = ["url", "type"];

impl Contact {
    pub(super) fn read(reader: &Reader<'_>) -> Option<Self> {
        let lists = |key, known: &'static [&'static str]| {
            reader.objects_opt(key, |item| Some(members(item, known))).unwrap_or_default()
        };
        let contact = Self {
            field: reader.path.clone(),
            name: Vec::new(),
            birthday: reader.text_opt("birthday", Limits::FREE),
            org: reader.object_opt("org").map(|org| closed(&org, &ORG)),
            addresses: lists("addresses", &ADDRESS),
            emails: lists("emails", &EMAIL),
            phones: lists("phones", &PHONE),
            urls: lists("urls", &URL),
        };
        let name = reader.object("name")?;
        // Asked for first, because it alone is mandatory.
        let formatted = name.text("formatted_name", Limits::REQUIRED);
        let rest = closed(&name, &NAME);
        formatted.map(|_| Self { name: rest, ..contact })
    }

    /// The card as WhatsApp's object.
    #[must_use]
    pub fn node(&self) -> Node {
        Node::object([
            ("name", Some(members_node(&self.name))),
            ("birthday", Node::text_opt(self.birthday.as_ref())),
            ("org", self.org.as_ref().map(members_node)),
            ("addresses", list_node(&self.addresses)),
            ("emails", list_node(&self.emails)),
            ("phones", list_node(&self.phones)),
            ("urls", list_node(&self.urls)),
        ])
    }
}

fn members(reader: &Reader<'_>, known: &'static [&'static str]) -> Members {
    known
        .iter()
        .filter_map(|key| {
            let limits = if *key == "formatted_name" { Limits::REQUIRED } else { Limits::FREE };
            reader.text_opt(key, limits).map(|text| (*key, text))
        })
        .collect()
}

fn closed(reader: &Reader<'_>, known: &'static [&'static str]) -> Members {
    let members = members(reader, known);
    reader.finish();
    members
}

fn members_node(members: &Members) -> Node {
    Node::Object(members.iter().map(|(key, text)| (Cow::Borrowed(*key), Node::text(text))).collect())
}

fn list_node(list: &[Members]) -> Option<Node> {
    (!list.is_empty()).then(|| Node::array(list.iter().map(members_node)))
}

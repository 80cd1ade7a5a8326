//! Template messages: which template, and what fills its places.

use super::{
    media::{Location, Media, MediaMembers},
    node::Node,
    reader::{Errors, Reader},
    text::{Limits, Text},
};

/// A template message.
#[derive(Clone, Debug, PartialEq)]
pub struct Template {
    /// The template's name.
    pub name: Text,
    /// Its language code: `en`, `pt_BR`.
    pub language: Text,
    /// What fills it, in the order given. Components without parameters are left out.
    pub components: Vec<Component>,
}

/// One component's filling.
#[derive(Clone, Debug, PartialEq)]
pub struct Component {
    /// Where it stands: `message.template.components[0]`.
    pub field: String,
    /// Which component.
    pub kind: ComponentKind,
    /// Its fillings in order; at least one.
    pub parameters: Vec<Parameter>,
}

/// Which component of the template.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ComponentKind {
    /// Above the text.
    Header,
    /// The text.
    Body,
    /// A button under the text.
    Button {
        /// What it does.
        kind: ButtonKind,
        /// Its position, from 0.
        index: u8,
    },
}

/// What a template's button does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ButtonKind {
    /// Opens a web address whose end may be filled; also the button of a one-time password.
    Url,
    /// Sends a reply.
    QuickReply,
    /// Opens a form.
    Flow,
}

impl ButtonKind {
    /// WhatsApp's word.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Url => "url",
            Self::QuickReply => "quick_reply",
            Self::Flow => "flow",
        }
    }
}

/// One filling.
#[derive(Clone, Debug, PartialEq)]
pub struct Parameter {
    /// Where it stands: `message.template.components[0].parameters[1]`.
    pub field: String,
    /// What fills.
    pub value: ParameterValue,
}

/// What fills a place of a template.
#[derive(Clone, Debug, PartialEq)]
pub enum ParameterValue {
    /// A text.
    Text(Text),
    /// An amount of money.
    Currency {
        /// What is shown when it cannot be put into the reader's language.
        fallback_value: Text,
        /// ISO 4217.
        code: Text,
        /// The amount times 1000, a whole number.
        amount_1000: Text,
    },
    /// A time; what is shown is always this text.
    DateTime {
        /// The text.
        fallback_value: Text,
    },
    /// What a button reports when pressed, or the end of its web address.
    Payload(Text),
    /// A picture.
    Image(Media),
    /// A film.
    Video(Media),
    /// A file.
    Document(Media),
    /// A place.
    Location(Location),
    /// What a form is opened with.
    Action {
        /// Returned with the form's answer.
        flow_token: Option<Text>,
        /// What its first screen gets.
        flow_action_data: Option<Node>,
    },
}

impl ParameterValue {
    /// WhatsApp's word for its type.
    #[must_use]
    pub fn type_name(&self) -> &'static str {
        match self {
            Self::Text(_) => "text",
            Self::Currency { .. } => "currency",
            Self::DateTime { .. } => "date_time",
            Self::Payload(_) => "payload",
            Self::Image(_) => "image",
            Self::Video(_) => "video",
            Self::Document(_) => "document",
            Self::Location(_) => "location",
            Self::Action { .. } => "action",
        }
    }
}

/// exotel.txt, "Parameter Object": a header's text.
const HEADER_MAX_CHARS: usize = 60;
/// The same: a body's text beside other components.
const BODY_MAX_CHARS: usize = 1024;
/// The same: a body's text when the body is the only component.
const LONE_BODY_MAX_CHARS: usize = 32_768;

impl Template {
    pub(super) fn read(reader: &Reader<'_>) -> Option<Self> {
        let name = reader.text("name", Limits::REQUIRED);
        let language = reader.object("language").and_then(|language| {
            let code = language.text("code", Limits::REQUIRED);
            language.word_opt("policy", &["deterministic"]);
            language.finish();
            code
        });
        let body_max_chars = match reader.list_opt("components").map(|components| components.len()) {
            Some(2..) => BODY_MAX_CHARS,
            _ => LONE_BODY_MAX_CHARS,
        };
        let components = reader
            .objects_opt("components", |item| Component::read(item, body_max_chars))
            .unwrap_or_default();
        check_no_component_twice(reader.errors, &components);
        reader.finish();
        let components =
            components.into_iter().filter(|component| !component.parameters.is_empty()).collect();
        Some(Self { name: name?, language: language?, components })
    }

    pub(super) fn node(&self) -> Node {
        let language = Node::object([("code", Some(Node::text(&self.language)))]);
        let components = Node::array(self.components.iter().map(Component::node));
        Node::object([
            ("name", Some(Node::text(&self.name))),
            ("language", Some(language)),
            ("components", (!self.components.is_empty()).then_some(components)),
        ])
    }
}

fn check_no_component_twice(errors: &Errors, components: &[Component]) {
    for (at, component) in components.iter().enumerate() {
        let same_place = |other: &Component| match (other.kind, component.kind) {
            (ComponentKind::Button { index: a, .. }, ComponentKind::Button { index: b, .. }) => a == b,
            (a, b) => a == b,
        };
        if components[..at].iter().any(same_place) {
            errors.push(&component.field, "fills a component that is filled already: put both into one");
        }
    }
}

impl Component {
    fn read(reader: &Reader<'_>, body_max_chars: usize) -> Option<Self> {
        let kind = match reader.word("type", &["header", "body", "button"])? {
            "header" => ComponentKind::Header,
            "body" => ComponentKind::Body,
            _ => read_button(reader)?,
        };
        let read_one = |item: &Reader<'_>| Parameter::read(item, kind, body_max_chars);
        let parameters = match kind {
            ComponentKind::Button { .. } => reader.objects("parameters", read_one)?,
            ComponentKind::Header | ComponentKind::Body => {
                reader.objects_opt("parameters", read_one).unwrap_or_default()
            }
        };
        if kind != ComponentKind::Body && parameters.len() > 1 {
            reader.fail("parameters", "takes one parameter only");
        }
        Some(Self { field: reader.path.clone(), kind, parameters })
    }

    fn node(&self) -> Node {
        let (word, button) = match self.kind {
            ComponentKind::Header => ("header", None),
            ComponentKind::Body => ("body", None),
            ComponentKind::Button { kind, index } => ("button", Some((kind, index))),
        };
        Node::object([
            ("type", Some(Node::word(word))),
            ("sub_type", button.map(|(kind, _)| Node::word(kind.as_str()))),
            ("index", button.map(|(_, index)| Node::word(&index.to_string()))),
            ("parameters", Some(Node::array(self.parameters.iter().map(Parameter::node)))),
        ])
    }
}

fn read_button(reader: &Reader<'_>) -> Option<ComponentKind> {
    let kind = match reader.word("sub_type", &["url", "quick_reply", "flow"])? {
        "url" => ButtonKind::Url,
        "quick_reply" => ButtonKind::QuickReply,
        _ => ButtonKind::Flow,
    };
    let index = reader.text("index", Limits::REQUIRED)?;
    // WhatsApp counts at most ten buttons.
    let position =
        index.as_literal().and_then(|raw| raw.trim().parse().ok()).filter(|position| *position < 10);
    if position.is_none() {
        reader.fail("index", "must be the button's position, from 0 for the first to 9, without placeholder");
    }
    Some(ComponentKind::Button { kind, index: position? })
}

impl Parameter {
    fn read(reader: &Reader<'_>, component: ComponentKind, body_max_chars: usize) -> Option<Self> {
        let allowed: &[&'static str] = match component {
            ComponentKind::Header => &["text", "image", "video", "document", "location"],
            ComponentKind::Body => &["text", "currency", "date_time"],
            ComponentKind::Button { kind: ButtonKind::Url, .. } => &["text", "payload"],
            ComponentKind::Button { kind: ButtonKind::QuickReply, .. } => &["payload"],
            ComponentKind::Button { kind: ButtonKind::Flow, .. } => &["action"],
        };
        let media = |key, filename| {
            let members = MediaMembers { filename, ..MediaMembers::default() };
            reader.object(key).and_then(|media| Media::read(&media, members))
        };
        let value = match reader.word("type", allowed)? {
            "text" => ParameterValue::Text(reader.text("text", text_limits(component, body_max_chars))?),
            "payload" => ParameterValue::Payload(reader.text("payload", Limits::REQUIRED)?),
            "image" => ParameterValue::Image(media("image", false)?),
            "video" => ParameterValue::Video(media("video", false)?),
            "document" => ParameterValue::Document(media("document", true)?),
            "location" => ParameterValue::Location(Location::read(&reader.object("location")?)?),
            "currency" => read_currency(&reader.object("currency")?)?,
            "date_time" => read_date_time(&reader.object("date_time")?)?,
            _ => read_action(&reader.object("action")?),
        };
        Some(Self { field: reader.path.clone(), value })
    }

    /// The parameter as WhatsApp's object.
    #[must_use]
    pub fn node(&self) -> Node {
        let word = self.value.type_name();
        let inner = match &self.value {
            ParameterValue::Text(text) | ParameterValue::Payload(text) => Node::text(text),
            ParameterValue::Image(media) | ParameterValue::Video(media) | ParameterValue::Document(media) => {
                media.node()
            }
            ParameterValue::Location(location) => location.node(),
            ParameterValue::Currency { fallback_value, code, amount_1000 } => Node::object([
                ("fallback_value", Some(Node::text(fallback_value))),
                ("code", Some(Node::text(code))),
                ("amount_1000", Some(Node::Number(amount_1000.clone()))),
            ]),
            ParameterValue::DateTime { fallback_value } => {
                Node::object([("fallback_value", Some(Node::text(fallback_value)))])
            }
            ParameterValue::Action { flow_token, flow_action_data } => Node::object([
                ("flow_token", Node::text_opt(flow_token.as_ref())),
                ("flow_action_data", flow_action_data.clone()),
            ]),
        };
        Node::object([("type", Some(Node::word(word))), (word, Some(inner))])
    }
}

fn text_limits(component: ComponentKind, body_max_chars: usize) -> Limits {
    match component {
        ComponentKind::Header => Limits::PART.max(HEADER_MAX_CHARS),
        ComponentKind::Body => Limits::REQUIRED.max(body_max_chars),
        ComponentKind::Button { .. } => Limits::REQUIRED,
    }
}

fn read_currency(reader: &Reader<'_>) -> Option<ParameterValue> {
    let fallback_value = reader.text("fallback_value", Limits::REQUIRED);
    let code = reader.text("code", Limits::REQUIRED);
    let amount_1000 = reader.text("amount_1000", Limits::INTEGER);
    reader.finish();
    Some(ParameterValue::Currency { fallback_value: fallback_value?, code: code?, amount_1000: amount_1000? })
}

fn read_date_time(reader: &Reader<'_>) -> Option<ParameterValue> {
    let fallback_value = reader.text("fallback_value", Limits::REQUIRED);
    reader.finish();
    Some(ParameterValue::DateTime { fallback_value: fallback_value? })
}

fn read_action(reader: &Reader<'_>) -> ParameterValue {
    let flow_token = reader.text_opt("flow_token", Limits::REQUIRED);
    let flow_action_data = super::read_free_object(reader, "flow_action_data");
    reader.finish();
    ParameterValue::Action { flow_token, flow_action_data }
}
